"""Which tools answer which part of a question, with which arguments? By rules, without a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.agents.tool_composer.changes import change_of
from src.agents.tool_composer.comparing import compared_periods
from src.agents.tool_composer.decomposing import ROBUSTNESS, VALUE, WHAT_IF
from src.agents.tool_composer.designs import design_of
from src.agents.tool_composer.names import SEGMENTS, Names
from src.agents.tool_composer.plan_checks import Tools, check_arguments
from src.agents.tool_composer.prices import Price, calls_per_rep_of, extra_of, price_for, prices_of
from src.agents.tool_composer.slots import fitted
from src.agents.tool_composer.state import Plan, PlannedStep, SubQuestion
from src.domain.reading import normalise
from src.domain.vocabulary import Intent, Vocabulary
from src.errors import ContractViolation, DataUnavailable, QuestionNotUnderstood

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
    r"\b(?:risk|declin\w{1,4}|churn\w{0,3}|drop(?:ping|s)?(?: off)?|lose|loses|losing|lapse\w{0,2}|fall(?:ing|s)?"
    r"|reduce|decreas\w{1,3}|shrink\w{0,3}|defect\w{0,3})\b"
)
# An end of writing: "will stop writing" is never the start of anything.
_END = re.compile(
    r"\b(?:stop\w{0,4}|quit\w{0,4}|discontinu\w{1,5}|abandon\w{0,3}|ceas\w{1,3}|giv\w{1,3} up|switch\w{0,3} away"
    r"|leave|leaving|no longer|not (?:any ?more|write|prescribe))\b"
)
_GROUPS = re.compile(r"\b(?:who|which|hcps?|prescribers?|doctors?|physicians?|segments?|conver\w{1,5}|likely)\b")
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
    words: str = ""
    assumptions: list[str] = field(default_factory=list)
    unread: list[QuestionNotUnderstood] = field(default_factory=list)

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

    def leave(self, part: Part, error: QuestionNotUnderstood) -> None:
        """Note a part whose amounts cannot be read: it is not computed, and never with a guess."""
        self.unread.append(error)
        self.assume(f"'{part.question.text[:120]}' is not answered here: {error}")

    def nouns(self, column: str) -> tuple[str, ...]:
        """Words that stand for a measure."""
        own = next((one for one in self.vocabulary.measures if one.column == column), None)
        spoken = () if own is None else (*own.synonyms, *own.assumed)
        return tuple(dict.fromkeys([column.replace("_", " "), *spoken]))

    def other_nouns(self, column: str) -> tuple[str, ...]:
        """Words that stand for other measures only."""
        own = self.nouns(column)
        others = (self.nouns(one.column) for one in self.vocabulary.measures if one.column != column)
        return tuple(noun for nouns in others for noun in nouns if noun not in own)

    def treatments(self, part: Part) -> tuple[str, ...]:
        """What acts: named in the part, in the whole question, or the usual one, which is said."""
        found = _treatments(part.own) or _treatments(part.whole)
        if found:
            self._say_left(part, found)
            return found[:MOST_EFFECTS]
        if part.own.ambiguous or part.whole.ambiguous:
            word = (part.own.ambiguous or part.whole.ambiguous)[0]
            self.assume(f"'{word}' can mean several activities; {self.label(USUAL_TREATMENT)} were taken")
        else:
            self.assume(f"no promotional activity was named; {self.label(USUAL_TREATMENT)} were taken")
        return (USUAL_TREATMENT,)

    def _say_left(self, part: Part, used: Sequence[str]) -> None:
        """Name what could have been meant as an activity too and is not computed."""
        if part.own.ambiguous:
            self.assume(f"'{part.own.ambiguous[0]}' can mean several activities and was left out; name one of them")
        for column in used[MOST_EFFECTS:]:
            self.assume(f"{self.label(column)} were left out: at most {MOST_EFFECTS} activities are computed at once")

    def outcomes(self, part: Part) -> tuple[str, ...]:
        """What is acted on, in the same way."""
        found = part.own.outcomes or part.whole.outcomes
        if not found:
            self.assume(f"no outcome was named; {self.label(USUAL_OUTCOME)} were taken")
            return (USUAL_OUTCOME,)
        return found[:MOST_EFFECTS]

    def label(self, column: str) -> str:
        """A measure as readers know it."""
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

    A part that no tool answers, or whose amounts cannot be read, is said in the plan's assumptions. Where that is all
    of them, raises DataUnavailable, or QuestionNotUnderstood with what to say instead.
    """
    planner = Planner(tools, vocabulary, words=" ; ".join(one.text for one in sub_questions).lower())
    for index, (question, own) in enumerate(zip(sub_questions, names, strict=True)):
        before = len(planner.steps)
        part = Part(index, question, own, whole)
        try:
            served = _RECIPES.get(question.intent, _general)(planner, part)
        except QuestionNotUnderstood as error:
            planner.leave(part, error)
            served = True
        if not served and len(planner.steps) == before:
            what = NOT_BY_TOOLS.get(question.intent, "this")
            planner.assume(f"'{question.text[:120]}' is not answered here: no tool computes {what}")
    if not planner.steps and planner.unread:
        raise planner.unread[0]
    if not planner.steps:
        raise DataUnavailable("no tool answers this question; ask about effects, segments, gaps, risks, drift or tests")
    return Plan(tuple(planner.steps), "deterministic", None, tuple(planner.assumptions))


