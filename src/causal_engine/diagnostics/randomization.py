"""Could the named covariates differ so much between arms if the treatment was assigned at random?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from src.causal_engine.study import Study


def randomization_p_value(study: Study) -> float | None:
    """p-value of the joint test that no adjustment column predicts the treatment; None where it does not apply.

    Lagrange-multiplier form of the linear regression of t on X: n·R² is χ² with rank(X) degrees of
    freedom under random assignment of rows (Wooldridge 2010, section 4.2.3). Not for assignment by
    cluster, whose rows are no independent draws.
    """
    if study.clusters is not None or not study.x.shape[1]:
        return None
    x = study.x - study.x.mean(axis=0)
    spread = x.std(axis=0)
    x = x[:, spread > 0] / spread[spread > 0]
    t = study.t - study.t.mean()
    coefficients, _, rank, _ = np.linalg.lstsq(x, t, rcond=None)
    if not rank:
        return None
    explained = float(np.sum((x @ coefficients) ** 2) / np.sum(t**2))
    return float(stats.chi2.sf(study.n * explained, rank))
