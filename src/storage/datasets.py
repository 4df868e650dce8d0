"""How does a file become a dataset on disk, and how do its rows come back as a frame?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import ContractViolation, DataUnavailable, UnknownColumn, nearest_names
from src.settings import var_dir
from src.storage.column_types import shown_type
from src.storage.csv_blocks import OnFraction
from src.storage.gateway import Op
from src.storage.partial_files import PartialFile, remove_abandoned
from src.storage.records import DatasetRecord, Json
from src.storage.tabular import TableContent, read_table, regroup

if TYPE_CHECKING:
    import pandas as pd

Filter = tuple[str, Op | str, Any]

_NOTES_KEY = b"e2i.notes"
_BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table kept under ``path`` = <folder>/<content_sha256>.parquet; ``is_new``: it was not there before."""

    path: Path
    content_sha256: str
    n_rows: int
    columns: dict[str, str]
    notes: tuple[str, ...]
    is_new: bool = True

    @property
    def dataset_id(self) -> str:
        """Identity by content: the same rows are the same dataset under any name."""
        return f"ds_{self.content_sha256[:16]}"


@dataclass(frozen=True)
class LoadedFrame:
    """Rows of a dataset and how they were obtained; ``query`` is the JSON a run keeps."""

    frame: pd.DataFrame
    rows_before: int
    rows_after: int
    query: Json


def datasets_dir() -> Path:
    """Folder of stored datasets."""
    return var_dir() / "datasets"


def store_file(
    path: Path, *, encoding: str = "utf-8", folder: Path | None = None, on_progress: OnFraction | None = None
) -> StoredTable:
    """Stream a CSV or Parquet file into the dataset folder, whole or not at all.

    The same content, however compressed, gives the same bytes and so the same id. Raises
    UnreadableFile (nothing is left behind); partial files of killed processes are removed.
    """
    # The file is looked at first: a file that cannot be read creates not even the folder.
    content = read_table(path, encoding=encoding, on_progress=on_progress)
    return store_table(content, folder=folder)


def store_table(content: TableContent, *, folder: Path | None = None) -> StoredTable:
    """Write ``content`` as Parquet named by the SHA-256 of its bytes; durable when this returns."""
    import pyarrow.parquet as pq

    target_folder = folder or datasets_dir()
    remove_abandoned(target_folder)
    schema = content.schema.with_metadata({_NOTES_KEY: json.dumps(content.notes).encode()})
    n_rows = 0
    with PartialFile(target_folder) as partial:
        with pq.ParquetWriter(partial.handle, schema, compression="zstd", write_statistics=True) as writer:
            for table in regroup(content.batches, content.schema):
                writer.write_table(table.replace_schema_metadata(schema.metadata))
                n_rows += len(table)
        partial.handle.flush()
        digest = file_sha256(partial.path)
        target = target_folder / f"{digest}.parquet"
        is_new = not target.exists()
        partial.commit(target)
    return StoredTable(target, digest, n_rows, content.columns, content.notes, is_new)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def reading_notes(record: DatasetRecord) -> tuple[str, ...]:
    """Remarks made when the file was read: widened types, assumed zone, delimiter, encoding."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(stored_path(record)).metadata or {}
    return tuple(json.loads(metadata.get(_NOTES_KEY, b"[]")))


def stored_path(record: DatasetRecord) -> Path:
    """Path of a stored dataset; raises DataUnavailable when the file is gone."""
    path = Path(record.path) if record.path else None
    if path is None or not path.is_file():
        raise DataUnavailable(
            f"dataset '{record.name}': its stored file {path or ''} is gone; load {record.source} again"
        )
    return path


def in_stored_order(record: DatasetRecord) -> dict[str, str]:
    """``record.columns`` in the order of the stored file; a jsonb column does not keep the order of keys."""
    import pyarrow.parquet as pq

    if record.path is None or not Path(record.path).is_file():
        return record.columns
    return {name: record.columns[name] for name in pq.read_schema(record.path).names}


def verify_content(record: DatasetRecord) -> None:
    """Raise DataUnavailable when the stored bytes are not those that were registered."""
    if file_sha256(stored_path(record)) != record.content_sha256:
        raise DataUnavailable(f"dataset '{record.name}': its stored file was changed; load {record.source} again")


def stored_batches(record: DatasetRecord, columns: Sequence[str]) -> Iterator[Any]:
    """Rows of a stored dataset as pyarrow record batches, in stored order."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stored_path(record), pre_buffer=False, buffer_size=1 << 16)
    yield from file.iter_batches(_BATCH_ROWS, columns=list(columns))


