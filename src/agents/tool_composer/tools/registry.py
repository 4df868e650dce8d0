"""Which tools are there? One table, also as langchain-core tools for a model that plans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from src.agents.tool_composer.tools.cate_analyzer import TOOL as CATE_ANALYZER
from src.agents.tool_composer.tools.causal_effect_estimator import TOOL as CAUSAL_EFFECT_ESTIMATOR
from src.agents.tool_composer.tools.contract import ComposerTool
from src.agents.tool_composer.tools.counterfactual_simulator import TOOL as COUNTERFACTUAL_SIMULATOR
from src.agents.tool_composer.tools.distribution_comparator import TOOL as DISTRIBUTION_COMPARATOR
from src.agents.tool_composer.tools.gap_calculator import TOOL as GAP_CALCULATOR
from src.agents.tool_composer.tools.power_calculator import TOOL as POWER_CALCULATOR
from src.agents.tool_composer.tools.propensity_estimator import TOOL as PROPENSITY_ESTIMATOR
from src.agents.tool_composer.tools.psi_calculator import TOOL as PSI_CALCULATOR
from src.agents.tool_composer.tools.refutation_runner import TOOL as REFUTATION_RUNNER
from src.agents.tool_composer.tools.risk_scorer import TOOL as RISK_SCORER
from src.agents.tool_composer.tools.roi_estimator import TOOL as ROI_ESTIMATOR
from src.agents.tool_composer.tools.segment_ranker import TOOL as SEGMENT_RANKER
from src.agents.tool_composer.tools.sensitivity_analyzer import TOOL as SENSITIVITY_ANALYZER
from src.errors import ContractViolation, nearest_names

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

Run = Callable[[str, Mapping[str, Any]], Awaitable[Any]]

TOOLS: Mapping[str, ComposerTool[Any]] = {
    tool.name: tool
    for tool in (
        CAUSAL_EFFECT_ESTIMATOR,
        REFUTATION_RUNNER,
        SENSITIVITY_ANALYZER,
        CATE_ANALYZER,
        SEGMENT_RANKER,
        GAP_CALCULATOR,
        ROI_ESTIMATOR,
        POWER_CALCULATOR,
        COUNTERFACTUAL_SIMULATOR,
        PSI_CALCULATOR,
        DISTRIBUTION_COMPARATOR,
        RISK_SCORER,
        PROPENSITY_ESTIMATOR,
    )
}


def tool_named(name: str) -> ComposerTool[Any]:
    """A tool; raises ContractViolation naming the nearest for an unknown one."""
    if name not in TOOLS:
        raise ContractViolation(f"there is no tool '{name[:80]}'; {nearest_names(name, TOOLS)}")
    return TOOLS[name]


def langchain_tools(tools: Mapping[str, ComposerTool[Any]] | None = None, *, run: Run | None = None) -> list[BaseTool]:
    """The tools as langchain-core structured tools: names, descriptions and argument schemas for a planner.

    ``run(name, arguments)`` is what a call does, its arguments validated; without it a call is refused: rows belong
    to a composition.
    """
    return [_structured(tool, run) for tool in (TOOLS if tools is None else tools).values()]


def _structured(tool: ComposerTool[Any], run: Run | None) -> BaseTool:
    from langchain_core.tools import StructuredTool  # takes a second to load, and few callers need it

    async def call(**arguments: Any) -> Any:
        if run is None:
            raise ContractViolation(f"{tool.name} computes on the rows of a composition; ask the composer instead")
        return await run(tool.name, tool.arguments.model_validate(arguments).model_dump())

    return StructuredTool(
        name=tool.name, description=tool.description, args_schema=tool.arguments, coroutine=call, func=None
    )