def _treatments(names: Names) -> tuple[str, ...]:
    return names.treatments or names.either


def _effect(planner: Planner, part: Part) -> list[int]:
    found = [planner.add("causal_effect_estimator", part, pair) for pair in _pairs(planner, part)]
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
        found.append(planner.add("cate_analyzer", part, {**pair, "by": by}))
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
    for column in by:
        found.append(planner.add("segment_ranker", part, {**pair, "measure": pair["outcome"], "by": column}))
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
    for pair in _valued_pairs(planner, part):
        money = _money(planner, part, pair["treatment"], pair["outcome"])
        effect = planner.add("causal_effect_estimator", part, pair)
        if effect is None:
            continue
        wanted = {
            **pair,
            "effect": {"from": effect, "field": "effect"},
            "effect_lower": {"from": effect, "field": "effect.lower"},
            "effect_upper": {"from": effect, "field": "effect.upper"},
            "by": part.by or None,
            **money,
        }
        found.append(planner.add("roi_estimator", part, wanted, (effect,)))
    return any(ordinal is not None for ordinal in found)


def _valued_pairs(planner: Planner, part: Part) -> list[dict[str, Any]]:
    """All that is named and can be paid for: what a budget is moved from is compared with what it is moved to."""
    outcomes = planner.outcomes(part)[:1]
    either = [column for column in part.own.either if column not in outcomes]
    named = tuple(dict.fromkeys([*planner.treatments(part), *either]))
    return [
        {"treatment": treatment, "outcome": outcome, "lag": part.own.lag} for treatment in named for outcome in outcomes
    ][:MOST_EFFECTS]


def _money(planner: Planner, part: Part, treatment: str, outcome: str) -> dict[str, Any]:
    """Price, cost and extra units as far as the question says them of this treatment and outcome."""
    costs, worths = prices_of(planner.words)
    cost, worth = price_for(costs, planner.nouns(treatment)), price_for(worths, planner.nouns(outcome))
    found: dict[str, Any] = {
        "unit_cost": None if cost is None else cost.amount,
        "value_per_outcome": None if worth is None else worth.amount,
        "currency": _currency(cost, worth),
    }
    return found | _extra(planner, part, treatment)


def _currency(*prices: Price | None) -> str | None:
    """The one currency that is written. Raises QuestionNotUnderstood for two."""
    written = dict.fromkeys(one.currency for one in prices if one is not None and one.currency is not None)
    if len(written) > 1:
        raise QuestionNotUnderstood(f"the question names two currencies ({' and '.join(written)}); name one")
    return next(iter(written), None)


