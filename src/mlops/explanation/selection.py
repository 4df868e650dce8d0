"""Which features carry nothing, repeat others, or are chosen only by chance?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.mlops.explanation.measures import FeatureValues, mutual_information, variances

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

# Independence is rejected at this level before a subsample counts for a feature.
LEVEL = 0.05
# A share of variance that is left unexplained below this is rounding.
EXACT = 1e-10


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """Least variance (of values scaled to 0–1), greatest Spearman correlation and variance inflation factor, least
    share of ``subsamples`` in which a feature is chosen (0: not looked at)."""

    min_variance: float = 1e-4
    max_correlation: float = 0.95
    max_vif: float = 10.0
    min_stability: float = 0.0
    subsamples: int = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """Features kept, in their order, and those left out by the reason, each with the number that decided."""

    selected: tuple[str, ...]
    variance: Mapping[str, float] = field(default_factory=dict)
    correlation: Mapping[str, float] = field(default_factory=dict)
    vif: Mapping[str, float] = field(default_factory=dict)
    stability: Mapping[str, float] = field(default_factory=dict)


def select_features(
    values: FeatureValues, target: Codes, rules: SelectionRules, *, random_state: int = 42
) -> Selection:
    """Leave features out by variance, then correlation, then VIF, then stability, all on these training rows.

    Of two correlated features the one that tells less of the target (mutual information) goes. Correlation and
    VIF concern numbers; words are judged by variance and stability. Stability (Meinshausen & Bühlmann 2010) is
    the share of random halves of the rows in which the feature passes the other rules and is not independent of
    the target at the 5 % level.
    """
    found = _filtered(values, target, rules)
    if rules.min_stability <= 0 or not found.selected:
        return found
    shares = _stability(values, target, rules, random_state)
    unstable = {name: shares[name] for name in found.selected if shares[name] < rules.min_stability}
    kept = tuple(name for name in found.selected if name not in unstable)
    return Selection(kept, found.variance, found.correlation, found.vif, unstable)


def inflation_factors(columns: Floats) -> Floats:
    """Variance inflation factor of each column (n, p): 1 / (1 − R²) on the others; infinite if they determine it.

    The diagonal of the inverse correlation matrix (Marquardt 1970). Columns that are constant have factor 1.
    """
    import numpy as np

    varying = np.ptp(columns, axis=0) > 0
    factors = np.ones(columns.shape[1])
    if varying.sum() < 2:
        return factors
    correlation: Floats = np.asarray(np.corrcoef(columns[:, varying], rowvar=False))
    factors[varying] = [_factor(correlation, j) for j in range(len(correlation))]
    return factors


def _factor(correlation: Floats, j: int) -> float:
    """By least squares on the others, which also answers where the matrix has no inverse."""
    import numpy as np

    others = np.arange(len(correlation)) != j
    r = correlation[others, j]
    unexplained = 1.0 - float(r @ np.linalg.lstsq(correlation[np.ix_(others, others)], r, rcond=EXACT)[0])
    return math.inf if unexplained < EXACT else 1.0 / unexplained


def _filtered(values: FeatureValues, target: Codes, rules: SelectionRules) -> Selection:
    spread = variances(values)
    constant = {name: spread[name] for name in values.order if spread[name] <= rules.min_variance}
    left = [name for name in values.order if name not in constant]
    told = {name: mutual_information(values.binned(name), target)[0] for name in left}
    repeated = _correlated(values, left, told, rules.max_correlation)
    left = [name for name in left if name not in repeated]
    inflated = _inflated(values, left, told, rules.max_vif)
    return Selection(tuple(name for name in left if name not in inflated), constant, repeated, inflated)


def _correlated(
    values: FeatureValues, names: Sequence[str], told: Mapping[str, float], limit: float
) -> dict[str, float]:
    import numpy as np

    numeric = sorted((name for name in names if name in values.numbers.columns), key=lambda name: -told[name])
    if len(numeric) < 2:
        return {}
    rho = np.abs(np.atleast_2d(values.numbers[numeric].corr(method="spearman").to_numpy()))
    kept: list[int] = []
    gone: dict[str, float] = {}
    for i, name in enumerate(numeric):
        greatest = max((float(rho[i, j]) for j in kept), default=0.0)
        if greatest > limit:
            gone[name] = greatest
        else:
            kept.append(i)
    return gone


def _inflated(values: FeatureValues, names: Sequence[str], told: Mapping[str, float], limit: float) -> dict[str, float]:
    """One feature at a time, the most inflated first; of equally inflated ones that which tells least goes."""
    numeric = [name for name in names if name in values.numbers.columns]
    gone: dict[str, float] = {}
    while len(numeric) > 1:
        factors = dict(zip(numeric, inflation_factors(values.numbers[numeric].to_numpy()), strict=True))
        worst = max(numeric, key=lambda name: (round(factors[name], 6), -told[name]))
        if factors[worst] <= limit:
            break
        gone[worst] = float(factors[worst])
        numeric.remove(worst)
    return gone


def _stability(values: FeatureValues, target: Codes, rules: SelectionRules, random_state: int) -> dict[str, float]:
    import numpy as np

    rng, n = np.random.default_rng(random_state), len(target)
    times = dict.fromkeys(values.order, 0)
    for _ in range(rules.subsamples):
        half = rng.choice(n, size=max(2, n // 2), replace=False)
        part, codes = values.rows(half), target[half]
        for name in _filtered(part, codes, rules).selected:
            times[name] += mutual_information(part.binned(name), codes)[1] < LEVEL
    return {name: count / rules.subsamples for name, count in times.items()}
