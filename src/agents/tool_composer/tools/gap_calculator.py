"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class GapCalculatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: GapCalculatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("gap_calculator", "", GapCalculatorArguments, "metrics", compute)
