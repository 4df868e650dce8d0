"""Which implementations work together? The one place where they are chosen and opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from src.agents.causal_impact.agent import CHECKPOINTED as IMPACT_CHECKPOINTED
from src.agents.causal_impact.agent import CausalImpactAgent
from src.agents.checkpoints import ResultSerializer
from src.agents.configuration import AgentBudget, load_agents_config
from src.agents.feedback_learner.state import CHECKPOINTED as LEARNING_CHECKPOINTED
from src.agents.orchestrator.agent import CHECKPOINTED as QUERY_CHECKPOINTED
from src.agents.runtime import Filter
from src.app.questions import EffectQuestion
from src.app.staging import StagedDataset, stage
from src.app.tracing import traced_database
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.storage.catalogue import Catalogue
from src.storage.database import Database, check_connection
from src.storage.database import Session as DatabaseSession
from src.storage.datasets import LoadedFrame
from src.storage.observations import ObservationRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.records import DatasetRecord
from src.storage.runs import RunRepository

CHECKPOINT_SCHEMA = "checkpoints"
SETUP_LOCK = 6_021_023
SETUP_PAUSE_S = 0.05
MOST_CLAIMS = 24

Progress = Callable[[str], None]


class CatalogueDatasets:
    """Loads catalogued datasets for the agents."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def record(self, name: str) -> DatasetRecord:
        """The dataset of that id or name; raises DatasetNotFound."""
        return await self._catalogue.get(name)

    async def version(self, name: str) -> str:
        """SHA-256 of what a dataset holds now; raises DatasetNotFound."""
        return (await self.record(name)).content_sha256

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> LoadedFrame:
        """Rows of a dataset after ``filters``."""
        record = await self.record(dataset_id)
        conditions = [(filter.column, filter.op, filter.value) for filter in filters]
        return await self._catalogue.load(record, columns=columns, filters=conditions)


@asynccontextmanager
async def claimed(database: Database, name: str) -> AsyncIterator[bool]:
    """Hold what is called ``name`` for this process; False while another process holds it."""
    async with database.transaction() as transaction:
        row = await transaction.fetchrow("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS held", (name,))
        yield bool(row and row["held"])


def conversation(session_id: str) -> str:
    """What the claim on a conversation is called."""
    return f"conversation/{session_id}"


@dataclass(frozen=True)
class Session:
    """An open E2I: database, catalogue, agent and the trail they leave.

    ``claims`` has connections of its own: one is held as long as a run or a conversation is, and were they those of
    ``database``, a few answers at once would leave none to work with.
    """

    database: Database
    claims: Database
    catalogue: Catalogue
    datasets: CatalogueDatasets
    runs: RunRepository
    observations: ObservationRepository
    tracer: OpikConnector
    agent: CausalImpactAgent
    checkpointer: AsyncPostgresSaver
    budget: AgentBudget
    on_progress: Progress

    @asynccontextmanager
    async def dataset_for(self, question: EffectQuestion) -> AsyncIterator[StagedDataset]:
        """The dataset a question names; a file becomes one only when it is committed."""
        async with stage(self.catalogue, question) as staged:
            yield staged

    @asynccontextmanager
    async def claim(self, run_id: str) -> AsyncIterator[bool]:
        """Hold a run for this process; False while another process works on it."""
        async with claimed(self.claims, run_id) as mine:
            yield mine

    async def forget(self, run_id: str) -> None:
        """Delete the checkpoints of a finished run."""
        await self.checkpointer.adelete_thread(run_id)


@asynccontextmanager
async def open_session(on_progress: Progress = lambda _: None) -> AsyncIterator[Session]:
    """Open everything on the configured database, migrated. Raises DatabaseUnavailable or MigrationError."""
    on_progress("opening the database")
    async with (
        traced_database() as database,
        Database.open(database.address, max_size=MOST_CLAIMS) as claims,
        open_checkpointer(database) as checkpointer,
    ):
        gateway = PostgresGateway(database)
        observations = ObservationRepository(gateway)
        catalogue = Catalogue(database)
        yield Session(
            database=database,
            claims=claims,
            catalogue=catalogue,
            datasets=CatalogueDatasets(catalogue),
            runs=RunRepository(gateway),
            observations=observations,
            tracer=get_opik_connector(),
            agent=CausalImpactAgent(checkpointer),
            checkpointer=checkpointer,
            budget=load_agents_config().agents[CausalImpactAgent.agent_name],
            on_progress=on_progress,
        )


@asynccontextmanager
async def open_checkpointer(database: Database) -> AsyncIterator[AsyncPostgresSaver]:
    """LangGraph's checkpointer in a schema of its own, with results stored as typed JSON."""
    settings: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "options": f"-c search_path={CHECKPOINT_SCHEMA}",
    }
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        database.dsn, min_size=0, max_size=4, kwargs=settings, open=False, check=check_connection
    )
    async with pool:
        types = (*IMPACT_CHECKPOINTED, *QUERY_CHECKPOINTED, *LEARNING_CHECKPOINTED)
        saver = AsyncPostgresSaver(pool, serde=ResultSerializer(types))
        ready = await database.fetchrow("SELECT to_regclass(%s) IS NOT NULL AS ready", (f"{CHECKPOINT_SCHEMA}.ready",))
        if not (ready and ready["ready"]):
            await _set_up(database, saver)
        yield saver


async def _locked(session: DatabaseSession) -> bool:
    row = await session.fetchrow("SELECT pg_try_advisory_lock(%s) AS held", (SETUP_LOCK,))
    return bool(row and row["held"])


async def _set_up(database: Database, saver: AsyncPostgresSaver) -> None:
    async with database.session() as session:
        # Asked again and again instead of waited for: the indexes are built concurrently, which waits for the snapshot
        # of every statement under way, that of a waiting one too.
        while not await _locked(session):
            await asyncio.sleep(SETUP_PAUSE_S)
        try:
            await session.execute(f"CREATE SCHEMA IF NOT EXISTS {CHECKPOINT_SCHEMA}")
            await saver.setup()
            await session.execute(f"CREATE TABLE IF NOT EXISTS {CHECKPOINT_SCHEMA}.ready ()")
        finally:
            await session.execute("SELECT pg_advisory_unlock(%s)", (SETUP_LOCK,))
