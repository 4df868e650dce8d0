"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class CausalEffectEstimatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: CausalEffectEstimatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("causal_effect_estimator", "", CausalEffectEstimatorArguments, "panel", compute)
