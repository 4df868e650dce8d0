"""Which mixture of effect functions has the least orthogonal loss?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.estimators.positivity import BoolArray
from src.causal_engine.study import FloatArray

RIDGE = 1e-9
_SUM_WEIGHT = 1e3


def stacked_effect(data: EffectData, effects: Mapping[str, FloatArray]) -> tuple[FloatArray, dict[str, float]]:
    """Out-of-fold mixture of ``effects`` (each (n,)) and its mean weights, which are ≥ 0 and sum to 1.

    Weights minimise the R-loss (R-stacking, Nie & Wager 2021, sec. 4.2); those at a fold come from the
    other folds.
    """
    names = list(effects)
    values = np.column_stack([effects[name] for name in names])
    mixed, weights = np.empty(len(data.t)), []
    for fold in np.unique(data.folds):
        held = data.folds == fold
        weights.append(_mixture(data, values, ~held))
        mixed[held] = values[held] @ weights[-1]
    return mixed, dict(zip(names, map(float, np.mean(weights, axis=0)), strict=True))


def _mixture(data: EffectData, values: FloatArray, rows: BoolArray) -> FloatArray:
    """Least squares on the simplex, from the moments alone."""
    from scipy.optimize import nnls

    residual_t, residual_y = (data.t - data.propensity)[rows], (data.y - data.outcome)[rows]
    scaled = values[rows] * residual_t[:, None]
    gram = scaled.T @ scaled
    size = float(np.trace(gram)) / len(gram)
    root = np.linalg.cholesky(gram / size + RIDGE * np.eye(len(gram))).T
    aim = np.linalg.solve(root.T, scaled.T @ residual_y / size)
    sum_row = np.full((1, len(gram)), _SUM_WEIGHT)
    found, _ = nnls(np.vstack([root, sum_row]), np.append(aim, _SUM_WEIGHT))
    return np.asarray(found / found.sum(), dtype=np.float64)
