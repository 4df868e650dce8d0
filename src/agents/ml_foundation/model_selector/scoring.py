"""How good a choice is an algorithm for this problem, between 0 and 1?"""

from __future__ import annotations

from src.agents.ml_foundation.model_selector.registry import Entry
from src.agents.ml_foundation.model_selector.result import AlgorithmHistory, Benchmark, SelectRequest
from src.mlops.modelling.metrics import DIRECTIONS

# Share of each part; what is not known is left out and the others count for more.
WEIGHTS = {"size": 0.40, "scalability": 0.20, "interpretability": 0.20, "history": 0.20}
# Where a person must be able to follow the model.
INTERPRETABILITY_REQUIRED = 0.50
# A measurement on the rows themselves outweighs what is known in general.
BENCHMARK_SHARE = 0.70
# Trainings after which the history of an algorithm counts half of its full weight.
HALF_TRUSTED = 5


def prior_score(
    entry: Entry,
    request: SelectRequest,
    history: AlgorithmHistory,
    *,
    n_samples: int | None,
    n_features: int | None,
) -> float:
    """What is known without fitting anything: a weighted mean of the parts that are known."""
    weights = dict(WEIGHTS)
    if request.interpretability_required:
        weights["interpretability"] = INTERPRETABILITY_REQUIRED
    parts = {"scalability": entry.profile.scalability, "interpretability": entry.profile.interpretability}
    if n_samples is not None:
        parts["size"] = suits_size(entry.family, n_samples, n_features or 1)
    if history.success_rate is not None:
        parts["history"] = history.success_rate
        weights["history"] *= history.n / (history.n + HALF_TRUSTED)
    return sum(weights[name] * value for name, value in parts.items()) / sum(weights[name] for name in parts)


def suits_size(family: str, n_samples: int, n_features: int) -> float:
    """Our judgement, 0–1, of a family on so many rows and features: trees need rows, lines need few features."""
    if family == "boosting":
        return 0.3 if n_samples < 200 else 0.6 if n_samples < 1_000 else 1.0
    if family == "forest":
        return 0.4 if n_samples < 200 else 0.8
    if family == "linear":
        return 0.9 if n_samples < 1_000 or n_samples < 20 * n_features else 0.6
    return 0.8


def measured_score(prior: float, benchmark: Benchmark | None, others: tuple[Benchmark, ...], floor: float) -> float:
    """The prior and, for the larger part, where the measurement lies between no skill at all (0) and the best (1).

    An algorithm that could not be fitted keeps its prior only.
    """
    if benchmark is None or benchmark.mean is None:
        return (1 - BENCHMARK_SHARE) * prior
    sign = 1.0 if DIRECTIONS[benchmark.metric] == "maximize" else -1.0
    best = max(sign * other.mean for other in others if other.mean is not None)
    lowest = sign * floor
    reach = (sign * benchmark.mean - lowest) / (best - lowest) if best > lowest else 0.0
    return (1 - BENCHMARK_SHARE) * prior + BENCHMARK_SHARE * min(1.0, max(0.0, reach))