def _extra(planner: Planner, part: Part, treatment: str) -> dict[str, Any]:
    """Extra units of this treatment; people only with what each of them does, which is never guessed."""
    extra = extra_of(part.lower)
    if extra is None or (treatment != USUAL_TREATMENT if extra.people else not _is_of(planner, extra.words, treatment)):
        return {}
    if not extra.people:
        return {"extra_units": extra.count}
    each = calls_per_rep_of(planner.words)
    if each is None:
        planner.assume(
            f"'{extra.words}' are people and were not turned into {planner.label(treatment)}: returns are told per "
            f"unit; say how many {planner.label(treatment)} each of them makes"
        )
        return {}
    return {"extra_units": extra.count, "treatment_per_extra": each}


def _is_of(planner: Planner, words: str, treatment: str) -> bool:
    plain = f" {normalise(words)} "
    return " unit" in plain or any(f" {noun} " in plain for noun in planner.nouns(treatment))


def _allocation(planner: Planner, part: Part) -> bool:
    valued = _value(planner, part)
    return _rank(planner, part, part.by or SEGMENTS) or valued


def _experiment(planner: Planner, part: Part) -> bool:
    asked = design_of(part.lower)
    wanted = {
        "outcome": planner.outcomes(part)[0],
        **asked.arguments,
    }
    for note in asked.notes:
        planner.assume(note)
    return planner.add("power_calculator", part, wanted) is not None


def _prediction(planner: Planner, part: Part) -> bool:
    outcome = (part.own.outcomes or (USUAL_OUTCOME,))[0]
    wanted = {
        "outcome": outcome,
        "horizon": part.own.lag or part.whole.lag,
        "by": part.by or None,
    }
    ends = _END.search(part.words)
    falls = ends or _DECLINE.search(part.words)
    rises = None if ends else _CONVERT.search(part.words)
    found = []
    if rises or not falls:
        found.append(planner.add("propensity_estimator", part, wanted))
    if falls or not rises:
        found.append(planner.add("risk_scorer", part, wanted))
    _say_predicted(planner, part, outcome, ends=ends is not None, named=bool(falls or rises))
    return any(ordinal is not None for ordinal in found)


def _say_predicted(planner: Planner, part: Part, outcome: str, *, ends: bool, named: bool) -> None:
    """Say where something near to what was asked is predicted in its place."""
    label = planner.label(outcome)
    if ends:
        planner.assume(
            f"an end of writing was read as losing a large share of {label}: no tool predicts a complete stop"
        )
    elif not named and _GROUPS.search(part.words) is None:
        planner.assume(
            f"no forecast of the amount of {label} is made; told is which share of prescribers is expected to reach a "
            "level, and which to decline"
        )


def _drift(planner: Planner, part: Part) -> bool:
    source = "predictions" if _MODEL.search(part.words) else "panel"
    measures = (*part.own.treatments, *part.own.either, *part.own.outcomes)
    wanted = {
        "source": source,
        "columns": measures or (SCORES if source == "predictions" else None),
        **compared_periods(part.lower),
    }
    found = [planner.add(name, part, wanted) for name in ("psi_calculator", "distribution_comparator")]
    return any(ordinal is not None for ordinal in found)


def _what_if(planner: Planner, part: Part) -> bool:
    """One simulation for each treatment whose change can be read; none with a change that was not said."""
    found, problems = [], []
    for pair in _pairs(planner, part):
        treatment = pair["treatment"]
        try:
            change = change_of(part.lower, treatment, planner.nouns(treatment), planner.other_nouns(treatment))
        except QuestionNotUnderstood as error:
            problems.append(error)
            continue
        if change is None:
            problems.append(_without_amount(planner.label(treatment)))
        else:
            found.append(planner.add("counterfactual_simulator", part, {**pair, "change": change}))
    for problem in problems:
        planner.leave(part, problem)
    return bool(problems) or any(ordinal is not None for ordinal in found)


def _without_amount(label: str) -> QuestionNotUnderstood:
    return QuestionNotUnderstood(
        f"the question names no amount by which {label} change; ask for one, such as 'two more rep calls per HCP and "
        "month' or 'samples cut by 20 %'"
    )


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
