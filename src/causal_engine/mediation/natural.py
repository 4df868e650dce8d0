"""What would the outcome be with the treatment, had the mediators stayed as they are without it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.inference import interval, of_influence, p_value
from src.causal_engine.estimators.learners import fit_predict
from src.causal_engine.estimators.nuisance import assign_folds, cross_fit
from src.causal_engine.estimators.positivity import share_outside
from src.causal_engine.mediation.report import PathEffect
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError, OverlapViolated

MAX_SHARE_OUTSIDE = 0.10
_FLOOR = 0.01
METHOD = "natural effects, doubly robust and cross-fitted; influence-function errors"


@dataclass(frozen=True)
class _Scores:
    """Scores (n,) whose means are E[Y(1)], E[Y(0)] and E[Y(1, M(0))]."""

    treated: FloatArray
    control: FloatArray
    crossed: FloatArray


def natural_effects(study: Study, with_mediators: Study) -> tuple[PathEffect, ...]:
    """Total, natural direct and natural indirect effect (Pearl 2001) of a 0/1 treatment.

    direct = E[Y(1, M(0)) − Y(0)], indirect = E[Y(1) − Y(1, M(0))]. E[Y(1, M(0))] from the efficient
    influence function of Tchetgen Tchetgen & Shpitser (2012, theorem 1), its mediator densities
    rewritten by Bayes' rule as propensities given mediators and covariates (Farbmacher et al. 2022,
    eq. 6), so that mediators may be several and of any kind; all nuisances out of fold. ``study`` is
    adjusted for the covariates, ``with_mediators`` for the mediators too (same rows).

    Raises EstimationError for a treatment that is not 0/1, OverlapViolated where covariates, or
    mediators and covariates, all but determine the treatment.
    """
    if not study.is_binary:
        raise EstimationError(
            f"'{study.spec.treatment}' is not 0/1; compare two of its values as arms (--treated, --control) to split "
            "their effect"
        )
    outer, inner = cross_fit(study), cross_fit(with_mediators)
    _require_overlap(study, outer.propensity, "the covariates")
    _require_overlap(study, inner.propensity, "the mediators")
    scores = _scores(study, with_mediators, outer, inner)
    parts = (
        ("total", scores.treated - scores.control),
        ("direct", scores.crossed - scores.control),
        ("indirect", scores.treated - scores.crossed),
    )
    return tuple(_part(study, name, values) for name, values in parts)


def _scores(study: Study, with_mediators: Study, outer: Nuisances, inner: Nuisances) -> _Scores:
    if outer.outcome_control is None or outer.outcome_treated is None or inner.outcome_treated is None:
        raise EstimationError("natural effects need an outcome model per arm; the treatment must be 0/1")
    t, y = study.t, study.y
    e = np.clip(outer.propensity, _FLOOR, 1 - _FLOOR)
    given_mediators = np.clip(inner.propensity, _FLOOR, 1 - _FLOOR)
    treated = outer.outcome_treated + t * (y - outer.outcome_treated) / e
    control = outer.outcome_control + (1 - t) * (y - outer.outcome_control) / (1 - e)
    moved = inner.outcome_treated
    expected = _mean_without_treatment(study, with_mediators, dict(outer.learners), dict(inner.learners))
    odds = (1 - given_mediators) / (given_mediators * (1 - e))
    crossed = t * odds * (y - moved) + (1 - t) / (1 - e) * (moved - expected) + expected
    return _Scores(treated, control, crossed)


def _mean_without_treatment(
    study: Study, with_mediators: Study, outer: dict[str, str], inner: dict[str, str]
) -> FloatArray:
    """E[μ(1, M, X) | T = 0, X] out of fold (n,): within each training set one half fits μ, the other averages it."""
    order = np.lexsort((study.y, study.t, *study.x.T[::-1]))
    x, wide, t, y = study.x[order], with_mediators.x[order], study.t[order], study.y[order]
    rng = np.random.default_rng([study.spec.random_state, 1])
    folds = assign_folds(t, None if study.clusters is None else study.clusters[order], rng, stratify=True)
    halves = rng.permutation(np.arange(study.n) % 2)
    seed = int(rng.integers(2**31 - 1))
    binary = bool(np.isin(y, (0.0, 1.0)).all())
    found = np.empty(study.n)
    for fold in np.unique(folds):
        new = folds == fold
        averages = []
        for half in (0, 1):
            fit_rows = ~new & (halves == half) & (t == 1)
            mean_rows = ~new & (halves != half) & (t == 0)
            rule = inner["outcome_treated"]
            moved = fit_predict((rule,), wide[fit_rows], y[fit_rows], wide[mean_rows], probability=binary, seed=seed)[
                rule
            ]
            rule = outer["outcome_control"]
            averages.append(fit_predict((rule,), x[mean_rows], moved, x[new], probability=False, seed=seed)[rule])
        found[new] = np.mean(averages, axis=0)
    restored = np.empty(study.n)
    restored[order] = found
    return restored


def _require_overlap(study: Study, propensity: FloatArray, what: str) -> None:
    outside = share_outside(propensity, study.t, Estimand.ATE)
    if outside > MAX_SHARE_OUTSIDE:
        raise OverlapViolated(
            f"{what} all but tell who was treated for {outside:.0%} of the units (at most {MAX_SHARE_OUTSIDE:.0%} "
            "allowed), so treated units with mediators as without treatment hardly exist"
        )


def _part(study: Study, name: str, scores: FloatArray) -> PathEffect:
    value = float(scores.mean())
    uncertainty = of_influence(scores - value, study.clusters)
    ci = interval(value, uncertainty)
    return PathEffect(name, value, uncertainty.std_error, ci.lower, ci.upper, p_value(value, uncertainty))
