"""Which difference could an experiment show, how many units does it need, and how likely is it to show one?

Everything beside plain randomisation of single units multiplies the variance of the difference: clusters by the design
effect, a covariate by 1 − ρ², repeated measurement by what is left of a period's variance. Power is that of the
two-sided Wald test with the standard error under the alternative, P(|T| > t₁₋α⸝₂) for a noncentral t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from src.causal_engine.experiment.trial_size import MOST, beyond
from src.causal_engine.spec import OutcomeKind
from src.errors import StudyInvalid

_MANY = 100_000.0


class Correction(StrEnum):
    """What several treated arms against one control cost."""

    NONE = "none"
    BONFERRONI = "bonferroni"
    DUNNETT = "dunnett"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The outcome without treatment: ``mean``, and ``sd`` (continuous) or ``dispersion`` k (count: μ + kμ²)."""

    kind: OutcomeKind
    mean: float
    sd: float | None = None
    dispersion: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise StudyInvalid(f"the mean without treatment is a finite number, not {self.mean}")
        if self.kind is OutcomeKind.CONTINUOUS and not (self.sd is not None and 0 < self.sd < math.inf):
            raise StudyInvalid("a mean needs its standard deviation above 0 (--sd)")
        if self.kind is OutcomeKind.BINARY and not 0 < self.mean < 1:
            raise StudyInvalid(f"a proportion lies between 0 and 1, not at {self.mean:g}")
        if self.kind is OutcomeKind.COUNT and not (self.mean > 0 and 0 <= self.dispersion < math.inf):
            raise StudyInvalid("a count needs a mean above 0 and a dispersion of at least 0")

    def variance(self, difference: float = 0.0) -> float:
        """Variance of one unit's outcome where treatment moves the mean by ``difference``."""
        mean = self.mean + difference
        if self.kind is OutcomeKind.CONTINUOUS:
            return float(self.sd or 0.0) ** 2
        return mean * (1 - mean) if self.kind is OutcomeKind.BINARY else mean + self.dispersion * mean**2

    @property
    def largest(self) -> float:
        """The largest difference that leaves the outcome possible."""
        return 1 - self.mean - 1e-9 if self.kind is OutcomeKind.BINARY else math.inf

    def leaves_possible(self, difference: float) -> bool:
        """Whether the outcome can have its mean moved by ``difference``."""
        lowest = -math.inf if self.kind is OutcomeKind.CONTINUOUS else 1e-9 - self.mean
        return math.isfinite(difference) and lowest <= difference <= self.largest


@dataclass(frozen=True, slots=True)
class Clusters:
    """Whole clusters are assigned: ``icc``, mean ``size`` and its coefficient of variation ``cv``."""

    icc: float
    size: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.icc <= 1 and 1 <= self.size < math.inf and 0 <= self.cv < math.inf):
            raise StudyInvalid(
                "an intraclass correlation lies in 0 to 1, a cluster has at least one unit, cv is not < 0"
            )

    @property
    def design_effect(self) -> float:
        """1 + ((1 + cv²)·m̄ − 1)·ICC (Eldridge, Ashby & Kerry 2006, eq. 2)."""
        return 1.0 + ((1.0 + self.cv**2) * self.size - 1.0) * self.icc


@dataclass(frozen=True, slots=True)
class Periods:
    """Each unit is measured ``after`` and ``before`` the start, once a period; the baseline's spread is one period's.

    The correlation of two periods k apart is π + (1 − π)ρᵏ: a ``persistent`` share π of the variance, and an
    ``autocorrelation`` ρ of the rest. The analysis adjusts for the mean before (ANCOVA).
    """

    after: int
    before: int = 0
    autocorrelation: float = 0.0
    persistent: float = 0.0

    def __post_init__(self) -> None:
        if self.after < 1 or self.before < 0:
            raise StudyInvalid("an experiment runs at least one period")
        _check_correlations(self.autocorrelation, self.persistent)

    @property
    def variance_left(self) -> float:
        """Var(ȳ_after | ȳ_before) over a period's variance (McKenzie 2012, generalised to this correlation)."""
        over = _correlations(self.before + self.after, self.autocorrelation, self.persistent)
        later = float(over[self.before :, self.before :].mean())
        if self.before == 0:
            return later
        earlier, shared = float(over[: self.before, : self.before].mean()), over[: self.before, self.before :].mean()
        return later - float(shared) ** 2 / earlier


