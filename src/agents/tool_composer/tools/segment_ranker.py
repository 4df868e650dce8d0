"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class SegmentRankerArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: SegmentRankerArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("segment_ranker", "", SegmentRankerArguments, "panel", compute)
