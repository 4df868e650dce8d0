"""What does one more unit of treatment change, covariates partialled out flexibly?"""

from __future__ import annotations

from src.causal_engine.estimators.base import FittedEffect, Nuisances
from src.causal_engine.estimators.inference import make_estimate, of_influence, ratio
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.positivity import require_overlap, restrict, spread_influence
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError

_LEAST_VARIATION = 1e-9


def fit_linear_dml(study: Study, nuisances: Nuisances | None = None) -> FittedEffect:
    """Partially linear regression: residual on residual, cross-fitted (Robinson 1988).

    Score of Chernozhukov et al. (2018, eq. 4.4), for binary and continuous treatments. With effects
    that vary the estimand weights units by the residual variance of treatment: for a 0/1 treatment it
    is ATO, named so where that was asked for. ``nuisances`` (of this very study) replaces the fit.
    Raises OverlapViolated for non-randomised binary treatments, EstimationError when the covariates
    predict the treatment exactly or the effect on the treated is asked for.
    """
    asked = study.spec.estimand
    if asked.on_treated and study.is_binary:
        raise EstimationError("linear_dml does not estimate the effect on the treated; use aipw, ipw or lin")
    fitted = cross_fit(study) if nuisances is None else nuisances
    rows = study.t == study.t
    estimand: Estimand = asked if asked is Estimand.ATO and study.is_binary else Estimand.ATE
    if study.is_binary and not study.spec.randomized:
        rows, estimand = require_overlap(study, fitted.propensity, estimand)
    used = restrict(study, rows)
    if used is not study:
        fitted = cross_fit(used, learners=dict(fitted.learners))
    treatment, outcome = residuals(used, fitted)
    if float(treatment @ treatment) <= _LEAST_VARIATION * used.n * float(used.t.var()):
        raise EstimationError(f"the controls predict '{study.spec.treatment}' exactly, so no comparison is left")
    value, influence = ratio(treatment * outcome, treatment**2)
    estimate = make_estimate(
        used,
        estimator="linear_dml",
        estimand=estimand,
        value=value,
        uncertainty=of_influence(influence, used.clusters),
        n_dropped=study.n - used.n,
    )
    return FittedEffect(estimate, spread_influence(influence, rows), fitted)


def residuals(study: Study, nuisances: Nuisances) -> tuple[FloatArray, FloatArray]:
    """t − ê(x) and y − m̂(x), each (n,)."""
    if nuisances.outcome is None:
        raise EstimationError("partialling out needs a model of the outcome given the covariates")
    return study.t - nuisances.propensity, study.y - nuisances.outcome
