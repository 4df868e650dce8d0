"""Are p-values adjusted as statsmodels adjusts them, and are false discoveries held?"""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from src.causal_engine.experiment.multiplicity import Adjustment, adjusted

NAMES = {Adjustment.BH: "fdr_bh", Adjustment.BY: "fdr_by", Adjustment.HOLM: "holm"}


@pytest.mark.parametrize("method", list(Adjustment))
@pytest.mark.parametrize("m", [1, 2, 37])
def test_adjusted_p_values_are_those_of_statsmodels(method: Adjustment, m: int) -> None:
    p = np.random.default_rng(m).uniform(size=m) ** 3
    assert adjusted(p.tolist(), method) == pytest.approx(multipletests(p, method=NAMES[method])[1], rel=1e-12)


def test_nothing_asked_is_nothing_adjusted() -> None:
    assert adjusted([], Adjustment.BH).size == 0


@pytest.mark.parametrize("method", [Adjustment.BH, Adjustment.BY])
def test_false_discoveries_stay_below_the_level(method: Adjustment) -> None:
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(200):
        p = np.concatenate([rng.uniform(size=80), rng.uniform(size=20) ** 8])
        found = adjusted(p.tolist(), method) <= 0.05
        shares.append(found[:80].sum() / max(1, found.sum()))
    assert np.mean(shares) < 0.06
