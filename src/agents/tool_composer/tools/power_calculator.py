"""How large and how long must a test be to find an effect, by how these rows really vary?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import OutcomeColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.panel_rows import checked_columns, is_number
from src.agents.tool_composer.tools.studies import (
    AskedStudy,
    asked_about,
    periods_in_words,
    row_in_words,
    units_in_words,
)
from src.agents.tool_composer.tools.telling import SHARE, Telling
from src.causal_engine.experiment.trial_size import (
    MOST,
    Design,
    Spread,
    detectable,
    power_of,
    spread_over,
    units_needed,
    variance_limits,
)
from src.causal_engine.study import IntArray
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.domain.small_cells import SMALLEST_CELL
from src.errors import ContractViolation, TooFewRows

USUAL_PERIODS = 6
LENGTHS = (1, 2, 3, 6, 9, 12)
WEEKS_PER_MONTH = 365.25 / 12 / 7


class PowerCalculatorArguments(ToolArguments):
    """A two-arm test of something new, measured by ``outcome``, assigned at random to whole units."""

    outcome: OutcomeColumn
    minimum_effect: Annotated[
        float | None,
        Field(
            gt=0,
            description="Smallest difference worth finding, in outcome per unit and period. Leave out to learn what "
            "could be found with the units there are.",
            examples=[0.2],
        ),
    ] = None
    relative_effect: Annotated[
        float | None,
        Field(gt=0, lt=10, description="The same as a share of today's mean, instead.", examples=[0.05, 0.1]),
    ] = None
    power: Annotated[float, Field(ge=0.5, le=0.99, description="Chance to find that difference.", examples=[0.8])] = 0.8
    alpha: Annotated[float, Field(gt=0, le=0.2, description="Two-sided error rate.", examples=[0.05])] = 0.05
    unit: Annotated[
        str | None,
        Field(
            max_length=120,
            description="Column of what is assigned as a whole; leave out for the panel's own unit.",
            examples=["hcp_id", "territory_id"],
        ),
    ] = None
    months: Annotated[
        int | None, Field(ge=1, le=60, description="How many periods the test runs.", examples=[3, 6])
    ] = None
    participants: Annotated[
        int | None,
        Field(
            ge=SMALLEST_CELL,
            description="How many units can take part; leave out for all there are.",
            examples=[200],
        ),
    ] = None
    share_treated: Annotated[
        float, Field(ge=0.1, le=0.9, description="Share of the units that get it.", examples=[0.5])
    ] = 0.5
    adjust_for_baseline: Annotated[
        bool, Field(description="Whether the analysis adjusts for the same units' periods before the test.")
    ] = True


@dataclass(frozen=True)
class _Rows:
    """The outcome with codes of unit, observation within it, and period; shape (n,) each."""

    values: np.ndarray
    unit: IntArray
    inside: IntArray
    period: IntArray
    n_periods: int
    units: str
    each: str
    times: str

    def spread(self, periods: int) -> Spread:
        return spread_over(self.values, self.unit, self.inside, self.period, periods)


def compute(inputs: ToolInputs, arguments: PowerCalculatorArguments) -> ToolOutput:
    """Units per arm, detectable difference and length of the test.

    Raises ContractViolation for two effects at once or an outcome that is no number, TooFewRows below eleven units or
    for a test longer than the rows.
    """
    if arguments.minimum_effect is not None and arguments.relative_effect is not None:
        raise ContractViolation("name the smallest effect once: in units of the outcome, or as a share of its mean")
    asked = asked_about(inputs, arguments.outcome)
    rows = _rows(asked, arguments)
    mean = float(rows.values.mean())
    periods = arguments.months or max(1, min(USUAL_PERIODS, rows.n_periods // 2))
    if periods > rows.n_periods:
        raise TooFewRows(
            f"a test of {periods} {rows.times} cannot be planned on {rows.n_periods}: how units vary over that long is "
            "not seen"
        )
    spread = rows.spread(periods)
    telling = Telling(inputs)
    _tell_spread(telling, rows, spread, mean, arguments)
    wanted = _wanted(arguments, mean)
    lengths = sorted({*(length for length in LENGTHS if 2 * length <= rows.n_periods), periods})
    table = [_row(rows.spread(length), wanted, arguments) for length in lengths]
    summary = _tell_size(telling, rows, spread, wanted, arguments, table)
    _tell_conditions(telling, rows, spread, arguments)
    return telling.output(summary, table, len(asked.frame))


def _rows(asked: AskedStudy, arguments: PowerCalculatorArguments) -> _Rows:
    frame, spec = asked.frame, asked.spec
    if not is_number(frame[arguments.outcome]) and frame[arguments.outcome].dtype != bool:
        raise ContractViolation(f"outcome '{arguments.outcome}' is no number; name a numeric or 0/1 column")
    key = arguments.unit or spec.unit_key
    if key is not None:
        checked_columns(frame, (key,))
    kept = frame[arguments.outcome].notna() & (True if key is None else frame[key].notna())
    frame = frame.loc[kept].reset_index(drop=True)
    unit = _codes(frame, key)
    if unit.size == 0 or int(unit.max()) + 1 < SMALLEST_CELL:
        raise TooFewRows(
            f"there are fewer than {SMALLEST_CELL} {units_in_words(key)}; a test cannot be planned on them"
        )
    coarser = key is not None and spec.unit_key not in (None, key)
    period = _codes(frame, spec.time_key, sort=True) if spec.time_key else np.zeros(len(frame), dtype=np.int64)
    return _Rows(
        values=frame[arguments.outcome].to_numpy(dtype=np.float64),
        unit=unit,
        inside=_codes(frame, spec.unit_key) if coarser else unit,
        period=period,
        n_periods=int(period.max()) + 1,
        units=units_in_words(key),
        each=row_in_words(spec.unit_key, spec.time_key),
        times=periods_in_words(spec.time_key),
    )


def _codes(frame: pd.DataFrame, key: str | None, *, sort: bool = False) -> IntArray:
    if key is None:
        return np.arange(len(frame), dtype=np.int64)
    return np.asarray(pd.factorize(frame[key], sort=sort)[0], dtype=np.int64)


def _wanted(arguments: PowerCalculatorArguments, mean: float) -> float | None:
    if arguments.relative_effect is None:
        return arguments.minimum_effect
    if mean == 0:
        raise ContractViolation(f"the mean of {arguments.outcome} is 0: name the smallest effect in its own units")
    return abs(arguments.relative_effect * mean)


def _design(arguments: PowerCalculatorArguments) -> Design:
    return Design(arguments.alpha, arguments.power, arguments.share_treated)


def _tell_spread(
    telling: Telling, rows: _Rows, spread: Spread, mean: float, arguments: PowerCalculatorArguments
) -> None:
    unit = f"{plain(arguments.outcome)} per {rows.each}"
    now = telling.figure("mean_now", mean, unit)
    deviation = telling.figure("std_between_units", float(np.sqrt(spread.variance)), unit)
    telling.figure("units_available", spread.n_units, rows.units)
    if arguments.participants is not None:
        telling.figure("participants", arguments.participants, rows.units)
    telling.say(
        StatementKind.FINDING,
        f"Today's mean is {now}; means of {rows.units} over {spread.periods} {rows.times} vary with a standard "
        f"deviation of {deviation}.",
    )
    if spread.icc is not None and spread.design_effect is not None:
        icc = telling.figure("icc", spread.icc, "")
        inside = telling.figure("observations_per_unit", spread.n_inside, "")
        effect = telling.figure("design_effect", spread.design_effect, "")
        telling.say(
            StatementKind.FINDING,
            f"Observations within one unit are alike: intraclass correlation {icc}, {inside} in each "
            f"of the {rows.units}, design effect {effect}.",
        )
    if arguments.adjust_for_baseline and spread.correlation is not None:
        telling.figure("baseline_correlation", spread.correlation, "")


def _tell_size(
    telling: Telling,
    rows: _Rows,
    spread: Spread,
    wanted: float | None,
    arguments: PowerCalculatorArguments,
    table: Sequence[dict[str, Any]],
) -> str:
    design, variance = _design(arguments), spread.residual_variance(baseline=arguments.adjust_for_baseline)
    unit = f"{plain(arguments.outcome)} per {rows.each}"
    there = arguments.participants or spread.n_units
    possible = detectable(variance, there, design)
    mde = telling.figure("minimum_detectable_effect", possible, unit)
    telling.figure("length", spread.periods, rows.times)
    long = _length(telling, rows, spread.periods)
    power, alpha = telling.figure("power", design.power, SHARE), telling.figure("alpha", design.alpha, SHARE)
    chance = f"{power} power, {alpha} error rate"
    those = f"{there:,}" if arguments.participants else f"all {there:,}"
    all_units = f"With {those} {rows.units} over {long} the test would find {mde} or more"
    if wanted is None:
        return f"{all_units} ({chance})."
    telling.say(StatementKind.FINDING, f"{all_units} ({chance}).")
    size = telling.figure("minimum_effect", wanted, unit)
    total = units_needed(variance, wanted, design)
    if total >= MOST:
        return f"No test of a realistic size would find {size} in {plain(arguments.outcome)} ({chance})."
    treated = int(np.ceil(total * design.share_treated))
    low, high = (units_needed(limit, wanted, design) for limit in variance_limits(variance, spread.n_units))
    telling.figure("units_needed", total, rows.units, low, high)
    telling.figure("units_treated", treated, rows.units)
    telling.figure("units_control", total - treated, rows.units)
    telling.figure("power_with_all_units", power_of(variance, wanted, there, design), SHARE)
    _advise(telling, rows, spread, total, there, table)
    return (
        f"To find {size}, the test needs {total:,} {rows.units} (95 % interval {low:,} to {high:,}), {treated:,} "
        f"treated and {total - treated:,} not, over {long} ({chance}); {_there(there, arguments)}."
    )


def _there(there: int, arguments: PowerCalculatorArguments) -> str:
    return f"{there:,} can take part" if arguments.participants else f"there are {there:,}"


def _length(telling: Telling, rows: _Rows, periods: int) -> str:
    """The length in the periods of the rows, and in weeks where these are months."""
    if rows.times != "months":
        return f"{periods} {rows.times}"
    weeks = round(periods * WEEKS_PER_MONTH)
    telling.figure("weeks", weeks, "weeks")
    return f"{periods} months ({weeks} weeks)"


def _advise(
    telling: Telling, rows: _Rows, spread: Spread, total: int, there: int, table: Sequence[dict[str, Any]]
) -> None:
    enough = [row["periods"] for row in table if row["units_needed"] is not None and row["feasible"]]
    if total <= there:
        telling.say(StatementKind.RECOMMENDATION, f"The test is possible: assign {total:,} {rows.units} at random.")
    elif enough:
        telling.say(
            StatementKind.RECOMMENDATION,
            f"There are too few {rows.units} for {spread.periods} {rows.times}; over {min(enough)} they would do.",
        )
    else:
        telling.say(
            StatementKind.WARNING,
            f"There are too few {rows.units} for this at any length looked at: accept a larger smallest effect, or "
            "assign finer units.",
        )


def _row(spread: Spread, wanted: float | None, arguments: PowerCalculatorArguments) -> dict[str, Any]:
    design, variance = _design(arguments), spread.residual_variance(baseline=arguments.adjust_for_baseline)
    total = None if wanted is None else units_needed(variance, wanted, design)
    there = arguments.participants or spread.n_units
    return {
        "periods": spread.periods,
        "minimum_detectable_effect": detectable(variance, there, design),
        "units_needed": total if total is None or total < MOST else None,
        "units_available": there,
        "feasible": None if total is None else total <= there,
    }


def _tell_conditions(telling: Telling, rows: _Rows, spread: Spread, arguments: PowerCalculatorArguments) -> None:
    telling.say(StatementKind.ASSUMPTION, "The units will vary during the test as they did in these rows.")
    telling.say(StatementKind.ASSUMPTION, f"What some of the {rows.units} get does not reach the others.")
    if not arguments.adjust_for_baseline:
        return
    if spread.correlation is None:
        telling.say(
            StatementKind.CAVEAT,
            "There is no earlier window of that length, so nothing is gained from adjusting for it.",
        )
        return
    there = arguments.participants or spread.n_units
    those = "these" if arguments.participants else "all"
    plain_total = detectable(spread.variance, there, _design(arguments))
    without = telling.figure("minimum_detectable_effect_unadjusted", plain_total, "")
    telling.say(
        StatementKind.ASSUMPTION,
        f"The analysis adjusts for the {spread.periods} {rows.times} before the test (correlation "
        f"{number(spread.correlation)}); without that, {those} {rows.units} would find no less than {without}.",
    )


TOOL = ComposerTool(
    "power_calculator",
    "Plans a randomised test on how the rows really vary: units per arm, smallest detectable difference, length in "
    "periods, for single HCPs or whole territories.",
    PowerCalculatorArguments,
    "panel",
    compute,
    cost=2.0,
)
