"""What went wrong again and again? Rules that count, each over one kind of evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from src.agents.feedback_learner.attribution import by_component
from src.agents.feedback_learner.state import Behaviour
from src.agents.feedback_learner.trace_scores import rating_of
from src.domain.improvement import DetectedPattern, LearningItem, PatternKind, Severity
from src.rag.scores import DEFAULT_THRESHOLDS

FEWEST = 2
"""Once is no pattern."""
SEVERITY_FROM: tuple[tuple[float, Severity], ...] = ((0.75, "critical"), (0.5, "high"), (0.25, "medium"), (0.0, "low"))
"""Least share of a component's answers."""
LOW_RATING = 2
KIND_OF_WEAKNESS: Mapping[str, PatternKind] = {
    "causal_validity": "accuracy",
    "evidence_chain": "accuracy",
    "regulatory_awareness": "coverage",
    "actionability": "format",
    "uncertainty_communication": "format",
}
KIND_OF_BEHAVIOUR: Mapping[str, PatternKind] = {
    "question_repeated": "relevance",
    "answer_rated_low": "accuracy",
    "correction_given": "accuracy",
    "session_abandoned": "coverage",
}
Sign = Callable[[LearningItem], str]
"""What is wrong with an answer in a few words without any of its text; empty where nothing is."""


def detect(
    items: Sequence[LearningItem], behaviours: Sequence[Behaviour] = (), budgets: Mapping[str, float] | None = None
) -> tuple[DetectedPattern, ...]:
    """Patterns by component and kind, the most severe first. ``budgets`` are seconds an answer of an agent may take."""
    found: list[DetectedPattern] = []
    for component, those in by_component(items).items():
        before = {one.name: one for one in behaviours if one.component == component}
        for kind, evidence in _evidence(those, tuple(before.values()), budgets or {}).items():
            if len(evidence) >= FEWEST:
                found.append(_pattern(component, kind, evidence, len(those)))
    order = [name for _, name in SEVERITY_FROM]
    return tuple(sorted(found, key=lambda one: (order.index(one.severity), -one.count, one.component, one.kind)))


def severity_of(count: int, among: int) -> Severity:
    """How bad it is that so many of a component's answers show it."""
    share = min(1.0, count / among) if among else 1.0
    return next(name for least, name in SEVERITY_FROM if share >= least)


def _evidence(
    items: Sequence[LearningItem], behaviours: Sequence[Behaviour], budgets: Mapping[str, float]
) -> dict[PatternKind, dict[str, set[str]]]:
    """By kind: the answers, and what is wrong with each."""
    found: defaultdict[PatternKind, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for item in items:
        for kind, sign in _signs(budgets):
            if said := sign(item):
                found[kind][item.interaction_id].add(said)
        for weak in item.weaknesses:
            if weak in KIND_OF_WEAKNESS:
                found[KIND_OF_WEAKNESS[weak]][item.interaction_id].add(f"weak {weak.replace('_', ' ')}")
    for behaviour in behaviours:
        for interaction_id in behaviour.interaction_ids:
            found[KIND_OF_BEHAVIOUR[behaviour.name]][interaction_id].add(behaviour.name.replace("_", " "))
    return {kind: dict(evidence) for kind, evidence in sorted(found.items())}


def _signs(budgets: Mapping[str, float]) -> tuple[tuple[PatternKind, Sign], ...]:
    return (
        ("accuracy", lambda item: _below(item, "faithfulness")),
        ("accuracy", lambda item: "corrected by a reader" if item.corrections else ""),
        ("accuracy", _rated_low),
        ("relevance", lambda item: _below(item, "answer_relevancy")),
        ("relevance", lambda item: _below(item, "context_precision")),
        ("coverage", lambda item: _below(item, "context_recall")),
        ("coverage", lambda item: "declined or asked back" if item.declined else ""),
        ("format", lambda item: "" if item.answer.strip() else "no text"),
        ("latency", lambda item: _slow(item, budgets)),
    )


def _below(item: LearningItem, metric: str) -> str:
    value = item.ragas.get(metric)
    return f"low {metric.replace('_', ' ')}" if value is not None and value < DEFAULT_THRESHOLDS[metric] else ""


def _rated_low(item: LearningItem) -> str:
    rating = rating_of(item)
    return "rated low" if rating is not None and rating <= LOW_RATING else ""


def _slow(item: LearningItem, budgets: Mapping[str, float]) -> str:
    budget = budgets.get(item.component)
    if budget is None or item.latency_ms is None or item.latency_ms <= budget * 1000:
        return ""
    return "slower than its budget"


def _pattern(component: str, kind: PatternKind, evidence: Mapping[str, set[str]], among: int) -> DetectedPattern:
    said = sorted({one for several in evidence.values() for one in several})
    return DetectedPattern(
        component=component,
        kind=kind,
        count=len(evidence),
        severity=severity_of(len(evidence), among),
        evidence_ids=tuple(sorted(evidence)),
        description=", ".join(said),
    )
