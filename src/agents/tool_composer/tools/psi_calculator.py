"""."""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs


class PsiCalculatorArguments(ToolArguments):
    """."""


def compute(inputs: ToolInputs, arguments: PsiCalculatorArguments) -> ToolOutput:
    """."""
    raise NotImplementedError


TOOL = ComposerTool("psi_calculator", "", PsiCalculatorArguments, "panel", compute)
