"""What are all effect functions fitted to and judged on, and which rows may a prediction have seen?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.doubly_robust import pseudo_outcome
from src.causal_engine.estimators.learners import fit_predict
from src.causal_engine.estimators.nuisance import assign_folds, cross_fit
from src.causal_engine.estimators.positivity import BoolArray
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError

FEWEST_PROPENSITY = 0.01


@dataclass(frozen=True)
class Nested:
    """Nuisances for the second stage of a held-out fold, each (folds, n): row ``b`` never saw fold ``b``.

    Row ``b`` at a unit of another fold ``a`` comes from a fit without folds ``a`` and ``b``. Otherwise
    a held-out outcome would shape the targets that its own prediction is learnt from, and an effect
    function would seem to predict noise. NaN inside fold ``b``. ``other_arm`` is the mean under the
    treatment a unit did not get, from a fit on all units of that arm outside ``b``.
    """

    propensity: FloatArray
    outcome: FloatArray
    control: FloatArray | None = None
    treated: FloatArray | None = None
    other_arm: FloatArray | None = None

    def opposite(self) -> FloatArray:
        """``other_arm``; raises EstimationError for a treatment that is not 0/1."""
        if self.other_arm is None:
            raise EstimationError("this effect function compares two arms; the treatment must be 0/1")
        return self.other_arm


@dataclass(frozen=True)
class EffectData:
    """What every learner is given: arrays of n rows, the shared cross-fitted nuisances and folds.

    ``x`` (n, p) are the covariates the effect may vary with. ``taught`` (n,) marks the rows that effect
    functions may learn from (None: all); every row gets a prediction and judges.
    """

    x: FloatArray
    t: FloatArray
    y: FloatArray
    nuisances: Nuisances
    folds: IntArray
    seed: int
    binary_treatment: bool = True
    taught: BoolArray | None = None

    def learning_rows(self, fold: int) -> BoolArray:
        """Rows from which the predictions for ``fold`` may be learnt, shape (n,)."""
        return self._kept(np.asarray(self.folds != fold, dtype=np.bool_))

    @cached_property
    def canonical_order(self) -> IntArray:
        """Positions that put the rows into an order of their own, whatever order they came in, shape (n,)."""
        return np.lexsort((self.y, self.t, *self.x.T[::-1]))

    @cached_property
    def lot(self) -> FloatArray:
        """A number drawn for each row, to decide ties neither by the outcome nor by the rows' order, shape (n,)."""
        drawn = np.empty(len(self.t))
        drawn[self.canonical_order] = np.random.default_rng((self.seed, 3)).random(len(self.t))
        return drawn

    @property
    def propensity(self) -> FloatArray:
        """E[T|X], for a binary treatment kept within [.01, .99]."""
        return self.kept_apart(self.nuisances.propensity)

    @property
    def outcome(self) -> FloatArray:
        """E[Y|X]."""
        if self.nuisances.outcome is None:
            raise EstimationError("effect functions need a model of the outcome given the covariates")
        return self.nuisances.outcome

    @property
    def arms(self) -> tuple[FloatArray, FloatArray]:
        """E[Y|X, untreated] and E[Y|X, treated]."""
        control, treated = self.nuisances.outcome_control, self.nuisances.outcome_treated
        if control is None or treated is None:
            raise EstimationError("this effect function compares two arms; the treatment must be 0/1")
        return control, treated

    @cached_property
    def pseudo_outcome(self) -> FloatArray:
        """The doubly robust pseudo-outcome, whose mean given x is the effect at x."""
        return pseudo_outcome(self.t, self.y, self.propensity, *self.arms)

    @cached_property
    def nested(self) -> Nested:
        """Nuisances of the same learners for every held-out fold."""
        propensity = self.kept_apart(self._pairwise("propensity", self.t, np.ones_like(self.t)))
        if not self.binary_treatment:
            return Nested(propensity, self._pairwise("outcome", self.y, np.ones_like(self.t)))
        control = self._pairwise("outcome_control", self.y, 1 - self.t)
        treated = self._pairwise("outcome_treated", self.y, self.t)
        mean = control + propensity * (treated - control)
        return Nested(propensity, mean, control, treated, self._other_arm())

    def kept_apart(self, propensity: FloatArray) -> FloatArray:
        """``propensity`` within [.01, .99] for a binary treatment, as it is for another."""
        return np.clip(propensity, FEWEST_PROPENSITY, 1 - FEWEST_PROPENSITY) if self.binary_treatment else propensity

    def _pairwise(self, name: str, target: FloatArray, rows: FloatArray) -> FloatArray:
        labels = np.unique(self.folds)
        found = np.full((len(labels), len(target)), np.nan)
        for first in range(len(labels)):
            for second in range(first + 1, len(labels)):
                a, b = (self._kept(self.folds == labels[each]) for each in (first, second))
                train = (rows > 0) & self.learning_rows(labels[first]) & self.learning_rows(labels[second])
                predicted = self._predicted(name, target, train, a | b)
                found[second, a], found[first, b] = predicted[a[a | b]], predicted[b[a | b]]
        return found

    def _other_arm(self) -> FloatArray:
        labels = np.unique(self.folds)
        found = np.full((len(labels), len(self.t)), np.nan)
        for position, label in enumerate(labels):
            outside = self.learning_rows(label)
            for name, arm in (("outcome_control", 0.0), ("outcome_treated", 1.0)):
                asked = outside & (self.t != arm)
                found[position, asked] = self._predicted(name, self.y, outside & (self.t == arm), asked)
        return found

    def _kept(self, rows: BoolArray) -> BoolArray:
        return rows if self.taught is None else rows & self.taught

    def _predicted(self, name: str, target: FloatArray, train: BoolArray, asked: BoolArray) -> FloatArray:
        learner = dict(self.nuisances.learners)[name]
        probability = name == "propensity" and self.binary_treatment
        probability = probability or (name != "propensity" and bool(np.isin(self.y, (0.0, 1.0)).all()))
        return fit_predict(
            (learner,), self.x[train], target[train], self.x[asked], probability=probability, seed=self.seed
        )[learner]


