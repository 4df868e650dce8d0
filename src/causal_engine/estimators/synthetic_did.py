"""Which mix of units without the treatment moved like the adopters before, and how did the two part afterwards?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import Uncertainty, interval, make_estimate
from src.causal_engine.estimators.panel_data import Adoption, Panel, adoption_of, demean, panel_of
from src.causal_engine.results import ADOPTION_AXIS, EffectProfile, ProfilePoint
from src.causal_engine.spec import Estimand
from src.causal_engine.study import MIN_PER_ARM, FloatArray, IntArray, Study
from src.domain.small_cells import counted
from src.errors import EstimationError, TooFewRows

MIN_PERIODS_BEFORE = 4
MIN_NEVER_TREATED = 10
PLACEBO_DRAWS = 200
MANY_NEVER_TREATED = 100
MAX_SHARE_INCOMPLETE = 0.1
MOST_EXACT = 40
_MOST_STEPS = 5_000
_GAP = 1e-6
_WELL_CONDITIONED = 1e-4
_NOTE = (
    "Adopters less their weighted comparison units, relative to the weighted periods before adoption. Before adoption "
    "the weights were chosen to make this small, so a flat line there is no test."
)


def fit_synthetic_did(study: Study) -> FittedEffect:
    """Synthetic difference-in-differences (Arkhangelsky et al. 2021, algorithm 1); ATT.

    Per adoption date, never-treated units and periods before are weighted to run parallel to the
    adopters (their eqs. 4 and 6, regularised by eq. 5), then compared by weighted two-way differences.
    Several dates: their effects averaged by treated unit-periods (ibid., appendix on staggered
    adoption; Clarke et al. 2024, eq. 7). Controls that change within units are taken out first, with
    slopes from the rows not yet treated (ibid., footnote 4).

    The error is the placebo one (algorithm 4): 200 times (50 with over 100 never-treated units) as many
    never-treated units take the adopters' dates; "permutation_p" is the share of their effects as large
    as the estimate. From 30 adopters on it is the larger of that and the jackknife with weights kept
    (algorithm 3), which sees no error of the weights. The interval is normal. Where adopters were chosen
    by what also makes outcomes move, and the weights only partly undo that, it covers less than it says.

    Demands a balanced panel (units with gaps are left out, at most a tenth), four periods before the
    first adoption, ten never-treated units, more of them than adopters for placebos. Raises
    EstimationError or TooFewRows otherwise.
    """
    return _fit(study, placebo_draws=PLACEBO_DRAWS)


def refit_synthetic_did(study: Study) -> FittedEffect:
    """The same value with the cheap jackknife error, for refits of which only values are needed."""
    return _fit(study, placebo_draws=0)


def _fit(study: Study, *, placebo_draws: int) -> FittedEffect:
    panel = panel_of(study)
    grid = _grid(study, panel, _adoption(study, panel))
    fits = tuple(_cohort_fits(grid))
    value, moved = _average(fits), _leave_one_out(fits, grid.n_units)
    treated = int((grid.first >= 0).sum())
    jackknife = Uncertainty(_jackknife(moved), "jackknife over units, weights kept", None)
    diagnostics = [("n_adoption_dates", float(len(fits))), ("n_never_treated", float(len(grid.never)))]
    uncertainty, period_errors = jackknife, None
    if placebo_draws and len(grid.never) > treated:
        effects, period_errors = _placebos(grid, _affordable(grid, placebo_draws), study.spec.random_state)
        extreme = (1 + int((np.abs(effects) >= abs(value)).sum())) / (1 + len(effects))
        diagnostics.append(("permutation_p", extreme))
        told = f"placebo: {counted(treated)} never-treated units in the adopters' place, {len(effects)} times"
        placebo = Uncertainty(float(effects.std()), told, None)
        if treated < MIN_PER_ARM or placebo.std_error > jackknife.std_error:
            uncertainty = placebo
    estimate = make_estimate(
        study,
        estimator="synthetic_did",
        estimand=Estimand.ATT,
        value=value,
        uncertainty=uncertainty,
        n=len(grid.rows),
        n_treated=treated,
        n_dropped=study.n - len(grid.rows),
        adjusted_for=(*(key for key in (study.spec.unit_key, study.spec.time_key) if key), *grid.controls),
        diagnostics=tuple(diagnostics),
    )
    wider = uncertainty.std_error / jackknife.std_error if jackknife.std_error > 0 else 0.0
    profile = EffectProfile(ADOPTION_AXIS, _points(fits, grid.n_units, period_errors), _NOTE)
    return FittedEffect(replace(estimate, profile=profile), _influence(study, grid, moved, wider))


@dataclass(frozen=True)
class _Grid:
    """A balanced panel: ``y`` (N, T); ``first`` (N,) column at which a unit adopts, −1 for never; ``rows`` used."""

    y: FloatArray
    first: IntArray
    rows: IntArray
    row_of_unit: IntArray
    controls: tuple[str, ...]

    @property
    def n_units(self) -> int:
        return len(self.y)

    @property
    def never(self) -> IntArray:
        return np.flatnonzero(self.first < 0)


@dataclass(frozen=True)
class _CohortFit:
    """Weights of one adoption date; ``treated`` and ``control`` are unit positions.

    ``deviations`` (N, T): outcomes less the unit's weighted mean before; ``changes`` (N,) what is compared,
    their mean over the periods after; ``size`` the treated unit-periods it counts for.
    """

    start: int
    treated: IntArray
    control: IntArray
    unit_weights: FloatArray
    deviations: FloatArray
    changes: FloatArray
    size: int

    @property
    def value(self) -> float:
        return float(self.changes[self.treated].mean() - self.unit_weights @ self.changes[self.control])

    def at(self, since: int) -> _CohortFit:
        """The same comparison in the one period ``since`` adoption."""
        return replace(self, changes=self.deviations[:, self.start + since], size=len(self.treated))


def _adoption(study: Study, panel: Panel) -> Adoption:
    adoption = adoption_of(study, panel)
    name = study.spec.treatment
    if adoption is None:
        raise EstimationError(f"synthetic_did compares adopters with others; '{name}' is not 0/1: use twfe")
    if not adoption.absorbing:
        raise EstimationError(f"'{name}' is switched off again in some units; synthetic_did needs lasting adoption")
    if adoption.always_treated:
        raise EstimationError(
            f"{counted(adoption.always_treated)} units have '{name}' from their first period on; leave those units out"
        )
    return adoption


def _grid(study: Study, panel: Panel, adoption: Adoption) -> _Grid:
    steps, column = np.unique(panel.period, return_inverse=True)
    seen = np.bincount(panel.unit, minlength=panel.n_units)
    complete = seen == len(steps)
    if complete.mean() < 1 - MAX_SHARE_INCOMPLETE:
        raise EstimationError(
            f"{int((~complete).sum())} of {len(seen)} units are not seen in every period; synthetic_did needs a "
            "balanced panel: use imputation"
        )
    y, controls = _without_controls(study, panel)
    position = np.cumsum(complete) - 1
    rows = np.flatnonzero(complete[panel.unit])
    grid_y = np.empty((int(complete.sum()), len(steps)))
    grid_y[position[panel.unit[rows]], column[rows]] = y[rows]
    first = adoption.first_period[complete]
    starts = np.where(first >= 0, np.searchsorted(steps, first), -1)
    last = np.empty(len(grid_y), dtype=np.int64)
    last[position[panel.unit[rows]]] = rows
    grid = _Grid(grid_y, np.asarray(starts, dtype=np.int64), rows, last, controls)
    _require_room(grid)
    return grid


def _require_room(grid: _Grid) -> None:
    adopters = grid.first[grid.first >= 0]
    if len(adopters) == 0:
        raise TooFewRows("no adopting unit is seen in every period; synthetic_did has nobody to compare")
    if adopters.min() < MIN_PERIODS_BEFORE:
        raise TooFewRows(
            f"the first adopters are seen {int(adopters.min())} periods before adoption; synthetic_did needs "
            f"{MIN_PERIODS_BEFORE} to find comparison units that ran alike: use imputation"
        )
    never = len(grid.never)
    needed = max(MIN_NEVER_TREATED, len(adopters) + 1 if len(adopters) < MIN_PER_ARM else 0)
    if never < needed:
        raise TooFewRows(f"{counted(never)} units never adopt; synthetic_did needs {needed} beside the adopters")


def _without_controls(study: Study, panel: Panel) -> tuple[FloatArray, tuple[str, ...]]:
    """Outcomes less the part of controls that change within units, slopes from the rows not yet treated."""
    if study.x.shape[1] == 0:
        return study.y, ()
    rows = np.flatnonzero(study.t == 0)
    part = panel.take(rows)
    columns = np.column_stack([study.y, study.x])[rows]
    within = demean(columns, part)
    spread = ((columns - columns.mean(axis=0)) ** 2).sum(axis=0)
    varying = np.flatnonzero((within**2).sum(axis=0)[1:] > 1e-9 * np.maximum(spread[1:], 1e-300))
    slopes = np.zeros(study.x.shape[1])
    slopes[varying] = np.linalg.lstsq(within[:, 1 + varying], within[:, 0], rcond=1e-9)[0]
    used = tuple(dict.fromkeys(study.design[2][j] for j in varying))
    return np.asarray(study.y - study.x @ slopes, dtype=np.float64), used


def _cohort_fits(grid: _Grid) -> Iterator[_CohortFit]:
    control = grid.never
    for start in np.unique(grid.first[grid.first >= 0]):
        treated = np.flatnonzero(grid.first == start)
        yield _cohort_fit(grid.y, int(start), treated, control)


def _cohort_fit(y: FloatArray, start: int, treated: IntArray, control: IntArray) -> _CohortFit:
    before, after = y[control, :start], y[control, start:]
    noise = float(np.diff(before, axis=1).std(ddof=1))
    zeta = (len(treated) * after.shape[1]) ** 0.25 * noise
    units = simplex_weights(before.T, y[treated, :start].mean(axis=0), zeta**2 * start)
    times = simplex_weights(before, after.mean(axis=1), (1e-6 * noise) ** 2 * len(control))
    deviations = y - (y[:, :start] @ times)[:, None]
    changes = deviations[:, start:].mean(axis=1)
    return _CohortFit(start, treated, control, units, deviations, changes, len(treated) * after.shape[1])


def simplex_weights(columns: FloatArray, target: FloatArray, penalty: float) -> FloatArray:
    """Weights w ≥ 0, Σw = 1, that minimise ‖w₀ + columns·w − target‖² + penalty·‖w‖², w₀ free; shape (k,).

    Since Σw = 1 the loss is w'Qw; any minimiser u ≥ 0 of u'Qu + (Σu − 1)² is a multiple of it, which
    non-negative least squares (Lawson & Hanson 1974) finds exactly. Its cost grows with the cube of k: beyond 40
    weights, where the penalty makes them well conditioned, ``_by_descent`` finds them to a gap of 1e-6 of the loss.
    """
    left = (columns - columns.mean(axis=0)) - (target - target.mean())[:, None]
    size = columns.shape[1]
    if size > MOST_EXACT and penalty * size > _WELL_CONDITIONED * float((left**2).sum()):
        return _by_descent(left, penalty)
    gram = left.T @ left + penalty * np.eye(size)
    scale = max(float(np.trace(gram)) / size, 1e-300)
    # A trifle on the diagonal keeps the factor real where columns repeat one another.
    root = np.linalg.cholesky(gram / scale + np.ones((size, size)) + 1e-10 * np.eye(size)).T
    found, _ = nnls(root, np.linalg.solve(root.T, np.ones(size)), maxiter=30 * size)
    return np.asarray(found / found.sum(), dtype=np.float64)


def _by_descent(left: FloatArray, penalty: float) -> FloatArray:
    """Accelerated projected gradient for ‖left·w‖² + penalty·‖w‖² on the simplex (Beck & Teboulle 2009), restarted.

    Stops when the duality gap, which bounds the distance from the least loss, is a millionth of it.
    """
    size = left.shape[1]
    step = 1.0 / (float(np.linalg.norm(left, 2)) ** 2 + penalty)
    weights = point = np.full(size, 1.0 / size)
    momentum = 1.0
    for _ in range(_MOST_STEPS):
        slope = left.T @ (left @ point) + penalty * point
        moved = _onto_simplex(point - step * slope)
        if float((point - moved) @ (moved - weights)) > 0:  # momentum points uphill
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        point = moved + (momentum - 1.0) / following * (moved - weights)
        weights, momentum = moved, following
        slope = left.T @ (left @ weights) + penalty * weights
        loss = float(slope @ weights)
        if loss - float(slope.min()) <= _GAP * loss:
            break
    return np.asarray(weights, dtype=np.float64)


def _onto_simplex(values: FloatArray) -> FloatArray:
    """The nearest point with parts ≥ 0 that add up to 1 (Duchi et al. 2008)."""
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - 1.0) / np.arange(1, len(values) + 1)
    return np.asarray(np.maximum(values - excess[np.flatnonzero(ordered > excess)[-1]], 0.0), dtype=np.float64)


def _average(fits: tuple[_CohortFit, ...]) -> float:
    sizes = np.array([fit.size for fit in fits], dtype=np.float64)
    return float(sizes @ np.array([fit.value for fit in fits]) / sizes.sum())


def _leave_one_out(fits: tuple[_CohortFit, ...], n_units: int) -> FloatArray:
    """Estimate without each unit in turn, weights of the others kept in proportion (algorithm 3); (N,)."""
    sizes = np.array([fit.size for fit in fits], dtype=np.float64)
    values = np.tile([fit.value for fit in fits], (n_units, 1))
    weights = np.tile(sizes, (n_units, 1))
    for k, fit in enumerate(fits):
        control = float(fit.unit_weights @ fit.changes[fit.control])
        rest = 1.0 - fit.unit_weights
        without = (control - fit.unit_weights * fit.changes[fit.control]) / np.where(rest > 1e-12, rest, 1.0)
        mine = float(fit.changes[fit.treated].mean())
        values[fit.control, k] = mine - np.where(rest > 1e-12, without, control)
        others = len(fit.treated) - 1
        weights[fit.treated, k] *= others / len(fit.treated)
        if others:
            values[fit.treated, k] = (mine * (others + 1) - fit.changes[fit.treated]) / others - control
    total = weights.sum(axis=1)
    everyone = _average(fits)
    return np.where(total > 0, (weights * values).sum(axis=1) / np.where(total > 0, total, 1.0), everyone)


def _affordable(grid: _Grid, draws: int) -> int:
    return draws if len(grid.never) <= MANY_NEVER_TREATED else draws // 4


def _jackknife(moved: FloatArray) -> float:
    return float(np.sqrt((len(moved) - 1) / len(moved) * ((moved - moved.mean()) ** 2).sum()))


def _placebos(grid: _Grid, draws: int, random_state: int) -> tuple[FloatArray, FloatArray]:
    """Effects (draws,) of never-treated units in the adopters' place (algorithm 4), and their spread by period."""
    rng = np.random.default_rng(random_state)
    never, dates = grid.never, grid.first[grid.first >= 0]
    y = grid.y[never]
    effects, by_period = [], []
    for _ in range(draws):
        first = np.full(len(never), -1, dtype=np.int64)
        first[rng.permutation(len(never))[: len(dates)]] = dates
        fits = tuple(_cohort_fits(replace(grid, y=y, first=first)))
        effects.append(_average(fits))
        by_period.append([_average(part) for _, part in _periods(fits)])
    return np.array(effects), np.array(by_period).std(axis=0)


