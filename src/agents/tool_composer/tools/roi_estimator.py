"""What does one more unit of a treatment return, when does it pay, and where would extra units bring most?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import Lag, OutcomeColumn, TreatmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.curvature import Curvature, curvature_of
from src.agents.tool_composer.tools.grouping import grouping_columns
from src.agents.tool_composer.tools.returns import Amount, Returns, returns_of
from src.agents.tool_composer.tools.segments import Segment, Segmented, segmented_effect
from src.agents.tool_composer.tools.studies import AskedStudy, ask, fitted_effect
from src.agents.tool_composer.tools.telling import NOT_SHOWN, Telling, in_words
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind
from src.domain.kpis import KpiStatus, status
from src.errors import EstimationError, StudyInvalid

RETURN_KPI = "BU10"
USUAL_GROUPS = ("region", "specialty")
LEVEL = 0.05
BY_STATUS = {
    KpiStatus.ON_TARGET: "on target",
    KpiStatus.BELOW_TARGET: "below target",
    KpiStatus.WARNING: "past the warning level",
    KpiStatus.CRITICAL: "past the critical level",
}


class RoiEstimatorArguments(ToolArguments):
    """Effect, price and cost of one unit of a treatment, and how many extra units there are to place."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    effect: float | None = Field(
        default=None,
        description="Outcomes per additional unit of treatment, from causal_effect_estimator (field 'effect'); without "
        "it the effect is estimated here, untested",
        examples=[0.21],
    )
    effect_lower: float | None = Field(
        default=None, description="Lower end of its 95 % interval (field 'effect.lower')", examples=[0.12]
    )
    effect_upper: float | None = Field(
        default=None, description="Upper end of its 95 % interval (field 'effect.upper')", examples=[0.31]
    )
    value_per_outcome: float | None = Field(
        default=None, gt=0, description="Money one outcome is worth; there is no default price", examples=[1400]
    )
    unit_cost: float | None = Field(
        default=None, gt=0, description="Money one unit of treatment costs; there is no default cost", examples=[150]
    )
    currency: str = Field(default="USD", max_length=8, description="Currency of both", examples=["USD"])
    extra_units: float | None = Field(
        default=None,
        gt=0,
        description="How many extra units are to be placed: of the treatment, or (with treatment_per_extra) of what "
        "makes it, such as reps",
        examples=[10],
    )
    treatment_per_extra: float | None = Field(
        default=None, gt=0, description="Units of treatment that one extra makes (rep calls per rep)", examples=[80]
    )
    by: tuple[str, ...] = Field(
        default=(),
        description="Columns by whose levels returns are told; empty: region and specialty",
        examples=[["region"]],
    )
    lag: Lag = None

    @model_validator(mode="after")
    def _interval_is_whole(self) -> RoiEstimatorArguments:
        ends = self.effect_lower, self.effect_upper
        if self.effect is None and ends != (None, None):
            raise ValueError("effect_lower and effect_upper need effect")
        if (ends[0] is None) != (ends[1] is None):
            raise ValueError("an interval needs effect_lower and effect_upper")
        if ends[0] is not None and ends[1] is not None and not ends[0] <= (self.effect or 0.0) <= ends[1]:
            raise ValueError("effect must lie between effect_lower and effect_upper")
        return self


@dataclass(frozen=True, slots=True)
class Terms:
    """The words and prices of one question."""

    arguments: RoiEstimatorArguments

    @property
    def treatment(self) -> str:
        """The treatment in words."""
        return plain(self.arguments.treatment)

    @property
    def per_unit(self) -> str:
        """Unit of an effect: "NRx per additional unit of rep calls"."""
        return f"{plain(self.arguments.outcome)} per additional unit of {self.treatment}"

    @property
    def money_per_unit(self) -> str:
        """Unit of a return: "USD per additional unit of rep calls"."""
        return f"{self.arguments.currency} per additional unit of {self.treatment}"

    def returns(self, effect: Amount) -> Returns:
        """What an effect returns at these prices."""
        return returns_of(effect, self.arguments.value_per_outcome, self.arguments.unit_cost)


