"""How does the outcome move when a unit's own treatment moves, common shocks removed?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.clusters import few_cluster_uncertainty
from src.causal_engine.estimators.inference import (
    LinearFit,
    Uncertainty,
    fit_linear,
    independent_columns,
    make_estimate,
)
from src.causal_engine.estimators.panel_data import Panel, adoption_of, demean, less_means, panel_of, shifted
from src.causal_engine.estimators.positivity import BoolArray, spread_influence
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError, TooFewRows

LAGS_BEYOND = 3
_LEAST_WITHIN = 1e-9


def fit_twfe(study: Study) -> FittedEffect:
    """Two-way fixed effects: y on treatment (``spec.lag`` periods earlier) and controls, clustered by unit.

    Unit and period effects are projected out; errors are CR1 with t(G−1), period effects counted as
    parameters, unit effects nested in the clusters not; below 40 clusters CR2. Estimand WITHIN. Raises
    EstimationError
    when adoption is staggered, where the coefficient mixes effects with negative weights
    (Goodman-Bacon 2021), or when treatment never changes within a unit.
    """
    panel = panel_of(study)
    refuse_staggered(study, panel, "twfe")
    lag = study.spec.lag
    treatment = shifted(study.t, panel, -lag) if lag else study.t
    fit, rows, controls = within_regression(study, panel, treatment[:, None])
    estimate = make_estimate(
        study,
        estimator="twfe",
        estimand=Estimand.WITHIN,
        value=float(fit.coefficients[0]),
        uncertainty=_uncertainty(fit, panel, rows, 0),
        n=int(rows.sum()),
        adjusted_for=_adjusted_for(study, controls),
        n_dropped=int((~rows).sum()),
    )
    return FittedEffect(estimate, spread_influence(fit.influence[:, 0], rows))


def fit_distributed_lag(study: Study) -> FittedEffect:
    """Effect of treatment ``spec.lag`` periods ago beside the other lags, two-way fixed effects; estimand LAG.

    Lags 0 to ``spec.lag`` + 3 (fewer on short panels) enter together, so that a lag does not borrow
    from its neighbours. Errors clustered by unit. Raises EstimationError when the panel is too short.
    """
    fit, rows, controls = lag_regression(study)
    lag = study.spec.lag
    estimate = make_estimate(
        study,
        estimator="distributed_lag",
        estimand=Estimand.LAG,
        value=float(fit.coefficients[lag]),
        uncertainty=_uncertainty(fit, panel_of(study), rows, lag),
        n=int(rows.sum()),
        adjusted_for=_adjusted_for(study, controls),
        n_dropped=int((~rows).sum()),
        diagnostics=tuple((f"lag_{k}", float(fit.coefficients[k])) for k in range(_longest_lag(study) + 1)),
    )
    return FittedEffect(estimate, spread_influence(fit.influence[:, lag], rows))


def lag_profile(study: Study) -> tuple[tuple[int, float, float], ...]:
    """(lag, effect, standard error) for every lag of the distributed-lag regression."""
    fit, rows, _ = lag_regression(study)
    panel = panel_of(study)
    return tuple(
        (k, float(fit.coefficients[k]), _uncertainty(fit, panel, rows, k).std_error)
        for k in range(_longest_lag(study) + 1)
    )


def lag_regression(study: Study) -> tuple[LinearFit, BoolArray, tuple[str, ...]]:
    """The distributed-lag regression: coefficient k is that of treatment k periods earlier."""
    panel = panel_of(study)
    lags = np.column_stack([shifted(study.t, panel, -k) for k in range(_longest_lag(study) + 1)])
    return within_regression(study, panel, lags)


def within_regression(
    study: Study, panel: Panel, regressors: FloatArray
) -> tuple[LinearFit, BoolArray, tuple[str, ...]]:
    """Regress the outcome on ``regressors`` (n, k) and controls with two-way effects, clustered.

    Rows where a regressor is NaN are left out. Coefficients keep the order of ``regressors``. Also
    returns the rows used and the controls that vary within units. Raises EstimationError when a
    regressor does not vary within units, or repeats another.
    """
    rows = np.asarray(np.isfinite(regressors).all(axis=1), dtype=np.bool_)
    if not rows.any():
        raise TooFewRows("no row has all the lags and leads this regression needs; the panel is too short or has gaps")
    part = panel.take(np.flatnonzero(rows))
    k = regressors.shape[1]
    columns = np.column_stack([study.y, regressors, study.x])[rows]
    within = demean(columns, part)
    _require_variation(study, columns[:, 1 : k + 1], within[:, 1 : k + 1])
    controls = _varying_controls(columns[:, k + 1 :], within[:, k + 1 :])
    design = np.column_stack([within[:, 1 : k + 1], within[:, k + 1 :][:, controls]])
    fit = fit_linear(within[:, 0], design, _clusters(study, part, rows), absorbed=part.n_periods)
    sources = study.design[2]
    return fit, rows, tuple(dict.fromkeys(sources[j] for j in controls))


def refuse_staggered(study: Study, panel: Panel, estimator: str) -> None:
    """Raise EstimationError when units adopt an absorbing treatment at different times."""
    adoption = adoption_of(study, panel)
    if adoption is not None and adoption.staggered:
        raise EstimationError(
            f"units adopt '{study.spec.treatment}' at {len(adoption.dates)} different times; {estimator} would mix "
            "early and late adopters with the wrong weights; use imputation, or synthetic_did for few adopters"
        )


def _uncertainty(fit: LinearFit, panel: Panel, rows: BoolArray, position: int) -> Uncertainty:
    """That of the fit, or with few clusters CR2, to which period effects, which cut across clusters, are told."""
    part = panel.take(np.flatnonzero(rows))
    periods = np.unique(part.period, return_inverse=True)[1]
    indicators = (periods[:, None] == np.arange(1, int(periods.max()) + 1)).astype(np.float64)
    return few_cluster_uncertainty(fit, position, indicators=less_means(indicators, part.unit))


def _longest_lag(study: Study) -> int:
    periods = panel_of(study).n_periods
    longest = min(study.spec.lag + LAGS_BEYOND, periods // 2)
    if study.spec.lag > longest:
        raise EstimationError(
            f"a lag of {study.spec.lag} needs at least {2 * study.spec.lag} periods; there are {periods}"
        )
    return longest


def _require_variation(study: Study, raw: FloatArray, within: FloatArray) -> None:
    total = ((raw - raw.mean(axis=0)) ** 2).sum(axis=0)
    left = (within**2).sum(axis=0)
    if (left <= _LEAST_WITHIN * np.maximum(total, 1e-300)).any():
        raise EstimationError(
            f"'{study.spec.treatment}' does not vary within units once period effects are removed; "
            "a panel estimator has nothing to compare"
        )
    if len(independent_columns(within)) < within.shape[1]:
        raise EstimationError(f"lags and leads of '{study.spec.treatment}' repeat one another; ask for fewer lags")


def _varying_controls(raw: FloatArray, within: FloatArray) -> IntArray:
    total = ((raw - raw.mean(axis=0)) ** 2).sum(axis=0)
    varying = np.flatnonzero((within**2).sum(axis=0) > _LEAST_WITHIN * np.maximum(total, 1e-300))
    return np.asarray(varying[independent_columns(within[:, varying])], dtype=np.int64)


def _clusters(study: Study, part: Panel, rows: BoolArray) -> IntArray:
    if study.spec.cluster_key is None or study.clusters is None:
        return part.unit
    return np.asarray(np.unique(study.clusters[rows], return_inverse=True)[1], dtype=np.int64)


def _adjusted_for(study: Study, controls: tuple[str, ...]) -> tuple[str, ...]:
    return (*(key for key in (study.spec.unit_key, study.spec.time_key) if key), *controls)
