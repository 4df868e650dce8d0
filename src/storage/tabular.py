"""What table does a file hold, whatever its format: which columns, of which types, in which rows?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import UnreadableFile
from src.storage.column_types import ColumnTypes, convert, shown_type, stored_type
from src.storage.csv_blocks import OnFraction, read_text_blocks
from src.storage.csv_layout import CsvLayout, check_unique_names, inspect_csv

_PARQUET_MAGIC = b"PAR1"
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_CELLS_PER_GROUP = 2_000_000
_MAX_GROUP_ROWS = 100_000


@dataclass(frozen=True)
class TableContent:
    """A readable table: its pyarrow ``schema``, its record batches (one pass), and remarks on reading it."""

    schema: Any
    batches: Iterator[Any]
    notes: tuple[str, ...]

    @property
    def columns(self) -> dict[str, str]:
        """Name → type as shown to users."""
        return {field.name: shown_type(field.type) for field in self.schema}


def read_table(path: Path, *, encoding: str = "utf-8", on_progress: OnFraction | None = None) -> TableContent:
    """Open a CSV (plain, gz, bz2, zst) or Parquet file; rows are read only as ``batches`` is consumed.

    A CSV is read twice: once to find types that hold for the whole file, once to convert.
    Memory is bounded by the block, not by the file. Raises UnreadableFile, one line, also while
    ``batches`` is consumed.
    """
    if is_parquet(path):
        return _read_parquet(path, on_progress)
    return _read_csv(inspect_csv(path, encoding=encoding), on_progress)


def is_parquet(path: Path) -> bool:
    """Whether ``path`` is Parquet; raises UnreadableFile when it is not a readable, non-empty file."""
    try:
        if path.is_dir():
            raise UnreadableFile(f"{path}: is a folder, not a file")
        with path.open("rb") as handle:
            head = handle.read(4)
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path}: no such file") from error
    except PermissionError as error:
        raise UnreadableFile(f"{path}: may not be read (permission denied)") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read ({error.strerror})") from error
    if not head:
        raise UnreadableFile(f"{path}: the file is empty")
    if path.suffix == ".parquet" and head != _PARQUET_MAGIC:
        raise UnreadableFile(f"{path}: is called .parquet but does not hold Parquet data")
    return head == _PARQUET_MAGIC


def regroup(batches: Iterator[Any], schema: Any) -> Iterator[Any]:
    """Join batches into pyarrow tables of one fixed number of rows, so that bytes do not depend on blocks."""
    import pyarrow as pa

    size = group_rows(len(schema))
    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows < size:
            continue
        table = pa.Table.from_batches(waiting, schema=schema)
        whole = rows - rows % size
        yield from (table.slice(start, size) for start in range(0, whole, size))
        rest = table.slice(whole)
        waiting, rows = rest.to_batches(), len(rest)
    if rows:
        yield pa.Table.from_batches(waiting, schema=schema)


def group_rows(n_columns: int) -> int:
    """Rows per stored group: at most 100,000, fewer for wide tables so that a group stays small."""
    return max(1_000, min(_MAX_GROUP_ROWS, _CELLS_PER_GROUP // max(n_columns, 1)))


def _read_csv(layout: CsvLayout, on_progress: OnFraction | None) -> TableContent:
    import pyarrow as pa

    types = ColumnTypes(layout.columns)
    for block in read_text_blocks(layout, on_progress=_part(on_progress, 0.0, 0.4)):
        types.update(block)
    kinds = types.kinds()
    schema = pa.schema([(name, stored_type(kind)) for name, kind in zip(layout.columns, kinds, strict=True)])

    def batches() -> Iterator[Any]:
        for block in read_text_blocks(layout, on_progress=_part(on_progress, 0.4, 1.0)):
            columns = [convert(column, kind) for column, kind in zip(block.columns, kinds, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return TableContent(schema, batches(), types.notes())


def _read_parquet(path: Path, on_progress: OnFraction | None) -> TableContent:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Without pre-buffering a column chunk is streamed page by page, whatever the size of its row group.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error
    check_unique_names(path, tuple(file.schema_arrow.names))
    fields = [field for field in file.schema_arrow if not _PANDAS_INDEX.fullmatch(field.name)]
    schema = pa.schema([(field.name, _target_type(path, field)) for field in fields])
    total = file.metadata.num_rows
    if not total or not fields:
        raise UnreadableFile(f"{path}: has columns but no rows" if fields else f"{path}: has no columns")
    naive = [f.name for f in fields if pa.types.is_timestamp(f.type) and f.type.tz is None]
    notes = tuple(f"column '{name}' has times without a zone; they are taken as UTC" for name in naive)

    def batches() -> Iterator[Any]:
        rows = 0
        try:
            for batch in file.iter_batches(group_rows(len(fields)), columns=schema.names):
                rows += len(batch)
                yield _normalise(path, batch, schema)
                if on_progress is not None:
                    on_progress(rows, rows / total)
        except OSError as error:
            raise _damaged(path, error) from error

    return TableContent(schema, batches(), notes)


def _target_type(path: Path, field: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as pt

    kind = field.type.value_type if pt.is_dictionary(field.type) else field.type
    for test, target in (
        (pt.is_boolean, pa.bool_()),
        (pt.is_integer, pa.int64()),
        (lambda t: pt.is_floating(t) or pt.is_decimal(t), pa.float64()),
        (pt.is_date, pa.date32()),
        (pt.is_timestamp, pa.timestamp("us", "UTC")),
        (lambda t: pt.is_string(t) or pt.is_large_string(t) or pt.is_string_view(t) or pt.is_null(t), pa.string()),
        (_is_text_list, pa.list_(pa.string())),
    ):
        if test(kind):
            return target
    raise UnreadableFile(f"{path}: column '{field.name}' has the type {kind}, which a dataset cannot hold; drop it")


def _is_text_list(kind: Any) -> bool:
    import pyarrow.types as pt

    is_list = pt.is_list(kind) or pt.is_large_list(kind)
    return bool(is_list and (pt.is_string(kind.value_type) or pt.is_large_string(kind.value_type)))


def _normalise(path: Path, batch: Any, schema: Any) -> Any:
    import pyarrow as pa

    try:
        columns = [_cast(batch.column(field.name), field.type) for field in schema]
    except pa.ArrowInvalid as error:
        raise UnreadableFile(f"{path}: a value does not fit ({' '.join(str(error).split())})") from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(values: Any, target: Any) -> Any:
    import pyarrow.types as pt

    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    # Nanoseconds are cut to the microseconds PostgreSQL keeps; nothing else may lose digits.
    return values.cast(target, safe=not pt.is_timestamp(target))


def _damaged(path: Path, error: Exception) -> UnreadableFile:
    reason = " ".join(str(error).split())[:200]
    return UnreadableFile(f"{path}: is not complete, valid Parquet ({reason})")


def _part(on_progress: OnFraction | None, start: float, end: float) -> OnFraction | None:
    if on_progress is None:
        return None
    report = on_progress
    return lambda rows, fraction: report(rows, start + (end - start) * fraction)
