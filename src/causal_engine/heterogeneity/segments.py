"""In which segments is the effect larger or smaller than elsewhere, all of them judged at once?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.causal_engine.estimators.inference import MIN_CLUSTERS
from src.causal_engine.estimators.segments import MAX_SEGMENTS, MIN_SEGMENT, segment_labels, smallest_cell
from src.causal_engine.heterogeneity.report import HiddenSegment, SegmentFinding, SegmentTest
from src.causal_engine.heterogeneity.scores import EffectScores
from src.causal_engine.heterogeneity.simultaneous import Simultaneous
from src.causal_engine.study import FloatArray, IntArray, Study
from src.causal_engine.wording import number
from src.domain.small_cells import hidden_groups


@dataclass(frozen=True)
class Segment:
    """The units (n,) of one segment of a column."""

    column: str
    name: str
    rows: np.ndarray

    @property
    def n(self) -> int:
        """Units."""
        return int(self.rows.sum())


def segments_of(
    study: Study, columns: tuple[str, ...], clusters: IntArray | None
) -> tuple[list[Segment], tuple[HiddenSegment, ...]]:
    """Segments by each column that are large enough, and the others with the reason.

    A column with few levels is split by level, a number with more by quarters of its values. Fewer
    than 11 units, or units of an arm, are never shown, nor is the next smallest segment where the
    total would give one away; 30 units (6 clusters) are needed for an estimate.
    """
    shown: list[Segment] = []
    hidden: list[HiddenSegment] = []
    for column in columns:
        found = list(_split(study.frame[column], column))
        if not found:
            hidden.append(HiddenSegment(column, "(whole column)", _unsplit(study.frame[column])))
        reasons = hidden_groups({one.name: smallest_cell(study, one.rows) for one in found})
        for one in found:
            reason = reasons.get(one.name) or _too_few(one, clusters)
            if reason is None:
                shown.append(one)
            else:
                hidden.append(HiddenSegment(column, one.name, reason))
    return shown, tuple(hidden)


def segment_findings(
    segments: list[Segment], scores: EffectScores, rng: np.random.Generator
) -> tuple[tuple[SegmentFinding, ...], SegmentTest | None]:
    """Effect and difference from all other units for each segment, limits simultaneous over all segments.

    The two families, effects and differences, hold each for itself. The test is that of the largest
    difference (max-t). Nothing without at least two segments.
    """
    if len(segments) < 2:
        return (), None
    values, influence = group_means(scores.effect, segments)
    rest, other = _means_of_rest(scores.effect, segments)
    differences = Simultaneous(influence - other, scores.clusters, rng)
    effects = Simultaneous(influence, scores.clusters, rng).bounded(values)
    found = differences.bounded(values - rest)
    listed = tuple(SegmentFinding(one.column, one.name, effects[i], found[i], one.n) for i, one in enumerate(segments))
    return listed, SegmentTest(differences.p_value(values - rest), len(segments))


def group_means(scores: FloatArray, segments: list[Segment]) -> tuple[FloatArray, FloatArray]:
    """Mean of ``scores`` (n,) in each of k segments, (k,), and its influence function, (n, k)."""
    member = np.column_stack([one.rows for one in segments]).astype(np.float64)
    return _means(scores, member)


def _means_of_rest(scores: FloatArray, segments: list[Segment]) -> tuple[FloatArray, FloatArray]:
    return _means(scores, np.column_stack([~one.rows for one in segments]).astype(np.float64))


def _means(scores: FloatArray, member: FloatArray) -> tuple[FloatArray, FloatArray]:
    sizes = member.sum(axis=0)
    values = scores @ member / sizes
    return values, member * (scores[:, None] - values) * (len(scores) / sizes)


def _split(series: pd.Series, column: str) -> Iterator[Segment]:
    labels = segment_labels(series)
    if labels is None and pd.api.types.is_numeric_dtype(series):
        labels = _quarters(series)
    if labels is None:
        return
    for level in dict.fromkeys(sorted(labels.unique(), key=_by_bound)):
        yield Segment(column, str(level), (labels == level).to_numpy())


def _unsplit(series: pd.Series) -> str:
    if series.nunique(dropna=False) < 2:
        return "everybody has the same value"
    return f"more than {MAX_SEGMENTS} levels: group them first"


def _quarters(series: pd.Series) -> pd.Series | None:
    """Which quarter of the values a row is in, in words; None for a constant."""
    edges = np.unique(np.quantile(series.dropna().to_numpy(dtype=np.float64), [0.25, 0.5, 0.75]))
    if series.nunique() < 2:
        return None
    found = np.searchsorted(edges, series.to_numpy(dtype=np.float64), side="left")
    names = [f"≤ {number(edges[0])}"]
    names += [f"{number(low)} to {number(high)}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    names.append(f"> {number(edges[-1])}")
    # Numbered for their order; two edges may read alike once rounded.
    labels = pd.Series([f"{position + 1}: {names[position]}" for position in found], index=series.index)
    return labels.where(series.notna(), "(missing)")


def _by_bound(label: str) -> tuple[bool, str]:
    return label == "(missing)", label


def _too_few(segment: Segment, clusters: IntArray | None) -> str | None:
    if segment.n < MIN_SEGMENT:
        return f"fewer than {MIN_SEGMENT} units"
    if clusters is not None and len(np.unique(clusters[segment.rows])) < MIN_CLUSTERS:
        return f"fewer than {MIN_CLUSTERS} clusters"
    return None
