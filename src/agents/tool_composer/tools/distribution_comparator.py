"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class DistributionComparatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: DistributionComparatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("distribution_comparator", "", DistributionComparatorArguments, "panel", compute)
