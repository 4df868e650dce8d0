"""Which prediction rules may serve as nuisance models, and how is each fitted?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.causal_engine.estimators.single_index import predict_single_index
from src.causal_engine.study import FloatArray
from src.errors import EstimationError, nearest_names

PROBABILITY_FLOOR = 1e-6
FEW_ROWS = 400
MANY_COLUMNS = 20
MANY_ROWS = 10_000
MANY_PREDICTED = 100_000
PREDICTING_THREADS = 2
TREES = ("lightgbm_40", "lightgbm_150")
LINEAR_TREES = ("linear_trees_100", "linear_trees_250")
WIDE_LINEAR_TREES = ("wide_linear_trees_50", "wide_linear_trees_100")
SINGLE_INDEX = "single_index"
LEARNERS = ("constant", "linear", "ridge", SINGLE_INDEX, *TREES, *LINEAR_TREES, *WIDE_LINEAR_TREES)
AUTOMATIC = ("auto", "broad")
_NEWTON_STEPS = 60
_WEAK_PENALTY = 1.0
_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.08,
    "num_leaves": 8,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
# Leaves that are linear in the splits' variables (Shi et al. 2019) follow smooth curves that steps only approach.
_LINEAR_LEAVES: dict[str, Any] = {
    **_BOOSTING,
    "learning_rate": 0.05,
    "num_leaves": 6,
    "min_data_in_leaf": 30,
    "feature_fraction": 0.7,
    "linear_tree": True,
    "linear_lambda": 0.1,
}
# Many rows bear more leaves at a faster rate: as close a fit from fewer trees, which predict faster.
_WIDE_LINEAR_LEAVES: dict[str, Any] = {**_LINEAR_LEAVES, "learning_rate": 0.1, "num_leaves": 12}
_FAMILIES = ((TREES, _BOOSTING), (LINEAR_TREES, _LINEAR_LEAVES), (WIDE_LINEAR_TREES, _WIDE_LINEAR_LEAVES))


def candidate_learners(n: int, p: int, learner: str) -> tuple[str, ...]:
    """Learners that compete for a nuisance with ``n`` training rows and ``p`` columns, simplest first.

    ``learner`` is "auto", "broad" (one smooth curve of a weighted sum competes too) or one name, which is
    then the only candidate. Trees need 400 rows; wide ones, from 10,000 rows on, take the place of the
    longest run. The stronger ridge joins when columns are many, in number or relative to the rows.
    """
    if learner not in AUTOMATIC:
        if learner not in LEARNERS:
            raise EstimationError(f"no nuisance learner is called '{learner}'; {nearest_names(learner, LEARNERS)}")
        return (learner,)
    if p == 0:
        return ("constant",)
    linear = ("linear", "ridge") if p >= MANY_COLUMNS or p > n / MANY_COLUMNS else ("linear",)
    smooth = (*linear, SINGLE_INDEX) if learner == "broad" else linear
    if n >= MANY_ROWS:
        return (*smooth, *TREES, LINEAR_TREES[0], *WIDE_LINEAR_TREES)
    return smooth if n < FEW_ROWS else (*smooth, *TREES, *LINEAR_TREES)


def fit_predict(
    names: Sequence[str],
    x: FloatArray,
    target: FloatArray,
    x_new: FloatArray,
    *,
    probability: bool,
    seed: int,
    weight: FloatArray | None = None,
) -> dict[str, FloatArray]:
    """Fit each named learner on ``x`` (n, p), ``target`` (n,) and predict at ``x_new`` (m, p).

    ``probability``: the target is 0/1 and log loss is minimised, else squared loss. Boosted trees
    of several lengths share one fit. ``weight`` (n,), not for probabilities, counts rows.
    """
    predictions: dict[str, FloatArray] = {}
    for name in names:
        if name == "constant" or target.min() == target.max() or x.shape[1] == 0:
            predictions[name] = np.full(len(x_new), float(np.average(target, weights=weight)))
        elif name == SINGLE_INDEX:
            predictions[name] = _predict_curve(x, target, x_new, weight)
        elif not any(name in family for family, _ in _FAMILIES):
            penalty = _WEAK_PENALTY if name == "linear" else float(max(1, x.shape[1]))
            if probability:
                predictions[name] = _predict_logistic(x, target, x_new, penalty)
            else:
                predictions[name] = _predict_ridge(x, target, x_new, penalty, weight)
    for family, parameters in _FAMILIES:
        missing = [name for name in names if name in family and name not in predictions]
        grown = _Boosting(parameters, probability, seed, weight)
        predictions.update(_predict_boosted(missing, x, target, x_new, grown))
    if probability:
        return {k: np.clip(v, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR) for k, v in predictions.items()}
    return predictions


def logistic_probabilities(x: FloatArray, target: FloatArray, penalty: float = 1e-4) -> FloatArray:
    """In-sample probabilities of a logistic regression of ``target`` (n,) on ``x`` (n, p)."""
    probabilities = _predict_logistic(x, target, x, penalty)
    return np.clip(probabilities, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)


def _standardised(x: FloatArray, x_new: FloatArray) -> tuple[FloatArray, FloatArray]:
    centre = x.mean(axis=0)
    scale = x.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(x).max(axis=0), scale, np.inf)
    return (x - centre) / scale, (x_new - centre) / scale


def _predict_ridge(
    x: FloatArray, target: FloatArray, x_new: FloatArray, penalty: float, weight: FloatArray | None = None
) -> FloatArray:
    z, z_new = _standardised(x, x_new)
    w = np.ones(len(z)) if weight is None else weight / weight.mean()
    centre, middle = float(np.average(target, weights=w)), np.average(z, axis=0, weights=w)
    z, z_new = z - middle, z_new - middle
    gram = (z * w[:, None]).T @ z + penalty * np.eye(z.shape[1])
    slopes = np.linalg.solve(gram, z.T @ (w * (target - centre)))
    return np.asarray(centre + z_new @ slopes, dtype=np.float64)


def _predict_curve(x: FloatArray, target: FloatArray, x_new: FloatArray, weight: FloatArray | None) -> FloatArray:
    z, z_new = _standardised(x, x_new)
    predicted = predict_single_index(z, target, z_new, np.ones(len(z)) if weight is None else weight)
    return np.clip(predicted, target.min(), target.max())


def _predict_logistic(x: FloatArray, target: FloatArray, x_new: FloatArray, penalty: float) -> FloatArray:
    z, z_new = _standardised(x, x_new)
    design = np.column_stack([np.ones(len(z)), z])
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 0.0
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(target.mean() / (1 - target.mean()))
    loss = _penalised_loss(weights, design, target, ridge)
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - target) + ridge * weights
        curvature = (design * np.maximum(p * (1 - p), 1e-10)[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.lstsq(curvature, gradient, rcond=1e-12)[0]
        size = 1.0
        while size > 1e-6 and _penalised_loss(weights - size * step, design, target, ridge) > loss:
            size /= 2
        weights = weights - size * step
        previous, loss = loss, _penalised_loss(weights, design, target, ridge)
        if previous - loss <= 1e-10 * (1.0 + abs(loss)) and float(np.abs(size * step).max()) < 1e-8:
            break
    return _sigmoid(np.column_stack([np.ones(len(z_new)), z_new]) @ weights)


def _penalised_loss(weights: FloatArray, design: FloatArray, target: FloatArray, ridge: FloatArray) -> float:
    score = design @ weights
    return float((np.logaddexp(0.0, score) - target * score).sum() + 0.5 * (ridge * weights**2).sum())


def _sigmoid(score: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -35.0, 35.0))), dtype=np.float64)


@dataclass(frozen=True)
class _Boosting:
    parameters: dict[str, Any]
    probability: bool
    seed: int
    weight: FloatArray | None


def _predict_boosted(
    names: Sequence[str], x: FloatArray, target: FloatArray, x_new: FloatArray, grown: _Boosting
) -> dict[str, FloatArray]:
    """Predictions of one fit at the lengths that ``names`` end with.

    A mean given covariates lies within the range of what was observed; linear leaves are kept there.
    """
    if not names:
        return {}
    import lightgbm

    if "linear_lambda" in grown.parameters:
        # Leaves' slopes are shrunk alike only when covariates have one unit.
        x, x_new = _standardised(x, x_new)
    # Labels are stored in single precision: without standardising, a large mean would swallow the signal.
    centre, scale = (0.0, 1.0) if grown.probability else (float(target.mean()), float(target.std()))
    rounds = {name: int(name.rpartition("_")[2]) for name in names}
    objective = "binary" if grown.probability else "regression"
    parameters = {**grown.parameters, "objective": objective, "seed": grown.seed}
    label = (target - centre) / scale
    data = lightgbm.Dataset(x, label=label, weight=grown.weight, params=parameters, free_raw_data=True)
    booster = lightgbm.train(parameters, data, num_boost_round=max(rounds.values()))
    # Rows are predicted one by one, so threads change nothing but the time.
    threads = 1 if len(x_new) < MANY_PREDICTED else min(PREDICTING_THREADS, os.cpu_count() or 1)
    return {
        name: np.clip(
            centre + scale * np.asarray(booster.predict(x_new, num_iteration=count, num_threads=threads)),
            target.min(),
            target.max(),
        )
        for name, count in rounds.items()
    }
