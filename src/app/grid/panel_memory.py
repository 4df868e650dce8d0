"""How are the rows of many questions about one dataset read once?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.datasets import Filter, LoadedFrame, frame_of, rows_passing, stored_path
from src.storage.records import DatasetRecord

_MOST_PARTS = 4
Key = tuple[Any, ...]


class PanelMemory(Catalogue):
    """A catalogue that keeps the rows it read last: those that pass the first condition, for all others.

    Of a contract table, whose rows are in the database, the last few answers are kept whole, and its record: it is
    the same table for all questions of this process.
    """

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._held: tuple[Key, Any] | None = None
        self._tables: dict[str, DatasetRecord] = {}
        self._parts: dict[Key, LoadedFrame] = {}
        self.reads = 0

    async def get(self, key: str) -> DatasetRecord:
        """As the catalogue does; a table is asked for once."""
        if key in self._tables:
            return self._tables[key]
        record = await super().get(key)
        if record.kind == "table":
            self._tables[key] = record
        return record

    async def load(
        self, record: DatasetRecord, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> LoadedFrame:
        """The same rows as the catalogue's, in a frame of the caller's own."""
        if record.kind == "table":
            return await self._table_part(record, columns, filters)
        held = await asyncio.to_thread(self._rows, record, tuple(filters[:1]))
        return await asyncio.to_thread(frame_of, held, record, columns=columns, filters=filters)

    def _rows(self, record: DatasetRecord, first: tuple[Filter, ...]) -> Any:
        import pyarrow as pa
        import pyarrow.dataset as pds

        key: Key = (record.dataset_id, record.content_sha256, first)
        if self._held is None or self._held[0] != key:
            self._held = None  # before the next is read: there is never room for two
            self.reads += 1
            source = pds.dataset(stored_path(record), format="parquet")
            known = [one for one in first if one[0] in source.schema.names]
            rows: pa.Table = source.to_table(filter=rows_passing(source.schema, known))
            self._held = (key, pds.dataset(rows))
        return self._held[1]

    async def _table_part(
        self, record: DatasetRecord, columns: Sequence[str] | None, filters: Sequence[Filter]
    ) -> LoadedFrame:
        key: Key = (record.content_sha256, None if columns is None else tuple(columns), tuple(filters))
        if key not in self._parts:
            self.reads += 1
            if len(self._parts) >= _MOST_PARTS:
                self._parts.pop(next(iter(self._parts)))
            self._parts[key] = await super().load(record, columns=columns, filters=filters)
        found = self._parts[key]
        return LoadedFrame(found.frame.copy(), found.rows_before, found.rows_after, found.query)
