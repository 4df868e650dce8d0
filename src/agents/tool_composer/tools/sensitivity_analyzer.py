"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class SensitivityAnalyzerArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: SensitivityAnalyzerArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("sensitivity_analyzer", "", SensitivityAnalyzerArguments, "panel", compute)
