"""What is left of treatment, outcome and covariates once the rest of the design is held fixed?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.causal_engine.spec import Design
from src.causal_engine.study import FloatArray, IntArray, Study


@dataclass(frozen=True)
class PartialledDesign:
    """Arrays after unit and period effects (panels) or the constant are projected out.

    ``t``, ``y`` (n,), ``x`` (n, p) with ``sources[j]`` the covariate that column j encodes; ``df`` the
    residual degrees of freedom of y on t and x.
    """

    t: FloatArray
    y: FloatArray
    x: FloatArray
    sources: tuple[str, ...]
    df: int

    def without(self, covariate: str | None) -> FloatArray:
        """The covariate columns that do not encode ``covariate``, (n, p')."""
        kept = [j for j, source in enumerate(self.sources) if source != covariate]
        return self.x[:, kept]


def partialled_design(study: Study, design: Design) -> PartialledDesign:
    """Treatment, outcome and covariates as the design compares them: within units on a panel, else centred."""
    x, _, sources = study.design
    stacked = np.column_stack([study.t, study.y, x])
    if design is Design.PANEL and study.spec.is_panel:
        values, periods, units = absorb_panel(study, stacked)
        values = residual(periods, values)
        absorbed = int(units.max()) + 1 + periods.shape[1]
    else:
        values = stacked - stacked.mean(axis=0)
        absorbed = 1
    df = max(1, study.n - absorbed - 1 - x.shape[1])
    return PartialledDesign(values[:, 0], values[:, 1], values[:, 2:], sources, df)


def absorb_panel(study: Study, values: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Subtract unit means from ``values`` (n, k) and from the period indicators (n, T − 1); also the unit codes (n,).

    Regressing the first on the second is two-way fixed effects (Frisch–Waugh–Lovell on unit dummies).
    """
    units = _codes(study.frame, str(study.spec.unit_key))
    periods = _codes(study.frame, str(study.spec.time_key))
    indicators = (periods[:, None] == np.arange(1, int(periods.max()) + 1)).astype(np.float64)
    return demeaned(values, units), demeaned(indicators, units), units


def demeaned(values: FloatArray, codes: IntArray) -> FloatArray:
    """Subtract from each row of ``values`` (n, k) the mean of its group."""
    counts = np.bincount(codes)
    result = np.empty_like(values)
    for j, column in enumerate(values.T):
        result[:, j] = column - (np.bincount(codes, weights=column) / counts)[codes]
    return result


def residual(controls: FloatArray, values: FloatArray) -> FloatArray:
    """What ``controls`` (n, p) leave unexplained of ``values`` (n,) or (n, k); collinear controls are harmless."""
    if controls.shape[1] == 0:
        return values
    coefficients, *_ = np.linalg.lstsq(controls, values, rcond=1e-10)
    return np.asarray(values - controls @ coefficients, dtype=np.float64)


def _codes(frame: pd.DataFrame, key: str) -> IntArray:
    codes, _ = pd.factorize(frame[key], sort=True)
    return np.asarray(codes, dtype=np.int64)
