"""Which rows of a file (or of frames) are meant for a contract table, and on which lines do they stand?"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.contracts.model import TableContract
from src.errors import ContractViolation, nearest_names
from src.storage.csv_blocks import OnFraction, newlines_within, read_text_blocks
from src.storage.csv_layout import CsvLayout, blank_lines, inspect_csv, open_text
from src.storage.tabular import is_parquet, read_table

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 50_000
FIRST_LINE = 2

Source = Path | Iterable["pd.DataFrame"]


@dataclass(frozen=True)
class ContractChunks:
    """``frames`` hold the contract's columns only; their index is the line in the file (1 = header).

    ``columns`` are the contract's columns that are there, ``ignored`` those the contract lacks.
    """

    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    frames: Iterator[pd.DataFrame]


def open_chunks(
    source: Source,
    table: TableContract,
    *,
    encoding: str = "utf-8",
    on_progress: OnFraction | None = None,
    all_required: bool = True,
) -> ContractChunks:
    """Open a CSV or Parquet file, or an iterable of frames, for ``table``; at most ``CHUNK_ROWS`` rows per frame.

    Raises UnreadableFile, and ContractViolation when required columns are missing (while ``all_required``).
    """
    if not isinstance(source, Path):
        chunks = _from_frames(source, table)
    elif is_parquet(source):
        content = read_table(source, on_progress=on_progress)
        chunks = _select(tuple(content.columns), table, _parquet_frames(content.batches))
    else:
        layout = inspect_csv(source, encoding=encoding)
        chunks = _select(layout.columns, table, _csv_frames(layout, on_progress))
    if all_required:
        _check_required(str(source) if isinstance(source, Path) else "frame", chunks, table)
    return chunks


def _check_required(origin: str, chunks: ContractChunks, table: TableContract) -> None:
    there = (*chunks.columns, *chunks.ignored)
    for column in table.columns:
        if column.required and column.name not in there:
            raise ContractViolation(
                f"{origin}: table '{table.name}' needs the column '{column.name}'; {nearest_names(column.name, there)}"
            )


def _select(there: tuple[str, ...], table: TableContract, frames: Iterator[Any]) -> ContractChunks:
    columns = tuple(name for name in table.column_names if name in there)
    ignored = tuple(name for name in there if name not in columns)
    return ContractChunks(columns, ignored, (frame.loc[:, list(columns)] for frame in frames))


def _from_frames(source: Iterable[pd.DataFrame], table: TableContract) -> ContractChunks:
    frames = iter(source)
    first = next(frames, None)
    if first is None:
        raise ContractViolation(f"table '{table.name}': there is no frame to load")

    def numbered() -> Iterator[pd.DataFrame]:
        line = FIRST_LINE
        for frame in _chain(first, frames):
            for start in range(0, len(frame), CHUNK_ROWS):
                part = frame.iloc[start : start + CHUNK_ROWS]
                yield part.set_axis(range(line, line + len(part)), axis=0)
                line += len(part)

    return _select(tuple(map(str, first.columns)), table, numbered())


def _chain(first: pd.DataFrame, rest: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield first
    yield from rest


def _parquet_frames(batches: Iterator[Any]) -> Iterator[pd.DataFrame]:
    line = FIRST_LINE
    for batch in batches:
        for start in range(0, len(batch), CHUNK_ROWS):
            part = batch.slice(start, CHUNK_ROWS)
            frame = part.to_pandas(date_as_object=False)
            yield frame.set_axis(range(line, line + len(part)), axis=0)
            line += len(part)


def _csv_frames(layout: CsvLayout, on_progress: OnFraction | None) -> Iterator[pd.DataFrame]:
    """Text frames; a blank line is skipped but counted as a line, and a row of empty cells is a row."""
    import numpy as np

    blank = _BlankLines(layout)
    line = _first_data_line(layout)
    for block in read_text_blocks(layout, keep_blank_lines=True, on_progress=on_progress):
        for start in range(0, len(block), CHUNK_ROWS):
            part = block.slice(start, CHUNK_ROWS)
            ends = np.cumsum(newlines_within(part) + 1)
            begins = line + np.concatenate(([0], ends[:-1]))
            line += int(ends[-1])
            frame = part.to_pandas()
            frame.index = begins
            empty = begins[frame.isna().all(axis=1).to_numpy()]
            yield frame.drop(index=[number for number in empty.tolist() if blank.holds(number)])


class _BlankLines:
    """Tells blank lines, asked about in ascending order; the file is read again only when it is asked."""

    def __init__(self, layout: CsvLayout) -> None:
        self._numbers = blank_lines(layout)
        self._next = 0

    def holds(self, line: int) -> bool:
        while self._next < line:
            self._next = next(self._numbers, sys.maxsize)
        return self._next == line


def _first_data_line(layout: CsvLayout) -> int:
    with open_text(layout) as text:
        reader = csv.reader(text, delimiter=layout.delimiter)
        while not next(reader):
            continue
        return reader.line_num + 1
