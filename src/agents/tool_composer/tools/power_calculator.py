"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class PowerCalculatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: PowerCalculatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("power_calculator", "", PowerCalculatorArguments, "panel", compute)
