"""How good was an answer, what should be improved, how urgent is it, and how alike are two tuning problems?

Twins of the database functions of the same names, in double precision and the same order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Scores = Mapping[str, float | None]

RAGAS_WEIGHTS: Mapping[str, float] = {
    "faithfulness": 0.25,
    "answer_relevancy": 0.20,
    "context_precision": 0.20,
    "context_recall": 0.20,
    "answer_correctness": 0.15,
}
RUBRIC_WEIGHTS: Mapping[str, float] = {
    "causal_validity": 0.25,
    "actionability": 0.25,
    "evidence_chain": 0.20,
    "regulatory_awareness": 0.15,
    "uncertainty_communication": 0.15,
}
RAGAS_SHARE, RUBRIC_SHARE = 0.4, 0.6
GOOD_ENOUGH = 0.70
PRIORITY_BELOW = ((0.40, "critical"), (0.55, "high"), (0.70, "medium"), (0.85, "low"))
PATTERN_WEIGHTS = (0.30, 0.20, 0.20, 0.15, 0.15)
DECADES = 2.0


def weighted_mean_of_present(scores: Scores | None, weights: Mapping[str, float]) -> float | None:
    """Weighted mean over the scores that were measured, weights re-normalised; None when none was."""
    weighted = total = 0.0
    for name, weight in weights.items():
        score = scores.get(name) if scores is not None else None
        if score is not None:
            weighted += weight * score
            total += weight
    return weighted / total if total else None


def rubric_share(rubric_mean: float | None) -> float | None:
    """A rubric mean of 1..5 brought to 0..1."""
    return None if rubric_mean is None else (rubric_mean - 1) / 4


def calculate_combined_score(ragas: Scores | None, rubric: Scores | None) -> float | None:
    """0.4 of the RAGAS mean and 0.6 of the rubric mean, on 0..1; one alone when the other was not measured."""
    ragas_mean = weighted_mean_of_present(ragas, RAGAS_WEIGHTS)
    share = rubric_share(weighted_mean_of_present(rubric, RUBRIC_WEIGHTS))
    if ragas_mean is None or share is None:
        return share if ragas_mean is None else ragas_mean
    return RAGAS_SHARE * ragas_mean + RUBRIC_SHARE * share


def determine_improvement_type(ragas_mean: float | None, rubric_mean: float | None) -> str:
    """Where to look: ``workflow`` when both means are below 0.70 (rubric on 0..1), else the lower one's remedy."""
    share = rubric_share(rubric_mean)
    retrieval = ragas_mean is not None and ragas_mean < GOOD_ENOUGH
    prompt = share is not None and share < GOOD_ENOUGH
    if retrieval and prompt:
        return "workflow"
    return "retrieval" if retrieval else "prompt" if prompt else "none"


def determine_improvement_priority(combined: float | None) -> str:
    """How urgent an improvement is; what was not measured is not urgent."""
    if combined is None:
        return "none"
    return next((name for limit, name in PRIORITY_BELOW if combined < limit), "none")


@dataclass(frozen=True, slots=True)
class TuningProblem:
    """What two hyperparameter searches are compared by; None is unknown, and then left out on both sides.

    ``class_balance`` is the share of the smaller class, ``target_scale`` the standard deviation of
    a numeric target, ``feature_types`` counts features by type, ``parameters`` names the search space.
    """

    n_samples: int
    n_features: int
    class_balance: float | None = None
    target_scale: float | None = None
    feature_types: Mapping[str, float] | None = None
    parameters: Collection[str] | None = None


def pattern_similarity(a: TuningProblem, b: TuningProblem) -> float:
    """0..1 without floor: sample size .30, features .20, balance or scale .20, feature types .15, space .15."""
    balance = _balance_similarity(a.class_balance, b.class_balance)
    parts = (
        log_similarity(a.n_samples, b.n_samples),
        log_similarity(a.n_features, b.n_features),
        balance if balance is not None else log_similarity(a.target_scale, b.target_scale),
        _mix_similarity(a.feature_types, b.feature_types),
        _space_similarity(a.parameters, b.parameters),
    )
    known = [(weight, part) for weight, part in zip(PATTERN_WEIGHTS, parts, strict=True) if part is not None]
    return sum(weight * part for weight, part in known) / sum(weight for weight, _ in known)


def log_similarity(a: float | None, b: float | None) -> float | None:
    """1 when equal, falling with the distance of the logarithms, 0 from a factor of 100 on."""
    if a is None or b is None:
        return None
    return max(0.0, 1 - abs(math.log(a) - math.log(b)) / (DECADES * math.log(10)))


def _balance_similarity(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else max(0.0, 1 - 2 * abs(a - b))


def _mix_similarity(a: Mapping[str, float] | None, b: Mapping[str, float] | None) -> float | None:
    """1 minus the total variation distance of two mixes."""
    if not a or not b:
        return None
    total_a, total_b = sum(a.values()), sum(b.values())
    if not total_a or not total_b:
        return None
    return 1 - sum(abs(a.get(key, 0) / total_a - b.get(key, 0) / total_b) for key in {*a, *b}) / 2


def _space_similarity(a: Collection[str] | None, b: Collection[str] | None) -> float | None:
    """Shared names over all names."""
    if a is None or b is None or not (names := {*a, *b}):
        return None
    return len(set(a) & set(b)) / len(names)


def running_mean(mean: float | None, count: int, value: float) -> float:
    """Mean after one more value: ``(mean * count + value) / (count + 1)`` with the count before it."""
    return ((mean or 0.0) * count + value) / (count + 1)
