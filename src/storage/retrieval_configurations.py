"""Which retrieval settings are active?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from src.errors import DataUnavailable

if TYPE_CHECKING:
    from src.storage.database import Database

Arm = Literal["dense", "text", "graph"]
ARMS: tuple[Arm, ...] = ("dense", "text", "graph")

_COLUMNS = (
    *("config_id", "version", "k", "chunk_size", "chunk_overlap"),
    *("dense_weight", "text_weight", "graph_weight", "rerank"),
)


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """A row of ``retrieval_configurations``: how many chunks, how documents are cut, what each arm counts.

    The weights sum to 1, sizes are in tokens.
    """

    config_id: str
    version: int
    k: int
    chunk_size: int
    chunk_overlap: int
    dense_weight: float
    text_weight: float
    graph_weight: float
    rerank: bool

    def weight(self, arm: Arm) -> float:
        """The weight of an arm in 0–1."""
        return {"dense": self.dense_weight, "text": self.text_weight, "graph": self.graph_weight}[arm]


async def active_configuration(database: Database) -> RetrievalConfig:
    """The row in use. Raises DataUnavailable when none is active."""
    found = await database.fetch(f"SELECT {', '.join(_COLUMNS)} FROM retrieval_configurations WHERE is_active")
    if not found:
        raise DataUnavailable("no retrieval configuration is active: activate a row of retrieval_configurations")
    return RetrievalConfig(**found[0])
