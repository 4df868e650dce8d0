"""What follows from five scores, and which circumstances demand more than their mean says?"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from src.agents.feedback_learner.evaluation.rubric_configuration import OverrideName, OverrideSettings, RubricSettings
from src.domain.rubric import Criterion, RubricContext, RubricDecision

Scores = Mapping[Criterion, float]


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision, what made it stricter than its band or would have, and the criteria that are weak."""

    weighted: float
    decision: RubricDecision
    overrides_applied: tuple[OverrideName, ...]
    weaknesses: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class _Circumstances:
    scores: Scores
    weaknesses: tuple[Criterion, ...]
    context: RubricContext


def decide(scores: Scores, context: RubricContext, rubric: RubricSettings) -> Decided:
    """The band of the weighted mean, or the strictest decision an override demands if that is stricter.

    ``scores`` holds the criteria that apply, at least one. A criterion is weak below the threshold of a suggestion.
    ``overrides_applied`` names every override whose circumstance holds, also where the band alone is as strict.
    """
    weighted = weighted_mean(scores, rubric)
    weak = tuple(name for name in rubric.weights if name in scores and scores[name] < rubric.thresholds.suggestion)
    found = _Circumstances(scores, weak, context)
    holding = [one for one in rubric.overrides if _HOLDS[one.name](found, one)]
    strictest = max([rubric.thresholds.band(weighted), *(one.at_least for one in holding)], key=lambda d: d.severity)
    return Decided(weighted, strictest, tuple(one.name for one in holding), weak)


def weighted_mean(scores: Scores, rubric: RubricSettings) -> float:
    """Mean of the scores by the rubric's weights, 1 to 5, unrounded; weights of what does not apply are left out."""
    weighted = total = 0.0
    # Summed as the database does, so that both decide alike at the edge of a band.
    for name, weight in rubric.weights.items():
        if name not in scores:
            continue
        weighted += weight * scores[name]
        total += weight
    return weighted / total


def _criterion_below(found: _Circumstances, override: OverrideSettings) -> bool:
    return min(found.scores.values()) < override.limit


def _repeated_weakness(found: _Circumstances, override: OverrideSettings) -> bool:
    """In the evaluations before this one, or in this one and those before it."""
    window = override.of_last or 0
    before = list(found.context.recent_weaknesses)[:window]
    return any(_most_often(those) >= override.limit for those in (before, [found.weaknesses, *before][:window]))


def _most_often(evaluations: Sequence[Sequence[str]]) -> int:
    counted = Counter(name for weak in evaluations for name in set(weak))
    return max(counted.values(), default=0)


def _uneven_scores(found: _Circumstances, override: OverrideSettings) -> bool:
    return statistics.pstdev(found.scores.values()) > override.limit


def _low_user_rating(found: _Circumstances, override: OverrideSettings) -> bool:
    rating = found.context.user_rating
    return rating is not None and rating <= override.limit


_HOLDS: Mapping[OverrideName, Callable[[_Circumstances, OverrideSettings], bool]] = {
    "criterion_below": _criterion_below,
    "repeated_weakness": _repeated_weakness,
    "uneven_scores": _uneven_scores,
    "low_user_rating": _low_user_rating,
}
