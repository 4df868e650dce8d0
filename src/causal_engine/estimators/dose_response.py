"""How does the mean outcome run with the dose, and how steep is it on average?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import (
    Uncertainty,
    cluster_sums,
    count_clusters,
    interval,
    make_estimate,
    of_influence,
)
from src.causal_engine.estimators.learners import candidate_learners, fit_predict
from src.causal_engine.estimators.nuisance import assign_folds
from src.causal_engine.results import DOSE_AXIS, EffectProfile, ProfilePoint
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study
from src.domain.small_cells import SMALLEST_CELL
from src.errors import EstimationError, OverlapViolated, TooFewRows

MIN_ROWS = 200
MIN_DOSES = 8
GRID = 40
POINTS = 21
LARGEST_RATIO = 20.0
LEAST_EFFECTIVE = 0.05
LEAST_MEAN_RATIO = 0.5
LEFT_OUT = 150
SPLITS = 3
_TAIL = 0.05
_BANDWIDTHS = np.array([0.35, 0.5, 0.75, 1.0, 1.5, 2.5])
_NOTE = (
    "Mean outcome if every unit had this dose, smoothed over neighbouring doses; intervals hold point by point, not "
    "for the whole curve at once. Doses beyond the middle 90 % are not shown."
)


@dataclass(frozen=True)
class _Nuisances:
    """Out-of-fold nuisances over a grid of doses.

    ``mean`` (n,): E[Y|X,A] at the row's own dose; ``over`` (n, GRID) at each dose of ``grid``; ``ratio``
    (n,): marginal over conditional density of the dose, bounded.
    """

    grid: FloatArray
    mean: FloatArray
    over: FloatArray
    ratio: FloatArray
    n_bounded: int
    learners: dict[str, str]


def fit_dose_response(study: Study) -> FittedEffect:
    """Doubly robust dose–response curve of a continuous treatment (Kennedy, Ma, McHugh & Small 2017).

    Pseudo-outcomes ξ = (Y − μ(X,A))·ϖ(A)/π(A|X) + ∫μ(x,A)dP(x) (their eq. 3; μ and π cross-fitted, π by the
    kernel density of standardised residuals as in their sec. 4) regressed on dose, the bandwidth by
    leave-one-out error of local lines (sec. 3.5), the curve by local parabolas at that bandwidth, whose bias is of
    a smaller order; intervals by the sandwich of the local regression and the sampling of X.

    The value is the average derivative of the curve with Yitzhaki's (1996) weights, most where doses
    are dense: the slope of ξ on A, by least squares, with the influence function of that functional,
    which adds the sampling of X in ∫μ. Nuisances are averaged over three splits, whose spread is added to
    the error (as in Chernozhukov et al. 2018, eq. 3.14). It is per unit of dose; estimand ATE. For a
    straight curve it is its slope; read the curve where it bends.

    Raises EstimationError for a 0/1 treatment or fewer than 8 doses, TooFewRows below 200 rows,
    OverlapViolated when reweighting to the same covariates at every dose leaves less than a twentieth of
    the rows' information.
    """
    return _fit(study, SPLITS)


def refit_dose_response(study: Study) -> FittedEffect:
    """The value from one split, without the curve; for refits of which only values are needed."""
    return _fit(study, 1)


def _fit(study: Study, count: int) -> FittedEffect:
    _require_doses(study)
    splits: list[_Nuisances] = []
    for split in range(count):
        splits.append(_cross_fit(study, split, splits[0].learners if splits else None))
    found = _pooled(splits)
    xi, slopes = _pseudo_outcomes(study, found), [_slope(study, _pseudo_outcomes(study, one)) for one in splits]
    value = _slope(study, xi)
    influence = _slope_influence(study, found, xi, value)
    uncertainty = _with_splits(of_influence(influence, study.clusters), slopes)
    influence = influence * (uncertainty.std_error / of_influence(influence, study.clusters).std_error)
    estimate = make_estimate(
        study,
        estimator="dose_response",
        estimand=Estimand.ATE,
        value=value,
        uncertainty=uncertainty,
        diagnostics=(("n_bounded", float(found.n_bounded)),),
    )
    if count == 1:
        return FittedEffect(estimate, influence)
    points, bandwidth = _curve(study, xi, found)
    profile = EffectProfile(DOSE_AXIS, points, _NOTE)
    diagnostics = (*estimate.diagnostics, ("bandwidth", bandwidth))
    return FittedEffect(replace(estimate, profile=profile, diagnostics=diagnostics), influence)


def _pseudo_outcomes(study: Study, found: _Nuisances) -> FloatArray:
    return (study.y - found.mean) * found.ratio + _at(found.grid, found.over.mean(axis=0), study.t)


def _slope(study: Study, xi: FloatArray) -> float:
    centred = study.t - study.t.mean()
    return float(centred @ xi / (centred @ centred))


def _pooled(splits: list[_Nuisances]) -> _Nuisances:
    """Nuisances averaged over repeated splits."""
    mean, over, ratio = (np.mean([getattr(one, name) for one in splits], axis=0) for name in ("mean", "over", "ratio"))
    return _Nuisances(splits[0].grid, mean, over, ratio, max(one.n_bounded for one in splits), splits[0].learners)


def _with_splits(uncertainty: Uncertainty, slopes: list[float]) -> Uncertainty:
    if len(slopes) == 1:
        return uncertainty
    std_error = float(np.hypot(uncertainty.std_error, np.std(slopes, ddof=1)))
    return Uncertainty(std_error, f"{uncertainty.method}, with the spread over {len(slopes)} splits", uncertainty.df)


def _require_doses(study: Study) -> None:
    if study.is_binary:
        raise EstimationError("dose_response follows a dose; a 0/1 treatment has none: use aipw")
    if study.spec.is_panel:
        raise EstimationError("dose_response compares units once each; on a panel use twfe or distributed_lag")
    if study.n < MIN_ROWS:
        raise TooFewRows(f"{study.n} rows cannot show a curve; dose_response needs {MIN_ROWS}")
    doses = len(np.unique(study.t))
    if doses < MIN_DOSES:
        raise EstimationError(
            f"'{study.spec.treatment}' has {doses} different values; a curve needs {MIN_DOSES}: compare two of them "
            "as arms (--treated, --control)"
        )


def _cross_fit(study: Study, split: int, learners: dict[str, str] | None) -> _Nuisances:
    order = np.lexsort((study.y, study.t, *study.x.T[::-1]))
    x, t, y = study.x[order], study.t[order], study.y[order]
    rng = np.random.default_rng([study.spec.random_state, split])
    folds = assign_folds(t, None if study.clusters is None else study.clusters[order], rng, stratify=False)
    seed = int(rng.integers(2**31 - 1))
    grid = np.unique(np.quantile(t, np.linspace(0, 1, GRID)))
    mean, over, ratio = np.empty(study.n), np.empty((study.n, len(grid))), np.empty(study.n)
    choices = learners or _choices(x, t, y, folds, seed)
    for fold in np.unique(folds):
        new, train = folds == fold, folds != fold
        ratio[new] = _density_ratio(x[train], t[train], x[new], t[new], choices["dose"], seed)
        over[new] = _outcomes_over(x[train], t[train], y[train], x[new], grid, choices["outcome"], seed)
        mean[new] = _own(grid, over[new], t[new])
    back = np.empty(study.n, dtype=np.int64)
    back[order] = np.arange(study.n)
    kept = np.clip(ratio, 1.0 / LARGEST_RATIO, LARGEST_RATIO)
    effective = float(kept.sum() ** 2 / (kept @ kept))
    # The ratio averages to 1; where covariates pin the dose down the rows that would weigh much do not exist.
    if effective < LEAST_EFFECTIVE * study.n or kept.mean() < LEAST_MEAN_RATIO:
        raise OverlapViolated(
            f"the covariates all but determine '{study.spec.treatment}': comparing like with like at every dose leaves "
            f"too little of these {study.n} rows; adjust for fewer columns or ask about two doses"
        )
    return _Nuisances(grid, mean[back], over[back], kept[back], int((kept != ratio).sum()), choices)


def _choices(x: FloatArray, t: FloatArray, y: FloatArray, folds: IntArray, seed: int) -> dict[str, str]:
    """The learner with the least error on one held-out fold, for the dose and for the outcome."""
    new, train = folds == 0, folds != 0
    chosen = {}
    features = _features(x, t, t[train])
    for name, inputs, target in (("dose", x, t), ("outcome", features, y)):
        names = candidate_learners(int(train.sum()), inputs.shape[1], "auto")
        found = fit_predict(names, inputs[train], target[train], inputs[new], probability=False, seed=seed)
        errors = [float(((target[new] - found[one]) ** 2).mean()) for one in names]
        chosen[name] = names[int(np.argmin(errors))]
    return chosen


def _features(x: FloatArray, dose: FloatArray, seen: FloatArray) -> FloatArray:
    """Covariates with the dose, its square and its cube, standardised by the doses ``seen`` in training."""
    scaled = (dose - seen.mean()) / seen.std()
    return np.column_stack([x, scaled, scaled**2, scaled**3])


def _outcomes_over(
    x: FloatArray, t: FloatArray, y: FloatArray, new: FloatArray, grid: FloatArray, learner: str, seed: int
) -> FloatArray:
    doses = np.repeat(grid, len(new))
    stacked = _features(np.tile(new, (len(grid), 1)), doses, t)
    found = fit_predict((learner,), _features(x, t, t), y, stacked, probability=False, seed=seed)[learner]
    return np.asarray(found.reshape(len(grid), len(new)).T, dtype=np.float64)


def _density_ratio(
    x: FloatArray, t: FloatArray, x_new: FloatArray, t_new: FloatArray, learner: str, seed: int
) -> FloatArray:
    """ϖ(A)/π(A|X) of new rows: residual density at the row's own covariates and on average over training rows."""
    half = np.arange(len(x)) % 2 == 0
    located = np.empty(len(x))
    for part in (half, ~half):
        located[part] = fit_predict((learner,), x[~part], t[~part], x[part], probability=False, seed=seed)[learner]
    centre_new = fit_predict((learner,), x, t, x_new, probability=False, seed=seed)[learner]
    squares = (t - located) ** 2
    floor = 0.05 * float(squares.mean())
    spread = np.sqrt(np.maximum(fit_predict((learner,), x, squares, x, probability=False, seed=seed)[learner], floor))
    spread_new = fit_predict((learner,), x, squares, x_new, probability=False, seed=seed)[learner]
    spread_new = np.sqrt(np.maximum(spread_new, floor))
    standard = (t - located) / spread
    grid, density = _density(standard)
    own = np.interp((t_new - centre_new) / spread_new, grid, density, left=0.0, right=0.0) / spread_new
    doses = np.quantile(t, np.linspace(0, 1, 4 * GRID))
    doses = np.unique(doses)
    rows = np.arange(0, len(x), max(1, len(x) // 2_000))
    marginal = [
        float(
            (np.interp((dose - located[rows]) / spread[rows], grid, density, left=0.0, right=0.0) / spread[rows]).mean()
        )
        for dose in doses
    ]
    overall = np.interp(t_new, doses, marginal)
    return np.asarray(overall / np.maximum(own, 1e-12), dtype=np.float64)


def _density(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gaussian kernel density (Silverman's bandwidth) on a fine grid, from binned values."""
    low, high = float(np.quantile(values, 0.25)), float(np.quantile(values, 0.75))
    scale = min(float(values.std()), (high - low) / 1.349) or float(values.std())
    width = 0.9 * scale * len(values) ** -0.2
    edges = np.linspace(values.min() - 4 * width, values.max() + 4 * width, 513)
    counts, _ = np.histogram(values, edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    kernel = np.exp(-0.5 * ((middle[:, None] - middle[None, :]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return middle, np.asarray(kernel @ counts / len(values), dtype=np.float64)


def _own(grid: FloatArray, over: FloatArray, t: FloatArray) -> FloatArray:
    """Each row of ``over`` (n, G) read off at the row's own dose."""
    right = np.clip(np.searchsorted(grid, t), 1, len(grid) - 1)
    share = np.clip((t - grid[right - 1]) / (grid[right] - grid[right - 1]), 0.0, 1.0)
    rows = np.arange(len(t))
    return np.asarray(over[rows, right - 1] * (1 - share) + over[rows, right] * share, dtype=np.float64)


def _at(grid: FloatArray, values: FloatArray, t: FloatArray) -> FloatArray:
    return np.asarray(np.interp(t, grid, values), dtype=np.float64)


def _slope_influence(study: Study, found: _Nuisances, xi: FloatArray, value: float) -> FloatArray:
    """Influence function (n,) of cov(A, ξ)/var(A): w(A)(ξ − α − βA) + g(X) − ḡ, g(x) = ∫w(a)μ(x,a)dF(a).

    w(a) = (a − Ā)/var(A). The first part is that of least squares with ∫μdP known, the second the
    sampling of X in it.
    """
    centred = study.t - study.t.mean()
    weight = centred / float((centred**2).mean())
    direct = weight * (xi - xi.mean() - value * centred)
    share = _grid_shares(found.grid, study.t, weight)
    inner = found.over @ share
    return np.asarray(direct + inner - inner.mean(), dtype=np.float64)


def _grid_shares(grid: FloatArray, t: FloatArray, weight: FloatArray) -> FloatArray:
    """Coefficients (G,) with which values on the grid add up to the mean over rows of weight·value(dose)."""
    right = np.clip(np.searchsorted(grid, t), 1, len(grid) - 1)
    share = np.clip((t - grid[right - 1]) / (grid[right] - grid[right - 1]), 0.0, 1.0)
    total = np.bincount(right - 1, weight * (1 - share), minlength=len(grid))
    return np.asarray((total + np.bincount(right, weight * share, minlength=len(grid))) / len(t), dtype=np.float64)


def _curve(study: Study, xi: FloatArray, found: _Nuisances) -> tuple[tuple[ProfilePoint, ...], float]:
    t = study.t
    low, high = np.quantile(t, [_TAIL, 1 - _TAIL])
    bandwidth = _bandwidth(t, xi)
    points = []
    for dose in np.linspace(low, high, POINTS):
        rows = np.flatnonzero(np.abs(t - dose) < bandwidth)
        if len(rows) < SMALLEST_CELL or len(np.unique(t[rows])) < 3:
            continue
        # A line at the bandwidth that is best for lines is bent by the curve; a parabola there is not, and its error
        # allows for that (Calonico, Cattaneo & Titiunik 2014, remark 7).
        loads, fitted = _local_fit(t[rows], xi[rows], float(dose), bandwidth, 2)
        # Beside the noise of the local fit, the sampling of X in the mean of μ(X, dose).
        level = _own(found.grid, found.over, np.full(study.n, dose))
        noise = (level - level.mean()) / study.n
        noise[rows] += loads * (xi[rows] - fitted)
        uncertainty = _sandwich(noise, study.clusters)
        value = float(loads @ xi[rows])
        points.append(ProfilePoint(float(dose), value, uncertainty.std_error, interval(value, uncertainty), len(rows)))
    return tuple(points), bandwidth


def _local_fit(
    t: FloatArray, xi: FloatArray, at: float, bandwidth: float, degree: int
) -> tuple[FloatArray, FloatArray]:
    """Weights (m,) that give the local polynomial's value at ``at``, and the polynomial's values at the rows."""
    distance = (t - at) / bandwidth
    kernel = 1.0 - distance**2
    design = np.vander(distance, degree + 1, increasing=True)
    bread = np.linalg.pinv((design * kernel[:, None]).T @ design, hermitian=True)
    loads = (design @ bread) * kernel[:, None]
    return loads[:, 0], design @ (loads.T @ xi)


def _sandwich(noise: FloatArray, clusters: IntArray | None) -> Uncertainty:
    if clusters is None:
        return Uncertainty(float(np.sqrt(noise @ noise)), "sandwich", None)
    groups = count_clusters(clusters)
    sums = cluster_sums(noise, clusters)
    return Uncertainty(float(np.sqrt(groups / (groups - 1) * (sums @ sums))), "sandwich", float(groups - 1))


def _bandwidth(t: FloatArray, xi: FloatArray) -> float:
    """The bandwidth with the least leave-one-out error, over 150 rows, among multiples of the dose's spread.

    Errors beyond the central 98 % of pseudo-outcomes are cut off: single large weights must not choose.
    """
    rows = np.argsort(t, kind="stable")[np.linspace(0, len(t) - 1, min(len(t), LEFT_OUT)).astype(np.int64)]
    low, high = np.quantile(xi, [0.01, 0.99])
    capped = np.clip(xi, low, high)
    widest = float(t.std())
    errors = []
    for width in _BANDWIDTHS * widest:
        squares = []
        for row in rows:
            near = np.flatnonzero(np.abs(t - t[row]) < width)
            if len(np.unique(t[near])) < 3:
                squares.append(np.nan)
                continue
            loads, _ = _local_fit(t[near], capped[near], float(t[row]), width, 1)
            own = float(loads[near == row][0])
            fitted = float(loads @ capped[near])
            squares.append(((capped[row] - fitted) / max(1.0 - own, 1e-3)) ** 2)
        errors.append(
            float(np.mean(squares)) if np.isfinite(squares).mean() > 0.9 and not np.isnan(squares).any() else np.inf
        )
    best = int(np.argmin(errors))
    return float((_BANDWIDTHS * widest)[best if np.isfinite(errors[best]) else -1])
