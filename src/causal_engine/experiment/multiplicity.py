"""How much does a p-value still say when many questions were asked at once?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from src.causal_engine.study import FloatArray


class Adjustment(StrEnum):
    """Which error is held: the share of false discoveries (bh, by) or any false one at all (holm)."""

    BH = "bh"
    BY = "by"
    HOLM = "holm"

    @property
    def words(self) -> str:
        """Its name and what it holds."""
        return {
            Adjustment.BH: "Benjamini–Hochberg: share of false discoveries, under independence or positive dependence",
            Adjustment.BY: "Benjamini–Yekutieli: share of false discoveries, under any dependence",
            Adjustment.HOLM: "Holm: chance of any false discovery, under any dependence",
        }[self]


def adjusted(p_values: Sequence[float], method: Adjustment) -> FloatArray:
    """Adjusted p-values in the order given, at most 1; a question is a discovery at level α where its own is ≤ α.

    bh: Benjamini & Hochberg (1995); by: Benjamini & Yekutieli (2001, theorem 1.3), both as the step-up
    min over j ≥ i of c·m·p₍ⱼ₎/j with c = 1 or Σ1/k; holm: Holm (1979), the step-down max over j ≤ i of
    (m − j + 1)·p₍ⱼ₎.
    """
    p = np.asarray(p_values, dtype=np.float64)
    m = len(p)
    order = np.argsort(p, kind="stable")
    ranks = np.arange(1, m + 1)
    if method is Adjustment.HOLM:
        stepped = np.maximum.accumulate((m - ranks + 1) * p[order])
    else:
        factor = float(np.sum(1.0 / ranks)) if method is Adjustment.BY else 1.0
        stepped = np.minimum.accumulate((factor * m * p[order] / ranks)[::-1])[::-1]
    found = np.empty(m)
    found[order] = np.minimum(stepped, 1.0)
    return found
