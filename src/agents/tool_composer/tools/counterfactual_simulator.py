"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class CounterfactualSimulatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: CounterfactualSimulatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("counterfactual_simulator", "", CounterfactualSimulatorArguments, "panel", compute)
