"""What stands in the tables of the improvement loop at one moment, and answers to learn from that nobody asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from src.mlops.tracing.ids import uuid7
from src.storage.database import Database
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.retrieval_configurations import RetrievalConfigRepository

TABLES = (
    *("rag_interactions", "interaction_inputs", "evaluation_results", "learning_signals", "cognitive_cycles"),
    *("improvement_actions", "improvement_hops", "prompt_versions", "retrieval_configurations", "prompt_ab_tests"),
    *("prompt_ab_observations", "experiment_knowledge_store", "improvement_switch"),
)
POOR = {"k": 1, "dense_weight": 0.0, "text_weight": 0.0, "graph_weight": 1.0, "rerank": False}

Row = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """The rows of every table of the loop."""

    tables: dict[str, list[Row]]

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    def of(self, table: str, **wanted: Any) -> list[Row]:
        """The rows whose columns have these values, as text."""
        return [row for row in self[table] if all(str(row[name]) == str(value) for name, value in wanted.items())]

    def one(self, table: str, **wanted: Any) -> Row:
        (found,) = self.of(table, **wanted)
        return found

    def hops(self, action_id: Any) -> list[Row]:
        """The ledger of a change, in its order."""
        return sorted(self.of("improvement_hops", action_id=action_id), key=lambda row: row["sequence"])

    def action(self, component: str, **wanted: Any) -> Row:
        """The newest change of a component that is no suggestion."""
        found = [
            row for row in self.of("improvement_actions", component=component, **wanted) if row["status"] != "queued"
        ]
        return max(found, key=lambda row: row["created_at"])


def snapshot(dsn: str) -> Snapshot:
    """All rows now."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return Snapshot({table: connection.execute(f"SELECT * FROM {table}".encode()).fetchall() for table in TABLES})


async def poor_retrieval(database: Database) -> int:
    """Have retrieval look at causal paths only; gives the version of these settings."""
    settings = RetrievalConfigRepository(database)
    active = await settings.active()
    kept = {"chunk_size": active.chunk_size, "chunk_overlap": active.chunk_overlap}
    poor = await settings.add_candidate(POOR | kept, action_id=str(uuid7()))
    await settings.activate(poor.config.version, "test")
    return poor.config.version


async def poorly_found(database: Database, count: int, first: int = 0) -> list[str]:
    """Answers whose passages are beside the question, given with the settings in use; gives their ids."""
    config_id = (await RetrievalConfigRepository(database).active()).config_id
    ids = []
    for number in range(first, first + count):
        one = Interaction(
            trace_id=str(uuid7()),
            query=f"How did Kisqali TRx develop in month {number} of the plan?",
            answer=f"Patients in region {number} were offered a brochure by the nurse educators.",
            contexts=[{"chunk_id": f"c{number}", "score": 0.1, "text": "The launch plan offers patient support."}],
            agents=["orchestrator", "explainer"],
            retrieval_config_id=config_id,
            method="deterministic",
            latency_ms=900.0,
        )
        await InteractionRepository(database).add(one)
        ids.append(one.interaction_id)
    return ids
