"""How does the effect vary with the covariates, by each of the usual learners, predicted out of fold?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.estimators.doubly_robust import pseudo_outcome
from src.causal_engine.estimators.learners import candidate_learners, fit_predict
from src.causal_engine.estimators.positivity import BoolArray
from src.causal_engine.study import FloatArray
from src.errors import EstimationError

CLEARLY_WORSE = 3.0
LEAST_RESIDUAL = 1e-3
"""Treatment residuals are kept this far from zero, in shares of their spread, where they are divided by."""


def constant_effect(data: EffectData) -> FloatArray:
    """The average effect for everyone, (n,): the benchmark every other function has to beat."""
    found = np.empty(len(data.t))
    for position, fold in enumerate(np.unique(data.folds)):
        held, train = data.folds == fold, data.learning_rows(fold)
        if data.binary_treatment:
            found[held] = _pseudo_outcome(data, position)[train].mean()
        else:
            residual_t, residual_y = _residuals(data, position)
            found[held] = float(residual_t[train] @ residual_y[train]) / float(residual_t[train] @ residual_t[train])
    return found


def naive_effect(data: EffectData) -> FloatArray:
    """The unadjusted difference of means, or slope, for everyone, (n,): what adjustment has to beat."""
    found = np.empty(len(data.t))
    for fold in np.unique(data.folds):
        held, train = data.folds == fold, data.folds != fold
        centred = data.t[train] - data.t[train].mean()
        found[held] = float(centred @ data.y[train]) / float(centred @ data.t[train])
    return found


def s_learner(data: EffectData) -> FloatArray:
    """One outcome model with the treatment as a covariate, and its interactions (Künzel et al. 2019), (n,)."""
    ones = np.ones(len(data.t))
    return _crossed(data, _Goal(data.y, ones, data.y, ones), _with_treatment(data.x, data.t), contrast=True)


def t_learner(data: EffectData) -> FloatArray:
    """Difference of the two arms' outcome models (Künzel et al. 2019), (n,)."""
    control, treated = data.arms
    return treated - control


def x_learner(data: EffectData) -> FloatArray:
    """Imputed effects of each arm, regressed on the covariates and weighted by propensity (Künzel et al. 2019)."""
    control, treated = data.arms
    sign = 2 * data.t - 1
    imputed = sign * (data.y - data.nested.opposite())
    judged = sign * (data.y - np.where(data.t == 1, control, treated))
    arms = [np.where(data.t == arm, 1.0, 0.0) for arm in (0.0, 1.0)]
    of_control, of_treated = (
        _crossed(data, _Goal(imputed, np.broadcast_to(rows, imputed.shape), judged, rows), data.x) for rows in arms
    )
    return data.propensity * of_control + (1 - data.propensity) * of_treated


def dr_learner(data: EffectData) -> FloatArray:
    """The doubly robust pseudo-outcome regressed on the covariates (Kennedy 2023), (n,)."""
    targets = np.array([_pseudo_outcome(data, position) for position in range(len(np.unique(data.folds)))])
    ones = np.ones(len(data.t))
    return _crossed(data, _Goal(targets, np.ones_like(targets), data.pseudo_outcome, ones), data.x)


def r_learner(data: EffectData) -> FloatArray:
    """Residual on residual: minimises the R-loss (Nie & Wager 2021), (n,)."""
    return _residual_regression(data, candidate_learners(_n_taught(data), data.x.shape[1], "broad"))


def linear_dml(data: EffectData) -> FloatArray:
    """The R-learner with an effect that is linear in the covariates (Chernozhukov et al. 2018), (n,)."""
    return _residual_regression(data, ("ridge",))


EffectFunction = Callable[[EffectData], FloatArray]
EFFECT_FUNCTIONS: Mapping[str, EffectFunction] = MappingProxyType(
    {
        "constant": constant_effect,
        "naive": naive_effect,
        "linear_dml": linear_dml,
        "s_learner": s_learner,
        "t_learner": t_learner,
        "x_learner": x_learner,
        "dr_learner": dr_learner,
        "r_learner": r_learner,
    }
)
"""By name, the simplest first: in this order ties are decided."""
BASELINES = ("constant", "naive")
FOR_ANY_TREATMENT = (*BASELINES, "linear_dml", "r_learner")
"""Those that need no two arms."""


