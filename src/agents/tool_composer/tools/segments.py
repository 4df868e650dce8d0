"""What is the effect, or the level, of something in each segment of the rows?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.contrasts import Estimates, jointly
from src.agents.tool_composer.tools.panel_rows import checked_columns, is_number, unit_codes
from src.agents.tool_composer.tools.studies import AskedStudy, n_units, question_on, units_in_words
from src.causal_engine.declaration import Asked
from src.causal_engine.estimators.inference import interval, of_influence
from src.causal_engine.results import Interval
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import FloatArray, IntArray
from src.domain.small_cells import hidden_groups, is_small
from src.errors import ContractViolation, E2IError, EstimationError, StudyInvalid

MAX_EFFECT_SEGMENTS = 60
MAX_LEVEL_SEGMENTS = 300
MAX_NUMBERS = 12
GROUPS = 4
MISSING = "(missing)"


@dataclass(frozen=True)
class Measured:
    """A value in one segment with its interval; ``sums`` is its influence by cluster, (g,), None where unclustered."""

    value: float
    std_error: float
    ci: Interval
    sums: FloatArray | None
    df: float | None


@dataclass(frozen=True)
class Segment:
    """One segment of a column. ``measured`` is None where nothing can be said, for the reason ``why_not``."""

    column: str
    name: str
    n_rows: int
    n_units: int
    measured: Measured | None
    why_not: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Segmented:
    """The segments of one column; ``estimates`` belong to those of ``told``, None where there is none."""

    column: str
    segments: tuple[Segment, ...]

    @property
    def told(self) -> tuple[Segment, ...]:
        """Segments with a value that may be shown, largest value first."""
        shown = [one for one in self.segments if one.measured is not None and not one.hidden]
        return tuple(sorted(shown, key=lambda one: (-_value(one), one.name)))

    @property
    def estimates(self) -> Estimates | None:
        """The values of ``told`` with their covariance."""
        measured = [one.measured for one in self.told if one.measured is not None]
        if not measured:
            return None
        sums = [one.sums for one in measured if one.sums is not None]
        return jointly(
            [one.value for one in measured],
            [one.std_error for one in measured],
            sums if len(sums) == len(measured) else None,
            [one.df for one in measured],
        )


def segmented_effect(asked: AskedStudy, declared: Mapping[str, Any], column: str) -> Segmented:
    """The effect within each segment, by the estimator of the design on the segment's own rows.

    Raises ContractViolation or StudyInvalid for a column that makes no segments; what cannot be estimated in a
    segment is said there.
    """
    _refuse_what_follows(asked, column)
    labels = segment_labels(asked.frame, asked.spec, column, MAX_EFFECT_SEGMENTS)
    question = _question_of(asked.spec)
    return _hidden_small(
        column,
        [
            _with_effect(question_on(_rows(asked.frame, rows), question, declared), asked, column, name, rows)
            for name, rows in _parts(labels)
        ],
    )


def segmented_level(frame: pd.DataFrame, spec: CausalSpec, measure: str, column: str) -> Segmented:
    """The mean of a numeric column per row within each segment, clustered by unit. Raises like ``segmented_effect``."""
    if not is_number(frame[measure]) and frame[measure].dtype != bool:
        raise ContractViolation(f"'{measure}' is no number, so segments cannot be ranked by it; name a numeric column")
    labels = segment_labels(frame, spec, column, MAX_LEVEL_SEGMENTS)
    values = frame[measure].to_numpy(dtype=np.float64, na_value=np.nan)
    codes = cluster_codes(frame, spec)
    units = unit_codes(frame, spec.unit_key)
    segments = []
    for name, rows in _parts(labels):
        size, measured, why_not = len(np.unique(units[rows])), None, ""
        try:
            measured = _mean(values[rows], None if codes is None else codes[rows], codes)
        except EstimationError as error:
            why_not = str(error)
        segments.append(Segment(column, name, len(rows), size, measured, why_not))
    return _hidden_small(column, segments)


def segment_labels(frame: pd.DataFrame, spec: CausalSpec, column: str, most: int) -> pd.Series:
    """The segment of each row: levels of a text, single numbers where there are few, else four groups of equal size.

    Raises UnknownColumn; ContractViolation for keys; StudyInvalid for more than ``most`` levels or a single one.
    """
    checked_columns(frame, (column,))
    if column in (spec.unit_key, spec.time_key) or (column == spec.cluster_key and spec.unit_key is None):
        raise ContractViolation(
            f"'{column}' names single {units_in_words(spec.unit_key)} or times; group by a property"
        )
    series = frame[column]
    levels = series.nunique(dropna=False)
    if levels < 2:
        raise StudyInvalid(f"all rows have the same '{column}'; there is nothing to tell apart")
    if is_number(series) and levels > MAX_NUMBERS:
        return _in_groups(series)
    if levels > most:
        raise StudyInvalid(f"'{column}' has {levels:,} values; name a column with at most {most}")
    codes, distinct = pd.factorize(series)
    names = [f"{value:g}" if is_number(series) else " ".join(str(value).split()) for value in distinct]
    return pd.Series(np.array([*names, MISSING], dtype=object)[codes], index=series.index)


def cluster_codes(frame: pd.DataFrame, spec: CausalSpec) -> IntArray | None:
    """Number of each row's cluster from 0, shape (n,), None where rows are independent."""
    key = spec.cluster_key or spec.unit_key
    return None if key is None else np.asarray(pd.factorize(frame[key])[0], dtype=np.int64)


