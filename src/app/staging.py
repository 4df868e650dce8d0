"""How does a file become a dataset only once its question has been checked?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from src.agents.runtime import Filter
from src.errors import DatasetNotFound, StudyInvalid
from src.storage.catalogue import Catalogue
from src.storage.datasets import LoadedFrame, StoredTable, store_file
from src.storage.records import DatasetRecord


class NamesData(Protocol):
    """A question or an order: exactly one of ``data``, a file, and ``dataset``, an id or name of the catalogue."""

    @property
    def data(self) -> Path | None: ...

    @property
    def dataset(self) -> str | None: ...


@dataclass
class StagedDataset:
    """A dataset under check: ``record`` is in the catalogue only after ``commit``."""

    catalogue: Catalogue
    record: DatasetRecord
    committed: bool = field(default=False)

    async def load(self, filters: Sequence[Filter]) -> LoadedFrame:
        """Rows after ``filters``, without any catalogue row."""
        conditions = [(filter.column, filter.op, filter.value) for filter in filters]
        return await self.catalogue.load(self.record, filters=conditions)

    async def commit(self) -> DatasetRecord:
        """Enter the dataset into the catalogue (once) and return its row."""
        if not self.committed:
            self.record = await self.catalogue.add(self.record)
            self.committed = True
        return self.record


@asynccontextmanager
async def stage(catalogue: Catalogue, question: NamesData) -> AsyncIterator[StagedDataset]:
    """The dataset of ``question``; a file that was not committed leaves nothing behind."""
    if question.dataset is not None:
        yield StagedDataset(catalogue, await catalogue.get(question.dataset), committed=True)
        return
    if question.data is None:
        raise StudyInvalid("name the data: a file or a dataset")
    stored = await asyncio.to_thread(store_file, question.data)
    staged = StagedDataset(catalogue, _record(question.data, stored))
    if await _is_known(catalogue, stored.dataset_id):
        staged = StagedDataset(catalogue, await catalogue.get(stored.dataset_id), committed=True)
    try:
        yield staged
    finally:
        if not staged.committed and stored.is_new and not await _is_known(catalogue, stored.dataset_id):
            stored.path.unlink(missing_ok=True)


async def _is_known(catalogue: Catalogue, dataset_id: str) -> bool:
    try:
        await catalogue.get(dataset_id)
    except DatasetNotFound:
        return False
    return True


def _record(file: Path, stored: StoredTable) -> DatasetRecord:
    return DatasetRecord(
        dataset_id=stored.dataset_id,
        name=file.name.split(".")[0] or file.name,
        kind="file",
        source=str(file.resolve()),
        content_sha256=stored.content_sha256,
        n_rows=stored.n_rows,
        columns=stored.columns,
        created_at=datetime.now(UTC),
        path=str(stored.path),
        declared={},
    )
