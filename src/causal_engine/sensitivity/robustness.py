"""How much residual variance must a hidden confounder explain to remove an effect, next to measured ones?

Cinelli & Hazlett (2020), "Making sense of sensitivity", JRSS-B 82(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from src.causal_engine.results import Benchmark, EffectEstimate, Interval
from src.causal_engine.sensitivity.partial import PartialledDesign, residual
from src.causal_engine.study import FloatArray

_SMALL = 1e-12


@dataclass(frozen=True, slots=True)
class Strength:
    """Partial R² of one covariate given the others: with the treatment, and (given treatment too) with the outcome."""

    covariate: str
    r2_treatment: float
    r2_outcome: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of the residual outcome per residual treatment: what one unit of partial correlation is worth.

    For least squares it is std_error·√df, so that value/scale is t/√df.
    """

    scale: float
    df: int


def robustness_value(f: float, f_critical: float = 0.0) -> float:
    """Partial R² with both treatment and outcome that removes an effect of partial Cohen's ``f`` = |t|/√df.

    RV_q at q·f (eq. 19); with ``f_critical`` = t*(α/2, df − 1)/√(df − 1), RV_{q,α}: the strength that
    makes the interval reach zero (eq. 20 and its correction for extreme cases, as in sensemakr).
    """
    reduced = f - f_critical
    if reduced <= 0:
        return 0.0
    if f_critical > 0 and f > 1.0 / f_critical:
        return (f**2 - f_critical**2) / (1.0 + f**2)
    return 0.5 * (sqrt(reduced**4 + 4.0 * reduced**2) - reduced**2)


def robustness_of_t(t: float, df: int, *, q: float = 1.0, alpha: float | None = None) -> float:
    """RV_q, or RV_{q,α} when ``alpha`` is given, of a regression coefficient with t-value ``t``."""
    f = q * abs(t) / sqrt(df)
    if alpha is None:
        return robustness_value(f)
    return robustness_value(f, float(stdtrit(df - 1, 1 - alpha / 2)) / sqrt(df - 1))


def bias_factor(r2_treatment: float, r2_outcome: float) -> float:
    """√(R²_y·R²_t/(1 − R²_t)): bias in units of ``Scale.scale`` (eq. 14)."""
    return sqrt(r2_outcome * r2_treatment / (1.0 - r2_treatment))


def scale_of(design: PartialledDesign) -> Scale:
    """sd(y given t, x)/sd(t given x) of the linear working model."""
    t = residual(design.x, design.t)
    y = residual(np.column_stack([t, design.x]), design.y)
    return Scale(float(np.sqrt(float(y @ y) / max(float(t @ t), _SMALL))), design.df)


def measured_strengths(design: PartialledDesign) -> tuple[Strength, ...]:
    """Strength of every measured covariate, strongest possible bias first."""
    found = [_strength(design, covariate) for covariate in dict.fromkeys(design.sources)]
    return tuple(sorted(found, key=lambda one: (-bias_factor(one.r2_treatment, one.r2_outcome), one.covariate)))


def _strength(design: PartialledDesign, covariate: str) -> Strength:
    others = design.without(covariate)
    t_without, t_with = residual(others, design.t), residual(design.x, design.t)
    y_without = residual(np.column_stack([design.t, others]), design.y)
    y_with = residual(np.column_stack([design.t, design.x]), design.y)
    return Strength(covariate, _share_explained(t_without, t_with), _share_explained(y_without, y_with))


def _share_explained(without: FloatArray, with_covariate: FloatArray) -> float:
    total = float(without @ without)
    explained = 1.0 - float(with_covariate @ with_covariate) / total if total > _SMALL else 0.0
    return min(max(explained, 0.0), 1.0 - 1e-9)


def benchmark(estimate: EffectEstimate, scale: Scale, strength: Strength, multiple: float) -> Benchmark | None:
    """What a confounder ``multiple`` times as strong as a measured covariate would leave of the estimate.

    Bounds of section 4.4, eq. (26). None when such a confounder cannot exist (it would explain more
    than all of the treatment). The interval keeps the estimate's own standard error, scaled as the
    residual variances change (eq. 15).
    """
    r2_treatment, r2_outcome = bounds(strength, multiple)
    if not r2_treatment < 1.0:
        return None
    remaining = abs(estimate.value) - bias_factor(r2_treatment, r2_outcome) * scale.scale
    adjusted = float(np.sign(estimate.value)) * remaining
    factor = sqrt((1.0 - r2_outcome) / (1.0 - r2_treatment) * scale.df / max(1, scale.df - 1))
    half = 0.5 * (estimate.ci.upper - estimate.ci.lower) * factor
    interval = Interval(adjusted - half, adjusted + half)
    return Benchmark(strength.covariate, multiple, r2_treatment, r2_outcome, adjusted, interval)


def bounds(strength: Strength, multiple: float) -> tuple[float, float]:
    """Partial R² with treatment and outcome of one ``multiple`` times as strong (eq. 26); the first may exceed 1."""
    odds = strength.r2_treatment / (1.0 - strength.r2_treatment)
    r2_treatment = multiple * odds
    if r2_treatment >= 1.0:
        return r2_treatment, 1.0
    shared = (
        multiple * strength.r2_treatment**2 / ((1 - multiple * strength.r2_treatment) * (1 - strength.r2_treatment))
    )
    if shared >= 1.0:
        return r2_treatment, 1.0
    eta = (sqrt(multiple) + sqrt(shared)) / sqrt(1.0 - shared)
    return r2_treatment, min(1.0, eta**2 * strength.r2_outcome / (1.0 - strength.r2_outcome))


def multiple_that_overturns(estimate: EffectEstimate, scale: Scale, strength: Strength, largest: float) -> float | None:
    """Smallest multiple of a measured covariate's strength whose adjusted interval covers 0, None above ``largest``."""

    def overturns(multiple: float) -> bool:
        adjusted = benchmark(estimate, scale, strength, multiple)
        return adjusted is None or adjusted.adjusted_ci.covers(0.0) or adjusted.adjusted_estimate * estimate.value < 0

    if strength.r2_treatment <= _SMALL or not overturns(largest):
        return None
    low, high = 0.0, largest
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if overturns(middle) else (middle, high)
    return high