def effect_data(study: Study, nuisances: Nuisances | None = None, *, most_taught: int | None = None) -> EffectData:
    """Cross-fit the nuisances of ``study`` and set the folds effect functions are held out by.

    ``nuisances`` (of this very study, with their learners) replaces the fit. With more than
    ``most_taught`` rows the effect functions learn from that many, drawn in the arms' shares. Folds,
    like nuisances, depend on ``spec.random_state`` and not on the order of rows. Raises
    TooFewRows, or EstimationError without covariates: then no effect can vary with any.
    """
    if study.x.shape[1] == 0:
        raise EstimationError("an effect can only be told apart by covariates; name confounders or effect modifiers")
    order = np.lexsort((study.y, study.t, *study.x.T[::-1]))
    clusters = None if study.clusters is None else study.clusters[order]
    rng = np.random.default_rng((study.spec.random_state, 1))
    sorted_folds = assign_folds(study.t[order], clusters, rng, stratify=study.is_binary)
    folds = np.empty_like(sorted_folds)
    folds[order] = sorted_folds
    seed = int(rng.integers(2**31 - 1))
    fitted = cross_fit(study, "broad") if nuisances is None else nuisances
    taught = _taught(study, order, most_taught, rng)
    return EffectData(study.x, study.t, study.y, fitted, folds, seed, study.is_binary, taught)


def _taught(study: Study, order: IntArray, most: int | None, rng: np.random.Generator) -> BoolArray | None:
    if most is None or study.n <= most:
        return None
    t = study.t[order]
    groups = [np.flatnonzero(t == arm) for arm in (0.0, 1.0)] if study.is_binary else [np.arange(study.n)]
    taught = np.zeros(study.n, dtype=np.bool_)
    for rows in groups:
        taught[order[rng.permutation(rows)[: round(most * len(rows) / study.n)]]] = True
    return taught
