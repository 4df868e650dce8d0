"""What does regression adjustment say: plain, or fully interacted for randomised data?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.clusters import few_cluster_uncertainty
from src.causal_engine.estimators.inference import (
    Uncertainty,
    fit_linear,
    independent_columns,
    make_estimate,
    of_influence,
)
from src.causal_engine.estimators.positivity import comparable_rows, restrict, spread_influence
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError, StudyInvalid

_EXPLAINED = 1e-9


def fit_ols(study: Study) -> FittedEffect:
    """Coefficient of the treatment in y ~ 1 + t + X, HC3, or CR1 when rows are clustered (CR2 below 40 clusters).

    The estimand is the average effect if effects are constant or X enters additively (Angrist 1998).
    Raises OverlapViolated on non-randomised binary treatments without overlap.
    """
    if study.spec.estimand.on_treated and study.is_binary:
        raise EstimationError("ols does not estimate the effect on the treated (ATT); use aipw, ipw or lin")
    rows, estimand = comparable_rows(study)
    used = restrict(study, rows)
    design = design_with_treatment(used)
    fit = fit_linear(used.y, design, used.clusters)
    estimate = make_estimate(
        used,
        estimator="ols",
        estimand=estimand,
        value=float(fit.coefficients[1]),
        uncertainty=few_cluster_uncertainty(fit, 1),
        n_dropped=study.n - used.n,
    )
    return FittedEffect(estimate, spread_influence(fit.influence[:, 1], rows))


def fit_lin(study: Study) -> FittedEffect:
    """Fully interacted regression adjustment, y ~ 1 + t + X̃ + t·X̃ (Lin 2013, eq. 2), for a binary treatment.

    X̃ is centred at the mean of all units (ATE) or of the treated (ATT). The influence function adds
    the sampling of that mean, X̃·δ (Negi & Wooldridge 2021), so the error is that of the population
    effect. Raises EstimationError for a treatment that is not binary.
    """
    if not study.is_binary:
        raise EstimationError("lin compares two arms; use ols or linear_dml for a treatment that is not 0/1")
    rows, estimand = comparable_rows(study)
    used = restrict(study, rows)
    t, x = used.t, used.x[:, _independent_in_both_arms(used)]
    target = t if estimand is Estimand.ATT else np.ones(used.n)
    centred = x - (target @ x) / target.sum()
    design = np.column_stack([np.ones(used.n), t, centred, t[:, None] * centred])
    fit = fit_linear(used.y, design, used.clusters)
    slopes = fit.coefficients[2 + x.shape[1] :]
    mean_sampling = target * (centred @ slopes) / target.mean()
    influence = fit.influence[:, 1] + mean_sampling
    uncertainty = of_influence(influence, used.clusters, "HC3 influence function" if used.clusters is None else "CR1")
    estimate = make_estimate(
        used,
        estimator="lin",
        estimand=estimand,
        value=float(fit.coefficients[1]),
        uncertainty=Uncertainty(uncertainty.std_error, uncertainty.method, fit.df),
        n_dropped=study.n - used.n,
    )
    return FittedEffect(estimate, spread_influence(influence, rows))


def design_with_treatment(study: Study) -> FloatArray:
    """Columns 1, t and the independent columns of X, shape (n, 2 + p).

    Raises StudyInvalid when the controls determine the treatment exactly.
    """
    x = study.x[:, independent_columns(study.x)]
    controls = np.column_stack([np.ones(study.n), x])
    projected, *_ = np.linalg.lstsq(controls, study.t, rcond=None)
    left_over = study.t - controls @ projected
    if float(left_over @ left_over) <= _EXPLAINED * float(((study.t - study.t.mean()) ** 2).sum()):
        raise StudyInvalid(
            f"the controls determine '{study.spec.treatment}' exactly, so no comparison is left; "
            "leave out the control that repeats it"
        )
    return np.column_stack([controls[:, :1], study.t, x])


def _independent_in_both_arms(study: Study) -> list[int]:
    arms = [set(independent_columns(study.x[study.t == arm]).tolist()) for arm in (0.0, 1.0)]
    return sorted(arms[0] & arms[1])
