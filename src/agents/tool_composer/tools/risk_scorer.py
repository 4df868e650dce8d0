"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class RiskScorerArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: RiskScorerArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("risk_scorer", "", RiskScorerArguments, "panel", compute)
