"""How well did the agents work? One traced run of the agent that measures, kept as one activity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from src.agents.ml_foundation.observability_connector.agent import (
    ObservabilityConnectorAgent,
    ObserveResult,
    request_from,
)
from src.agents.ml_foundation.observability_connector.metric_cache import open_cache
from src.agents.ml_foundation.observability_connector.state import ObserveRequest
from src.app.agent_runs import run_deps, run_recorded
from src.app.tracing import traced_database
from src.errors import DataUnavailable
from src.mlops.opik_connector import get_opik_connector
from src.storage.database import Database
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


def observer_over(database: Database) -> ObservabilityConnectorAgent:
    """The agent that measures, on the spans of ``database`` and the configured cache."""
    connector = get_opik_connector()
    cache = connector.config.cache
    return ObservabilityConnectorAgent(
        connector,
        TraceRepository(database),
        open_cache(cache),
        ttl={str(name): seconds for name, seconds in cache.ttl.items()},
    )


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
        agent = observer_over(database)
        result = await run_recorded(
            agent,
            request,
            run_deps(database, agent.agent_name, on_progress),
            database,
            activity_type=ACTIVITY_TYPE,
            workstream=WORKSTREAM,
            records=_spans,
            too_slow=f"did not measure the last {request.window} within its time budget: ask for a shorter window",
        )
    if result.meta.status == "failed":
        raise DataUnavailable(f"the metrics could not be computed: {result.reason}")
    return MeasuredQuality(request, result, waiting)


def _spans(result: ObserveResult) -> int:
    return result.metrics.sample_size if result.metrics else 0
