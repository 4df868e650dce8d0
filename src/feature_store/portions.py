"""Which rows of a source have to be written, and in which portions?

An entity is written once per run, with its latest row: writing its history row by row would show
readers old values again until the run has come to the end.
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

    def key_texts(self, codes: Ints) -> frozenset[str]:
        """The entities of these codes."""
        import pyarrow as pa

        return frozenset(self.names.take(pa.array(codes)).to_pylist())


@dataclass(frozen=True, slots=True)
class Portion:
    """Part of a run's window, [``start``, ``end``]. ``codes`` are the entities to write.

    Their rows lie between the event times ``read_from`` and ``read_to`` (None where nothing is to be written).
    """

    start: datetime
    end: datetime
    codes: Ints
    read_from: datetime | None
    read_to: datetime | None

    @property
    def rows(self) -> int:
        """Rows that the online store is to get."""
        return len(self.codes)


def key_text(values: Sequence[object]) -> str:
    """How an entity's key values are written in a SourceIndex."""
    return _KEY_SEPARATOR.join(str(value) for value in values)


def full_portions(index: SourceIndex, start: datetime, end: datetime, size: int) -> list[Portion]:
    """Every entity with an event in [start, end]; about ``size`` source rows a portion, a time is never split."""
    order = _in_time_order(index, _micros(start), _micros(end))
    finals = _last_of_each(index.codes[order])
    return _portions(index, order, index.events[order], finals, start, end, size)


def new_portions(index: SourceIndex, start: datetime, end: datetime, size: int) -> list[Portion]:
    """Entities whose latest row up to ``end`` happened, or became known, at ``start`` or later.

    What is dated before ``start`` but was only told afterwards counts as new. About ``size`` rows a portion, by
    the time they became known; rows of one such time stay together.
    """
    order = _in_time_order(index, np.iinfo(np.int64).min, _micros(end))
    latest = order[_last_of_each(index.codes[order])]
    arrivals = np.minimum(np.maximum(index.events[latest], index.created[latest]), _micros(end))
    new = latest[arrivals >= _micros(start)]
    arrivals = arrivals[arrivals >= _micros(start)]
    by_arrival = np.argsort(arrivals, kind="stable")
    ordered = new[by_arrival]
    return _portions(index, ordered, arrivals[by_arrival], np.arange(len(ordered)), start, end, size)


def _portions(
    index: SourceIndex, order: Ints, times: Ints, finals: Ints, start: datetime, end: datetime, size: int
) -> list[Portion]:
    """Cut ``order`` (source rows by ``times``) after about ``size`` rows; only those at ``finals`` are written."""
    cuts, final_times, done = [], times[finals], 0
    while done < len(finals):
        last = times[min(int(finals[done]) + size, len(times)) - 1]
        until = int(np.searchsorted(final_times, last, side="right"))
        cuts.append((done, until, int(last)))
        done = until
    if not cuts:
        return [Portion(start, end, np.empty(0, np.int64), None, None)]
    portions, begin = [], start
    for number, (first, until, last) in enumerate(cuts):
        rows = order[finals[first:until]]
        stop = end if number == len(cuts) - 1 else _time(last)
        reads = _time(int(index.events[rows].min())), _time(int(index.events[rows].max()))
        portions.append(Portion(begin, stop, index.codes[rows], *reads))
        begin = stop + TICK
    return portions


def _in_time_order(index: SourceIndex, start: int, end: int) -> Ints:
    inside = np.flatnonzero((index.events >= start) & (index.events <= end))
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
