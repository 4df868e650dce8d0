"""Are the arms alike in each covariate, before and after weighting?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.estimators.positivity import arm_weights, average_asked, bounded
from src.causal_engine.results import BalanceRow
from src.causal_engine.study import FloatArray, Study
from src.errors import StudyInvalid


def balance_table(study: Study, propensity: FloatArray | None) -> tuple[BalanceRow, ...]:
    """Standardised mean difference of each encoded covariate; weighted by the estimand's weights if given.

    Both differences are divided by the unweighted √((s₁²+s₀²)/2) (Austin 2011), so that weighting
    cannot shrink its own yardstick; 0 for a column that does not vary. Raises StudyInvalid for a
    treatment that is not binary.
    """
    if not study.is_binary:
        raise StudyInvalid("balance between arms is defined for a 0/1 treatment")
    matrix, names, _ = study.design
    raw = standardised_differences(matrix, study.t, study.t, 1 - study.t)
    weighted: list[float | None] = [None] * len(names)
    if propensity is not None:
        estimand = average_asked(study)
        weights = arm_weights(study.t, bounded(propensity, estimand), estimand)
        weighted = list(standardised_differences(matrix, study.t, *weights).tolist())
    return tuple(
        BalanceRow(name, float(before), after) for name, before, after in zip(names, raw, weighted, strict=True)
    )


def standardised_differences(
    matrix: FloatArray, t: FloatArray, treated_weight: FloatArray, control_weight: FloatArray
) -> FloatArray:
    """Weighted mean difference over the pooled unweighted standard deviation, shape (p,)."""
    difference = treated_weight @ matrix / treated_weight.sum() - control_weight @ matrix / control_weight.sum()
    variances = [matrix[t == arm].var(axis=0, ddof=1) for arm in (1.0, 0.0)]
    pooled = np.sqrt((variances[0] + variances[1]) / 2)
    scaled: FloatArray = np.divide(difference, pooled, out=np.zeros_like(difference), where=pooled > 0)
    return scaled
