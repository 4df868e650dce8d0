"""Which retrieval settings are active, and which were before?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.errors import DataUnavailable
from src.storage.database import Database, Row
from src.storage.gateway import TableGateway, Where

TABLE = "retrieval_configurations"
_COLUMNS = (
    *("config_id", "version", "k", "chunk_size", "chunk_overlap"),
    *("dense_weight", "text_weight", "graph_weight", "rerank"),
)


@dataclass(frozen=True, slots=True)
class StoredRetrievalConfig:
    """A row of ``retrieval_configurations``; the weights sum to 1, sizes are in tokens."""

    config_id: str
    version: int
    k: int
    chunk_size: int
    chunk_overlap: int
    dense_weight: float
    text_weight: float
    graph_weight: float
    rerank: bool


async def active_configuration(database: Database) -> StoredRetrievalConfig:
    """The row in use, as ``RetrievalConfigRepository.active`` gives it but in one statement: for every query."""
    return _active(await database.fetch(f"SELECT {', '.join(_COLUMNS)} FROM {TABLE} WHERE is_active"))


def _active(found: Sequence[Row]) -> StoredRetrievalConfig:
    if not found:
        raise DataUnavailable("no retrieval configuration is active: activate a row of retrieval_configurations")
    return StoredRetrievalConfig(**found[0])


class RetrievalConfigRepository:
    """Reads ``retrieval_configurations``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def active(self) -> StoredRetrievalConfig:
        """The row in use. Raises DataUnavailable when none is active."""
        found = await self._gateway.select(TABLE, columns=_COLUMNS, where=[Where("is_active", True)])
        return _active(found)

    async def version(self, version: int) -> StoredRetrievalConfig:
        """One version, active or not. Raises DataUnavailable when there is none of that number."""
        found = await self._gateway.select(TABLE, columns=_COLUMNS, where=[Where("version", version)])
        if not found:
            raise DataUnavailable(f"there is no version {version} of the retrieval configuration")
        return StoredRetrievalConfig(**found[0])
