"""How strongly must a hidden confounder be tied to treatment and outcome, as risk ratios, to explain an effect?"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from src.causal_engine.results import EffectEstimate
from src.causal_engine.spec import OutcomeKind
from src.causal_engine.study import Study

LOG_RISK_RATIO_PER_SD = 0.91
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class EValue:
    """``limit`` is the E-value of the interval's end nearest no effect: 1 when the interval covers it."""

    risk_ratio: float
    point: float
    limit: float


def e_value(risk_ratio: float) -> float:
    """RR + √(RR(RR − 1)), ratios below 1 inverted (VanderWeele & Ding 2017, table 2).

    Raises ValueError for a ratio that is not positive.
    """
    if not risk_ratio > 0:
        raise ValueError("a risk ratio is positive")
    ratio = max(risk_ratio, 1.0 / risk_ratio)
    return ratio + sqrt(ratio * (ratio - 1.0))


def e_value_of_limit(risk_ratio_lower: float, risk_ratio_upper: float) -> float:
    """E-value of the end of a risk-ratio interval nearest 1; 1 when the interval covers 1."""
    if risk_ratio_lower <= 1.0 <= risk_ratio_upper:
        return 1.0
    return e_value(risk_ratio_lower if risk_ratio_lower > 1.0 else risk_ratio_upper)


def e_values_of(study: Study, estimate: EffectEstimate) -> EValue:
    """E-values of an estimate on the risk-ratio scale.

    Binary outcome: RR = (p₀ + effect)/p₀ with p₀ the share among the untreated (among all, for a
    continuous treatment), both risks kept at least half an event away from 0. Otherwise
    RR ≈ exp(.91·effect/sd(y)) (VanderWeele & Ding 2017, table 2, after Hasselblad & Hedges 1995). The
    effect of a continuous treatment is taken per standard deviation of the treatment, so that units
    do not matter.
    """
    scale = 1.0 if study.is_binary else float(study.t.std(ddof=1))
    point, *ends = (
        risk_ratio(study, value * scale) for value in (estimate.value, estimate.ci.lower, estimate.ci.upper)
    )
    limit = 1.0 if estimate.ci.covers(0.0) else e_value_of_limit(min(ends), max(ends))
    return EValue(point, e_value(point), limit)


def risk_ratio(study: Study, effect: float) -> float:
    """The effect of one treatment step as a risk ratio, exact for 0/1 outcomes, approximate for others."""
    if study.outcome_kind is OutcomeKind.BINARY:
        untreated = study.y[study.t == 0] if study.is_binary else study.y
        least = 0.5 / len(untreated)
        base = min(max(float(untreated.mean()), least), 1.0 - least)
        return min(max(base + effect, least), 1.0) / base
    exponent = LOG_RISK_RATIO_PER_SD * effect / float(study.y.std(ddof=1))
    return exp(float(np.clip(exponent, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))
