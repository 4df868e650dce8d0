"""How well did the agents work? One traced run of the agent that measures, kept as one activity."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.observability_connector.agent import (
    ObservabilityConnectorAgent,
    ObserveResult,
    request_from,
)
from src.agents.ml_foundation.observability_connector.metric_cache import open_cache
from src.agents.ml_foundation.observability_connector.state import ObserveRequest
from src.agents.results import AgentMeta
from src.agents.runtime import Deps, NodeError
from src.app.session import CatalogueDatasets
from src.app.tracing import traced_database
from src.app.trail import record_activity
from src.errors import DataUnavailable
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.tracing.ids import uuid7
from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.observations import ObservationRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.traces import TraceRepository

ACTIVITY_TYPE = "quality_measurement"
WORKSTREAM = "WS1"


@dataclass(frozen=True, slots=True)
class MeasuredQuality:
    """What was asked and measured; ``waiting`` records were not in the database yet and are not counted."""

    request: ObserveRequest
    result: ObserveResult
    waiting: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know beside the figures; an empty window is one of them."""
        late = (f"records that are not stored yet and not counted: {self.waiting:,}",) if self.waiting else ()
        return (*self.result.meta.warnings, *self.result.meta.degraded, *late)

    def document(self) -> dict[str, Any]:
        """JSON form; ``metrics`` is null, with the ``reason``, when nothing can be measured."""
        metrics, meta = self.result.metrics, self.result.meta
        return {
            "window": self.request.window.value,
            "agents": list(self.request.agents),
            "metrics": None if metrics is None else dataclasses.asdict(metrics),
            "reason": self.result.reason,
            "status": meta.status,
            "notes": list(self.notes),
            "trace_id": meta.trace_id,
            "duration_ms": meta.duration_ms,
        }


async def measure_quality(
    window: str, agents: Sequence[str] = (), *, on_progress: Callable[[str], None] = lambda _: None
) -> MeasuredQuality:
    """Run observability_connector on the configured database; one ``agent_activities`` row says how that went.

    Raises ContractViolation for an unknown window or agent before anything is opened, DataUnavailable when
    the run fails or takes longer than its budget in config/agents.yaml, DatabaseUnavailable and MigrationError.
    """
    request = request_from({"window": window, "agents": list(agents)})
    on_progress("opening the database")
    async with traced_database() as database:
        connector = get_opik_connector()
        waiting = int(connector.get_status()["sinks"].get("database", {}).get("pending", 0))
        cache = connector.config.cache
        agent = ObservabilityConnectorAgent(
            connector,
            TraceRepository(database),
            open_cache(cache),
            ttl={str(name): seconds for name, seconds in cache.ttl.items()},
        )
        deps = _deps(database, connector, agent, on_progress)
        observations = ObservationRepository(PostgresGateway(database))
        return MeasuredQuality(request, await _run(agent, request, deps, observations), waiting)


def _deps(
    database: Database,
    connector: OpikConnector,
    agent: ObservabilityConnectorAgent,
    on_progress: Callable[[str], None],
) -> Deps:
    return Deps(
        datasets=CatalogueDatasets(Catalogue(database)),
        tracer=connector,
        run_id=str(uuid7()),
        trace_id=str(uuid7()),
        node_timeouts=load_agents_config().agents[agent.agent_name].node_timeouts,
        on_progress=on_progress,
    )


async def _run(
    agent: ObservabilityConnectorAgent, request: ObserveRequest, deps: Deps, observations: ObservationRepository
) -> ObserveResult:
    started, began = datetime.now(UTC), time.monotonic()
    try:
        async with asyncio.timeout(agent.sla_seconds):
            result = await agent.run(request, deps)
    except Exception as error:
        status = "timeout" if isinstance(error, TimeoutError) else "failed"
        milliseconds = (time.monotonic() - began) * 1000.0
        meta = AgentMeta(agent.agent_name, deps.trace_id, status, started, milliseconds, (), ())
        await _keep(observations, deps, meta, _as_node_error(error), 0)
        if status == "timeout":
            raise DataUnavailable(_too_slow(agent, request)) from error
        raise
    await _keep(observations, deps, result.meta, result.error, result.metrics.sample_size if result.metrics else 0)
    if result.meta.status == "failed":
        raise DataUnavailable(f"the metrics could not be computed: {result.reason}")
    return result


async def _keep(
    observations: ObservationRepository, deps: Deps, meta: AgentMeta, error: NodeError | None, spans: int
) -> None:
    await record_activity(
        observations,
        deps.run_id,
        meta,
        error,
        activity_type=ACTIVITY_TYPE,
        workstream=WORKSTREAM,
        records_processed=spans,
    )


def _as_node_error(error: Exception) -> NodeError:
    return NodeError(type(error).__name__, str(error)[:2000] or "the time budget was used up", "run")


def _too_slow(agent: ObservabilityConnectorAgent, request: ObserveRequest) -> str:
    return (
        f"{agent.agent_name} did not measure the last {request.window} within its time budget: ask for a shorter "
        "window, or raise its timeouts in config/agents.yaml"
    )
