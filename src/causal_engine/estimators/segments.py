"""What is the effect within each level of an effect modifier?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from src.causal_engine.estimators.inference import MIN_CLUSTERS, interval, of_influence, ratio
from src.causal_engine.results import SegmentEffect
from src.causal_engine.study import FloatArray, IntArray, Study
from src.domain.small_cells import SMALLEST_CELL, hidden_groups

MIN_SEGMENT = 30
MAX_SEGMENTS = 12


def segment_effects(
    study: Study, numerator: FloatArray, denominator: FloatArray, noise: FloatArray | None = None
) -> tuple[SegmentEffect, ...]:
    """Ratio of the scores within each level of each two-valued or categorical modifier.

    ``noise`` (n,), where given, takes the place of the numerator in the standard error: the units of
    the segment are then all that its effect is about.

    Levels with fewer than 30 rows, or 11 in an arm, are not reported, nor is the next smallest one where
    the total would give a level or arm of fewer than 11 away; nor are modifiers with more than 12
    levels or continuous ones.
    """
    found: list[SegmentEffect] = []
    for column in study.spec.effect_modifiers:
        labels = segment_labels(study.frame[column])
        if labels is None:
            continue
        members = {str(level): (labels == level).to_numpy() for level in sorted(labels.unique())}
        hidden = hidden_groups({level: smallest_cell(study, rows) for level, rows in members.items()})
        for level, rows in members.items():
            if level in hidden:
                continue
            segment = _within(study, column, level, rows, (numerator, denominator, noise))
            if segment is not None:
                found.append(segment)
    return tuple(found)


def smallest_cell(study: Study, rows: np.ndarray) -> int:
    """Units among ``rows`` (n,), or those of the smaller arm."""
    size = int(rows.sum())
    if not study.is_binary:
        return size
    treated = int(study.t[rows].sum())
    return min(treated, size - treated)


def segment_labels(series: pd.Series) -> pd.Series | None:
    """Text label of each row's segment, or None when the column does not split rows into a few segments."""
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
    levels = series.nunique(dropna=False)
    if levels < 2 or levels > (2 if numeric else MAX_SEGMENTS):
        return None
    if numeric:
        return series.map(lambda value: "(missing)" if pd.isna(value) else f"{value:g}")
    return series.astype("object").where(series.notna(), "(missing)").astype(str)


def _within(
    study: Study, column: str, level: str, rows: np.ndarray, scores: tuple[FloatArray, FloatArray, FloatArray | None]
) -> SegmentEffect | None:
    size = int(rows.sum())
    if size < MIN_SEGMENT or smallest_cell(study, rows) < SMALLEST_CELL:
        return None
    clusters = _recoded(study.clusters, rows)
    if clusters is not None and clusters.max() + 1 < MIN_CLUSTERS:
        return None
    numerator, denominator, noise = scores
    value, influence = ratio(numerator[rows], denominator[rows])
    if noise is not None:
        influence = noise[rows] / denominator[rows].mean()
    uncertainty = of_influence(influence, clusters)
    return SegmentEffect(column, level, value, uncertainty.std_error, interval(value, uncertainty), size)


def _recoded(clusters: IntArray | None, rows: np.ndarray) -> IntArray | None:
    if clusters is None:
        return None
    return np.asarray(np.unique(clusters[rows], return_inverse=True)[1], dtype=np.int64)
