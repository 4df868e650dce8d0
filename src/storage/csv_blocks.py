"""What rows does a CSV file hold, block by block, without ever holding the whole file?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from src.errors import UnreadableFile
from src.storage.column_types import MISSING_TOKENS
from src.storage.csv_layout import (
    BLOCK_BYTES,
    CsvLayout,
    ends_inside_quotes,
    find_undecodable,
    line_of_row,
    not_text,
    open_stream,
)

OnFraction = Callable[[int, float], None]


def read_text_blocks(
    layout: CsvLayout, *, keep_blank_lines: bool = False, on_progress: OnFraction | None = None
) -> Iterator[Any]:
    """Yield pyarrow RecordBatches in which every column is text; an unquoted NA, null… is missing.

    ``on_progress(rows, fraction)`` hears rows yielded and the share of the file's bytes consumed.
    With ``keep_blank_lines`` a blank line is a row without any value, so that rows can be counted
    as lines. Raises UnreadableFile with the line number: ragged rows, undecodable text, a quote
    that is never closed, damaged compression.
    """
    import pyarrow as pa

    ragged: list[Any] = []
    size = max(layout.path.stat().st_size, 1)
    rows, last = 0, None
    try:
        stream, raw = open_stream(layout.path, layout.compression)
        for batch in _without_header(_open(stream, layout, ragged, keep_blank_lines)):
            rows, last = rows + len(batch), batch
            yield pa.RecordBatch.from_arrays(batch.columns, names=list(layout.columns))
            if on_progress is not None:
                on_progress(rows, min(raw.tell() / size, 1.0))
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explain(layout, ragged, error) from error
    except OSError as error:
        raise UnreadableFile(f"{layout.path}: cannot be read to its end ({error})") from error
    _check_end(layout, last)


def newlines_within(batch: Any) -> Any:
    """Line breaks inside the values of each row, as a NumPy integer array of shape (rows,)."""
    import numpy as np
    import pyarrow.compute as pc

    total = np.zeros(len(batch), dtype=np.int64)
    for column in batch.columns:
        counts = pc.fill_null(pc.count_substring(column, "\n"), 0)
        total += counts.to_numpy(zero_copy_only=False)
    return total


def _open(stream: Any, layout: CsvLayout, ragged: list[Any], keep_blank_lines: bool) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv

    def remember(row: Any) -> str:
        ragged.append(row)
        return "error"

    # Stand-in names: the real header is read as the first row, since it may hold line breaks.
    names = [f"c{index}" for index in range(len(layout.columns))]
    # In a one-column file a blank line is a missing value.
    skip_blank = not keep_blank_lines and len(names) > 1
    reader = csv.open_csv(
        stream,
        read_options=csv.ReadOptions(
            block_size=BLOCK_BYTES, use_threads=False, column_names=names, encoding=layout.encoding
        ),
        parse_options=csv.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=True,
            ignore_empty_lines=skip_blank,
            invalid_row_handler=remember,
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=list(MISSING_TOKENS),
            quoted_strings_can_be_null=False,
        ),
    )
    yield from reader


def _without_header(batches: Iterator[Any]) -> Iterator[Any]:
    header_seen = False
    for batch in batches:
        rest = batch
        while not header_seen and len(rest):
            # Blank lines kept before the header are not rows.
            header_seen = any(column[0].is_valid for column in rest.columns)
            rest = rest.slice(1)
        if len(rest):
            yield rest


def _explain(layout: CsvLayout, ragged: list[Any], error: Exception) -> UnreadableFile:
    if ragged:
        row = ragged[0]
        unclosed = "\n" in row.text and ends_inside_quotes(layout)
        if unclosed:
            return _unclosed(layout, unclosed)
        line = line_of_row(layout, row.number) if row.number else 0
        return UnreadableFile(
            f"{layout.path}: line {line} has {row.actual_columns} fields where the header has {row.expected_columns}"
        )
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
        return not_text(layout.path, find_undecodable(layout), layout.encoding)
    if "straddl" in str(error):
        return _unclosed(layout, ends_inside_quotes(layout))
    return UnreadableFile(f"{layout.path}: not a CSV table ({' '.join(str(error).split())})")


def _unclosed(layout: CsvLayout, line: int) -> UnreadableFile:
    if line:
        return UnreadableFile(f"{layout.path}: line {line} opens a quote that is never closed")
    return UnreadableFile(f"{layout.path}: holds a row larger than {BLOCK_BYTES >> 20} MB")


def _check_end(layout: CsvLayout, last: Any) -> None:
    """An unclosed quote swallows the rest of the file into the last row, which then spans lines."""
    if last is None:
        raise UnreadableFile(f"{layout.path}: has a header but no rows")
    if newlines_within(last.slice(len(last) - 1))[0]:
        line = ends_inside_quotes(layout)
        if line:
            raise _unclosed(layout, line)