def compute(inputs: ToolInputs, arguments: RoiEstimatorArguments) -> ToolOutput:
    """Returns overall and by segment. Raises DataUnavailable, ContractViolation, StudyInvalid and EstimationError."""
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag)
    by = grouping_columns(inputs.frame, arguments.by, USUAL_GROUPS)
    telling, terms = Telling(inputs), Terms(arguments)
    overall = terms.returns(_effect(asked, arguments))
    _tell_overall(telling, terms, overall)
    _tell_level(telling, inputs, overall)
    _tell_missing(telling, terms)
    curve = curvature_of(asked)
    _tell_curvature(telling, terms, curve)
    extra = _extra(telling, terms)
    rows: list[dict[str, Any]] = []
    for column in by:
        part = _segmented(asked, inputs, column, asked_for=bool(arguments.by))
        if part is not None:
            _tell_segments(telling, terms, part, extra)
            rows += [_row(terms, one) for one in part.segments]
    _tell_extra(telling, terms, overall, extra)
    _tell_limits(telling, arguments, rows)
    return telling.output(_summary(terms, overall), rows, len(inputs.frame))


def _effect(asked: AskedStudy, arguments: RoiEstimatorArguments) -> Amount:
    if arguments.effect is not None:
        return Amount(arguments.effect, arguments.effect_lower, arguments.effect_upper)
    estimate = fitted_effect(asked.fitted()).estimate
    return Amount.of(estimate.value, estimate.ci)


def _segmented(asked: AskedStudy, inputs: ToolInputs, column: str, *, asked_for: bool) -> Segmented | None:
    """The effect by segment; None where a column that nobody asked for makes no segments."""
    try:
        return segmented_effect(asked, inputs.declared, column)
    except (StudyInvalid, EstimationError):
        if asked_for:
            raise
        return None


def _tell(telling: Telling, name: str, amount: Amount | None, unit: str) -> str:
    return "" if amount is None else telling.figure(name, amount.value, unit, amount.lower, amount.upper)


def _tell_overall(telling: Telling, terms: Terms, found: Returns) -> None:
    arguments = terms.arguments
    _tell(telling, "effect", found.effect, terms.per_unit)
    telling.figure("value per outcome", arguments.value_per_outcome, arguments.currency)
    telling.figure("unit cost", arguments.unit_cost, arguments.currency)
    gross = _tell(telling, "break-even cost", found.gross, terms.money_per_unit)
    net = _tell(telling, "net return", found.net, terms.money_per_unit)
    roi = _tell(telling, "roi", found.roi, "")
    outcome = plain(arguments.outcome)
    per_outcome = _tell(telling, "cost per outcome", found.cost_per_outcome, f"{arguments.currency} per {outcome}")
    if gross:
        telling.say(StatementKind.FINDING, f"One more unit of {terms.treatment} breaks even at a cost of {gross}.")
    if net:
        telling.say(StatementKind.FINDING, f"After its cost, one more returns {net}; net return over cost: {roi}.")
    if per_outcome:
        telling.say(StatementKind.FINDING, f"One additional {outcome} costs {per_outcome}.")
    elif arguments.unit_cost is not None:
        telling.say(
            StatementKind.CAVEAT,
            f"What one additional {outcome} costs has no upper bound: the interval of the effect is not above 0.",
        )
    if arguments.effect is not None and arguments.effect_lower is None:
        telling.say(StatementKind.CAVEAT, "The effect came without an interval, so the returns have none.")
    if found.net is not None and found.net.lower is not None and found.net.lower <= 0:
        telling.say(StatementKind.WARNING, "The interval of the net return includes a loss.")


