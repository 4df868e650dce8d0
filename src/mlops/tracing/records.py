"""In which shape do spans, feedback and metrics travel from the process to PostgreSQL and the mirrors?

Every record is one JSON object, encoded once and never changed on its way. Times are ISO-8601 in UTC
with microseconds and ``Z``; ids of spans and traces are UUID version 7 in text form.

Span (``Kind.SPAN``): the columns of ``ml_observability_spans``. ``attributes`` holds what has no column:
``name``, ``span_type`` (general, tool, llm, guardrail), ``root`` (true on the first span of a trace in
this process), ``input``, ``output``, ``events`` [{name, at, attributes}], ``tags``, ``truncated`` [names of
what was cut], the OpenTelemetry GenAI names (``gen_ai.operation.name``, ``gen_ai.agent.name``,
``gen_ai.provider.name``, ``gen_ai.request.model``, ``gen_ai.response.model``,
``gen_ai.usage.input_tokens``, ``gen_ai.usage.output_tokens``, ``gen_ai.usage.cache_read.input_tokens``,
``gen_ai.conversation.id``, ``gen_ai.tool.name``), ``exception.stacktrace`` on errors, ``opik.project_name`` where a
trace is of another project in Opik than the configured, and whatever the caller set.

Feedback (``Kind.FEEDBACK``): feedback_id, trace_id, span_id or null, name, value, reason, category,
source (sdk, ui, online_scoring), recorded_at, and ``project`` where the trace is of another one in Opik than the
configured.

Metric (``Kind.METRIC``): metric_id, trace_id or null, span_id or null, name, value, metadata, recorded_at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import orjson

PROJECT = "opik.project_name"


class Kind(StrEnum):
    """What a record is; one letter in the spool."""

    SPAN = "s"
    FEEDBACK = "f"
    METRIC = "m"


class Route(StrEnum):
    """Who gets a record; one letter in the spool."""

    ALL = "a"
    PRIMARY = "p"
    MIRRORS = "m"


@dataclass(frozen=True, slots=True)
class Record:
    """One encoded record; ``body`` is the JSON text."""

    kind: Kind
    body: bytes

    def document(self) -> dict[str, Any]:
        """The record as Python values."""
        document: dict[str, Any] = orjson.loads(self.body)
        return document


class RecordRefused(Exception):
    """A sink will never accept these records as they are; the batch is split to find which."""


class Sink(Protocol):
    """Where records end up. Called from one delivery thread; may block.

    ``deliver`` returns when all records are stored, and is safe to repeat with the same records. It
    raises RecordRefused for records that can never be stored, and anything else for an outage.
    """

    name: str
    primary: bool

    def deliver(self, records: Sequence[Record]) -> None:
        """Store ``records``, in any order."""
        ...

    def close(self) -> None:
        """Let go of connections; another ``deliver`` may follow and opens them again."""
        ...


class MemorySink:
    """Keeps records in a list, for tests."""

    def __init__(self, name: str = "memory", *, primary: bool = True) -> None:
        self.name = name
        self.primary = primary
        self.records: list[Record] = []

    def deliver(self, records: Sequence[Record]) -> None:
        """Append ``records``."""
        self.records.extend(records)

    def close(self) -> None:
        """Nothing to let go of."""

    def of(self, kind: Kind | str) -> list[dict[str, Any]]:
        """The distinct records of one kind as Python values, in the order they first came."""
        distinct = {record.body: record for record in self.records if record.kind == kind}
        return [record.document() for record in distinct.values()]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The spans received."""
        return self.of(Kind.SPAN)