def load_frame(
    record: DatasetRecord, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
) -> LoadedFrame:
    """Read the chosen columns of the rows that pass every filter, in stored order.

    Filters are pushed down to the Parquet row groups. Dates become ``datetime64``, times
    UTC-aware. Raises UnknownColumn (with the nearest names), ContractViolation for a filter whose
    operator or value does not suit the column, DataUnavailable when the stored file is gone.
    """
    import pyarrow.dataset as pds

    return frame_of(pds.dataset(stored_path(record), format="parquet"), record, columns=columns, filters=filters)


def frame_of(
    source: Any, record: DatasetRecord, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
) -> LoadedFrame:
    """As ``load_frame``, from rows of the dataset that are held as a pyarrow Dataset already."""
    wanted = list(columns) if columns is not None else list(source.schema.names)
    for name in (*wanted, *(column for column, _, _ in filters)):
        if name not in source.schema.names:
            raise UnknownColumn(name, source.schema.names)
    table = source.to_table(columns=wanted, filter=rows_passing(source.schema, filters))
    frame = table.to_pandas(date_as_object=False)
    return LoadedFrame(frame, record.n_rows, len(frame), query_of(record, wanted, filters, len(frame)))


def query_of(record: DatasetRecord, columns: Sequence[str], filters: Sequence[Filter], rows_after: int) -> Json:
    """How rows were obtained, as JSON: dataset, content, columns, filters, rows before and after."""
    return {
        "dataset": record.dataset_id,
        "content_sha256": record.content_sha256,
        "columns": list(columns),
        "filters": [[column, str(parse_op(op)), _plain(value)] for column, op, value in filters],
        "rows_before": record.n_rows,
        "rows_after": rows_after,
    }


def parse_op(op: Op | str) -> Op:
    """An operator by its name ("eq", "gte"…); raises ContractViolation for an unknown one."""
    try:
        return Op(op)
    except ValueError as error:
        raise ContractViolation(f"filter '{op}' is unknown; {nearest_names(str(op), list(Op))}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def rows_passing(schema: Any, filters: Sequence[Filter]) -> Any:
    """The filters as one pyarrow expression over a schema that has their columns; None without any."""
    condition = None
    for column, op, value in filters:
        one = _one_condition(schema.field(column), parse_op(op), value)
        condition = one if condition is None else condition & one
    return condition


def _one_condition(column: Any, op: Op, value: Any) -> Any:
    import pyarrow.compute as pc

    field = pc.field(column.name)
    if op is Op.LIKE:
        return pc.match_like(field, str(value))
    if op is Op.IS:
        return field.is_null() if value is None else field == bool(value)
    if op is Op.IN:
        return field.isin([_scalar(column, item) for item in value])
    scalar = _scalar(column, value)
    return {
        Op.EQ: lambda: field == scalar,
        Op.NE: lambda: field != scalar,
        Op.LT: lambda: field < scalar,
        Op.LE: lambda: field <= scalar,
        Op.GT: lambda: field > scalar,
        Op.GE: lambda: field >= scalar,
    }[op]()


def _scalar(column: Any, value: Any) -> Any:
    """``value`` in the column's type; text stands for what it spells ("2024-01-01", "3")."""
    import pyarrow as pa

    try:
        return pa.scalar(value).cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        shown = shown_type(column.type)
        raise ContractViolation(f"filter on '{column.name}': {value!r} is not of the column's type {shown}") from error
