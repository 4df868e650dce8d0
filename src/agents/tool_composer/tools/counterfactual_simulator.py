"""What would the outcome have been with more or less of the treatment, as far as these rows can tell?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import Lag, OutcomeColumn, TreatmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.curvature import Curvature, curvature_of
from src.agents.tool_composer.tools.studies import ask, evidence_of, fitted_effect, row_in_words
from src.agents.tool_composer.tools.telling import SHARE, Telling
from src.agents.tool_composer.tools.verdicts import tell_estimate
from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.estimators.panel_data import panel_of
from src.causal_engine.results import Conclusion, EffectEstimate, Verdict
from src.causal_engine.study import Study
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.errors import ContractViolation, EstimationError

HIGH = 0.99
USUAL = 0.95
LEAST_REALISED = 0.5


class CounterfactualSimulatorArguments(ToolArguments):
    """Every row's ``treatment`` moved by ``change``, and what that means for ``outcome``."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    change: Annotated[
        float,
        Field(
            description="By how much each row's treatment is moved, in its own units per period (1: one more call per "
            "HCP and month; −1: one less). For a 0/1 treatment 1 treats everybody and −1 nobody.",
            examples=[1, -1, 0.5],
        ),
    ]
    lag: Lag = None


@dataclass(frozen=True)
class Moved:
    """How far the rows move within what was observed: mean change, share of rows held back, ends of the range."""

    mean: float
    held_back: float
    low: float
    high: float


def compute(inputs: ToolInputs, arguments: CounterfactualSimulatorArguments) -> ToolOutput:
    """Outcome under the change, only where the effect may be read as one and the change lies within experience.

    Raises EstimationError where the effect is not identified, is association only, or the change goes beyond what
    the rows show; ContractViolation for a change of nothing.
    """
    if arguments.change == 0 or not np.isfinite(arguments.change):
        raise ContractViolation("name a change other than 0, in units of the treatment per period")
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag)
    if asked.why_not:
        raise EstimationError(f"{asked.why_not}; a change of it cannot be simulated")
    moved = within_support(asked.study(), arguments.change)
    evidence, held = evidence_of(asked)
    conclusion = conclude(evidence)
    estimate = fitted_effect(held).estimate
    if conclusion.verdict is Verdict.ASSOCIATION_ONLY:
        raise EstimationError(
            f"{plain(arguments.treatment)} and {plain(arguments.outcome)} go together, but this is association only "
            f"({conclusion.reasons[0]}); a change cannot be simulated from it"
        )
    telling = Telling(inputs)
    tell_estimate(telling, "effect", estimate, evidence.unit)
    summary, row = _told(telling, held.study, estimate, moved, arguments, conclusion)
    _tell_conditions(telling, moved, curvature_of(asked), evidence, conclusion)
    return telling.output(summary, [row], held.study.n)


def within_support(study: Study, change: float) -> Moved:
    """How far ``change`` can be carried out between the lowest and the 99th percentile of what was observed.

    Raises EstimationError for a change larger than treatment usually moves within a unit, or when less than half of
    it stays inside.
    """
    name = plain(study.spec.treatment)
    if study.is_binary:
        if abs(change) != 1:
            raise ContractViolation(f"{name} is 0 or 1: a change of 1 treats everybody, −1 nobody")
        low, high = 0.0, 1.0
    else:
        low, high = float(study.t.min()), float(np.quantile(study.t, HIGH))
        _refuse_unseen(study, change, name)
    target = np.clip(study.t + change, np.minimum(low, study.t), np.maximum(high, study.t))
    steps = target - study.t
    mean = float(steps.mean())
    if not study.is_binary and abs(mean) < LEAST_REALISED * abs(change):
        raise EstimationError(
            f"a change of {number(change)} leaves what is seen of {name} ({number(low)} to {number(high)}) in many "
            f"rows; within it the mean change is only {number(mean)}: ask for a smaller one"
        )
    return Moved(mean, float((np.abs(steps) < abs(change) - 1e-12).mean()), low, high)


def _refuse_unseen(study: Study, change: float, name: str) -> None:
    if not study.spec.is_panel:
        return
    panel = panel_of(study)
    highest, lowest = np.full(panel.n_units, -np.inf), np.full(panel.n_units, np.inf)
    np.maximum.at(highest, panel.unit, study.t)
    np.minimum.at(lowest, panel.unit, study.t)
    usual = float(np.quantile(highest - lowest, USUAL))
    if abs(change) > usual:
        raise EstimationError(
            f"{name} hardly ever moves by more than {number(usual)} within a unit in these rows; a change of "
            f"{number(change)} is beyond what they can tell: ask for a smaller one, or try it out"
        )


