"""How does a composition appear in the traces: its question, its four phases, and how it went?

A thin layer over the one ``OpikConnector``: compositions are shown in a project of their own in Opik.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from src.errors import ConfigError, ContractViolation, nearest_names
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.tracing.recorder import share
from src.mlops.tracing.silent import SilentSpan
from src.mlops.tracing.spans import SpanContext

PROJECT = "e2i-tool-composer"
AGENT = "tool_composer"
OPERATION = "compose"
PHASES = ("decompose", "plan", "execute", "synthesize")
SUCCESS_RATE = "composition_success_rate"

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
Span = SpanContext | SilentSpan


@dataclass(slots=True)
class PhaseSpanContext:
    """One phase while it runs. Counts are always recorded; texts and arguments only where the trace is ``detailed``.

    Every ``log_`` may be called once or several times; the last one stands.
    """

    name: str
    span: Span
    detailed: bool = True
    logged: dict[str, Any] = field(default_factory=dict)

    @property
    def span_id(self) -> str:
        """Span of the phase."""
        return self.span.span_id

    @property
    def parent_span_id(self) -> str | None:
        """Span of the composition, or of what runs between."""
        return self.span.parent_span_id

    def log_decomposition(
        self, sub_questions: Sequence[str], intents: Sequence[str] = (), source: str = "rules"
    ) -> None:
        """Which parts a question has, what each asks for, and who found them."""
        counts = {"sub_question_count": len(sub_questions), "intents": list(intents), "source": source}
        self._log(counts, {"sub_questions": list(sub_questions)})

    def log_planning(
        self,
        tools: Sequence[str],
        source: str = "deterministic",
        *,
        dependencies: int = 0,
        plan_id: str | None = None,
        arguments: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Which tools are to run in which order, how many dependencies there are, and where the plan is from."""
        counts = {"step_count": len(tools), "tools": list(tools), "source": source, "dependency_count": dependencies}
        self._log(
            counts | ({} if plan_id is None else {"plan_id": plan_id}), {"arguments": [dict(one) for one in arguments]}
        )

    def log_execution(
        self,
        statuses: Mapping[int, str],
        *,
        retries: int = 0,
        latencies_ms: Mapping[int, float] | None = None,
        errors: Mapping[int, str] | None = None,
    ) -> None:
        """What became of each step by ordinal; ``errors`` are types of exceptions, never their texts."""
        ended = list(statuses.values())
        counts: dict[str, Any] = {f"{status}_count": ended.count(status) for status in ("success", "failed", "skipped")}
        counts |= {"step_count": len(ended), "retries": retries}
        counts["statuses"] = {str(ordinal): status for ordinal, status in statuses.items()}
        counts["latencies_ms"] = {str(ordinal): spent for ordinal, spent in (latencies_ms or {}).items()}
        if errors:
            counts["errors"] = {str(ordinal): error for ordinal, error in errors.items()}
        self._log(counts, {})

    def log_synthesis(
        self,
        answer: str,
        *,
        confidence: float | None = None,
        source: str = "template",
        caveats: int = 0,
        figures: int = 0,
    ) -> None:
        """Who told the answer, how long it is, how sure, and on how many figures it rests."""
        counts = {
            "source": source,
            "confidence": confidence,
            "caveat_count": caveats,
            "figure_count": figures,
            "answer_characters": len(answer),
        }
        self._log(counts, {"answer": answer})

    def to_dict(self) -> dict[str, Any]:
        """Name, ids and what was logged."""
        return {"phase": self.name, "span_id": self.span_id, "parent_span_id": self.parent_span_id, **self.logged}

    def _log(self, counts: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        for key, value in counts.items():
            self.span.set_attribute(key, value)
        self.logged |= counts
        if self.detailed and details:
            self.span.set_output(dict(details))


@dataclass(slots=True)
class CompositionTraceContext:
    """A composition while it runs; ``phases`` are those begun so far, in order."""

    tracer: ToolComposerOpikTracer
    span: Span
    detailed: bool = True
    phases: list[PhaseSpanContext] = field(default_factory=list)
    completed: dict[str, Any] = field(default_factory=dict)

    @property
    def trace_id(self) -> str:
        """Trace of the composition."""
        return self.span.trace_id

    @property
    def span_id(self) -> str:
        """Span of the composition."""
        return self.span.span_id

    @asynccontextmanager
    async def trace_phase(self, name: str) -> AsyncIterator[PhaseSpanContext]:
        """The span of a phase under the composition; the one that a graph node opened for it already is taken.

        Raises ContractViolation for a phase that compositions do not have.
        """
        if name not in PHASES:
            raise ContractViolation(f"compositions have no phase '{name[:60]}'; {nearest_names(name, PHASES)}")
        opened = self._node_span(name)
        if opened is not None:
            yield self._begun(name, opened)
            return
        async with self._new_span(name) as span:
            yield self._begun(name, span)

    def log_composition_complete(
        self,
        status: str,
        *,
        sub_questions: int = 0,
        steps: int = 0,
        succeeded: int = 0,
        retries: int = 0,
        confidence: float | None = None,
        duration_ms: float | None = None,
    ) -> None:
        """How the composition ended; the share of its steps that succeeded is also a metric of the trace."""
        self.completed = {
            "status": status,
            "sub_question_count": sub_questions,
            "step_count": steps,
            "succeeded_count": succeeded,
            "retries": retries,
            "confidence": confidence,
            "duration_ms": duration_ms,
        }
        for key, value in self.completed.items():
            self.span.set_attribute(key, value)
        if steps and self.tracer.enabled:
            self.tracer.connector.log_metric(SUCCESS_RATE, succeeded / steps, trace_id=self.trace_id)

    def to_dict(self) -> dict[str, Any]:
        """Ids, phases and the end."""
        return {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "phases": [phase.to_dict() for phase in self.phases],
            **self.completed,
        }

    def _node_span(self, name: str) -> SpanContext | None:
        current = self.tracer.connector.current_span() if self.tracer.enabled else None
        if current is None or (current.agent_name, current.operation) != (AGENT, name):
            return None
        return None if current.trace_id != self.trace_id else current

    def _new_span(self, name: str) -> Span:
        if not self.tracer.enabled:
            return SilentSpan()
        return self.tracer.connector.trace_agent(
            AGENT, name, trace_id=self.trace_id, parent_span_id=self.span_id, project=self.tracer.project_name
        )

    def _begun(self, name: str, span: Span) -> PhaseSpanContext:
        phase = PhaseSpanContext(name, span, self.detailed)
        self.phases.append(phase)
        return phase


class ToolComposerOpikTracer:
    """Opens the spans of compositions. A server that is away changes nothing: the connector keeps what it gets.

    ``sample_rate`` is the share of compositions whose questions, arguments and answers are recorded beside their
    counts and times, decided by a stable hash of the trace id; every span itself is recorded, as its numbers are
    counted. Which traces Opik gets is the connector's own sampling. ``connector`` defaults to the process's own.
    """

    def __init__(
        self,
        project_name: str = PROJECT,
        enabled: bool = True,
        sample_rate: float = 1.0,
        *,
        connector: OpikConnector | None = None,
    ) -> None:
        """Raises ConfigError for a rate outside 0–1 or an empty project."""
        if not 0.0 <= sample_rate <= 1.0:
            raise ConfigError(f"the sample rate of tool_composer must lie between 0 and 1, not {sample_rate}")
        if not project_name.strip():
            raise ConfigError("the Opik project of tool_composer needs a name")
        self.project_name = project_name
        self.enabled = enabled
        self.sample_rate = sample_rate
        self._given = connector

    @property
    def connector(self) -> OpikConnector:
        """What records the spans."""
        return self._given if self._given is not None else get_opik_connector()

    @asynccontextmanager
    async def trace_composition(
        self,
        query: str | None = None,
        *,
        trace_id: str | None = None,
        operation: str = OPERATION,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[CompositionTraceContext]:
        """The span of a composition: a child of the one that is open around it, else the root of a trace."""
        span: Span = SilentSpan()
        if self.enabled:
            span = self.connector.trace_agent(
                AGENT,
                operation,
                trace_id=trace_id,
                metadata=metadata,
                tags=("tool-composer",),
                project=self.project_name,
            )
        async with span:
            detailed = self.enabled and share(span.trace_id) < self.sample_rate
            if detailed and query is not None:
                span.set_input({"query": query})
            yield CompositionTraceContext(self, span, detailed)


def traced_composition(
    function: Callable[Arguments, Awaitable[Value]] | None = None, *, tracer: ToolComposerOpikTracer | None = None
) -> Any:
    """Run an async function inside the span of a composition, named for the function; with or without arguments.

    The function's result and exception come out unchanged.
    """

    def decorate(inner: Callable[Arguments, Awaitable[Value]]) -> Callable[Arguments, Awaitable[Value]]:
        @functools.wraps(inner)
        async def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
            used = tracer or get_tool_composer_tracer()
            async with used.trace_composition(operation=inner.__name__):
                return await inner(*args, **kwargs)

        return run

    return decorate if function is None else decorate(function)


_tracer: ToolComposerOpikTracer | None = None
_lock = threading.Lock()


def get_tool_composer_tracer(
    project_name: str = PROJECT, enabled: bool = True, sample_rate: float = 1.0
) -> ToolComposerOpikTracer:
    """The tracer of this process; another one replaces it where the settings differ."""
    global _tracer
    wanted = (project_name, enabled, sample_rate)
    with _lock:
        if _tracer is None or (_tracer.project_name, _tracer.enabled, _tracer.sample_rate) != wanted:
            _tracer = ToolComposerOpikTracer(project_name, enabled, sample_rate)
        return _tracer


def reset_tool_composer_tracer() -> None:
    """Forget the tracer of this process; the connector is left as it is."""
    global _tracer
    with _lock:
        _tracer = None