def _tell_level(telling: Telling, inputs: ToolInputs, found: Returns) -> None:
    """The return per cost beside the levels of the ROI KPI."""
    if found.per_cost is None:
        return
    words = _tell(telling, "return per cost", found.per_cost, "")
    kpi = inputs.kpis.get(RETURN_KPI)
    rated = status(kpi, found.per_cost.value) if kpi is not None else KpiStatus.NO_THRESHOLD
    level = f", {BY_STATUS[rated]} of KPI {RETURN_KPI}" if rated in BY_STATUS else ""
    telling.say(StatementKind.FINDING, f"Return per unit of money spent: {words}{level}.")


def _tell_missing(telling: Telling, terms: Terms) -> None:
    arguments = terms.arguments
    missing = [
        words
        for words, value in (
            (f"what one {plain(arguments.outcome)} is worth", arguments.value_per_outcome),
            (f"what one unit of {terms.treatment} costs", arguments.unit_cost),
        )
        if value is None
    ]
    if missing:
        telling.say(
            StatementKind.CAVEAT,
            f"No return on investment without {' and '.join(missing)}: nothing is put in its place.",
        )


def _tell_curvature(telling: Telling, terms: Terms, curve: Curvature | None) -> None:
    if curve is None:
        telling.say(
            StatementKind.ASSUMPTION, "Every further unit brings as much as the one before; this is not tested."
        )
        return
    unit = f"{plain(terms.arguments.outcome)} per squared unit of {terms.treatment}"
    bend = telling.figure("curvature", curve.squared, unit, curve.ci.lower, curve.ci.upper)
    if not curve.diminishing:
        telling.say(
            StatementKind.ASSUMPTION,
            f"Every further unit brings as much as the one before: no diminishing return was found (curvature {bend}).",
        )
        return
    level = telling.figure("mean level", curve.mean_level, f"{terms.treatment} per row")
    now = telling.figure("marginal effect at the mean level", curve.marginal(curve.mean_level), terms.per_unit)
    more = telling.figure("marginal effect one unit above", curve.marginal(curve.mean_level + 1), terms.per_unit)
    telling.say(
        StatementKind.FINDING,
        f"Returns diminish (curvature {bend}): at today's {level} one more brings {now}, one unit above that {more}.",
    )


def _extra(telling: Telling, terms: Terms) -> float | None:
    """Extra units of treatment that are to be placed."""
    arguments = terms.arguments
    if arguments.extra_units is None:
        return None
    if arguments.treatment_per_extra is None:
        units = telling.figure("extra units", arguments.extra_units, "")
        telling.say(
            StatementKind.CAVEAT,
            f"The {units} extra are taken as {terms.treatment}; if they are people, say how many {terms.treatment} "
            "each of them makes.",
        )
        return arguments.extra_units
    telling.figure("extra", arguments.extra_units, "")
    telling.figure("treatment per extra", arguments.treatment_per_extra, terms.treatment)
    telling.figure("extra units", arguments.extra_units * arguments.treatment_per_extra, "")
    return arguments.extra_units * arguments.treatment_per_extra


def _tell_segments(telling: Telling, terms: Terms, part: Segmented, extra: float | None) -> None:
    column, told, estimates = plain(part.column), part.told, part.estimates
    for one in told:
        if one.measured is not None:
            ci = one.measured.ci
            telling.figure(f"effect: {column} {one.name}", one.measured.value, terms.per_unit, ci.lower, ci.upper)
            net = terms.returns(Amount.of(one.measured.value, ci)).net
            _tell(telling, f"net return: {column} {one.name}", net, terms.money_per_unit)
    if estimates is None or len(told) < 2:
        telling.say(StatementKind.CAVEAT, f"Too few rows to tell the return by {column}.")
        return
    p = estimates.heterogeneity_p_value()
    if p is None or p >= LEVEL:
        telling.say(
            StatementKind.FINDING,
            f"By {column}, returns do not differ beyond chance: no {column} is shown to be the better place.",
        )
        return
    first = told[0]
    if first.measured is None:
        return
    effect = Amount.of(first.measured.value, first.measured.ci)
    words = in_words(effect.value, terms.per_unit, effect.lower, effect.upper)
    text = f"By {column}, one more brings most in {first.name}: {words}"
    if extra is not None:
        gained = effect.times(extra)
        outcomes = _tell(telling, f"extra outcomes: {column} {first.name}", gained, plain(terms.arguments.outcome))
        text += f"; all the extra placed there would bring {outcomes}"
    telling.say(StatementKind.OPPORTUNITY, f"{text}, if the effect is cause and effect.")
    telling.say(StatementKind.CAVEAT, "The best of several segments looks better than it is; part of its lead is luck.")


