"""How do the rows of a feature view get from the tables to the Parquet file that Feast reads?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from src.contracts.feature_views import FeatureViewDeclaration
from src.errors import DataUnavailable
from src.feature_store.repository import CREATED_COLUMN, EVENT_COLUMN, definition_of, parquet_path
from src.storage.database import Database, Session
from src.storage.partial_files import PartialFile, remove_abandoned

FETCHED_ROWS = 1_000  # rows become objects on the event loop, 5,000 at once would hold it for 50 ms
GROUP_ROWS = 50_000
_FINGERPRINT = b"e2i.fingerprint"

# Sums of 64-bit hashes do not depend on the order of rows; the text of a row shows every value exactly.
_CONTENT = "SELECT count(*) AS n, coalesce(sum(hashtextextended(q::text, 0)::numeric), 0)::text AS total FROM ({}) AS q"


class FeatureSources(Protocol):
    """Whatever brings the rows of views to where Feast reads them."""

    async def ensure(self, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
        """Bring the sources of ``views`` up to date and return the rows of each."""
        ...


@dataclass(frozen=True, slots=True)
class StoredSources:
    """Parquet files that are there already, made by another process with a database."""

    folder: Path

    async def ensure(self, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
        """Rows of each file. Raises DataUnavailable for the first one that is missing."""
        return {view.name: await asyncio.to_thread(self._rows, view.name) for view in views}

    def _rows(self, view: str) -> int:
        import pyarrow.parquet as pq

        path = parquet_path(self.folder, view)
        if not path.is_file():
            raise DataUnavailable(f"{path}: the rows of view '{view}' are not there; export them: e2i features apply")
        return int(pq.read_metadata(path).num_rows)


@dataclass(frozen=True, slots=True)
class QueriedSources:
    """Feast asks PostgreSQL itself: there is nothing to bring."""

    async def ensure(self, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
        """No view has rows anywhere else."""
        return {}


@dataclass(frozen=True, slots=True)
class ExportedSources:
    """Parquet files written from the tables, again only where a view's rows are no longer the same."""

    database: Database
    folder: Path

    async def ensure(self, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
        """Write the files that are missing or out of date; a file is whole or as it was.

        Raises DatabaseUnavailable and DataUnavailable (the folder cannot be written).
        """
        if self.folder.is_dir():
            remove_abandoned(self.folder)
        return {view.name: await self._ensure(view) for view in views}

    async def _ensure(self, view: FeatureViewDeclaration) -> int:
        async with self.database.transaction() as session:
            # What is fingerprinted and what is written is one state of the table.
            await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            content = await session.fetchrow(_CONTENT.format(view.query()))
            assert content is not None
            fingerprint = f"{content['n']}:{content['total']}:{definition_of(view)}"
            if fingerprint != await asyncio.to_thread(source_fingerprint, parquet_path(self.folder, view.name)):
                await self._export(session, view, fingerprint)
        return int(content["n"])

    async def _export(self, session: Session, view: FeatureViewDeclaration, fingerprint: str) -> None:
        schema = await asyncio.to_thread(_stored_schema, view, fingerprint)
        with PartialFile(self.folder) as partial:
            writer = await asyncio.to_thread(_writer, partial.handle, schema)
            with writer:
                async for table in _tables(session, view, schema):
                    await asyncio.to_thread(writer.write_table, table)
            await asyncio.to_thread(partial.commit, parquet_path(self.folder, view.name))


async def rows_left_out(database: Database, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
    """Rows with a key that have no time from which on they could count, for the views that have such rows."""
    counts = {view.name: await database.fetchrow(view.left_out_query()) for view in views}
    return {name: int(row["n"]) for name, row in counts.items() if row is not None and row["n"]}


def source_schema(view: FeatureViewDeclaration) -> Any:
    """pyarrow schema of a view's source: key, features, both times; the same whether it has rows or not."""
    import pyarrow as pa

    types = {
        "String": pa.string(),
        "Int64": pa.int64(),
        "Float64": pa.float64(),
        "Bool": pa.bool_(),
        "UnixTimestamp": pa.timestamp("us", "UTC"),
        "Array(String)": pa.list_(pa.string()),
    }
    times = [(name, pa.timestamp("us", "UTC")) for name in (EVENT_COLUMN, CREATED_COLUMN)]
    features = [(field.name, types[field.value_type]) for field in view.fields]
    return pa.schema([(view.join_key.join_key, pa.string()), *features, *times])


def _stored_schema(view: FeatureViewDeclaration, fingerprint: str) -> Any:
    return source_schema(view).with_metadata({_FINGERPRINT: fingerprint.encode()})


def _writer(handle: Any, schema: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(handle, schema, compression="zstd")


def source_fingerprint(path: Path) -> str | None:
    """What the rows were when the file was written, or None where there is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return None  # not a file of ours: it is written anew
    return metadata.get(_FINGERPRINT, b"").decode() or None


async def _tables(session: Session, view: FeatureViewDeclaration, schema: Any) -> AsyncIterator[Any]:
    """The rows in order of time, through a server-side cursor, a row group at a time."""
    import pyarrow as pa

    key = view.join_key.join_key
    query = f"SELECT * FROM ({view.query()}) AS q ORDER BY {EVENT_COLUMN}, {key}, {CREATED_COLUMN}"
    async with session.connection.cursor("feature_source") as cursor:
        await cursor.execute(query.encode())
        batches: list[Any] = []
        while rows := await cursor.fetchmany(FETCHED_ROWS):
            batches.append(await asyncio.to_thread(pa.RecordBatch.from_pylist, rows, schema))
            if sum(map(len, batches)) >= GROUP_ROWS:
                yield pa.Table.from_batches(batches, schema)
                batches = []
        if batches:
            yield pa.Table.from_batches(batches, schema)