@dataclass(frozen=True, slots=True)
class Switchback:
    """Every unit is switched over: ``blocks`` of ``length`` periods, half of them treated, in random order.

    The first ``washout`` periods of a block are left out. Correlation over time as in ``Periods``.
    """

    blocks: int
    length: int
    washout: int = 0
    autocorrelation: float = 0.0
    persistent: float = 0.0

    def __post_init__(self) -> None:
        if self.blocks < 2 or self.blocks % 2 or not 0 <= self.washout < self.length:
            raise StudyInvalid("a switchback has an even number of blocks, each longer than its washout")
        _check_correlations(self.autocorrelation, self.persistent)

    @property
    def variance_factor(self) -> float:
        """Variance of one unit's difference over a period's variance, on average over the orders.

        With block means of covariance B and weights ±2/K that add up to zero, E[ww′] = 4/K²·(K·I − 11′)/(K − 1), so
        the factor is 4/(K²(K − 1))·(K·tr B − 1′B1).
        """
        over = _correlations(self.blocks * self.length, self.autocorrelation, self.persistent)
        kept = np.arange(self.blocks * self.length).reshape(self.blocks, self.length)[:, self.washout :]
        b = np.array([[over[np.ix_(one, other)].mean() for other in kept] for one in kept])
        k = self.blocks
        return float(4.0 / (k**2 * (k - 1)) * (k * np.trace(b) - b.sum()))


