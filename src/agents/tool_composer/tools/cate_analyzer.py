"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class CateAnalyzerArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: CateAnalyzerArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("cate_analyzer", "", CateAnalyzerArguments, "panel", compute)
