"""What would adopters have had without adopting, judged by what nobody had yet adopted; and what did they have?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.event_study import NOTE, lead_points, point
from src.causal_engine.estimators.inference import Uncertainty, make_estimate, of_influence
from src.causal_engine.estimators.panel_data import Adoption, Panel, adoption_of, panel_of
from src.causal_engine.estimators.positivity import BoolArray
from src.causal_engine.results import ADOPTION_AXIS, EffectEstimate, EffectProfile, ProfilePoint
from src.causal_engine.spec import Estimand
from src.causal_engine.study import MIN_PER_ARM, FloatArray, IntArray, Study
from src.domain.small_cells import counted
from src.errors import EstimationError, TooFewRows

MIN_UNTREATED_UNITS = 10
SMALLEST_GROUP = 5
_ROWS_PER_COLUMN = 5
_EXPLAINED = 1e-9
_METHOD = "imputation influence (conservative)"


def fit_imputation(study: Study) -> FittedEffect:
    """Imputation estimator for lasting adoption at any dates (Borusyak, Jaravel & Spiess 2024); ATT.

    Outcomes without adoption, α_i + λ_t + x_it'β, are fitted to the rows not (yet) treated; the effect
    of a treated row is its outcome less its fitted value; the estimate is their mean over treated rows.
    Each row counts once, so effects may differ by unit, adoption date and time since. Controls that
    never change within a unit enter with a slope for each period (trends may differ with them).

    Errors: their theorem 3, √Σ_i(Σ_t v_it·ε̃_it)², v the weights of the estimate on the outcomes and ε̃
    the residuals, for treated rows around the mean effect of those that adopted together, leaving the
    unit itself out; conservative when effects differ within these groups. Clusters coarser than units
    are used when named. The profile has the effect by periods since adoption, and before adoption the
    leads of the pre-trend test, which sees rows not yet treated only.

    Demands 30 adopting units with a period before, and 10 units not yet treated in each period that is
    used; treated rows without are left out and counted. Raises EstimationError for reversible or
    non-binary treatments, TooFewRows otherwise.
    """
    panel = panel_of(study)
    adoption = _lasting_adoption(study, panel)
    treated = comparable_rows(study, panel)
    _require_units(panel, treated)
    model = UntreatedModel.of(study, panel, study.t == 0)
    effects = np.where(treated | (study.t == 0), study.y - model.predicted, 0.0)
    groups = _groups(panel, adoption, treated)
    clusters = panel.unit if study.clusters is None else study.clusters
    weights = treated / treated.sum()
    influence = _influence(model, panel, effects, weights, groups)
    estimate = make_estimate(
        study,
        estimator="imputation",
        estimand=Estimand.ATT,
        value=float(weights @ effects),
        uncertainty=of_influence(influence, clusters, _METHOD),
        n=int((study.t == 0).sum() + treated.sum()),
        n_treated=len(np.unique(panel.unit[treated])),
        n_dropped=int(((study.t == 1) & ~treated).sum()),
        adjusted_for=(*(key for key in (study.spec.unit_key, study.spec.time_key) if key), *model.controls),
        diagnostics=(
            ("n_adoption_dates", float(len(adoption.dates))),
            ("n_treated_rows", float(treated.sum())),
        ),
    )
    lags = _lag_points(study, panel, adoption, model, effects, treated, groups, clusters)
    return FittedEffect(_with_profile(study, panel, adoption, estimate, lags), influence)


@dataclass(frozen=True)
class UntreatedModel:
    """Least squares of outcomes on unit, period and controls over the untreated rows of a panel.

    ``columns`` (n, k): period indicators and controls of every row; ``means`` (n_units, k) their means,
    ``counts`` (n_units,) the number, of untreated rows; ``controls`` the source columns used.
    """

    y: FloatArray
    unit: IntArray
    untreated: BoolArray
    columns: FloatArray
    means: FloatArray
    counts: FloatArray
    controls: tuple[str, ...]

    @classmethod
    def of(cls, study: Study, panel: Panel, untreated: BoolArray) -> UntreatedModel:
        """Assemble the model; raises TooFewRows when untreated rows cannot carry its columns."""
        periods = np.unique(panel.period, return_inverse=True)[1]
        dummies = (periods[:, None] == np.arange(1, int(periods.max()) + 1)).astype(np.float64)
        controls, sources = _control_columns(study, panel, dummies, untreated)
        columns = np.column_stack([dummies, controls])
        if untreated.sum() < panel.n_units + _ROWS_PER_COLUMN * columns.shape[1]:
            raise TooFewRows(
                f"{int(untreated.sum())} rows not yet treated cannot determine {panel.n_units} unit levels and "
                f"{columns.shape[1]} period and control effects; adjust for fewer columns"
            )
        counts = np.bincount(panel.unit[untreated], minlength=panel.n_units).astype(np.float64)
        means = _unit_means(columns, panel.unit, untreated, counts)
        return cls(study.y, panel.unit, untreated, columns, means, counts, sources)

    @cached_property
    def within(self) -> FloatArray:
        """Untreated rows of ``columns`` less their unit's mean, (n0, k)."""
        return self.columns[self.untreated] - self.means[self.unit[self.untreated]]

    @cached_property
    def inverse(self) -> FloatArray:
        """Pseudo-inverse of the within cross-product, (k, k)."""
        return np.asarray(np.linalg.pinv(self.within.T @ self.within, rcond=1e-12, hermitian=True), dtype=np.float64)

    @cached_property
    def predicted(self) -> FloatArray:
        """Outcome without treatment of every row, (n,); NaN for units never seen untreated."""
        y_means = _unit_means(self.y[:, None], self.unit, self.untreated, self.counts)[:, 0]
        slopes = self.inverse @ (self.within.T @ self.y[self.untreated])
        return np.asarray((y_means - self.means @ slopes)[self.unit] + self.columns @ slopes, dtype=np.float64)

    def weights_behind(self, weights: FloatArray) -> FloatArray:
        """Weights (n,) on untreated outcomes that Σ weights·predicted amounts to.

        Raises EstimationError when the untreated rows do not determine that sum.
        """
        per_unit = np.bincount(self.unit, weights=weights, minlength=len(self.counts))
        seen = np.where(per_unit != 0, per_unit, 0.0)
        needed = self.columns.T @ weights - seen @ np.nan_to_num(self.means)
        solved = self.inverse @ needed
        missed = needed - self.within.T @ (self.within @ solved)
        if float(np.abs(missed).max(initial=0.0)) > 1e-6 * max(float(np.abs(needed).max(initial=0.0)), 1e-12):
            raise EstimationError(
                "the rows not yet treated do not link the adopters' periods with others; nothing can be imputed"
            )
        found = np.zeros(len(self.y))
        unit = self.unit[self.untreated]
        found[self.untreated] = seen[unit] / self.counts[unit] + self.within @ solved
        return found


