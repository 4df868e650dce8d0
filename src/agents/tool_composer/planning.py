"""Which tools answer which part of a question, with which arguments? By rules, without a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.agents.tool_composer.decomposing import ROBUSTNESS, VALUE, WHAT_IF
from src.agents.tool_composer.names import SEGMENTS, Names
from src.agents.tool_composer.plan_checks import Tools, check_arguments
from src.agents.tool_composer.slots import change_of, fitted, minimum_effect_of, prices_of, relative_effect_of, units_of
from src.agents.tool_composer.state import Plan, PlannedStep, SubQuestion
from src.domain.reading import normalise
from src.domain.vocabulary import Intent, Vocabulary
from src.errors import ContractViolation, DataUnavailable

USUAL_TREATMENT, USUAL_OUTCOME = "rep_calls", "nrx"
MOST_EFFECTS = 4
# What a model says of each case, in the rows of predictions.
SCORES = ("prediction_value", "confidence_score")
NOT_BY_TOOLS = {
    Intent.SYSTEM_HEALTH.value: "the state of the platform",
    Intent.EXPLANATION.value: "an explanation of earlier results",
    Intent.FEEDBACK.value: "an opinion on an earlier answer",
}
_TARGETING = re.compile(
    r"\b(?:targeting|targeted|uncalled|unvisited|without (?:a )?(?:call|visit)s?|coverage of hcps|reach)\b"
)
_DECLINE = re.compile(
    r"\b(?:risk|declin\w{1,4}|churn\w{0,3}|drop(?:ping)?(?: off)?|lose|losing|lapse\w{0,2}|fall(?:ing)?)\b"
)
_CONVERT = re.compile(r"\b(?:conver\w{1,5}|adopt\w{0,3}|first|start\w{0,4}|propensity|likely to (?:write|prescribe))\b")
_MODEL = re.compile(r"\b(?:model|score|prediction)s?\b")
_MONEY = re.compile(r"\b(?:roi|return|cost|costs|worth|pay|pays|invest\w{0,4}|budget|value|revenue|break ?even)\b")


@dataclass
class Part:
    """One part of the question with everything that is named in it or, where it stands open, in the whole."""

    index: int
    question: SubQuestion
    own: Names
    whole: Names

    @property
    def words(self) -> str:
        """The part in normalised words."""
        return normalise(self.question.text)

    @property
    def lower(self) -> str:
        """The part as written, in lower case: numbers keep their points and signs."""
        return self.question.text.lower()

    @property
    def by(self) -> tuple[str, ...]:
        """What its groups are: those asked for, and whatever several names are compared of."""
        several = [column for column, values in self.question.scope.kept if len(values) > 1]
        return tuple(dict.fromkeys([*several, *self.own.groupings]))


@dataclass
class Planner:
    """Collects the steps of one plan; the same call on the same rows is planned once."""

    tools: Tools
    vocabulary: Vocabulary
    steps: list[PlannedStep] = field(default_factory=list)
    prices: Mapping[str, float] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)

    def add(self, tool_name: str, part: Part, wanted: Mapping[str, Any], needs: Sequence[int] = ()) -> int | None:
        """Plan a call with those of ``wanted`` that the tool takes; its ordinal, None where it cannot be called so."""
        tool = self.tools.get(tool_name)
        if tool is None:
            return None
        arguments = fitted(tool, wanted)
        try:
            check_arguments(tool, arguments)
        except ContractViolation:
            return None
        for step in self.steps:
            if (step.tool, step.arguments, step.scope) == (tool_name, arguments, part.question.scope):
                return step.ordinal
        ordinal = len(self.steps)
        self.steps.append(PlannedStep(ordinal, tool_name, arguments, part.index, tuple(needs), part.question.scope))
        return ordinal

    def assume(self, sentence: str) -> None:
        """Say once what was filled in."""
        if sentence not in self.assumptions:
            self.assumptions.append(sentence)

    def treatments(self, part: Part) -> tuple[str, ...]:
        """What acts: named in the part, in the whole question, or the usual one, which is said."""
        found = _treatments(part.own) or _treatments(part.whole)
        if found:
            return found[:MOST_EFFECTS]
        if part.own.ambiguous or part.whole.ambiguous:
            word = (part.own.ambiguous or part.whole.ambiguous)[0]
            self.assume(f"'{word}' can mean several activities; {self._label(USUAL_TREATMENT)} were taken")
        else:
            self.assume(f"no promotional activity was named; {self._label(USUAL_TREATMENT)} were taken")
        return (USUAL_TREATMENT,)

    def outcomes(self, part: Part) -> tuple[str, ...]:
        """What is acted on, in the same way."""
        found = part.own.outcomes or part.whole.outcomes
        if not found:
            self.assume(f"no outcome was named; {self._label(USUAL_OUTCOME)} were taken")
            return (USUAL_OUTCOME,)
        return found[:MOST_EFFECTS]

    def _label(self, column: str) -> str:
        return next((one.label for one in self.vocabulary.measures if one.column == column), column)


def plan_by_rules(
    sub_questions: Sequence[SubQuestion],
    names: Sequence[Names],
    whole: Names,
    *,
    tools: Tools,
    vocabulary: Vocabulary,
) -> Plan:
    """The steps for every part; ``names`` are those of the parts.

    A part that no tool answers is said in the plan's assumptions. Raises DataUnavailable where that is all of them.
    """
    prices = prices_of(" ".join(one.text for one in sub_questions).lower())
    planner = Planner(tools, vocabulary, prices=prices)
    for index, (question, own) in enumerate(zip(sub_questions, names, strict=True)):
        before = len(planner.steps)
        part = Part(index, question, own, whole)
        served = _RECIPES.get(question.intent, _general)(planner, part)
        if not served and len(planner.steps) == before:
            what = NOT_BY_TOOLS.get(question.intent, "this")
            planner.assume(f"'{question.text[:120]}' is not answered here: no tool computes {what}")
    if not planner.steps:
        raise DataUnavailable("no tool answers this question; ask about effects, segments, gaps, risks, drift or tests")
    return Plan(tuple(planner.steps), "deterministic", None, tuple(planner.assumptions))


def _treatments(names: Names) -> tuple[str, ...]:
    return names.treatments or names.either


def _effect(planner: Planner, part: Part) -> list[int]:
    found = []
    for treatment in planner.treatments(part):
        for outcome in planner.outcomes(part)[:2]:
            wanted = {"treatment": treatment, "outcome": outcome, "lag": part.own.lag}
            found.append(planner.add("causal_effect_estimator", part, wanted))
    return [ordinal for ordinal in found if ordinal is not None]


def _pairs(planner: Planner, part: Part) -> list[dict[str, Any]]:
    return [
        {"treatment": treatment, "outcome": outcome, "lag": part.own.lag}
        for treatment in planner.treatments(part)
        for outcome in planner.outcomes(part)[:2]
    ][:MOST_EFFECTS]


def _causal(planner: Planner, part: Part) -> bool:
    by = part.by
    found = _effect(planner, part)
    if by:
        found += _by_segments(planner, part, by)
    return bool(found)


def _by_segments(planner: Planner, part: Part, by: tuple[str, ...]) -> list[int]:
    found = []
    for pair in _pairs(planner, part):
        calls = [by] if _takes_several(planner, "cate_analyzer") else [(column,) for column in by]
        for columns in calls:
            found.append(planner.add("cate_analyzer", part, {**pair, "by": columns, "segment": columns}))
    return [ordinal for ordinal in found if ordinal is not None]


def _segments(planner: Planner, part: Part) -> bool:
    """The effects by segment, with the verdict on the effect over all rows: what their order is worth depends on it."""
    by = part.by or SEGMENTS
    found = [*_effect(planner, part), *_by_segments(planner, part, by)]
    ranked = _rank(planner, part, by)
    return bool(found) or ranked


def _rank(planner: Planner, part: Part, by: tuple[str, ...], *, treated: bool = True) -> bool:
    found = []
    pair = _pairs(planner, part)[0] if treated else {"outcome": planner.outcomes(part)[0]}
    calls = [by] if _takes_several(planner, "segment_ranker") else [(column,) for column in by]
    for columns in calls:
        wanted = {**pair, "measure": pair["outcome"], "by": columns, "segment": columns}
        found.append(planner.add("segment_ranker", part, wanted))
    return any(ordinal is not None for ordinal in found)


def _gap(planner: Planner, part: Part) -> bool:
    kpis = part.own.kpis or tuple(
        measure.kpi for measure in planner.vocabulary.measures if measure.kpi and measure.column in part.own.outcomes
    )
    targeting = _TARGETING.search(part.words) is not None
    wanted: dict[str, Any] = {"kpis": kpis or None, "about": "hcp_targeting" if targeting else "kpis"}
    by = tuple(column for column in part.by if column in ("region", "brand"))
    if targeting:
        wanted |= {"by": part.own.groupings or None, "activity": (_treatments(part.own) or (USUAL_TREATMENT,))[0]}
    elif by:
        wanted["level"] = (
            "brand_region" if set(by) == {"region", "brand"} or part.question.scope.values("brand") else by[0]
        )
    found = planner.add("gap_calculator", part, wanted)
    if _treatments(part.own) or _MONEY.search(part.words):
        _value(planner, part)
    return found is not None


def _value(planner: Planner, part: Part) -> bool:
    found = []
    for pair in _pairs(planner, part):
        effect = planner.add("causal_effect_estimator", part, pair)
        if effect is None:
            continue
        wanted = {
            **pair,
            "effect": {"from": effect, "field": "effect"},
            "effect_lower": {"from": effect, "field": "effect.lower"},
            "effect_upper": {"from": effect, "field": "effect.upper"},
            "by": part.by or None,
            "extra_units": units_of(part.lower),
            **planner.prices,
        }
        found.append(planner.add("roi_estimator", part, wanted, (effect,)))
    return any(ordinal is not None for ordinal in found)


def _allocation(planner: Planner, part: Part) -> bool:
    valued = _value(planner, part)
    return _rank(planner, part, part.by or SEGMENTS) or valued


def _experiment(planner: Planner, part: Part) -> bool:
    wanted = {
        "outcome": planner.outcomes(part)[0],
        "treatment": (_treatments(part.own) or _treatments(part.whole) or (None,))[0],
        "minimum_effect": minimum_effect_of(part.lower),
        "relative_effect": relative_effect_of(part.lower),
    }
    return planner.add("power_calculator", part, wanted) is not None


def _prediction(planner: Planner, part: Part) -> bool:
    wanted = {
        "outcome": (part.own.outcomes or (USUAL_OUTCOME,))[0],
        "horizon_months": part.own.lag or part.whole.lag,
        "horizon": part.own.lag or part.whole.lag,
        "by": part.by or None,
    }
    falls, rises = _DECLINE.search(part.words), _CONVERT.search(part.words)
    found = []
    if rises or not falls:
        found.append(planner.add("propensity_estimator", part, wanted))
    if falls or not rises:
        found.append(planner.add("risk_scorer", part, wanted))
    return any(ordinal is not None for ordinal in found)


def _drift(planner: Planner, part: Part) -> bool:
    source = "predictions" if _MODEL.search(part.words) else "panel"
    measures = (*part.own.treatments, *part.own.either, *part.own.outcomes)
    wanted = {"source": source, "columns": measures or (SCORES if source == "predictions" else None)}
    found = [planner.add(name, part, wanted) for name in ("psi_calculator", "distribution_comparator")]
    return any(ordinal is not None for ordinal in found)


def _what_if(planner: Planner, part: Part) -> bool:
    found = []
    named = True
    for pair in _pairs(planner, part):
        change = change_of(part.lower, pair["treatment"])
        named = change is not None
        found.append(planner.add("counterfactual_simulator", part, {**pair, "change": change if named else 1.0}))
    if not named:
        planner.assume(f"'{part.question.text[:120]}' names no amount; one unit more was taken")
    return any(ordinal is not None for ordinal in found)


def _robustness(planner: Planner, part: Part) -> bool:
    found = _effect(planner, part)
    for pair in _pairs(planner, part):
        for name in ("refutation_runner", "sensitivity_analyzer"):
            ordinal = planner.add(name, part, pair)
            found += [ordinal] if ordinal is not None else []
    return bool(found)


def _general(planner: Planner, part: Part) -> bool:
    """A ranking of what is measured, or an effect where something that acts is named."""
    if part.question.intent in NOT_BY_TOOLS:
        return False
    if _treatments(part.own):
        return _causal(planner, part)
    if part.own.outcomes or part.own.groupings:
        return _rank(planner, part, part.by or SEGMENTS, treated=False)
    return False


def _takes_several(planner: Planner, tool_name: str) -> bool:
    """Whether a tool groups by several columns at once."""
    tool = planner.tools.get(tool_name)
    if tool is None:
        return False
    arguments = fitted(
        tool,
        {"treatment": USUAL_TREATMENT, "outcome": USUAL_OUTCOME, "measure": USUAL_OUTCOME, "by": SEGMENTS},
    )
    return isinstance(arguments.get("by"), list)


Recipe = Callable[[Planner, Part], bool]
_RECIPES: Mapping[str, Recipe] = {
    Intent.CAUSAL_EFFECT.value: _causal,
    Intent.SEGMENT_ANALYSIS.value: _segments,
    Intent.PERFORMANCE_GAP.value: _gap,
    Intent.RESOURCE_ALLOCATION.value: _allocation,
    Intent.EXPERIMENT_DESIGN.value: _experiment,
    Intent.PREDICTION.value: _prediction,
    Intent.DRIFT_CHECK.value: _drift,
    WHAT_IF: _what_if,
    ROBUSTNESS: _robustness,
    VALUE: _value,
}