@dataclass(frozen=True, slots=True)
class Trial:
    """A randomised comparison of ``arms`` treated arms, alike in size, with one control.

    ``share_treated`` is that of all treated arms together. ``correlation`` is that of the outcome with a covariate
    measured before. ``measured`` is the share of a row's variance that is left of a unit's mean, where rows of earlier
    periods told it (``trial_size.Spread``). A switchback has one treated arm and no share.
    """

    baseline: Baseline
    alpha: float = 0.05
    power: float = 0.8
    share_treated: float = 0.5
    arms: int = 1
    correction: Correction = Correction.DUNNETT
    clusters: Clusters | None = None
    correlation: float = 0.0
    periods: Periods | None = None
    switchback: Switchback | None = None
    measured: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 0.5 and self.alpha < self.power < 1):
            raise StudyInvalid("the error rate lies between 0 and 0.5, the power above it and below 1")
        if not 0 < self.share_treated < 1 or self.arms < 1:
            raise StudyInvalid("the treated share lies between 0 and 1, and there is at least one treated arm")
        if not -1 < self.correlation < 1:
            raise StudyInvalid("the correlation with the covariate lies between −1 and 1")
        beside = self.clusters is not None or self.periods is not None or self.arms > 1 or self.correlation != 0
        if self.switchback is not None and beside:
            raise StudyInvalid("a switchback compares each unit with itself: no clusters, arms, covariate or periods")
        if self.periods is not None and self.periods.before and self.correlation:
            raise StudyInvalid("adjust for the periods before or for another covariate, not for both")

    @property
    def variance_factor(self) -> float:
        """By how much the variance of a difference is that of single units, measured once, unadjusted."""
        if self.switchback is not None:
            return self.switchback.variance_factor
        clusters = 1.0 if self.clusters is None else self.clusters.design_effect
        periods = 1.0 if self.periods is None else self.periods.variance_left
        return clusters * periods * self.measured * (1.0 - self.correlation**2)

    @property
    def alpha_each(self) -> float:
        """Two-sided error rate of one comparison, so that all together keep ``alpha``."""
        if self.arms == 1 or self.correction is Correction.NONE:
            return self.alpha
        if self.correction is Correction.BONFERRONI:
            return self.alpha / self.arms
        treated = self.share_treated / self.arms
        return dunnett_alpha(self.alpha, self.arms, treated / (treated + 1 - self.share_treated))

    def standard_error(self, units: float, difference: float) -> float:
        """Standard error of one comparison with ``units`` in all arms together."""
        treated, control = self.baseline.variance(difference), self.baseline.variance()
        if self.switchback is not None:
            return math.sqrt(self.variance_factor * (treated + control) / 2 / units)
        n_treated, n_control = units * self.share_treated / self.arms, units * (1 - self.share_treated)
        return math.sqrt(self.variance_factor * (treated / n_treated + control / n_control))

    def degrees_of_freedom(self, units: float) -> float:
        """Of one comparison: independent pieces (units or clusters) − 2; for proportions and counts a caution."""
        compared = units * (self.share_treated / self.arms + 1 - self.share_treated)
        if self.switchback is not None:
            return units * (self.switchback.blocks - 1) - 1
        if self.clusters is not None:
            return compared / self.clusters.size - 2
        return compared - 2

    def power_at(self, units: float, difference: float) -> float:
        """Chance to find ``difference`` with ``units``; 0 where there are too few for any test."""
        df = self.degrees_of_freedom(units)
        if df < 1:
            return 0.0
        shift = abs(difference) / self.standard_error(units, difference)
        if df > _MANY:
            critical = float(ndtri(1 - self.alpha_each / 2))
            return float(ndtr(shift - critical) + ndtr(-shift - critical))
        critical = float(stdtrit(df, 1 - self.alpha_each / 2))
        return beyond(df, shift, critical)

    def detectable(self, units: float) -> float | None:
        """Smallest increase found with the wanted power; None where none that is possible is."""
        high, most = self.standard_error(units, 0.0), self.baseline.largest
        while self.power_at(units, min(high, most)) < self.power:
            if high >= most or high > 1e12 * self.standard_error(units, 0.0):
                return None
            high *= 2
        return _smallest(lambda value: self.power_at(units, value) >= self.power, 0.0, min(high, most))

    def units_needed(self, difference: float) -> int | None:
        """Units of all arms together (whole clusters where these are assigned); None where even ten million are few."""
        if difference == 0 or not self.baseline.leaves_possible(difference):
            raise StudyInvalid(
                f"the smallest effect is not 0, and leaves the outcome possible; {difference:g} does not"
            )
        step = 1 if self.clusters is None else self.clusters.size
        low, high = 0, 4
        while self.power_at(high * step, difference) < self.power:
            low, high = high, high * 2
            if high * step > MOST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power_at(middle * step, difference) >= self.power else (middle, high)
        return math.ceil(high * step)


def dunnett_alpha(alpha: float, arms: int, allocation: float) -> float:
    """Two-sided error rate of one of ``arms`` comparisons with a shared control that keeps ``alpha`` for all.

    Dunnett (1955) for many degrees of freedom: P(max|Zⱼ| ≤ c) = ∫φ(z)[Φ((c + λz)/√(1−λ²)) − Φ((−c + λz)/√(1−λ²))]ᵏdz,
    λ² being n_treated/(n_treated + n_control), the correlation of two comparisons (``allocation``).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights, slope, rest = weights / weights.sum(), math.sqrt(allocation), math.sqrt(1 - allocation)

    def kept(c: float) -> bool:
        inside = ndtr((c + slope * nodes) / rest) - ndtr((-c + slope * nodes) / rest)
        return float(weights @ inside**arms) >= 1 - alpha

    return 2 * float(ndtr(-_smallest(kept, 0.0, 10.0)))


def _smallest(enough: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_correlations(autocorrelation: float, persistent: float) -> None:
    if not (-1 < autocorrelation < 1 and 0 <= persistent < 1):
        raise StudyInvalid("an autocorrelation lies between −1 and 1, a persistent share is at least 0 and below 1")


def _correlations(periods: int, autocorrelation: float, persistent: float) -> np.ndarray:
    apart = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    decayed: np.ndarray = persistent + (1 - persistent) * np.power(float(autocorrelation), apart)
    return decayed