def comparable_rows(study: Study, panel: Panel) -> BoolArray:
    """Treated rows (n,) of units once seen untreated, in periods with ten untreated units."""
    untreated = study.t == 0
    before = np.bincount(panel.unit[untreated], minlength=panel.n_units) > 0
    periods = np.unique(panel.period, return_inverse=True)[1]
    others = np.bincount(periods[untreated], minlength=int(periods.max()) + 1) >= MIN_UNTREATED_UNITS
    return np.asarray((study.t == 1) & before[panel.unit] & others[periods], dtype=np.bool_)


def _lasting_adoption(study: Study, panel: Panel) -> Adoption:
    adoption = adoption_of(study, panel)
    name = study.spec.treatment
    if adoption is None:
        raise EstimationError(f"imputation follows units that adopt; '{name}' is not 0/1: use twfe")
    if not adoption.absorbing:
        raise EstimationError(
            f"'{name}' is switched off again in some units; imputation needs lasting adoption: use twfe"
        )
    return adoption


def _require_units(panel: Panel, treated: BoolArray) -> None:
    adopters = len(np.unique(panel.unit[treated]))
    if adopters < MIN_PER_ARM:
        raise TooFewRows(
            f"{counted(adopters)} adopting units have a period before adoption and {MIN_UNTREATED_UNITS} units not yet "
            f"treated beside them; imputation needs at least {MIN_PER_ARM}: for few adopters use synthetic_did"
        )