def _residual_regression(data: EffectData, learners: Sequence[str]) -> FloatArray:
    per_fold = [_quotient(*_residuals(data, position)) for position in range(len(np.unique(data.folds)))]
    targets, weights = (np.array(parts) for parts in zip(*per_fold, strict=True))
    judged, counted = _quotient(data.t - data.propensity, data.y - data.outcome)
    return _crossed(data, _Goal(targets, weights, judged, counted), data.x, learners=learners)


def _quotient(residual_t: FloatArray, residual_y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Target and weight of the regression that minimises the R-loss."""
    least = LEAST_RESIDUAL * float(np.nanstd(residual_t))
    divisor = np.where(np.abs(residual_t) < least, np.copysign(least, residual_t), residual_t)
    return residual_y / divisor, divisor**2


def _residuals(data: EffectData, position: int) -> tuple[FloatArray, FloatArray]:
    """What the covariates leave of treatment and outcome, by fits that never saw the fold at ``position``."""
    return data.t - data.nested.propensity[position], data.y - data.nested.outcome[position]


def _pseudo_outcome(data: EffectData, position: int) -> FloatArray:
    nested = data.nested
    if nested.control is None or nested.treated is None:
        raise EstimationError("this effect function compares two arms; the treatment must be 0/1")
    fitted = nested.propensity[position], nested.control[position], nested.treated[position]
    return pseudo_outcome(data.t, data.y, *fitted)


def _n_taught(data: EffectData) -> int:
    return len(data.t) if data.taught is None else int(data.taught.sum())


def _with_treatment(x: FloatArray, t: FloatArray) -> FloatArray:
    return np.column_stack([x, t, x * t[:, None]])


@dataclass(frozen=True)
class _Goal:
    """What is regressed on the covariates: targets and row weights, (n,), or (folds, n) where they differ by fold.

    Row ``b`` serves the fits that predict fold ``b``. ``judged`` and ``counted``, (n,), are the target
    and weight that out-of-fold predictions are compared with to choose the learner.
    """

    target: FloatArray
    weight: FloatArray
    judged: FloatArray
    counted: FloatArray

    def of(self, position: int) -> tuple[FloatArray, FloatArray]:
        if self.target.ndim == 1:
            return self.target, self.weight
        return self.target[position], self.weight[position]


def _crossed(
    data: EffectData,
    goal: _Goal,
    x: FloatArray,
    *,
    learners: Sequence[str] | None = None,
    contrast: bool = False,
) -> FloatArray:
    """Out-of-fold predictions of the learner with the least weighted squared loss on the rows that count.

    Where only a part of the rows teaches, a learner drops out that is clearly worse after a fold.
    """
    used = goal.counted > 0
    rows = used if data.taught is None else used & data.taught
    names = tuple(learners or candidate_learners(int(rows.sum()), x.shape[1], "broad"))
    fitted = {name: np.empty(len(data.t)) for name in names}
    effects = {name: np.empty(len(data.t)) for name in names}
    judged = np.zeros(len(data.t), dtype=np.bool_)
    for position, fold in enumerate(np.unique(data.folds)):
        held, train = data.folds == fold, used & data.learning_rows(fold)
        places = [x[held]]
        if contrast:
            places += [_with_treatment(data.x[held], np.full(int(held.sum()), arm)) for arm in (1.0, 0.0)]
        target, weight = goal.of(position)
        new = np.vstack(places)
        found = fit_predict(
            names, x[train], target[train], new, probability=False, seed=data.seed, weight=weight[train]
        )
        for name, values in found.items():
            parts = np.split(values, len(places))
            fitted[name][held] = parts[0]
            effects[name][held] = parts[1] - parts[2] if contrast else parts[0]
        judged |= held
        if data.taught is not None:
            names = _competing(goal, {name: fitted[name] for name in names}, judged)
    best = min(names, key=lambda name: float(goal.counted @ (goal.judged - fitted[name]) ** 2))
    return effects[best]


def _competing(goal: _Goal, fitted: Mapping[str, FloatArray], rows: BoolArray) -> tuple[str, ...]:
    """Learners whose loss on ``rows`` is not more than three standard errors above the least."""
    losses = {name: goal.counted[rows] * (goal.judged - values)[rows] ** 2 for name, values in fitted.items()}
    least = losses[min(losses, key=lambda name: float(losses[name].sum()))]
    excess = {name: each - least for name, each in losses.items()}
    return tuple(
        name for name, each in excess.items() if each.mean() <= CLEARLY_WORSE * each.std() / np.sqrt(len(each))
    )
