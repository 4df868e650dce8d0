"""How is one run of an agent carried out within its budget, and kept as one activity however it ends?"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import NAMESPACE_URL, uuid5

from src.agents.configuration import load_agents_config
from src.agents.nesting import no_part_of_the_caller
from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.app.session import CatalogueDatasets
from src.app.trail import record_activity
from src.errors import DataUnavailable, E2IError
from src.mlops.opik_connector import get_opik_connector
from src.mlops.tracing.ids import uuid7
from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.observations import ObservationRepository
from src.storage.postgres_gateway import PostgresGateway

LONGEST_MESSAGE = 2000


class AgentResult(Protocol):
    """What every agent's result says of its run."""

    @property
    def meta(self) -> AgentMeta: ...

    @property
    def error(self) -> NodeError | None: ...


Request = TypeVar("Request", contravariant=True)
Result = TypeVar("Result", bound=AgentResult, covariant=True)
Given = TypeVar("Given")
Found = TypeVar("Found", bound=AgentResult)


class Agent(Protocol[Request, Result]):
    """An agent with a time budget."""

    @property
    def agent_name(self) -> str: ...

    @property
    def sla_seconds(self) -> float: ...

    async def run(self, request: Request, deps: Deps) -> Result:
        """One run."""
        ...


def run_deps(
    database: Database,
    agent_name: str,
    on_progress: Callable[[str], None],
    *,
    trace_id: str | None = None,
    part: str = "",
) -> Deps:
    """What a run on ``database`` works with: the catalogue, the trace (a new one), the budgets of the agent's nodes.

    An agent's run for a ``part`` of a given trace is the same run when the trace is resumed.
    """
    of_trace = None if trace_id is None else str(uuid5(NAMESPACE_URL, f"run/{agent_name}/{trace_id}/{part}"))
    return Deps(
        datasets=CatalogueDatasets(Catalogue(database)),
        tracer=get_opik_connector(),
        run_id=of_trace or str(uuid7()),
        trace_id=trace_id or str(uuid7()),
        node_timeouts=load_agents_config().agents[agent_name].node_timeouts,
        on_progress=on_progress,
    )


async def run_recorded(
    agent: Agent[Given, Found],
    request: Given,
    deps: Deps,
    database: Database,
    *,
    activity_type: str,
    workstream: str,
    records: Callable[[Found], int],
    too_slow: str,
) -> Found:
    """The result of a run; one ``agent_activities`` row says how it went, with ``records(result)`` processed.

    Raises DataUnavailable with the advice ``too_slow`` when the run takes longer than the agent's budget;
    any other exception, and a cancellation, leaves unchanged, and is kept.
    """
    observations = ObservationRepository(PostgresGateway(database))

    async def keep(meta: AgentMeta, error: NodeError | None, count: int) -> None:
        await record_activity(
            observations,
            deps.run_id,
            meta,
            error,
            activity_type=activity_type,
            workstream=workstream,
            records_processed=count,
        )

    started, began = datetime.now(UTC), time.monotonic()
    try:
        with no_part_of_the_caller():
            async with asyncio.timeout(agent.sla_seconds):
                result = await agent.run(request, deps)
    except (Exception, asyncio.CancelledError) as error:
        status = "timeout" if isinstance(error, TimeoutError) else "failed"
        milliseconds = (time.monotonic() - began) * 1000.0
        meta = AgentMeta(agent.agent_name, deps.trace_id, status, started, milliseconds, (), ())
        await keep(meta, NodeError(type(error).__name__, _recorded(error), "run"), 0)
        if status == "timeout":
            raise DataUnavailable(
                f"{agent.agent_name} {too_slow}, or raise its timeouts in config/agents.yaml"
            ) from error
        raise
    await keep(result.meta, result.error, records(result))
    return result


def _recorded(error: BaseException) -> str:
    """What may be kept of an error: the text of other libraries' errors may quote values of a row."""
    if isinstance(error, TimeoutError):
        return "the time budget was used up"
    if isinstance(error, asyncio.CancelledError):
        return "the run was interrupted"
    if isinstance(error, E2IError):
        return str(error)[:LONGEST_MESSAGE]
    places = traceback.extract_tb(error.__traceback__)
    return f"unexpected, at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else "unexpected"
