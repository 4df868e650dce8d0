"""What is the effect among those whose treatment the instrument moves?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtrc, chdtri, ndtri

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import (
    Uncertainty,
    cluster_sums,
    count_clusters,
    independent_columns,
    make_estimate,
)
from src.causal_engine.results import Interval
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study, encode
from src.errors import StudyInvalid, TooFewRows, WeakInstrument

WEAK_F = 10.0
RELIABLE_F = 104.7
_GRID = 4001
_NORMAL_CRITICAL = float(ndtri(0.975))


@dataclass(frozen=True)
class Partialled:
    """Outcome (n,), treatment (n,) and instruments (n, k), controls and constant projected out.

    ``n_controls`` counts the projected columns, constant included.
    """

    y: FloatArray
    t: FloatArray
    z: FloatArray
    n_controls: int
    clusters: IntArray | None


def fit_iv_2sls(study: Study) -> FittedEffect:
    """Two-stage least squares, robust (HC1) or CR1 errors; estimand LATE (Imbens & Angrist 1994).

    Diagnostics: "first_stage_f" (effective F, Montiel Olea & Pflueger 2013); "ar_lower"/"ar_upper"
    (Anderson & Rubin 1949 interval) while F is below 104.7, where t-ratios mislead (Lee et al.
    2022); "overid_p_value" (Hansen's J) with more than one instrument. Raises StudyInvalid without an
    instrument and WeakInstrument, with the Anderson–Rubin interval, when F is below 10.
    """
    data = partial_out(study)
    strength = effective_f(data)
    if strength < WEAK_F:
        raise WeakInstrument(
            f"the instrument barely moves '{study.spec.treatment}': first-stage F {strength:.1f}, at least "
            f"{WEAK_F:.0f} needed; the 95 % Anderson–Rubin set, valid all the same, is "
            f"{describe_set(anderson_rubin(data))}"
        )
    projected = data.z @ np.linalg.lstsq(data.z, data.t, rcond=None)[0]
    value = float(projected @ data.y / (projected @ data.t))
    residual = data.y - value * data.t
    influence = projected * residual / float(projected @ projected / study.n)
    estimate = make_estimate(
        study,
        estimator="iv_2sls",
        estimand=Estimand.LATE,
        value=value,
        uncertainty=_uncertainty(influence, data),
        diagnostics=_diagnostics(data, strength),
    )
    return FittedEffect(estimate, influence)


def fit_anderson_rubin(study: Study) -> FittedEffect:
    """The 95 % Anderson–Rubin set where it is an interval, robust or clustered; estimand LATE.

    Valid however weak the instrument (Anderson & Rubin 1949; Andrews, Stock & Sun 2019, section 5). The value
    is the effect the instruments contradict least (the minimum of the statistic; Wald's ratio with one
    instrument); the standard error is the interval's width over 2·1.96, the p-value that of no effect.
    Diagnostics: "first_stage_f", "overid_p_value" as for iv_2sls. Raises StudyInvalid without an
    instrument and WeakInstrument, with the set in words, when the set is unbounded, in pieces or empty.
    """
    data = partial_out(study)
    strength = effective_f(data)
    intervals = anderson_rubin(data)
    if len(intervals) != 1 or not np.isfinite(intervals[0]).all():
        moved = f"the instrument barely moves '{study.spec.treatment}': first-stage F {strength:.1f}"
        opening = moved if intervals else f"no effect of '{study.spec.treatment}' agrees with all instruments"
        raise WeakInstrument(
            f"{opening}; the 95 % Anderson–Rubin set is {describe_set(intervals)}: no number to report"
        )
    low, high = intervals[0]
    value, error = least_contradicted(data, low, high), (high - low) / (2 * _NORMAL_CRITICAL)
    found = [("first_stage_f", strength)]
    if data.z.shape[1] > 1:
        found.append(("overid_p_value", overidentification_p_value(data)))
    method = "Anderson–Rubin" if data.clusters is None else "Anderson–Rubin, clustered"
    estimate = make_estimate(
        study,
        estimator="anderson_rubin",
        estimand=Estimand.LATE,
        value=value,
        uncertainty=Uncertainty(error, f"{method} (width of the set over 3.92)", None),
        diagnostics=tuple(found),
    )
    of_no_effect = float(chdtrc(data.z.shape[1], _wald_statistic(data)(np.zeros(1))[0]))
    return FittedEffect(replace(estimate, ci=Interval(low, high), p_value=of_no_effect))


def least_contradicted(data: Partialled, low: float, high: float) -> float:
    """The effect within [low, high] at which the Anderson–Rubin statistic is smallest, to 1e-9 of the width."""
    if data.z.shape[1] == 1:
        return float((data.z[:, 0] @ data.y) / (data.z[:, 0] @ data.t))
    statistic = _wald_statistic(data)
    for _ in range(12):
        effects = np.linspace(low, high, 41)
        best = int(np.argmin(statistic(effects)))
        low, high = float(effects[max(best - 1, 0)]), float(effects[min(best + 1, 40)])
    return 0.5 * (low + high)


def partial_out(study: Study) -> Partialled:
    """Project controls and constant out of outcome, treatment and instruments.

    Raises StudyInvalid when no instrument is named, it has missing values, the controls determine it, or it
    and the controls determine the treatment.
    """
    if not study.spec.instruments:
        raise StudyInvalid(
            "an instrumental-variable estimate needs an instrument; name one that moves the treatment and nothing else"
        )
    _refuse_missing(study)
    instruments, _, _ = encode(study.frame, study.spec.instruments)
    x = study.x[:, independent_columns(study.x)]
    controls = np.column_stack([np.ones(study.n), x])
    basis, _ = np.linalg.qr(controls)

    def residual(values: FloatArray) -> FloatArray:
        left = values - basis @ (basis.T @ values)
        return np.asarray(left - basis @ (basis.T @ left), dtype=np.float64)

    z = residual(instruments)
    spread = np.ptp(instruments, axis=0) > 1e-12 * np.abs(instruments).max(axis=0)
    informative = spread & ((z**2).sum(axis=0) > 1e-9 * ((instruments - instruments.mean(axis=0)) ** 2).sum(axis=0))
    kept = independent_columns(z[:, informative])
    if len(kept) == 0:
        names = ", ".join(study.spec.instruments)
        raise StudyInvalid(f"the controls determine the instrument ({names}); no variation of it is left")
    if study.n <= controls.shape[1] + len(kept) + 1:
        raise TooFewRows(f"{study.n} rows are too few for {controls.shape[1] + len(kept)} controls and instruments")
    z, t = z[:, informative][:, kept], residual(study.t)
    unexplained = t - z @ np.linalg.lstsq(z, t, rcond=None)[0]
    if float(unexplained @ unexplained) <= 1e-9 * float(t @ t):
        raise StudyInvalid(
            f"the instrument repeats '{study.spec.treatment}', so it can tell nothing apart; name what moves the "
            "treatment without being it"
        )
    return Partialled(residual(study.y), t, z, controls.shape[1], study.clusters)


def _refuse_missing(study: Study) -> None:
    """Raise StudyInvalid for an instrument with gaps: that a value is missing is no instrument."""
    for name in study.spec.instruments:
        if missing := int(study.frame[name].isna().sum()):
            raise StudyInvalid(f"instrument '{name}' is missing in {missing} rows; remove or complete those rows first")


def effective_f(data: Partialled) -> float:
    """Effective first-stage F: π̂'z'zπ̂ / tr(V̂(π̂) z'z); the robust F with one instrument."""
    gram = data.z.T @ data.z
    slopes = np.linalg.solve(gram, data.z.T @ data.t)
    scores = data.z * (data.t - data.z @ slopes)[:, None]
    meat = _meat(scores, scores, data, data.z.shape[1])
    noise = float(np.trace(np.linalg.solve(gram, meat)))
    return float(slopes @ gram @ slopes) / noise if noise > 0 else float("inf")


def anderson_rubin(data: Partialled) -> tuple[tuple[float, float], ...]:
    """95 % Anderson–Rubin confidence set as disjoint intervals; ends may be infinite; empty when nothing fits.

    b is inside when the instruments do not explain y − b·t: robust Wald statistic at most χ²₀.₉₅(k).
    """
    centre, scale = _location(data)
    angles = np.linspace(-np.pi / 2, np.pi / 2, _GRID + 2)[1:-1]
    statistic = _wald_statistic(data)
    critical = float(chdtri(data.z.shape[1], 0.05))

    def excess(angle: float) -> float:
        return float(statistic(np.array([centre + scale * float(np.tan(angle))]))[0]) - critical

    inside = statistic(centre + scale * np.tan(angles)) <= critical
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    ends = [centre + scale * float(np.tan(_bisect(excess, angles[i], angles[i + 1]))) for i in edges]
    if inside[0]:
        ends.insert(0, -np.inf)
    if inside[-1]:
        ends.append(np.inf)
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def describe_set(intervals: tuple[tuple[float, float], ...]) -> str:
    """The confidence set in words."""
    if not intervals:
        return "empty: the instruments contradict one another"
    if intervals == ((-np.inf, np.inf),):
        return "the whole line: the data say nothing about the effect"
    return " or ".join(f"[{low:.3g}, {high:.3g}]" for low, high in intervals)


def overidentification_p_value(data: Partialled) -> float:
    """Hansen's (1982) J at the two-step efficient estimate, χ²(k − 1); needs more than one instrument."""
    zt, zy = data.z.T @ data.t, data.z.T @ data.y
    first = np.linalg.solve(data.z.T @ data.z, np.column_stack([zt, zy]))
    value = float(zt @ first[:, 1] / (zt @ first[:, 0]))
    scores = data.z * (data.y - value * data.t)[:, None]
    weight = np.linalg.inv(_sum_of_squares(scores, scores, data.clusters))
    efficient = float(zt @ weight @ zy / (zt @ weight @ zt))
    moments = zy - efficient * zt
    return float(chdtrc(data.z.shape[1] - 1, moments @ weight @ moments))


def _diagnostics(data: Partialled, strength: float) -> tuple[tuple[str, float], ...]:
    found = [("first_stage_f", strength)]
    if strength < RELIABLE_F:
        intervals = anderson_rubin(data)
        if len(intervals) == 1 and np.isfinite(intervals[0]).all():
            found += [("ar_lower", intervals[0][0]), ("ar_upper", intervals[0][1])]
    if data.z.shape[1] > 1:
        found.append(("overid_p_value", overidentification_p_value(data)))
    return tuple(found)


def _uncertainty(influence: FloatArray, data: Partialled) -> Uncertainty:
    n = len(influence)
    parameters = data.n_controls + 1
    if data.clusters is None:
        variance = float(influence @ influence) / n**2 * n / (n - parameters)
        return Uncertainty(float(np.sqrt(variance)), "HC1", float(n - parameters))
    groups = count_clusters(data.clusters)
    sums = cluster_sums(influence, data.clusters)
    factor = groups / (groups - 1) * (n - 1) / (n - parameters)
    return Uncertainty(float(np.sqrt(factor * (sums @ sums)) / n), "cluster-robust CR1", float(groups - 1))


def _meat(left: FloatArray, right: FloatArray, data: Partialled, fitted: int) -> FloatArray:
    n = len(left)
    factor = n / (n - data.n_controls - fitted)
    if data.clusters is not None:
        groups = count_clusters(data.clusters)
        factor = groups / (groups - 1) * (n - 1) / (n - data.n_controls - fitted)
    return factor * _sum_of_squares(left, right, data.clusters)


def _sum_of_squares(left: FloatArray, right: FloatArray, clusters: IntArray | None) -> FloatArray:
    if clusters is None:
        return np.asarray(left.T @ right, dtype=np.float64)
    return np.asarray(cluster_sums(left, clusters).T @ cluster_sums(right, clusters), dtype=np.float64)


def _location(data: Partialled) -> tuple[float, float]:
    """Where the set is searched most finely: around the estimate, at the scale of the outcome per treatment."""
    slopes = np.linalg.lstsq(data.z, np.column_stack([data.t, data.y]), rcond=None)[0]
    fitted = data.z @ slopes
    moved = float(fitted[:, 0] @ fitted[:, 0])
    centre = float(fitted[:, 0] @ fitted[:, 1]) / moved if moved > 0 else 0.0
    residual = data.y - centre * data.t
    return centre, float(np.sqrt(residual @ residual / len(residual) / max(moved, 1e-300)))


def _wald_statistic(data: Partialled) -> Callable[[FloatArray], FloatArray]:
    """Wald statistic of z in y − b·t as a function of b (m,), from moments that do not depend on b."""
    gram = data.z.T @ data.z
    zt, zy = data.z.T @ data.t, data.z.T @ data.y
    slopes = np.linalg.solve(gram, np.column_stack([zt, zy]))
    score_t = data.z * (data.t - data.z @ slopes[:, 0])[:, None]
    score_y = data.z * (data.y - data.z @ slopes[:, 1])[:, None]
    fitted = data.z.shape[1]
    tt, yy = _meat(score_t, score_t, data, fitted), _meat(score_y, score_y, data, fitted)
    ty = _meat(score_t, score_y, data, fitted)

    def statistic(effects: FloatArray) -> FloatArray:
        moments = zy - effects[:, None] * zt
        b = effects[:, None, None]
        solved = np.linalg.solve(yy - b * (ty + ty.T) + b**2 * tt, moments[:, :, None])[:, :, 0]
        return np.asarray((moments * solved).sum(axis=1), dtype=np.float64)

    return statistic


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    rising = function(high) > 0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if (function(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)
