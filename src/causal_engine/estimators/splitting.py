"""How far does an estimate move when its nuisance models learn from fewer rows?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.learners import fit_predict
from src.causal_engine.estimators.nuisance import FOLDS, MAX_TRAINING, assign_folds, canonical_order, taught
from src.causal_engine.study import FloatArray, Study

HALVINGS = 2
MOST_ROWS = 50_000
# Learnt from a half instead of four fifths of the rows, an error that falls as 1/rows grows by 8/5; the part
# that was there before is then 1/(8/5 − 1) of what was added.
_BEFORE_PER_ADDED = 1.0 / (2.0 * (1.0 - 1.0 / FOLDS) - 1.0)
_LARGEST_TRAINING = round(MAX_TRAINING / (2.0 * (1.0 - 1.0 / FOLDS)))


def nuisance_uncertainty(
    study: Study, nuisances: Nuisances, value: float, answer: Callable[[Study, Nuisances], float]
) -> float:
    """Standard deviation of ``value`` that comes from estimating the nuisances, in units of the estimate.

    The estimate is made again (``answer``) with nuisances cross-fitted on two halves, twice. Like
    the spread over repeated splits of Chernozhukov et al. (2018, sec. 3.4, eq. 3.14), of which it is
    the root mean square, but with smaller training sets, so that it also shows errors that all
    splits of one size share; it is extrapolated (Richardson) to the folds of ``nuisances``, taking
    the product of two nuisance errors to fall as 1/rows. 0 for nuisances that no learner estimated,
    which are known. Of more than 50,000 rows a random part of that size is looked at. Raises
    TooFewRows when a half lacks an arm.
    """
    learners = dict(nuisances.learners)
    if not learners:
        return 0.0
    if study.n > MOST_ROWS:
        study, nuisances = _part(study, nuisances)
        value = answer(study, nuisances)
    moved = [answer(study, _halved(study, learners, draw)) - value for draw in range(HALVINGS)]
    return float(_BEFORE_PER_ADDED * np.sqrt(np.mean(np.square(moved))))


def _part(study: Study, nuisances: Nuisances) -> tuple[Study, Nuisances]:
    """A random part of the rows with their nuisances; the estimate moves there as it does on all."""
    order = canonical_order(study)
    rows = np.sort(order[np.random.default_rng(study.spec.random_state).permutation(study.n)[:MOST_ROWS]])
    part = study.with_frame(study.frame.iloc[rows].reset_index(drop=True))
    found = [
        None if values is None else values[rows]
        for values in (nuisances.outcome, nuisances.outcome_control, nuisances.outcome_treated)
    ]
    return part, Nuisances(nuisances.propensity[rows], found[0], found[1], found[2], nuisances.learners)


def _halved(study: Study, learners: dict[str, str], draw: int) -> Nuisances:
    """Nuisances cross-fitted on two halves with the learners given; depends on the rows, not on their order."""
    order = canonical_order(study)
    x, t, y = study.x[order], study.t[order], study.y[order]
    rng = np.random.default_rng([study.spec.random_state, draw])
    clusters = None if study.clusters is None else study.clusters[order]
    halves = assign_folds(t, clusters, rng, stratify=True, folds=2)
    seed = int(rng.integers(2**31 - 1))
    binary_outcome = bool(np.isin(y, (0.0, 1.0)).all())

    def predicted(name: str, target: FloatArray, rows: np.ndarray, *, probability: bool) -> FloatArray:
        found = np.empty(study.n)
        for half in (0, 1):
            train, new = taught(rows & (halves != half), _LARGEST_TRAINING, seed), halves == half
            learner = learners[name]
            fitted = fit_predict((learner,), x[train], target[train], x[new], probability=probability, seed=seed)
            found[order[new]] = fitted[learner]
        return found

    propensity = predicted("propensity", t, t == t, probability=True)
    control = predicted("outcome_control", y, t == 0, probability=binary_outcome)
    treated = predicted("outcome_treated", y, t == 1, probability=binary_outcome)
    return Nuisances(propensity, control + propensity * (treated - control), control, treated, tuple(learners.items()))
