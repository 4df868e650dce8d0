"""Which rows of a source have to be written, and in which portions?

An entity is written once per run, with the latest row that is known at the run's end: writing its history
row by row would show readers old values again until the run has come to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from src.storage.feature_jobs import TICK

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]

# Before any event: a full materialisation begins here.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """Entity, event time and created time of every source row; times are microseconds since 1970 UTC.

    ``codes`` are positions in ``names``.
    """

    codes: Ints
    names: Any
    events: Ints
    created: Ints

    @classmethod
    def of(cls, table: pa.Table, keys: Sequence[str], event: str, created: str | None) -> SourceIndex:
        """Index of a table with the columns ``keys`` (joined to one text), ``event`` and ``created``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = [pc.cast(table.column(name), pa.string()) for name in keys]
        joined = pc.binary_join_element_wise(*texts, _KEY_SEPARATOR) if len(texts) > 1 else texts[0]
        encoded = pa.chunked_array([joined.combine_chunks()]).dictionary_encode().combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        events = _microseconds(table.column(event))
        return cls(
            codes=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
            names=encoded.dictionary,
            events=events,
            created=events if created is None else _microseconds(table.column(created)),
        )

    def key_names(self, codes: Ints) -> Any:
        """The entities of these codes, as an Arrow array of texts."""
        import pyarrow as pa

        return self.names.take(pa.array(codes))

    def latest(self, names: Any, until: datetime) -> Ints:
        """Positions of the latest row of each entity in ``names`` that happened and was known by ``until``."""
        import pyarrow.compute as pc

        wanted = np.asarray(pc.is_in(self.names, value_set=names))
        order = _known_in_time_order(self, _micros(until))
        order = order[wanted[self.codes[order]]]
        finals: Ints = order[_last_of_each(self.codes[order])]
        return finals


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows that are read at once: those of ``codes``, with event times between ``first`` and ``last``.

    ``may_be_there``: an earlier run may have written them already.
    """

    codes: Ints
    first: datetime
    last: datetime
    may_be_there: bool


@dataclass(frozen=True, slots=True)
class Portion:
    """Part of a run's window, [``start``, ``end``]; once it is written, nothing up to ``end`` is missing."""

    start: datetime
    end: datetime
    readings: tuple[Reading, ...]

    @property
    def rows(self) -> int:
        """Rows that the online store is to have."""
        return sum(len(reading.codes) for reading in self.readings)


def plan_portions(
    index: SourceIndex, start: datetime, end: datetime, size: int, *, late_since: datetime | None = None
) -> list[Portion]:
    """Every entity with an event in [start, end] that is known by ``end``, in order of time.

    With ``late_since`` also those whose latest row happened before ``start`` but became known at ``late_since``
    or later; they belong to the first portion. What becomes known after ``end`` is left for then. About ``size``
    source rows a portion, and at most a reading; rows of one time stay together.
    """
    order = _known_in_time_order(index, _micros(end))
    finals = _last_of_each(index.codes[order])
    is_timely = index.events[order[finals]] >= _micros(start)
    late = finals[~is_timely]
    if late_since is None:
        late = late[:0]
    else:
        arrivals = np.maximum(index.events[order[late]], index.created[order[late]])
        late = late[arrivals >= _micros(late_since)]
    timely = _timely_readings(index, order, finals[is_timely], size)
    ends = [reading.last for reading in timely[:-1]] + [end]
    starts = [start, *(time + TICK for time in ends[:-1])]
    readings: list[tuple[Reading, ...]] = [(reading,) for reading in timely] or [()]
    readings[0] = (*_late_readings(index, order, late, size), *readings[0])
    return [Portion(*parts) for parts in zip(starts, ends, readings, strict=True)]


def _timely_readings(index: SourceIndex, order: Ints, finals: Ints, size: int) -> list[Reading]:
    """Cut after about ``size`` source rows, between two times."""
    times, readings, done = index.events[order], [], 0
    while done < len(finals):
        last = times[min(int(finals[done]) + size, len(order)) - 1]
        until = int(np.searchsorted(times[finals], last, side="right"))
        readings.append(_reading(index, order[finals[done:until]], may_be_there=False))
        done = until
    return readings


def _late_readings(index: SourceIndex, order: Ints, finals: Ints, size: int) -> list[Reading]:
    """Cut so that no reading spans more than ``size`` source rows, however far apart the late ones are."""
    readings, done = [], 0
    while done < len(finals):
        until = int(np.searchsorted(finals, finals[done] + size))
        readings.append(_reading(index, order[finals[done:until]], may_be_there=True))
        done = until
    return readings


def _reading(index: SourceIndex, rows: Ints, *, may_be_there: bool) -> Reading:
    first, last = int(index.events[rows[0]]), int(index.events[rows[-1]])
    return Reading(index.codes[rows], _time(first), _time(last), may_be_there)


def _known_in_time_order(index: SourceIndex, until: int) -> Ints:
    inside = np.flatnonzero((index.events <= until) & (index.created <= until))
    return inside[np.lexsort((index.created[inside], index.events[inside]))]


def _last_of_each(codes: Ints) -> Ints:
    """Positions of the last occurrence of every code, ascending."""
    _, from_behind = np.unique(codes[::-1], return_index=True)
    return np.sort(len(codes) - 1 - from_behind)


def _microseconds(column: Any) -> Ints:
    import pyarrow as pa
    import pyarrow.compute as pc

    unit = pa.timestamp("us", tz=column.type.tz)
    return np.asarray(pc.cast(pc.cast(column, unit, safe=False), pa.int64()).to_numpy(), dtype=np.int64)


def _micros(time: datetime) -> int:
    return (time - EARLIEST) // TICK


def _time(micros: int) -> datetime:
    return EARLIEST + micros * TICK