def _question_of(spec: CausalSpec) -> Asked:
    return Asked(
        treatment=spec.treatment,
        outcome=spec.outcome,
        lag=spec.lag,
        estimator=spec.estimator,
        random_state=spec.random_state,
    )


def _refuse_what_follows(asked: AskedStudy, column: str) -> None:
    spec = asked.spec
    if column in (spec.treatment, spec.outcome):
        raise ContractViolation(f"'{column}' is in the question itself and cannot split the rows; name another column")
    excluded = {node.name: node.reason for node in asked.identification.excluded}
    if column in excluded or column in spec.bad_controls:
        raise ContractViolation(
            f"'{column}' comes after {spec.treatment} or is moved by it, so segments of it are part of the effect; "
            "name a column that was settled before"
        )


def _parts(labels: pd.Series) -> Iterator[tuple[str, IntArray]]:
    """Each segment and the positions of its rows."""
    codes, names = pd.factorize(labels, sort=True)
    order = np.argsort(codes, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(codes))
    for name, rows in zip(names, np.split(order, ends[:-1]), strict=True):
        yield str(name), rows


def _rows(frame: pd.DataFrame, rows: IntArray) -> pd.DataFrame:
    return frame.iloc[rows].reset_index(drop=True)


def _with_effect(part: AskedStudy, whole: AskedStudy, column: str, name: str, positions: IntArray) -> Segment:
    size = n_units(part.frame, part.spec)
    segment = Segment(column, name, len(part.frame), size, None)
    if is_small(size):
        return segment
    try:
        held = part.fitted()
    except E2IError as error:
        return replace(segment, why_not=str(error))
    fitted = held.fitted
    assert fitted is not None
    codes, estimate = cluster_codes(whole.frame, whole.spec), fitted.estimate
    sums, df = None, None
    if codes is not None:
        df = float(len(np.unique(codes[positions])) - 1)
        if fitted.influence is not None and len(fitted.influence) == len(positions):
            sums = _summed(fitted.influence, codes[positions], codes)
    return replace(segment, measured=Measured(estimate.value, estimate.std_error, estimate.ci, sums, df))


def _mean(values: FloatArray, clusters: IntArray | None, all_clusters: IntArray | None) -> Measured:
    known = np.isfinite(values)
    if not known.any():
        raise EstimationError("there is no value in these rows")
    value = float(values[known].mean())
    influence = values[known] - value
    own = None if clusters is None else np.unique(clusters[known], return_inverse=True)[1].astype(np.int64)
    uncertainty = of_influence(influence, own)
    sums = None
    if clusters is not None and all_clusters is not None:
        sums = _summed(influence, clusters[known], all_clusters)
    return Measured(value, uncertainty.std_error, interval(value, uncertainty), sums, uncertainty.df)


def _summed(influence: FloatArray, clusters: IntArray, all_clusters: IntArray) -> FloatArray:
    return np.bincount(clusters, influence, int(all_clusters.max()) + 1).astype(np.float64)


def _in_groups(series: pd.Series) -> pd.Series:
    edges = np.unique(np.quantile(series.dropna().to_numpy(dtype=np.float64), np.linspace(0, 1, GROUPS + 1)))
    groups = np.clip(np.searchsorted(edges, series.to_numpy(dtype=np.float64, na_value=np.nan)) - 1, 0, len(edges) - 2)
    ends = [
        f"{place + 1}: {low:g} to {high:g}" for place, (low, high) in enumerate(zip(edges, edges[1:], strict=False))
    ]
    return pd.Series(np.asarray(ends, dtype=object)[groups], index=series.index).where(series.notna(), MISSING)


def _hidden_small(column: str, segments: Sequence[Segment]) -> Segmented:
    hidden = hidden_groups({one.name: one.n_units for one in segments})
    return Segmented(column, tuple(replace(one, hidden=one.name in hidden) for one in segments))


def _value(segment: Segment) -> float:
    return segment.measured.value if segment.measured is not None else float("-inf")
