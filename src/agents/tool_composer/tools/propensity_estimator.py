"""Which groups of prescribers will convert in the next months, and how well can that be told?"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.expectations import Words, told
from src.agents.tool_composer.tools.grouping import grouping_columns
from src.agents.tool_composer.tools.history import History, history_of
from src.agents.tool_composer.tools.outlook import Event, outlook_of
from src.agents.tool_composer.tools.panel_rows import rows_of
from src.agents.tool_composer.tools.periods import BoolArray
from src.agents.tool_composer.tools.telling import in_words
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind

USUAL_GROUPS = ("region", "specialty", "decile", "brand")
HIGH_WRITERS = 0.75
LEAST_NEW_SHARE = 0.05


class PropensityEstimatorArguments(ToolArguments):
    """Who converts, within how many months, told for which groups."""

    outcome: str = Field(
        default="nrx", description="Prescriptions that make a conversion", examples=["nrx", "nbrx", "trx"]
    )
    horizon: int = Field(default=3, ge=1, le=12, description="Months ahead; 3 is the next quarter", examples=[3])
    level: float | None = Field(
        default=None,
        gt=0,
        description="Converts = reaches this many per month on average, having stayed below it; without it, writes the "
        "first one, or, where nearly everybody already writes, reaches the level of today's highest quarter",
        examples=[5],
    )
    by: tuple[str, ...] = Field(
        default=(), description="Columns to group by; empty: region, specialty, decile, brand", examples=[["region"]]
    )
    features: tuple[str, ...] = Field(
        default=(),
        description="Columns the prediction may use; empty: all of the rows",
        examples=[["rep_calls", "nrx"]],
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="The share with at least this probability is told", examples=[0.5]
    )
    lookback: int = Field(default=6, ge=1, le=24, description="Months before that are read", examples=[6])


def compute(inputs: ToolInputs, arguments: PropensityEstimatorArguments) -> ToolOutput:
    """Expected conversion by group. Raises DataUnavailable, ContractViolation, StudyInvalid and TooFewRows."""
    by = grouping_columns(rows_of(inputs), arguments.by, USUAL_GROUPS)
    history = history_of(inputs, arguments.outcome, arguments.features, by)
    level = arguments.level if arguments.level is not None else _level(history, arguments)
    event = _first(arguments) if level is None else _reaching(arguments, level)
    outlook = outlook_of(history, event, inputs.context.random_state)
    outcome = plain(arguments.outcome)
    what = f"have their first {outcome}" if level is None else f"reach {in_words(level, outcome)} per month"
    amounts = () if level is None else (("level to reach", level, outcome),)
    among = f"without {outcome} so far" if level is None else "below that level"
    words = Words(what, arguments.horizon, StatementKind.OPPORTUNITY, amounts, among)
    return told(inputs, history, outlook, words, by, arguments.threshold, _caveats(arguments, level))


def _level(history: History, arguments: PropensityEstimatorArguments) -> float | None:
    """None while enough units have no outcome yet; else the upper quartile of monthly means in the earlier half."""
    half = history.last // 2
    early = history.mean(arguments.outcome, 0, half)
    never = np.nansum(history.values[arguments.outcome], axis=1) == 0
    until_half = np.nansum(history.values[arguments.outcome][:, : half + 1], axis=1) == 0
    if max(never.mean(), until_half.mean()) >= LEAST_NEW_SHARE:
        return None
    quartile = float(np.nanquantile(early, HIGH_WRITERS))
    return float(f"{quartile:.2g}") or None


def _first(arguments: PropensityEstimatorArguments) -> Event:
    """The first outcome ever seen, among those who had none so far."""

    def at_risk(history: History, origin: int) -> BoolArray:
        so_far = np.nansum(history.values[arguments.outcome][:, : origin + 1], axis=1)
        return np.asarray(so_far == 0, dtype=np.bool_)

    def happened(history: History, origin: int) -> BoolArray:
        ahead = history.mean(arguments.outcome, origin + 1, origin + arguments.horizon)
        return np.asarray(ahead > 0, dtype=np.bool_)

    return Event(arguments.outcome, arguments.horizon, arguments.lookback, at_risk, happened)


def _reaching(arguments: PropensityEstimatorArguments, level: float) -> Event:
    """A monthly mean of ``level`` over the horizon, among those below it over as many months before."""

    def at_risk(history: History, origin: int) -> BoolArray:
        before = history.mean(arguments.outcome, max(0, origin - arguments.horizon + 1), origin)
        return np.asarray(before < level, dtype=np.bool_)

    def happened(history: History, origin: int) -> BoolArray:
        ahead = history.mean(arguments.outcome, origin + 1, origin + arguments.horizon)
        return np.asarray(ahead >= level, dtype=np.bool_)

    return Event(arguments.outcome, arguments.horizon, arguments.lookback, at_risk, happened)


def _caveats(arguments: PropensityEstimatorArguments, level: float | None) -> list[str]:
    found = ["A high probability says who will convert, not whom more promotion would convert."]
    outcome = plain(arguments.outcome)
    if level is not None and arguments.level is None:
        found.append(
            f"Nearly all prescribers of these rows already have {outcome}, so there is no first one to predict; "
            f"converting means reaching {in_words(level, outcome)} per month here, the level of the highest quarter."
        )
    if level is None:
        found.append(f"A first {outcome} is the first in these rows; earlier ones are not known.")
    return found


TOOL = ComposerTool(
    "propensity_estimator",
    "Predicts conversion in the next months (first prescription, or reaching a level) by region, specialty and decile, "
    "with its skill on later months; no single prescribers.",
    PropensityEstimatorArguments,
    "panel",
    compute,
    cost=12.0,
)