def _tell_extra(telling: Telling, terms: Terms, found: Returns, extra: float | None) -> None:
    if extra is None:
        return
    outcomes = _tell(telling, "extra outcomes", found.effect.times(extra), plain(terms.arguments.outcome))
    text = f"Spread as today, the extra would bring {outcomes}"
    if found.net is not None:
        money = _tell(telling, "net return of the extra", found.net.times(extra), terms.arguments.currency)
        text += f", or {money} after their cost"
    telling.say(StatementKind.FINDING, f"{text}.")


def _tell_limits(telling: Telling, arguments: RoiEstimatorArguments, rows: Sequence[dict[str, Any]]) -> None:
    telling.say(
        StatementKind.ASSUMPTION,
        "The effect is read as cause and effect; how far that holds is the verdict of its own estimate."
        if arguments.effect is not None
        else "The effect is read as cause and effect; it was estimated here and not put to the test.",
    )
    if arguments.value_per_outcome is not None or arguments.unit_cost is not None:
        telling.say(StatementKind.CAVEAT, "Price and cost are taken as exact; intervals are those of the effect alone.")
    if any(row["suppressed"] for row in rows):
        telling.say(StatementKind.CAVEAT, NOT_SHOWN)


def _summary(terms: Terms, found: Returns) -> str:
    def words(amount: Amount, unit: str) -> str:
        return in_words(amount.value, unit, amount.lower, amount.upper)

    one_more, currency = f"Read as cause and effect, one more unit of {terms.treatment}", terms.arguments.currency
    if found.roi is not None and found.net is not None:
        return (
            f"{one_more} returns {words(found.net, currency)} after its cost, a net return over cost of "
            f"{words(found.roi, '')}."
        )
    if found.gross is not None:
        return f"{one_more} pays up to a cost of {words(found.gross, currency)}."
    outcomes = words(found.effect, plain(terms.arguments.outcome))
    return f"{one_more} brings {outcomes}; what that returns needs a price and a cost."


def _row(terms: Terms, one: Segment) -> dict[str, Any]:
    shown = one.measured is not None and not one.hidden
    found = (
        terms.returns(Amount.of(one.measured.value, one.measured.ci)) if one.measured is not None and shown else None
    )
    net = found.net if found is not None else None
    return {
        "by": one.column,
        "group": one.name,
        "n": None if one.hidden else one.n_units,
        "effect": found.effect.value if found is not None else None,
        "lower": found.effect.lower if found is not None else None,
        "upper": found.effect.upper if found is not None else None,
        "net_return": net.value if net is not None else None,
        "net_lower": net.lower if net is not None else None,
        "net_upper": net.upper if net is not None else None,
        "roi": found.roi.value if found is not None and found.roi is not None else None,
        "note": one.why_not or None,
        "suppressed": "a small group, or one that would reveal it" if one.hidden else None,
    }


TOOL = ComposerTool(
    "roi_estimator",
    "Turns an effect per unit of a treatment into returns: break-even cost, net return and ROI with intervals (price "
    "and cost must be given), and where extra units would bring most by region and specialty.",
    RoiEstimatorArguments,
    "panel",
    compute,
    cost=3.0,
)