def _periods(fits: tuple[_CohortFit, ...]) -> Iterator[tuple[int, tuple[_CohortFit, ...]]]:
    """Every number of periods since adoption, with the comparisons that reach it."""
    length = fits[0].deviations.shape[1]
    for since in range(-max(fit.start for fit in fits), length - min(fit.start for fit in fits)):
        reached = tuple(fit.at(since) for fit in fits if 0 <= fit.start + since < length)
        if reached:
            yield since, reached


def _points(fits: tuple[_CohortFit, ...], n_units: int, errors: FloatArray | None) -> tuple[ProfilePoint, ...]:
    points = []
    for k, (since, part) in enumerate(_periods(fits)):
        value = _average(part)
        std_error = _jackknife(_leave_one_out(part, n_units)) if errors is None else float(errors[k])
        ci = interval(value, Uncertainty(std_error, "", None))
        points.append(ProfilePoint(float(since), value, std_error, ci, sum(len(fit.treated) for fit in part)))
    return tuple(points)


def _influence(study: Study, grid: _Grid, moved: FloatArray, wider: float) -> FloatArray:
    """Jackknife pseudo-values (n,) on each unit's last row, scaled to the standard error."""
    influence = np.zeros(study.n)
    units = grid.n_units
    influence[grid.row_of_unit] = (moved.mean() - moved) * np.sqrt((units - 1) / units) * study.n * wider
    return influence
