"""How does everything E2I does become spans that reach PostgreSQL and Opik?

One connector per process (``get_opik_connector``). Spans are opened with ``trace_agent`` and
``trace_llm_call``; what ends is kept in a durable local spool, then stored in PostgreSQL (the truth) and
mirrored to Opik. A failure of any of it never changes the result or the exception of the traced body.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from src.errors import ConfigError, ContractViolation
from src.mlops.tracing.configuration import (
    OBSERVABILITY_FILE,
    ObservabilityConfig,
    OpikSettings,
    load_observability_config,
)
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.pipeline import Pipeline
from src.mlops.tracing.propagation import environment_headers
from src.mlops.tracing.records import Sink
from src.mlops.tracing.scores import check_score
from src.mlops.tracing.silent import SilentSpan
from src.mlops.tracing.spans import (
    Clock,
    LLMSpanContext,
    SpanContext,
    SpanStatus,
    SpanType,
    current,
    monotonic_clock,
    wall_clock,
)
from src.resilience.circuit_breaker import CircuitBreaker
from src.resilience.outcomes import Unavailable
from src.settings import var_dir
from src.storage.connection import resolve_dsn

if TYPE_CHECKING:
    from src.mlops.tracing.opik_experiments import Experiment, RecordedExperiment
    from src.mlops.tracing.opik_queries import FoundFeedback, FoundTrace, OpikQueries, TraceFilter

__all__ = [
    "LLMSpanContext",
    "OpikConfig",
    "OpikConnector",
    "SpanContext",
    "SpanStatus",
    "SpanType",
    "get_opik_connector",
    "reset_opik_connector",
]

_log = logging.getLogger(__name__)

EXIT_DEADLINE_S = 1.5
FLUSH_TIMEOUT_S = 10.0
MAX_NAME = 200

AnySpan = SpanContext | SilentSpan


@dataclass(frozen=True, slots=True)
class OpikConfig:
    """The part of the configuration that concerns Opik; what is None stays as in the file."""

    api_key: str | None = None
    workspace: str | None = None
    project_name: str | None = None
    url: str | None = None
    use_local: bool | None = None
    enabled: bool | None = None
    sample_rate: float | None = None
    always_sample_errors: bool | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of the shipped file with the environment's variables. Raises ConfigError."""
        return cls.from_config_file(OBSERVABILITY_FILE, environ=environ)

    @classmethod
    def from_config_file(cls, path: Path | str, *, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of a file shaped like config/observability.yaml. Raises ConfigError."""
        config = load_observability_config(path, environ=environ)
        opik, sampling = config.opik, config.sampling
        return cls(
            api_key=opik.api_key,
            workspace=opik.workspace,
            project_name=opik.project_name,
            url=opik.url,
            use_local=opik.use_local,
            enabled=opik.enabled,
            sample_rate=sampling.default_rate,
            always_sample_errors=sampling.always_sample_errors,
        )

    def applied_to(self, config: ObservabilityConfig) -> ObservabilityConfig:
        """``config`` with these settings in place of its own. Raises ConfigError for a wrong value."""
        opik = {
            name: getattr(self, name) for name in OpikSettings.model_fields if getattr(self, name, None) is not None
        }
        sampling: dict[str, Any] = {}
        if self.sample_rate is not None:
            sampling["default_rate"] = self.sample_rate
        if self.always_sample_errors is not None:
            sampling["always_sample_errors"] = self.always_sample_errors
        return config.changed({"opik": opik, "sampling": sampling})


class OpikConnector:
    """Opens spans, takes feedback and metrics, and delivers them; see the module's first lines.

    ``sinks`` replaces the sinks of the configuration (tests, other back ends); otherwise PostgreSQL is
    attached by ``use_database`` and Opik and OTLP by the configuration. Safe across threads, tasks, forks
    and several processes on one spool.
    """

    def __init__(
        self,
        config: ObservabilityConfig | OpikConfig | None = None,
        *,
        sinks: Sequence[Sink] | None = None,
        spool: Path | None = None,
        wall_ns: Clock = wall_clock,
        monotonic_ns: Clock = monotonic_clock,
    ) -> None:
        self.config = _full(config)
        settings = self.config.circuit_breaker.breaker()
        self._breaker = CircuitBreaker("opik", settings)
        self._database_breaker = CircuitBreaker("database", settings)
        self._otlp_breaker = CircuitBreaker("otlp", settings)
        self._given = list(sinks) if sinks is not None else None
        expected = {sink.name: sink.primary for sink in sinks} if sinks is not None else self._expected()
        self.destination = destination()
        folder = spool or var_dir() / self.config.fallback.spool_path / self.destination
        self._pipeline = Pipeline(self.config, folder, expected, wall_ns=wall_ns, monotonic_ns=monotonic_ns)
        self._recorder = self._pipeline.recorder
        self._opened = threading.Lock()
        self._let_go: list[Callable[[], None]] = []
        self._queries: OpikQueries | None = None
        if self._given is not None:
            self._pipeline.attach(self._given)
        elif not self.config.fallback.database:
            self._pipeline.attach(self._mirrors())
        atexit.register(self._at_exit)

    @property
    def is_enabled(self) -> bool:
        """Whether anything is recorded: some sink is configured."""
        return self._recorder.enabled

    @property
    def circuit_breaker(self) -> CircuitBreaker:
        """The breaker that guards every call to Opik."""
        return self._breaker

    def trace_agent(
        self,
        agent_name: str,
        operation: str = "run",
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        input_data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        span_type: SpanType = SpanType.GENERAL,
        project: str | None = None,
    ) -> AnySpan:
        """A span of an agent's work, for ``async with`` or ``with``.

        It belongs to the span open around it. A ``trace_id`` that is open in this process is joined at its
        root; any other begins that trace here. ``headers`` with a W3C ``traceparent`` continue a trace from
        another process. An agent that is not registered is recorded as ``unknown``. ``project`` is the one in
        Opik that a trace begun here is shown in, instead of the configured.
        """
        return self._recorder.span(
            agent_name,
            operation,
            trace_id,
            parent_span_id,
            metadata,
            tuple(tags or ()),
            input_data,
            headers,
            span_type,
            project,
        )

    def trace_llm_call(
        self,
        model: str,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        provider: str = "anthropic",
        prompt_template: str | None = None,
        input_data: Any = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        agent_name: str | None = None,
    ) -> LLMSpanContext | SilentSpan:
        """A span of one model call; without a span around it, it is a trace of its own."""
        span = self._recorder.llm_span(model, provider, trace_id, parent_span_id, metadata, input_data, agent_name)
        if prompt_template is not None:
            span.set_attribute("prompt_template", prompt_template)
        return span

    def log_metric(
        self, name: str, value: float, trace_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Keep a number, for the trace given or open, or for none; returns its id.

        Raises ContractViolation for a name or value that cannot be stored.
        """
        check_score(name, value)
        return self._recorder.metric(name, value, trace_id=trace_id, metadata=metadata)

    def log_feedback(
        self,
        trace_id: str,
        score: float,
        feedback_type: str = "quality",
        reason: str | None = None,
        *,
        span_id: str | None = None,
        category: str | None = None,
        source: str = "sdk",
        project: str | None = None,
    ) -> str:
        """Give a trace (or one span of it) a score, whether it is open, ended or known at all; returns its id.

        ``project`` is needed where an ended trace is shown in another project of Opik than the configured.
        Raises ContractViolation for a name, score or source that cannot be stored.
        """
        check_score(feedback_type, score)
        if source not in ("sdk", "ui", "online_scoring"):
            raise ContractViolation(f"feedback comes from sdk, ui or online_scoring, not from '{source}'")
        return self._recorder.feedback(
            trace_id,
            feedback_type,
            score,
            span_id=span_id,
            reason=reason,
            category=category,
            source=source,
            project=project,
        )

    def record_span(self, span: FinishedSpan) -> None:
        """Keep a span that was measured elsewhere."""
        if self._recorder.enabled:
            self._recorder.finished(span)

    def current_span(self) -> SpanContext | None:
        """The span open around the caller, if it is recorded here."""
        span = current.get()
        return span if span is not None and span.recorder is self._recorder and span.trace.recorded else None

    def inject(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """``headers`` with the W3C headers of the open span, to continue its trace in another process."""
        span = self.current_span()
        return dict(headers or {}) | (span.headers() if span is not None else {})

    @staticmethod
    def inherited_headers() -> dict[str, str] | None:
        """The W3C headers a parent process left in ``TRACEPARENT`` and ``TRACESTATE``."""
        return environment_headers()

    async def query_traces(self, wanted: TraceFilter | None = None) -> tuple[FoundTrace, ...] | Unavailable:
        """Traces in Opik; Unavailable while it is not configured or cannot be reached."""
        queries = self._opik_queries()
        return queries if isinstance(queries, Unavailable) else await asyncio.to_thread(queries.query_traces, wanted)

    async def query_feedback(
        self, since: datetime, agent: str | None = None
    ) -> tuple[FoundFeedback, ...] | Unavailable:
        """Feedback in Opik given at ``since`` or later, people's included; Unavailable as for traces."""
        queries = self._opik_queries()
        if isinstance(queries, Unavailable):
            return queries
        return await asyncio.to_thread(queries.query_feedback, since, agent)

    async def record_experiment(self, experiment: Experiment) -> RecordedExperiment | Unavailable:
        """Store an evaluation as dataset and experiment in Opik; Unavailable as for traces, and then nothing is kept.

        Raises ServiceRefused when the server will never take it.
        """
        if not self.config.opik.enabled:
            return _not_enabled()
        from src.mlops.tracing.opik_experiments import OpikExperiments

        experiments = OpikExperiments(self.config.opik, breaker=self._breaker, redact=self.config.spans.redact)
        try:
            return await asyncio.to_thread(experiments.record, experiment)
        finally:
            experiments.close()

    @property
    def has_database(self) -> bool:
        """Whether spans are delivered to a database, or are not meant to be."""
        return self._given is not None or not self.config.fallback.database or "database" in self._pipeline.attached

    def use_database(self, address: Callable[[], str], *, let_go: Callable[[], None] = lambda: None) -> None:
        """Store spans in the PostgreSQL database at ``address()`` until ``close``, and mirror them as configured.

        ``let_go`` is called when the connector closes. Raises ConfigError for an Opik address or key that
        cannot be used.
        """
        with self._opened:
            self._let_go.append(let_go)
            if self.has_database:
                return
            from src.mlops.tracing.database_sink import DatabaseSink

            self._pipeline.attach([*self._mirrors(), DatabaseSink(address, self._database_breaker)])

    async def accepted(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until everything that ended so far is in the spool; False after ``timeout`` seconds."""
        return await asyncio.to_thread(self._pipeline.accepted, timeout)

    async def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until everything that ended so far is delivered to the attached sinks; False when something is left."""
        return await asyncio.to_thread(self._pipeline.flush, timeout)

    async def shutdown(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Deliver until the deadline and stop; what is left stays in the spool for the next process."""
        return await asyncio.to_thread(self.close, timeout)

    def close(self, timeout: float = EXIT_DEADLINE_S) -> bool:
        """The same, blocking."""
        atexit.unregister(self._at_exit)
        finished = True
        releases = [self._queries.close] if self._queries is not None else []
        try:
            finished = self._pipeline.close(timeout)
        except Exception as error:  # noqa: BLE001 - the records are in the spool; the caller's own end is not ours
            _log.warning("the spool was not closed cleanly: %s", type(error).__name__)
            finished = False
        while releases or self._let_go:
            release = (releases or self._let_go).pop()
            try:
                release()
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning("a connection was not closed cleanly: %s", type(error).__name__)
        return finished

    def after_fork(self) -> None:
        """In a child process: locks and connections of the parent are left alone."""
        self._opened = threading.Lock()
        self._let_go = []
        self._queries = None

    def get_status(self) -> dict[str, Any]:
        """What is recorded, waiting, delivered and lost, as JSON.

        For every sink ``accepted = delivered + pending + dead + dropped``, each counted on its own.
        """
        status = self._pipeline.status()
        sinks = status["sinks"]
        return {
            "enabled": self.config.opik.enabled,
            "is_enabled": self.is_enabled,
            "project_name": self.config.opik.project_name,
            "workspace": self.config.opik.workspace,
            "sample_rate": self.config.sampling.default_rate,
            "active_traces": self._recorder.active_traces,
            "queue_depth": status["queue_depth"],
            "dropped": sum(numbers["dropped"] for numbers in sinks.values()),
            "spooled": max((numbers["pending"] for numbers in sinks.values()), default=0),
            "circuit_breaker": self._breaker.get_status(),
            "database_breaker": self._database_breaker.get_status(),
            **{name: status[name] for name in ("sinks", "refused", "damaged", "leader", "spool", "spool_error")},
        }

    def replay_dead(self) -> dict[str, int]:
        """Put the records that sinks refused into the spool again; returns how many by sink."""
        return self._pipeline.replay_dead()

    def _expected(self) -> dict[str, bool]:
        expected = {"database": True} if self.config.fallback.database else {}
        if self.config.opik.enabled:
            expected["opik"] = False
        if self.config.otlp.endpoint:
            expected["otlp"] = False
        return expected

    def _mirrors(self) -> list[Sink]:
        mirrors: list[Sink] = []
        size = self.config.batching.max_batch_size
        if self.config.opik.enabled:
            from src.mlops.tracing.opik_sink import OpikSink

            mirrors.append(OpikSink(self.config.opik, breaker=self._breaker, max_batch_size=size))
        if self.config.otlp.endpoint:
            from src.mlops.tracing.otlp_sink import OtlpSink

            mirrors.append(OtlpSink(self.config.otlp, breaker=self._otlp_breaker, max_batch_size=size))
        return mirrors

    def _opik_queries(self) -> OpikQueries | Unavailable:
        if not self.config.opik.enabled:
            return _not_enabled()
        if self._queries is None:
            from src.mlops.tracing.opik_queries import OpikQueries

            self._queries = OpikQueries(self.config.opik, breaker=self._breaker)
        return self._queries

    def _at_exit(self) -> None:
        self.close(EXIT_DEADLINE_S)


def _not_enabled() -> Unavailable:
    return Unavailable("opik", "Opik is not enabled (opik.enabled in config/observability.yaml)")


def destination() -> str:
    """A name for the database that the spool feeds: records of one never go to another."""
    target = resolve_dsn()
    if target.dsn is None:
        return "embedded"
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(target.dsn)
    except ProgrammingError:  # its text quotes the address, password included
        raise ConfigError(
            f"{target.source.value} is not a PostgreSQL URL (postgresql://user:password@host:port/database)"
        ) from None
    place = f"{parts.get('host')}:{parts.get('port')}/{parts.get('dbname')}"
    return f"{parts.get('dbname') or 'database'}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _full(config: ObservabilityConfig | OpikConfig | None) -> ObservabilityConfig:
    if isinstance(config, ObservabilityConfig):
        return config
    loaded = load_observability_config()
    return loaded if config is None else config.applied_to(loaded)


_connector: OpikConnector | None = None
_lock = threading.Lock()


def get_opik_connector(
    config: ObservabilityConfig | OpikConfig | None = None, force_new: bool = False
) -> OpikConnector:
    """The connector of this process.

    A new one replaces it for another ``config``, for another database in the environment, or with
    ``force_new``; the old one is closed. Raises ConfigError for a wrong configuration.
    """
    global _connector
    with _lock:
        previous = _connector
        outdated = previous is not None and (
            previous.destination != destination() or (config is not None and _full(config) != previous.config)
        )
        if previous is None or force_new or outdated:
            _connector = OpikConnector(config)
        wanted = _connector
    if previous is not None and previous is not wanted:
        previous.close()
    assert wanted is not None
    return wanted


def reset_opik_connector() -> None:
    """Close the connector of this process; the next call of ``get_opik_connector`` makes a new one."""
    global _connector
    with _lock:
        previous, _connector = _connector, None
    if previous is not None:
        previous.close()


def _after_fork() -> None:
    """In a child process a lock that another thread of the parent held would never be released."""
    global _lock
    _lock = threading.Lock()
    if _connector is not None:
        _connector.after_fork()


os.register_at_fork(after_in_child=_after_fork)
