"""What would treatment and outcome be, given the covariates, for units the model has not seen?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.learners import candidate_learners, fit_predict
from src.causal_engine.estimators.positivity import BoolArray
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import TooFewRows

FOLDS = 5
MAX_TRAINING = 20_000
"""Rows a nuisance model learns from at most; it predicts all rows."""
PILOT_FROM = 100_000
_MIN_TRAINING_ARM = 10
_CLEARLY_WORSE = 3.0


@dataclass(frozen=True)
class _Target:
    """One nuisance: what is predicted, from which rows it is learnt, under which loss."""

    name: str
    values: FloatArray
    rows: BoolArray
    probability: bool


def cross_fit(study: Study, learner: str = "auto", *, learners: Mapping[str, str] | None = None) -> Nuisances:
    """Out-of-fold nuisance predictions from five folds (whole clusters together where rows are clustered).

    "auto" lets every candidate of ``candidate_learners`` predict all folds and keeps, per nuisance,
    the one with the least out-of-fold loss (discrete super learner, van der Laan et al. 2007, pooled
    over folds); one whose loss after a fold is more than three standard errors above the least drops
    out. From more than ``MAX_TRAINING`` rows a model learns from a random part of that size, and
    from ``PILOT_FROM`` rows on a part of the first fold decides on the learner. ``learners`` (as in
    ``dict(nuisances.learners)``) fixes the choice for refits. Folds and fits depend on
    ``spec.random_state`` only, not on the order of rows. Raises TooFewRows when a training fold has
    fewer than 10 rows of an arm.
    """
    order = canonical_order(study)
    x, t, y = study.x[order], study.t[order], study.y[order]
    clusters = None if study.clusters is None else study.clusters[order]
    rng = np.random.default_rng(study.spec.random_state)
    folds = assign_folds(t, clusters, rng, stratify=study.is_binary)
    seed = int(rng.integers(2**31 - 1))
    predictions: dict[str, FloatArray] = {}
    chosen: list[tuple[str, str]] = []
    for target in _targets(study, t, y):
        name = (learners or {}).get(target.name, learner)
        found, best = _cross_predict(target, x, folds, name, seed)
        predictions[target.name] = _restored(found, order)
        chosen.append((target.name, best))
    control, treated = predictions.get("outcome_control"), predictions.get("outcome_treated")
    outcome = predictions.get("outcome")
    if outcome is None and control is not None and treated is not None:
        outcome = control + predictions["propensity"] * (treated - control)
    return Nuisances(predictions["propensity"], outcome, control, treated, tuple(chosen))


def canonical_order(study: Study) -> IntArray:
    """Positions that put the rows into an order of their own, whatever order they came in, shape (n,)."""
    if study.x.shape[1]:
        order = np.argsort(study.x[:, 0], kind="stable")
        if (np.diff(study.x[order, 0]) > 0).all():
            return np.asarray(order, dtype=np.int64)
    return np.asarray(np.lexsort((study.y, study.t, *study.x.T[::-1])), dtype=np.int64)


def taught(rows: BoolArray, most: int, seed: int) -> BoolArray:
    """``rows`` (n,), or a random part of them with ``most`` rows."""
    positions = np.flatnonzero(rows)
    if len(positions) <= most:
        return rows
    kept = np.zeros_like(rows)
    kept[np.random.default_rng(seed).choice(positions, most, replace=False)] = True
    return kept


def assign_folds(
    t: FloatArray, clusters: IntArray | None, rng: np.random.Generator, *, stratify: bool, folds: int = FOLDS
) -> IntArray:
    """Fold of each row, shape (n,): balanced within arms, or by whole clusters.

    Raises TooFewRows when clusters are fewer than two or leave a training set without both arms.
    """
    assigned = np.empty(len(t), dtype=np.int64)
    if clusters is None:
        groups = [np.flatnonzero(t == arm) for arm in (0.0, 1.0)] if stratify else [np.arange(len(t))]
        for rows in groups:
            assigned[rows] = rng.permutation(np.arange(len(rows)) % folds)
    else:
        _, first, codes = np.unique(clusters, return_index=True, return_inverse=True)
        if len(first) < 2:
            raise TooFewRows("all rows belong to one cluster; cross-fitting needs at least two")
        # Numbered by first appearance, so that cluster labels do not matter.
        rank = np.argsort(np.argsort(first))
        assigned = rng.permutation(np.arange(len(first)) % min(folds, len(first)))[rank[codes]]
    if stratify:
        _require_both_arms(t, assigned)
    return assigned


def _require_both_arms(t: FloatArray, folds: IntArray) -> None:
    for fold in np.unique(folds):
        training = t[folds != fold]
        smaller = int(min(training.sum(), len(training) - training.sum()))
        if smaller < _MIN_TRAINING_ARM:
            raise TooFewRows(
                f"a training fold has {smaller} rows of one arm; cross-fitting needs at least {_MIN_TRAINING_ARM}: "
                "the treatment is concentrated in too few clusters"
            )


def _targets(study: Study, t: FloatArray, y: FloatArray) -> list[_Target]:
    everyone = np.ones(len(t), dtype=np.bool_)
    binary_outcome = bool(np.isin(y, (0.0, 1.0)).all())
    if not study.is_binary:
        return [
            _Target("propensity", t, everyone, probability=False),
            _Target("outcome", y, everyone, probability=binary_outcome),
        ]
    return [
        _Target("propensity", t, everyone, probability=True),
        _Target("outcome_control", y, t == 0, probability=binary_outcome),
        _Target("outcome_treated", y, t == 1, probability=binary_outcome),
    ]


def _cross_predict(target: _Target, x: FloatArray, folds: IntArray, learner: str, seed: int) -> tuple[FloatArray, str]:
    names = candidate_learners(int(target.rows.sum()), x.shape[1], learner)
    predictions = {name: np.empty(len(x)) for name in names}
    losses: dict[str, list[FloatArray]] = {name: [] for name in names}
    if len(x) >= PILOT_FROM and len(names) > 1:
        names = (_best_in_pilot(target, x, folds == folds.min(), names, seed),)
    for fold in np.unique(folds):
        held_out = folds == fold
        train = taught(target.rows & ~held_out, MAX_TRAINING, seed)
        fitted = fit_predict(
            names, x[train], target.values[train], x[held_out], probability=target.probability, seed=seed
        )
        for name in names:
            predictions[name][held_out] = fitted[name]
            losses[name].append(_losses(target, fitted[name], held_out))
        names = _competing({name: np.concatenate(losses[name]) for name in names})
    best = min(names, key=lambda name: float(np.concatenate(losses[name]).mean()))
    return predictions[best], best


def _best_in_pilot(target: _Target, x: FloatArray, held_out: BoolArray, names: tuple[str, ...], seed: int) -> str:
    """The learner of least loss on as many held-out rows as it learns from."""
    train, judged = (taught(target.rows & rows, MAX_TRAINING, seed) for rows in (~held_out, held_out))
    fitted = fit_predict(names, x[train], target.values[train], x[judged], probability=target.probability, seed=seed)
    return min(names, key=lambda name: float(_losses(target, fitted[name], judged).mean()))


def _competing(losses: Mapping[str, FloatArray]) -> tuple[str, ...]:
    """Names whose loss is not clearly above the least, simplest first."""
    least = losses[min(losses, key=lambda name: float(losses[name].mean()))]
    excess = {name: each - least for name, each in losses.items()}
    return tuple(
        name for name, each in excess.items() if each.mean() <= _CLEARLY_WORSE * each.std() / np.sqrt(max(len(each), 1))
    )


def _losses(target: _Target, prediction: FloatArray, held_out: BoolArray) -> FloatArray:
    """Loss of each row that the target is defined for, among those held out."""
    defined = target.rows[held_out]
    actual, predicted = target.values[held_out][defined], prediction[defined]
    if target.probability:
        return np.asarray(-(actual * np.log(predicted) + (1 - actual) * np.log1p(-predicted)), dtype=np.float64)
    return np.asarray((actual - predicted) ** 2, dtype=np.float64)


def _restored(values: FloatArray, order: IntArray) -> FloatArray:
    restored = np.empty_like(values)
    restored[order] = values
    return restored