def _control_columns(
    study: Study, panel: Panel, dummies: FloatArray, untreated: BoolArray
) -> tuple[FloatArray, tuple[str, ...]]:
    """Controls that change within units as they are, the others times period; the source columns of both."""
    x, _, sources = study.design
    blocks: list[FloatArray] = []
    counts = np.bincount(panel.unit).astype(np.float64)
    within = x - _unit_means(x, panel.unit, np.ones(len(x), dtype=np.bool_), counts)[panel.unit]
    for j in range(x.shape[1]):
        centred = x[:, j] - x[untreated, j].mean()
        total = float(centred @ centred)
        if total <= 0:
            continue
        varies = float(within[:, j] @ within[:, j]) > _EXPLAINED * total
        blocks.append(x[:, j : j + 1] if varies else centred[:, None] * dummies)
    columns = np.column_stack(blocks) if blocks else np.empty((len(x), 0))
    return columns, tuple(dict.fromkeys(sources))


def _unit_means(columns: FloatArray, unit: IntArray, rows: BoolArray, counts: FloatArray) -> FloatArray:
    sums = np.empty((len(counts), columns.shape[1]))
    for j, column in enumerate(columns.T):
        sums[:, j] = np.bincount(unit[rows], weights=column[rows], minlength=len(counts))
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / np.where(counts > 0, counts, np.nan)[:, None], dtype=np.float64)


def _groups(panel: Panel, adoption: Adoption, treated: BoolArray) -> IntArray:
    """Group of each treated row (n,): adoption date and period; −1 elsewhere.

    Dates at which fewer than five units adopted are one cohort, told apart by periods since adoption.
    """
    first = adoption.first_period[panel.unit]
    per_date = {int(date): len(np.unique(panel.unit[treated & (first == date)])) for date in adoption.dates}
    large = np.isin(first, [date for date, units in per_date.items() if units >= SMALLEST_GROUP])
    span = int(panel.period.max()) + 1
    codes = np.where(large, first + 1, 0) * span + (panel.period - first)
    found = np.full(len(first), -1)
    found[treated] = np.unique(codes[treated], return_inverse=True)[1]
    return np.asarray(found, dtype=np.int64)


def _influence(
    model: UntreatedModel, panel: Panel, effects: FloatArray, weights: FloatArray, groups: IntArray
) -> FloatArray:
    """n·v·ε̃ of each row (n,), whose sums by unit are those of theorem 3."""
    v = weights - model.weights_behind(weights)
    left = np.where(model.untreated, effects, 0.0)
    used = np.flatnonzero(weights > 0)
    left[used] = effects[used] - _others_mean(weights[used], effects[used], groups[used])
    return len(v) * v * left


def _others_mean(weights: FloatArray, effects: FloatArray, groups: IntArray) -> FloatArray:
    """Mean effect of the rest of each row's group, weights squared; of all other rows when it is alone.

    Weights squared make the variance smallest (their equation 8); a unit's own effect is left out (their
    appendix on leave-out errors), which would otherwise hide its noise.
    """
    squares = weights**2
    total, sums = np.bincount(groups, squares), np.bincount(groups, squares * effects)
    alone = total[groups] - squares <= 1e-12 * total[groups]
    rest = np.where(alone, squares.sum() - squares, total[groups] - squares)
    kept = np.where(alone, (squares * effects).sum(), sums[groups]) - squares * effects
    return np.divide(kept, rest, out=np.zeros_like(kept), where=rest > 0)


def _lag_points(
    study: Study,
    panel: Panel,
    adoption: Adoption,
    model: UntreatedModel,
    effects: FloatArray,
    treated: BoolArray,
    groups: IntArray,
    clusters: IntArray,
) -> tuple[ProfilePoint, ...]:
    since = np.where(treated, panel.period - adoption.first_period[panel.unit], -1)
    points: list[ProfilePoint] = []
    for lag in np.unique(since[treated]):
        rows = since == lag
        if rows.sum() < SMALLEST_GROUP:
            continue
        weights = rows / rows.sum()
        influence = _influence(model, panel, effects, weights, groups)
        uncertainty: Uncertainty = of_influence(influence, clusters)
        points.append(point(float(lag), float(weights @ effects), uncertainty, int(rows.sum())))
    return tuple(points)


def _with_profile(
    study: Study, panel: Panel, adoption: Adoption, estimate: EffectEstimate, lags: tuple[ProfilePoint, ...]
) -> EffectEstimate:
    return replace(estimate, profile=EffectProfile(ADOPTION_AXIS, (*lead_points(study, panel, adoption), *lags), NOTE))
