"""Parts for tests of tracing: quick settings, sinks that fail as told, and records to route."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.domain.agents import agent_identity
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import ObservabilityConfig, load_observability_config
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7, uuid_text
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.recorder import SpanRecorder
from src.mlops.tracing.records import Kind, MemorySink, Record, Sink
from src.mlops.tracing.spans import SpanContext

QUICK = {
    "batching": {"max_wait_seconds": 0.05, "retry_delay_seconds": 0.02},
    "opik": {"flush_interval_seconds": 0.05},
    "circuit_breaker": {"reset_timeout_seconds": 0.2},
    "fallback": {"fsync": False},
}


def settings(**changes: Mapping[str, Any]) -> ObservabilityConfig:
    """The shipped configuration without anybody's environment, with short waits and ``changes``."""
    return load_observability_config(environ={}).changed(QUICK).changed(changes)


def connector_on(spool: Path, *sinks: Sink, **changes: Mapping[str, Any]) -> OpikConnector:
    """A connector that delivers to ``sinks``; to be closed."""
    return OpikConnector(settings(**changes), sinks=sinks, spool=spool)


@dataclass
class Traced:
    """A connector and the sink it delivers to."""

    connector: OpikConnector
    sink: MemorySink

    async def spans(self) -> dict[str, dict[str, Any]]:
        """What was delivered, by operation; every span stands under its parent."""
        assert await self.connector.flush()
        assert find_orphans(self.sink.spans) == []
        return {span["operation_type"]: span for span in self.sink.spans}

    async def of(self, kind: Kind) -> list[dict[str, Any]]:
        """The delivered records of one kind."""
        assert await self.connector.flush()
        return self.sink.of(kind)


class Mirror(MemorySink):
    """Keeps what the mirrors get."""

    def __init__(self, name: str = "mirror") -> None:
        super().__init__(name, primary=False)


class StubbornSink(MemorySink):
    """Raises what ``refusal`` makes of a batch, and keeps the batch when that is nothing; counts the attempts."""

    def __init__(self, refusal: Callable[[Sequence[Record]], Exception | None], name: str = "memory") -> None:
        super().__init__(name)
        self.refusal = refusal
        self.attempts = 0

    def deliver(self, records: Sequence[Record]) -> None:
        self.attempts += 1
        error = self.refusal(records)
        if error is not None:
            raise error
        super().deliver(records)


class StuckSink(MemorySink):
    """Its first delivery does not come back until ``released`` is set."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__(name)
        self.entered = threading.Event()
        self.released = threading.Event()

    def deliver(self, records: Sequence[Record]) -> None:
        self.entered.set()
        self.released.wait(30)
        super().deliver(records)


def say_everywhere(opik: OpikConnector, text: str, value: Any = None) -> None:
    """Put ``text`` wherever a text may stand in spans, metrics and feedback, and ``value`` into the open places."""
    value = text if value is None else value
    now = datetime.now(UTC)
    with (
        suppress(ValueError),
        opik.trace_agent(text, text, metadata={"a": value}, tags=[text], input_data=value) as span,
    ):
        span.set_attribute("said", [value])
        span.add_event(text, {"b": value})
        span.set_output({"inner": {text: value}})
        span.set_fallback([text])
        span.name = span.session_id = span.user_id = text
        span.prompt_versions = {"prompt": text}
        opik.log_metric(text[:200], 1.0, metadata={"c": value})
        span.log_feedback(1.0, text[:200], text, text)
        with opik.trace_llm_call(text, provider=text, prompt_template=text, input_data=value) as call:
            call.response_model = text
            call.log_tokens(1, 1)
        raise ValueError(text)
    opik.record_span(
        FinishedSpan(
            span.trace_id, str(uuid7()), text, text, now, now, 0.0, "error", span.span_id, text, text, text,
            fallback_chain=(text,), attributes={text: value}, prompt_versions={"p": value},
            user_id=text, session_id=text,
        )
    )  # fmt: skip


def ended_span(
    agent: str = "orchestrator",
    operation: str = "work",
    *,
    trace: int | None = None,
    error: Exception | None = None,
    recorder: SpanRecorder | None = None,
) -> SpanContext:
    """A span that was opened and ended; ``error`` is what its body raised."""
    made = SpanContext(recorder or SpanRecorder(), agent_identity(agent), operation)
    if trace is not None:
        made.asked = (uuid_text(trace), None, None)
    with made:
        if error is not None:
            made.set_error(error)
    return made
