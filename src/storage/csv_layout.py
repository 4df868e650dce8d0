"""Is this file a CSV table, and how is it encoded, compressed and delimited?"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from src.errors import UnreadableFile

ENCODINGS = ("utf-8", "latin-1", "cp1252")
DELIMITERS = (",", ";", "\t", "|")
# pyarrow reads up to 32 blocks ahead of a slow consumer, so this bounds memory at 32 times as much.
BLOCK_BYTES = 4 * 1024 * 1024

_SAMPLE_BYTES = 4 * 1024 * 1024
_SAMPLE_ROWS = 200
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_NOT_TABLES = {
    b"PK\x03\x04": "a zip or Excel file; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the sheet as CSV",
    b"%PDF": "a PDF; save the table as CSV",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How to read one CSV file; ``columns`` are the names in its first line, in order."""

    path: Path
    compression: str | None
    encoding: str
    delimiter: str
    columns: tuple[str, ...]


def inspect_csv(path: Path, *, encoding: str = "utf-8") -> CsvLayout:
    """Look at the beginning of ``path`` and return its layout.

    Raises UnreadableFile, one line: empty, binary, another format, not in ``encoding``, no header,
    duplicate or empty column names.
    """
    if encoding not in ENCODINGS:
        raise UnreadableFile(f"encoding '{encoding}' cannot be read; there is: {', '.join(ENCODINGS)}")
    compression = sniff_compression(path)
    text = _decode(path, _read_sample(path, compression), encoding)
    delimiter = _sniff_delimiter(path, text)
    columns = _check_header(path, _first_row(path, text, delimiter))
    return CsvLayout(path, compression, encoding, delimiter, columns)


def sniff_compression(path: Path) -> str | None:
    """Name of the compression by the file's first bytes; raises UnreadableFile for known non-tables."""
    with path.open("rb") as handle:
        head = handle.read(8)
    for magic, advice in _NOT_TABLES.items():
        if head.startswith(magic):
            raise UnreadableFile(f"{path}: is {advice}")
    return next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)


def open_stream(path: Path, compression: str | None) -> tuple[Any, Any]:
    """Return (decompressed pyarrow stream, raw pyarrow file); the raw one tells the position on disk."""
    import pyarrow as pa

    raw = pa.OSFile(str(path))
    return (pa.CompressedInputStream(raw, compression) if compression else raw), raw


def open_text(layout: CsvLayout) -> io.TextIOWrapper:
    """The file as text, decompressed, newlines untouched; undecodable bytes raise UnicodeDecodeError."""
    stream, _ = open_stream(layout.path, layout.compression)
    encoding = "utf-8-sig" if layout.encoding == "utf-8" else layout.encoding
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def line_of_row(layout: CsvLayout, row: int) -> int:
    """Line of the file on which record ``row`` begins (both count from 1, the header included).

    Blank lines are lines but not records, and a quoted field may span lines.
    """
    with open_text(layout) as text:
        reader = csv.reader(text, delimiter=layout.delimiter)
        seen, begins = 0, 1
        for fields in reader:
            seen += bool(fields)
            if seen == row:
                return begins
            begins = reader.line_num + 1
    return begins


def find_undecodable(layout: CsvLayout) -> int:
    """Line of the first byte sequence that is not in the layout's encoding (0 when there is none)."""
    stream, _ = open_stream(layout.path, layout.compression)
    with io.BufferedReader(stream) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode(layout.encoding)
            except UnicodeDecodeError:
                return number
    return 0


def blank_lines(layout: CsvLayout) -> Iterator[int]:
    """Numbers of the lines with nothing on them, in order; a line of delimiters alone is a row of empty cells."""
    stream, _ = open_stream(layout.path, layout.compression)
    with io.BufferedReader(stream) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip(b"\r\n"):
                yield number


def ends_inside_quotes(layout: CsvLayout) -> int:
    """Line where a quoted field begins that is never closed (0 when all are)."""
    with open_text(layout) as text:
        reader, begins = csv.reader(text, delimiter=layout.delimiter, strict=True), 1
        try:
            for _ in reader:
                begins = reader.line_num + 1
        except csv.Error as error:
            return begins if "end of data" in str(error) or "field limit" in str(error) else 0
    return 0


def not_text(path: Path, line: int, encoding: str) -> UnreadableFile:
    """The error for text that is not in the encoding it was read with."""
    hint = "; if it is Latin-1 or Windows text, give --encoding latin-1 or cp1252" if encoding == "utf-8" else ""
    return UnreadableFile(f"{path}: line {line} is not {encoding.upper()} text{hint}")


def _read_sample(path: Path, compression: str | None) -> bytes:
    stream, _ = open_stream(path, compression)
    try:
        sample = bytes(stream.read(_SAMPLE_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{path}: the {compression} compression is damaged ({error})") from error
    if not sample.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UnreadableFile(f"{path}: the file is empty")
    if len(_CONTROL.findall(sample[:65_536])) > 0.002 * len(sample[:65_536]):
        raise UnreadableFile(f"{path}: is binary data, not a CSV or Parquet table")
    return sample


def _decode(path: Path, sample: bytes, encoding: str) -> str:
    complete = len(sample) < _SAMPLE_BYTES
    end = len(sample) if complete else sample.rfind(b"\n") + 1 or len(sample)
    try:
        return sample[:end].decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise not_text(path, sample.count(b"\n", 0, error.start) + 1, encoding) from error


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(BLOCK_BYTES)
    return (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)


def _sniff_delimiter(path: Path, text: str) -> str:
    """The candidate that splits the header and most rows into the same number of fields, if any splits."""
    best, best_score = ",", (0.0, 1)
    for candidate in DELIMITERS:
        try:
            widths = [len(row) for row in islice(_rows(text, candidate), _SAMPLE_ROWS)]
        except csv.Error as error:
            raise UnreadableFile(f"{path}: not a CSV table ({error})") from error
        if widths and widths[0] > 1:
            share = Counter(widths)[widths[0]] / len(widths)
            best, best_score = max((best, best_score), (candidate, (share, widths[0])), key=lambda pair: pair[1])
    return best


def _first_row(path: Path, text: str, delimiter: str) -> list[str]:
    rows = list(islice(_rows(text, delimiter), 2))
    if len(rows) < 2:
        raise UnreadableFile(f"{path}: has a header but no rows")
    return rows[0]


def _check_header(path: Path, header: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in header)
    if "" in names:
        raise UnreadableFile(f"{path}: column {names.index('') + 1} has no name in the header line")
    check_unique_names(path, names)
    if all(_NUMBER.fullmatch(name) for name in names):
        raise UnreadableFile(f"{path}: the first line holds only numbers; a line with column names is needed")
    return names


def check_unique_names(path: Path, names: tuple[str, ...]) -> None:
    """Raise UnreadableFile when a column name occurs twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UnreadableFile(f"{path}: column name '{twice[0]}' occurs more than once")
