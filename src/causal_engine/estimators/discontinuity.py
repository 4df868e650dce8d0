"""What is the effect on units at the cutoff of the variable that decides who is treated?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import Uncertainty, cluster_sums, count_clusters, make_estimate
from src.causal_engine.estimators.local_polynomial import (
    Bandwidths,
    Side,
    boundary_weights,
    mse_bandwidths,
    nearest_neighbour_residuals,
    powers,
)
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError, StudyInvalid, TooFewRows, WeakInstrument

LEAST_ON_A_SIDE = 30
LEAST_DISTINCT = 10
WEAK_JUMP_F = 10.0


@dataclass(frozen=True)
class Cut:
    """The rows of a study left and right of its cutoff.

    Distances are in units of ``scale``, the standard deviation of the running variable, so that its
    own units do not matter.
    """

    left: Side
    right: Side
    scale: float
    clusters: IntArray | None

    @property
    def n(self) -> int:
        """Rows on both sides."""
        return len(self.left.x) + len(self.right.x)


@dataclass(frozen=True)
class Jump:
    """Jumps (k,) at the cutoff, bias-corrected and ``plain``; influence (n, k), whose Σψ²/n² is the variance."""

    value: FloatArray
    plain: FloatArray
    influence: FloatArray
    widths: Bandwidths
    n_within: tuple[int, int]


def fit_rdd(study: Study) -> FittedEffect:
    """Sharp regression discontinuity: treatment switches for everybody at the cutoff; estimand RD.

    Difference of two local linear fits, bias-corrected, with the robust interval of Calonico,
    Cattaneo & Titiunik (2014, theorem 1) at the MSE-optimal bandwidth; nearest-neighbour errors, or
    sums within clusters. Diagnostics: "bandwidth", "bias_bandwidth" (units of the running variable),
    "n_left", "n_right" (units within the bandwidth), "conventional" (without bias correction).

    Raises EstimationError when treatment does not switch sharply, TooFewRows when a side is too small,
    StudyInvalid without a running variable, with one of too few distinct values near the cutoff, or where
    treatment switches at another value.
    """
    _refuse_another_cutoff(study)
    cut = cut_of(study)
    direction = switch_direction(study)
    if direction == 0:
        raise EstimationError(
            f"'{study.spec.treatment}' does not switch for everybody at {study.spec.running_variable} = "
            f"{study.spec.cutoff:g}; rdd is for a sharp switch: use fuzzy_rdd"
        )
    jump = jump_at(cut, study.y[:, None])
    return _fitted(study, cut, "rdd", direction * float(jump.value[0]), direction * jump.influence[:, 0], jump, ())


def fit_fuzzy_rdd(study: Study) -> FittedEffect:
    """Fuzzy regression discontinuity: treatment becomes more likely at the cutoff; estimand RD, of those it moves.

    Jump of the outcome over jump of the treatment (Hahn, Todd & van der Klaauw 2001), both
    bias-corrected at the bandwidth of the outcome, the interval by the delta method (CCT 2014,
    section 4.3). Diagnostics as in ``fit_rdd``, and "first_stage_f": squared t of the treatment's jump.
    Raises WeakInstrument when that is below 10, where the interval would mislead.
    """
    _refuse_another_cutoff(study)
    cut = cut_of(study)
    jump = jump_at(cut, np.column_stack([study.y, study.t]))
    moved = float(jump.value[1])
    error = jump_uncertainty(jump.influence[:, 1], cut).std_error
    # Without noise the treatment switches for everybody, which no F can express.
    strength = (moved / error) ** 2 if error > 0 else np.inf
    if strength < WEAK_JUMP_F:
        raise WeakInstrument(
            f"'{study.spec.treatment}' hardly jumps at {study.spec.running_variable} = {study.spec.cutoff:g} (by "
            f"{moved:.3g}, F {strength:.1f}, at least {WEAK_JUMP_F:.0f} needed); the cutoff decides too little"
        )
    value = float(jump.value[0]) / moved
    influence = (jump.influence[:, 0] - value * jump.influence[:, 1]) / moved
    found = (("first_stage_f", strength),) if np.isfinite(strength) else ()
    return _fitted(study, cut, "fuzzy_rdd", value, influence, jump, found)


def cut_of(study: Study, cutoff: float | None = None, rows: np.ndarray | None = None) -> Cut:
    """Both sides of the study's cutoff (or another), on all rows or those where ``rows`` (n,) is true.

    Raises StudyInvalid or TooFewRows when there is nothing to compare.
    """
    name, at = study.spec.running_variable, study.spec.cutoff if cutoff is None else cutoff
    if name is None or at is None:
        raise StudyInvalid("a regression discontinuity needs --running-variable COLUMN and --cutoff NUMBER")
    distance = study.frame[name].to_numpy(dtype=np.float64) - at
    kept = np.ones(study.n, dtype=np.bool_) if rows is None else rows
    scale = float(distance[kept].std()) if kept.any() else 0.0
    if scale == 0:
        raise StudyInvalid(f"running variable '{name}' is constant; nothing lies on either side of {at:g}")
    sides = [_side(distance / scale, kept & chosen) for chosen in (distance < 0, distance >= 0)]
    for side, where in zip(sides, ("below", "at or above"), strict=True):
        _require_side(side, f"'{name}' has {{}} {where} {at:g}")
    return Cut(sides[0], sides[1], scale, study.clusters)


def jump_at(cut: Cut, columns: FloatArray, widths: Bandwidths | None = None) -> Jump:
    """Jump of each column (n, k) at the cutoff; at ``widths`` or those optimal for the first column."""
    y_left, y_right = columns[cut.left.rows], columns[cut.right.rows]
    chosen = widths or mse_bandwidths(cut.left, cut.right, y_left[:, 0], y_right[:, 0])
    total, value, plain = len(columns), np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    influence = np.zeros(columns.shape)
    for side, y, sign in ((cut.left, y_left, -1.0), (cut.right, y_right, 1.0)):
        straight, corrected = _weights(side, chosen)
        value += sign * (corrected @ y)
        plain += sign * (straight @ y)
        influence[side.rows] = sign * total * corrected[:, None] * _residuals(side, y, chosen, cut.clusters)
    within = [int((np.abs(side.x) < chosen.main).sum()) for side in (cut.left, cut.right)]
    return Jump(value, plain, influence, chosen, (within[0], within[1]))


def switch_direction(study: Study) -> int:
    """1 when exactly the units at or above the cutoff are treated, −1 when exactly those below, else 0."""
    name, cutoff = study.spec.running_variable, study.spec.cutoff
    if name is None or cutoff is None:
        return 0
    above = study.frame[name].to_numpy(dtype=np.float64) >= cutoff
    if not study.is_binary:
        return 0
    if (study.t == above).all():
        return 1
    return -1 if (study.t == ~above).all() else 0


def roundest_between(low: float, high: float) -> float:
    """The number with the fewest digits in (low, high]; a cutoff that people chose is a round one."""
    start = math.ceil(math.log10(max(abs(low), abs(high)))) + 1
    for exponent in range(start, start - 18, -1):
        step = 10.0**exponent
        candidate = round(math.floor(high / step) * step, max(0, -exponent))
        if low < candidate <= high:
            return candidate
    return high


def _refuse_another_cutoff(study: Study) -> None:
    """Raise StudyInvalid where treatment switches for everybody, but not at the cutoff that was named."""
    if not study.is_binary or switch_direction(study):
        return
    name, cutoff = str(study.spec.running_variable), float(study.spec.cutoff or 0.0)
    values = study.frame[name].to_numpy(dtype=np.float64)
    for low, high in ((values[study.t == 0], values[study.t == 1]), (values[study.t == 1], values[study.t == 0])):
        if low.max() < high.min():
            switch = roundest_between(float(low.max()), float(high.min()))
            raise StudyInvalid(
                f"'{study.spec.treatment}' switches for everybody at {name} = {switch:g}, not at {cutoff:g} (units at "
                f"the cutoff count as above it); ask again with --cutoff {switch:g}"
            )


def _side(distance: FloatArray, chosen: np.ndarray) -> Side:
    rows = np.flatnonzero(chosen)
    order = rows[np.argsort(distance[rows], kind="stable")]
    return Side(distance[order], order)


def _require_side(side: Side, said: str) -> None:
    if len(side.x) < LEAST_ON_A_SIDE:
        raise TooFewRows(
            f"{said.format(f'{len(side.x)} rows')}; a regression discontinuity needs {LEAST_ON_A_SIDE} on each side"
        )
    distinct = len(np.unique(side.x))
    if distinct < LEAST_DISTINCT:
        raise StudyInvalid(
            f"{said.format(f'{distinct} distinct values')}; with fewer than {LEAST_DISTINCT} no curve can be followed "
            "to the cutoff"
        )


def _weights(side: Side, widths: Bandwidths) -> tuple[FloatArray, FloatArray]:
    try:
        return boundary_weights(side, widths)
    except np.linalg.LinAlgError as error:
        raise TooFewRows("too few distinct values of the running variable within the bandwidth") from error


def _residuals(side: Side, y: FloatArray, widths: Bandwidths, clusters: IntArray | None) -> FloatArray:
    """What noise is left in each unit (m, k): by its nearest neighbours, or, clustered, off the quadratic fit."""
    if clusters is None:
        return nearest_neighbour_residuals(side.x, y)
    basis = powers(side.x, 2)
    weight = np.maximum(0.0, 1.0 - np.abs(side.x) / max(widths.main, widths.bias))[:, None]
    slopes = np.linalg.solve((basis * weight).T @ basis, (basis * weight).T @ y)
    return np.asarray(y - basis @ slopes, dtype=np.float64)


def jump_uncertainty(influence: FloatArray, cut: Cut) -> Uncertainty:
    """Error of a jump from its influence (n,); sums within clusters, t(G−1), where the study names them."""
    n = len(influence)
    if cut.clusters is None:
        return Uncertainty(float(np.sqrt(influence @ influence)) / n, "robust bias-corrected, nearest neighbour", None)
    used = influence != 0
    codes = np.unique(cut.clusters[used], return_inverse=True)[1].astype(np.int64)
    groups = count_clusters(codes)
    sums = cluster_sums(influence[used], codes)
    factor = groups / (groups - 1)
    return Uncertainty(
        float(np.sqrt(factor * (sums @ sums))) / n, "robust bias-corrected, clustered", float(groups - 1)
    )


def _fitted(
    study: Study,
    cut: Cut,
    estimator: str,
    value: float,
    influence: FloatArray,
    jump: Jump,
    found: tuple[tuple[str, float], ...],
) -> FittedEffect:
    conventional = float(jump.plain[0]) / (float(jump.plain[1]) if len(jump.plain) > 1 else switch_direction(study))
    rows = np.union1d(
        *(side.rows[np.abs(side.x) < max(jump.widths.main, jump.widths.bias)] for side in (cut.left, cut.right))
    )
    used = len(rows)
    estimate = make_estimate(
        study,
        estimator=estimator,
        estimand=Estimand.AT_CUTOFF,
        value=value,
        uncertainty=jump_uncertainty(influence, cut),
        n=used,
        n_treated=int(study.t[rows].sum()) if study.is_binary else None,
        n_dropped=study.n - used,
        adjusted_for=(str(study.spec.running_variable),),
        diagnostics=(
            ("bandwidth", jump.widths.main * cut.scale),
            ("bias_bandwidth", jump.widths.bias * cut.scale),
            ("n_left", float(jump.n_within[0])),
            ("n_right", float(jump.n_within[1])),
            ("conventional", conventional),
            *found,
        ),
    )
    return FittedEffect(estimate, influence)
