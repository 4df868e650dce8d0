"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class PropensityEstimatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: PropensityEstimatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("propensity_estimator", "", PropensityEstimatorArguments, "panel", compute)