def _told(
    telling: Telling,
    study: Study,
    estimate: EffectEstimate,
    moved: Moved,
    arguments: CounterfactualSimulatorArguments,
    conclusion: Conclusion,
) -> tuple[str, dict[str, object]]:
    each = row_in_words(study.spec.unit_key, study.spec.time_key)
    unit = f"{plain(arguments.outcome)} per {each}"
    value, ends = estimate.value * moved.mean, sorted((estimate.ci.lower * moved.mean, estimate.ci.upper * moved.mean))
    words = telling.figure("outcome_change", value, unit, *ends)
    now = float(study.y.mean())
    telling.figure("outcome_now", now, unit)
    dose = f"{plain(arguments.treatment)} per {each}"
    telling.figure("change_asked", arguments.change, dose)
    telling.figure("treatment_change", moved.mean, dose)
    telling.figure("lowest_used", moved.low, dose)
    telling.figure("highest_used", moved.high, dose)
    row: dict[str, object] = {
        "change_asked": arguments.change,
        "change_within_observed": moved.mean,
        "outcome_now": now,
        "outcome_change": value,
        "lower": ends[0],
        "upper": ends[1],
        "verdict": conclusion.verdict.value,
        "confidence": conclusion.confidence,
    }
    if now != 0:
        telling.figure("relative_change", value / now, SHARE, *sorted((ends[0] / now, ends[1] / now)))
    _tell_total(telling, study, value, ends, arguments)
    what = _what(study, arguments, each)
    if conclusion.verdict is Verdict.SUPPORTED:
        return (
            f"{what}, {plain(arguments.outcome)} would be expected to change by {words}, on average over all rows.",
            row,
        )
    return f"{what}, no change is to be counted on ({conclusion.verdict.value}): {words}.", row


def _what(study: Study, arguments: CounterfactualSimulatorArguments, each: str) -> str:
    treatment = plain(arguments.treatment)
    if study.is_binary:
        return f"With {treatment} for {'every' if arguments.change > 0 else 'no'} {each}"
    return f"With {number(abs(arguments.change))} {treatment} {'more' if arguments.change > 0 else 'fewer'} per {each}"


def _tell_total(
    telling: Telling,
    study: Study,
    value: float,
    ends: list[float],
    arguments: CounterfactualSimulatorArguments,
) -> None:
    time_key = study.spec.time_key
    if time_key is None:
        return
    rows = study.n / int(study.frame[time_key].nunique())
    unit = f"{plain(arguments.outcome)} per {plain(time_key)}"
    words = telling.figure("total_change", value * rows, unit, ends[0] * rows, ends[1] * rows)
    telling.say(StatementKind.FINDING, f"Over all units of these rows together that is {words}.")


def _tell_conditions(
    telling: Telling, moved: Moved, curve: Curvature | None, evidence: Evidence, conclusion: Conclusion
) -> None:
    telling.say(StatementKind.FINDING, conclusion.headline)
    if moved.held_back > 0:
        share = telling.figure("held_back", moved.held_back, SHARE)
        telling.say(
            StatementKind.CAVEAT,
            f"In {share} of the rows the change would leave what was observed ({number(moved.low)} to "
            f"{number(moved.high)}); they move only as far as that, {number(moved.mean)} on average over all rows.",
        )
    telling.say(
        StatementKind.ASSUMPTION, "Each further unit does as much as the one before, and the rest stays as it was."
    )
    _tell_curvature(telling, curve)
    for assumption in evidence.identification.assumptions:
        telling.say(StatementKind.ASSUMPTION, assumption)
    for sentence in conclusion.would_change:
        telling.say(StatementKind.WOULD_CHANGE, sentence)
    if conclusion.verdict is Verdict.SUPPORTED:
        for sentence in conclusion.recommendations:
            telling.say(StatementKind.RECOMMENDATION, sentence)


def _tell_curvature(telling: Telling, curve: Curvature | None) -> None:
    """Warn where further units do less (or more) than the first ones."""
    if curve is None:
        return
    bend, ends = 2 * curve.squared, (2 * curve.ci.lower, 2 * curve.ci.upper)
    words = telling.figure("curvature", bend, "change of the effect per further unit", *ends)
    if not curve.ci.covers(0.0):
        less = "less" if curve.diminishing else "more"
        telling.say(
            StatementKind.WARNING,
            f"Further units do {less} than the first ones ({words}): the change told here is that of an average unit.",
        )


TOOL = ComposerTool(
    "counterfactual_simulator",
    "Says what an outcome would have been with more or less of a treatment, within what was observed and only where "
    "the effect may be read as cause and effect.",
    CounterfactualSimulatorArguments,
    "panel",
    compute,
    cost=20.0,
)
