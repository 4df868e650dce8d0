"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class RefutationRunnerArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: RefutationRunnerArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("refutation_runner", "", RefutationRunnerArguments, "panel", compute)
