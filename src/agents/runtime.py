"""What does a node get, and what happens around it? Dependencies, spans, budgets and the error edge."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pandas as pd
from langgraph.runtime import Runtime

from src.agents.digests import digest
from src.agents.tiers import identity
from src.errors import E2IError
from src.mlops.opik_connector import OpikConnector
from src.storage.audit_chain import CHAIN, DIGEST, SEQUENCE, AuditEntry
from src.storage.gateway import Op

StateT = TypeVar("StateT", contravariant=True)


class Node(Protocol[StateT]):
    """An async graph node: state and runtime in, the keys it wrote out."""

    async def __call__(self, state: StateT, runtime: Runtime[Deps]) -> Any:
        """Return only what was written."""
        ...


@dataclass(frozen=True, slots=True)
class NodeError:
    """The expected failure that ended a run early, and the node it came from."""

    type: str
    message: str
    node: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows kept: ``column op value``; the text of ``value`` is read as the column's type."""

    column: str
    op: Op
    value: str


class LoadedRows(Protocol):
    """A frame and how it was obtained."""

    @property
    def frame(self) -> pd.DataFrame:
        """The rows after filtering."""
        ...

    @property
    def query(self) -> dict[str, Any]:
        """How the rows were obtained, as JSON: dataset, filters, rows before and after."""
        ...


class DatasetLoader(Protocol):
    """Loads the rows of a catalogued dataset by id."""

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> LoadedRows:
        """Rows after ``filters``; raises DatasetNotFound or UnknownColumn."""
        ...


class Attributed(Protocol):
    """An open span."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        ...


class AuditLog(Protocol):
    """Takes the entries of one run's hash chain."""

    async def append(self, agent: str, node: str, input_sha256: str, output_sha256: str) -> AuditEntry:
        """Add an entry. Raises DatabaseUnavailable where it cannot be kept: an audited run does not go on unseen."""
        ...


@dataclass(frozen=True)
class Deps:
    """What the nodes of a run use and graph state never holds.

    ``audit`` is the run's hash chain, None for agents that keep none.

    ``workspace`` keeps fitted models and frames of this process by run; a resumed run in a new
    process finds it empty and rebuilds what it needs.
    """

    datasets: DatasetLoader
    tracer: OpikConnector
    run_id: str
    trace_id: str
    node_timeouts: Mapping[str, float] = field(default_factory=dict)
    on_progress: Callable[[str], None] = lambda _: None
    workspace: dict[str, Any] = field(default_factory=dict)
    audit: AuditLog | None = None


def witness(span: Attributed, entry: AuditEntry) -> None:
    """Let a span name an entry of the run's hash chain."""
    for key, value in ((CHAIN, entry.chain_id), (SEQUENCE, entry.sequence), (DIGEST, entry.sha256)):
        span.set_attribute(key, value)


def traced_node(agent: str, name: str) -> Callable[[Node[StateT]], Node[StateT]]:
    """Run a node inside a span, within its time budget, with expected errors on the error edge.

    An E2IError becomes ``{"error": NodeError}`` and the graph routes on it; any other exception is
    recorded on the span and leaves unchanged, so the run stops and can be resumed. Where the run is audited, what the
    node was given and what it wrote become an entry, which its span names; a run whose entry cannot be kept stops.
    """
    who = identity(agent)

    def decorate(node: Node[StateT]) -> Node[StateT]:
        @functools.wraps(node)
        async def run(state: StateT, runtime: Runtime[Deps]) -> Any:
            deps = runtime.context
            deps.on_progress(name)
            given = digest(state) if deps.audit is not None else ""
            async with deps.tracer.trace_agent(who.name, name, trace_id=deps.trace_id) as span:
                try:
                    async with asyncio.timeout(deps.node_timeouts.get(name)):
                        update = await node(state, runtime)
                except E2IError as error:
                    span.set_error(error)
                    update = {"error": NodeError(type(error).__name__, str(error), name)}
                if deps.audit is not None:
                    witness(span, await deps.audit.append(who.name, name, given, digest(update)))
                return update

        return run

    return decorate
