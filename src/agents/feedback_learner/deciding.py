"""What is to be done about a component, by the answers that were collected of it?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from src.agents.feedback_learner.evaluation.overrides import decide
from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.feedback_learner.state import ComponentVerdict
from src.agents.feedback_learner.trace_scores import rating_of
from src.domain.improvement import LearningItem
from src.domain.rubric import CRITERIA, Criterion, RubricContext, RubricDecision
from src.mlops.scoring import calculate_combined_score


def verdict_of(
    component: str,
    items: Sequence[LearningItem],
    config: SelfImprovementConfig,
    recent_weaknesses: Sequence[Sequence[str]] = (),
) -> ComponentVerdict:
    """The band of the mean weighted score, or what the overrides demand where that is stricter.

    The overrides are asked of the component, not of each answer: of its mean criteria, the mean of what people said,
    and the weaknesses of its last evaluations (newest first). With fewer judged answers than ``reflection.min_items``
    there is no decision: they wait for others.
    """
    judged = [item for item in items if item.rubric_weighted is not None]
    ids = tuple(item.interaction_id for item in items)
    judged_by = "llm" if judged and all(item.method == "llm" for item in judged) else "heuristic"
    least = config.reflection.min_items
    if len(judged) < least:
        waits = f"{len(judged)} of the {least} judged answers that a decision needs"
        return ComponentVerdict(component, None, _mean_score(judged), ids, judged_by, waits, combined=_combined(items))
    mean = statistics.fmean(item.rubric_weighted for item in judged if item.rubric_weighted is not None)
    decision, overrides, weaknesses = _decided(mean, judged, config, recent_weaknesses)
    reason = f"mean {mean:.2f} of 5 over {len(judged)} answers"
    if overrides:
        reason += f"; {', '.join(overrides)}"
    return ComponentVerdict(component, decision, mean, ids, judged_by, reason, overrides, weaknesses, _combined(items))


def strictest(verdicts: Sequence[ComponentVerdict]) -> RubricDecision | None:
    """The most severe decision; None without any."""
    made = [one.decision for one in verdicts if one.decision is not None]
    return max(made, key=lambda one: one.severity, default=None)


def _decided(
    mean: float,
    judged: Sequence[LearningItem],
    config: SelfImprovementConfig,
    recent_weaknesses: Sequence[Sequence[str]],
) -> tuple[RubricDecision, tuple[str, ...], tuple[str, ...]]:
    rubric = config.rubric
    band = rubric.thresholds.band(mean)
    criteria = _mean_criteria(judged)
    if not criteria:
        return band, (), ()
    context = RubricContext("", "", user_rating=_rating(judged), recent_weaknesses=recent_weaknesses)
    found = decide(criteria, context, rubric)
    demanded = [one.at_least for one in rubric.overrides if one.name in found.overrides_applied]
    return max([band, *demanded], key=lambda one: one.severity), found.overrides_applied, found.weaknesses


def _mean_criteria(judged: Sequence[LearningItem]) -> dict[Criterion, float]:
    """Of the answers to which a criterion applied."""
    values = {name: [item.rubric[name] for item in judged if item.rubric.get(name) is not None] for name in CRITERIA}
    return {name: statistics.fmean(v for v in several if v is not None) for name, several in values.items() if several}


def _rating(judged: Sequence[LearningItem]) -> int | None:
    """The mean of what people said, rounded up: it is at or below a limit exactly where the mean is."""
    said = [rating for item in judged if (rating := rating_of(item)) is not None]
    return math.ceil(round(statistics.fmean(said), 9)) if said else None


def _mean_score(judged: Sequence[LearningItem]) -> float | None:
    scores = [item.rubric_weighted for item in judged if item.rubric_weighted is not None]
    return statistics.fmean(scores) if scores else None


def _combined(items: Sequence[LearningItem]) -> float | None:
    """Mean combined score: of what was measured of each answer, weights re-normalised."""
    scores = [score for item in items if (score := combined_of(item)) is not None]
    return statistics.fmean(scores) if scores else None


def combined_of(item: LearningItem) -> float | None:
    """The combined score of an answer (0–1), computed from its parts where it is not stored."""
    return item.combined if item.combined is not None else calculate_combined_score(item.ragas, item.rubric)
