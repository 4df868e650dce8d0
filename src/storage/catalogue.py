"""Which datasets are there, where are their rows, and what is in them?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.contracts.model import TableContract
from src.contracts.tables import TABLES, get_table
from src.errors import ContractViolation, DatasetNotFound, UnknownColumn, nearest_names
from src.storage.csv_blocks import OnFraction
from src.storage.database import Database, Row, Session, json_value
from src.storage.datasets import (
    Filter,
    LoadedFrame,
    StoredTable,
    in_stored_order,
    load_frame,
    parse_op,
    query_of,
    reading_notes,
    store_file,
    stored_batches,
    stored_path,
)
from src.storage.describe import ColumnSummary, Summariser
from src.storage.records import DatasetRecord, Json
from src.storage.table_rows import count_rows, fingerprint, stream_table, table_schema

TABLE_PREFIX = "table:"
_MIN_ID_PREFIX = 6
_FIELDS = [field.name for field in dataclasses.fields(DatasetRecord)]


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """A dataset, a summary of each column, and remarks made when it was read."""

    record: DatasetRecord
    columns: tuple[ColumnSummary, ...]
    notes: tuple[str, ...]


class Catalogue:
    """Datasets by id, name or path. A contract table is the dataset ``table:<name>``, always as it is now."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, record: DatasetRecord) -> DatasetRecord:
        """Enter a dataset and return its row; the same content again keeps id and time of the first entry.

        A name points to what was entered last under it: the dataset that had the name before stays
        reachable by its id. Entering known content again gives it the new name, and the new declared
        knowledge unless that is empty.
        """
        async with self._db.transaction() as session:
            # Writers take turns; otherwise two could free the same name at once.
            await session.execute("LOCK TABLE datasets IN SHARE ROW EXCLUSIVE MODE")
            await session.execute(
                "UPDATE datasets SET removed_at = greatest(now(), created_at) "
                "WHERE name = %s AND dataset_id <> %s AND removed_at IS NULL",
                (record.name, record.dataset_id),
            )
            return _record(await _upsert(session, record))

    async def get(self, key: str) -> DatasetRecord:
        """The dataset of that id, unambiguous beginning of an id, name, path, or ``table:<name>``.

        Raises DatasetNotFound with the nearest names. Of a removed dataset only the id still works.
        """
        if key.startswith(TABLE_PREFIX):
            return await self._table_record(key.removeprefix(TABLE_PREFIX))
        path = str(Path(key).resolve()) if "\0" not in key else key
        rows = await self._db.fetch(
            "SELECT * FROM datasets WHERE dataset_id = %(key)s OR (removed_at IS NULL AND "
            "(name = %(key)s OR source = %(path)s OR path = %(path)s)) "
            "ORDER BY dataset_id = %(key)s DESC, name = %(key)s DESC, created_at DESC LIMIT 1",
            {"key": key.replace("\0", ""), "path": path.replace("\0", "")},
        )
        return _record(rows[0] if rows else await self._by_prefix(key))

    async def list(self) -> list[DatasetRecord]:
        """Datasets by name that were not removed, newest first; contract tables are not among them."""
        rows = await self._db.fetch("SELECT * FROM datasets WHERE removed_at IS NULL ORDER BY created_at DESC, name")
        return [_record(row) for row in rows]

    async def table_sizes(self) -> dict[str, int]:
        """Rows of each contract table."""
        return {name: await count_rows(self._db, table) for name, table in TABLES.items()}

    async def load(
        self, record: DatasetRecord, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> LoadedFrame:
        """Rows of a dataset as a frame; see ``datasets.load_frame``. Rows of a table come in key order."""
        if record.kind != "table":
            return await asyncio.to_thread(load_frame, record, columns=columns, filters=filters)
        import pyarrow as pa

        table = _contract_of(record)
        wanted = list(columns) if columns is not None else list(table.column_names)
        for name in (*wanted, *(column for column, _, _ in filters)):
            if name not in table.column_names:
                raise UnknownColumn(name, table.column_names)
        conditions = [(column, parse_op(op), value) for column, op, value in filters]
        batches = [batch async for batch in stream_table(self._db, table, wanted, conditions)]
        arrow = pa.Table.from_batches(batches, schema=table_schema(table, wanted))
        frame = await asyncio.to_thread(arrow.to_pandas, date_as_object=False)
        return LoadedFrame(frame, record.n_rows, len(frame), query_of(record, wanted, filters, len(frame)))

    async def describe(self, key: str) -> DatasetDescription:
        """What is in each column; personal columns and rare values are not shown."""
        record = await self.get(key)
        summary = Summariser(record.columns)
        async for batch in self.batches(record):
            await asyncio.to_thread(summary.add, batch)
        notes = () if record.kind == "table" else await asyncio.to_thread(reading_notes, record)
        return DatasetDescription(record, summary.finish(), notes)

    def schema(self, record: DatasetRecord, *, columns: Sequence[str] | None = None) -> Any:
        """pyarrow schema of what ``batches`` yields."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = list(columns) if columns is not None else list(record.columns)
        if record.kind == "table":
            return table_schema(_contract_of(record), wanted)
        stored = pq.read_schema(stored_path(record))
        return pa.schema([stored.field(name) for name in wanted])

    async def batches(self, record: DatasetRecord, *, columns: Sequence[str] | None = None) -> AsyncIterator[Any]:
        """All rows as pyarrow record batches, in stored or key order; memory does not grow with the dataset."""
        wanted = list(columns) if columns is not None else list(record.columns)
        if record.kind == "table":
            async for batch in stream_table(self._db, _contract_of(record), wanted):
                yield batch
            return
        rows = stored_batches(record, wanted)
        while (batch := await asyncio.to_thread(next, rows, None)) is not None:
            yield batch

    async def remove(self, key: str) -> DatasetRecord:
        """Forget a dataset and delete its stored rows; runs that used it keep their own records.

        Raises DatasetNotFound, and ContractViolation for a contract table.
        """
        record = await self.get(key)
        if record.kind == "table":
            raise ContractViolation(f"'{record.dataset_id}' is a table of the database, not a loaded dataset")
        await self._db.execute(
            "UPDATE datasets SET removed_at = coalesce(removed_at, greatest(now(), created_at)) WHERE dataset_id = %s",
            (record.dataset_id,),
        )
        if record.path is not None:
            with suppress(FileNotFoundError):
                Path(record.path).unlink()
        return record

    async def _table_record(self, name: str) -> DatasetRecord:
        if name not in TABLES:
            raise DatasetNotFound(f"there is no table '{name}'; {nearest_names(name, TABLES)}")
        table = get_table(name)
        digest, n_rows = await fingerprint(self._db, table)
        return DatasetRecord(
            dataset_id=f"{TABLE_PREFIX}{name}",
            name=f"{TABLE_PREFIX}{name}",
            kind="table",
            source="database",
            content_sha256=digest,
            n_rows=n_rows,
            columns={column.name: str(column.dtype) for column in table.columns},
            created_at=datetime.now(UTC),
            path=None,
            declared={},
        )

    async def _by_prefix(self, key: str) -> Row:
        rows = await self._db.fetch("SELECT * FROM datasets WHERE removed_at IS NULL ORDER BY created_at DESC")
        if len(key) >= _MIN_ID_PREFIX:
            matches = [row for row in rows if row["dataset_id"].startswith(key)]
            if len(matches) == 1:
                return matches[0]
        names = [*(row["name"] for row in rows), *(f"{TABLE_PREFIX}{name}" for name in TABLES)]
        raise DatasetNotFound(f"there is no dataset '{key[:200]}'; {nearest_names(key[:200], names)}")


async def register_file(
    catalogue: Catalogue,
    path: Path,
    *,
    name: str | None = None,
    declared: Json | None = None,
    encoding: str = "utf-8",
    on_progress: OnFraction | None = None,
) -> DatasetRecord:
    """Make a CSV or Parquet file a dataset: stored as Parquet, then entered under ``name`` (its stem by default).

    All or nothing, and the same content is the same dataset. Raises UnreadableFile.
    """
    stored = await asyncio.to_thread(store_file, path, encoding=encoding, on_progress=on_progress)
    default_name = path.name.split(".")[0] or path.name
    return await register_stored(
        catalogue, stored, name=name or default_name, kind="file", source=str(path.resolve()), declared=declared
    )


async def register_stored(
    catalogue: Catalogue, stored: StoredTable, *, name: str, kind: str, source: str, declared: Json | None = None
) -> DatasetRecord:
    """Enter a stored table; its file is deleted again when that fails and the file was new."""
    record = DatasetRecord(
        dataset_id=stored.dataset_id,
        name=name,
        kind=kind,
        source=source,
        content_sha256=stored.content_sha256,
        n_rows=stored.n_rows,
        columns=stored.columns,
        created_at=datetime.now(UTC),
        path=str(stored.path),
        declared=declared or {},
    )
    try:
        return await catalogue.add(record)
    except BaseException:
        if stored.is_new:
            stored.path.unlink(missing_ok=True)
        raise


_UPSERT = """
INSERT INTO datasets (dataset_id, name, kind, source, content_sha256, n_rows, columns, created_at, path, declared)
VALUES (%(dataset_id)s, %(name)s, %(kind)s, %(source)s, %(content_sha256)s, %(n_rows)s, %(columns)s,
        %(created_at)s, %(path)s, %(declared)s)
ON CONFLICT (dataset_id) DO UPDATE SET
    name = excluded.name, kind = excluded.kind, source = excluded.source, path = excluded.path, removed_at = NULL,
    declared = CASE WHEN excluded.declared = '{}' THEN datasets.declared ELSE excluded.declared END
RETURNING *
"""


async def _upsert(session: Session, record: DatasetRecord) -> Row:
    values = dataclasses.asdict(record)
    for name in ("columns", "declared"):
        values[name] = json_value(values[name])
    row = await session.fetchrow(_UPSERT, values)
    assert row is not None
    return row


def _record(row: Row) -> DatasetRecord:
    record = DatasetRecord(**{name: row[name] for name in _FIELDS})
    return dataclasses.replace(record, columns=in_stored_order(record))


def _contract_of(record: DatasetRecord) -> TableContract:
    return get_table(record.dataset_id.removeprefix(TABLE_PREFIX))
