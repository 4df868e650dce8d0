"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class RoiEstimatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: RoiEstimatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("roi_estimator", "", RoiEstimatorArguments, "panel", compute)
