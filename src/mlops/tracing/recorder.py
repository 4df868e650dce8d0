"""Which spans are open, where does a new one belong, and how does it leave the caller's thread?"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from src.domain.agents import AgentIdentity, agent_identity
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7_int, uuid_int, uuid_text
from src.mlops.tracing.privacy import snapshot
from src.mlops.tracing.propagation import remote_parent
from src.mlops.tracing.silent import SilentSpan, UnrecordedRoot
from src.mlops.tracing.spans import (
    Clock,
    LLMSpanContext,
    SpanContext,
    SpanType,
    Trace,
    current,
    monotonic_clock,
    wall_clock,
)

MAX_WAITING = 50_000


@dataclass(frozen=True, slots=True)
class Feedback:
    """A score somebody gave a trace or a span; ``open_trace`` is the trace where it is open in this process."""

    trace_id: str
    span_id: str | None
    name: str
    value: float
    reason: str | None
    category: str | None
    source: str
    project: str | None = None
    id: str = field(default_factory=lambda: uuid_text(uuid7_int()))
    recorded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    open_trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A number worth keeping, with or without a trace; ``open_trace`` as for feedback."""

    trace_id: str | None
    span_id: str | None
    name: str
    value: float
    metadata: Any
    id: str = field(default_factory=lambda: uuid_text(uuid7_int()))
    recorded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    open_trace: Trace | None = None


Item = SpanContext | FinishedSpan | Feedback | Metric
identity_of: Callable[[str], AgentIdentity] = lru_cache(maxsize=256)(agent_identity)


@dataclass(frozen=True, slots=True)
class RecordingLimits:
    """Characters copied at most from inputs, outputs and attributes."""

    input: int = 10 * 1024
    output: int = 10 * 1024
    attributes: int = 4 * 1024


class SpanRecorder:
    """Opens spans and queues what ended for the writer; safe across threads, tasks and forks.

    ``wake`` is called when something is queued while the writer sleeps. ``head_rate`` gives the share of
    traces recorded at all, by root agent and tier; without it all are. At most ``MAX_WAITING`` items wait;
    beyond that new ones are refused and counted.
    """

    def __init__(
        self,
        *,
        limits: RecordingLimits | None = None,
        enabled: bool = True,
        head_rate: Callable[[str, int], float] | None = None,
        wall_ns: Clock = wall_clock,
        monotonic_ns: Clock = monotonic_clock,
    ) -> None:
        sizes = limits or RecordingLimits()
        self.input_budget, self.output_budget, self.attribute_budget = sizes.input, sizes.output, sizes.attributes
        self.wall_ns = wall_ns
        self.monotonic_ns = monotonic_ns
        self.enabled = enabled
        self.queue: deque[Item | Callable[[], None]] = deque()
        self.writer_sleeps = False
        self.wake: Callable[[], None] = lambda: None
        self.refused = 0
        self._head_rate = head_rate
        self._roots: dict[int, SpanContext] = {}
        # Re-entrant: the garbage collector may end an abandoned span inside any line of this class.
        self._lock = threading.RLock()
        self._unrecorded = SpanContext(self, identity_of("unknown"), "unrecorded")
        self._unrecorded.trace = Trace(0, identity_of("unknown"), recorded=False)
        self._unrecorded.id = 0
        _living.add(self)

    def span(
        self,
        agent_name: str,
        operation: str,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: tuple[str, ...] = (),
        input_data: Any = None,
        headers: Mapping[str, str] | None = None,
        span_type: SpanType = SpanType.GENERAL,
        project: str | None = None,
    ) -> SpanContext | SilentSpan:
        """A span to open with ``with`` or ``async with``; see ``OpikConnector.trace_agent``."""
        if not self.enabled:
            return SilentSpan()
        identity = identity_of(agent_name if isinstance(agent_name, str) else str(agent_name))
        if self._head_rate is not None:
            trace_id, wanted = self._head_decision(identity, trace_id, headers)
            if not wanted:
                return self._silent()
        opened = SpanContext(self, identity, operation)
        if span_type is not SpanType.GENERAL:
            opened.span_type = span_type
        opened.project = project
        if tags:
            opened.tags = tags
        if metadata is not None:
            opened.metadata = attributes_of(metadata, self.attribute_budget)
        if input_data is not None:
            opened.input_data = snapshot(input_data, self.input_budget)
        if trace_id is not None or parent_span_id is not None or headers is not None:
            opened.asked = (trace_id, parent_span_id, headers)
        if identity.name == "unknown" and agent_name != "unknown":
            opened.set_attribute("caller", agent_name)
        return opened

    def llm_span(
        self,
        model: str,
        provider: str,
        trace_id: str | None = None,
        parent_span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        input_data: Any = None,
        agent_name: str | None = None,
    ) -> LLMSpanContext | SilentSpan:
        """A model call; it belongs to the agent of the span it runs in."""
        outer = current.get()
        if not self.enabled:
            return SilentSpan()
        owner = outer.identity if agent_name is None and outer is not None else identity_of(agent_name or "unknown")
        if self._head_rate is not None:
            trace_id, wanted = self._head_decision(owner, trace_id, None)
            if not wanted:
                return self._silent()
        opened = LLMSpanContext(self, owner, "llm_call", model)
        opened.provider = provider
        if metadata is not None:
            opened.metadata = attributes_of(metadata, self.attribute_budget)
        if input_data is not None:
            opened.input_data = snapshot(input_data, self.input_budget)
        if trace_id is not None or parent_span_id is not None:
            opened.asked = (trace_id, parent_span_id, None)
        return opened

    def feedback(
        self,
        trace_id: str,
        name: str,
        value: float,
        *,
        span_id: str | None = None,
        reason: str | None = None,
        category: str | None = None,
        source: str = "sdk",
        project: str | None = None,
    ) -> str:
        """Queue a score for a trace, open, ended or unknown to this process; returns its id, empty where disabled."""
        trace, span = uuid_int(trace_id), None if span_id is None else uuid_text(uuid_int(span_id))
        known = self._open_trace(trace)
        project = project or (None if known is None else known.project)
        return self._keep(
            Feedback(uuid_text(trace), span, name, float(value), reason, category, source, project, open_trace=known)
        )

    def metric(self, name: str, value: float, *, trace_id: str | None = None, metadata: Any = None) -> str:
        """Queue a number, for the trace given, else the open one, else none; returns its id, empty where disabled."""
        outer = current.get()
        copied = attributes_of(metadata, self.attribute_budget) if metadata is not None else {}
        if trace_id is not None:
            trace = uuid_int(trace_id)
            kept = Metric(uuid_text(trace), None, name, float(value), copied, open_trace=self._open_trace(trace))
        elif outer is not None and outer.recorder is self and outer.trace.recorded:
            kept = Metric(outer.trace_id, outer.span_id, name, float(value), copied, open_trace=outer.trace)
        else:
            kept = Metric(None, None, name, float(value), copied)
        return self._keep(kept)

    def finished(self, span: FinishedSpan) -> None:
        """Queue a span that was measured elsewhere."""
        self._put(replace(span, attributes=attributes_of(span.attributes, self.attribute_budget)))

    def _open_trace(self, trace: int) -> Trace | None:
        root = self._roots.get(trace)
        return None if root is None else root.trace

    def _keep(self, given: Feedback | Metric) -> str:
        """Queue it and return its id; an empty id where nothing is recorded."""
        if not self.enabled:
            return ""
        self._put(given)
        return given.id

    def place(self, span: SpanContext, outer: SpanContext | None) -> None:
        """Decide the trace and the parent of a span that cannot simply join the open one.

        Where the ids or headers given make no sense the span begins a trace of its own, and says why.
        """
        try:
            self._place(span, outer)
        except Exception as error:  # noqa: BLE001 - whatever was given as an id, the traced body runs
            span.asked = None
            self._enter_trace(span, uuid7_int())
            span.set_attribute("tracing_error", f"{type(error).__name__}: {error}")

    def _place(self, span: SpanContext, outer: SpanContext | None) -> None:
        trace_id, parent_id, headers = span.asked or (None, None, None)
        remote = remote_parent(headers) if headers is not None else None
        mine = outer if outer is not None and outer.recorder is self else None
        if trace_id is not None:
            wanted = uuid_int(trace_id)
        elif remote is not None:
            wanted = remote.trace
        else:
            wanted = mine.trace.id if mine is not None else uuid7_int()
        if mine is not None and mine.trace.id == wanted:
            span.trace, span.parent = mine.trace, mine.id
        else:
            self._enter_trace(span, wanted)
        if parent_id is not None:
            span.parent = uuid_int(parent_id)
        elif remote is not None and wanted == remote.trace:
            if remote.span is not None:
                span.parent = remote.span
            elif span.root:
                span.set_attribute("w3c.parent_id", remote.parent_id)

    def _enter_trace(self, span: SpanContext, wanted: int) -> None:
        """Join the trace at its root where it is open in this process, else begin it."""
        with self._lock:
            root = self._roots.get(wanted)
            if root is not None:
                span.trace, span.parent = root.trace, root.id
                return
            span.trace = Trace(wanted, span.identity, project=span.project)
            span.root = True
            self._roots[wanted] = span

    def ended(self, span: SpanContext) -> None:
        """Queue a span that has just ended."""
        if span.root:
            with self._lock:
                self._roots.pop(span.trace.id, None)
        self._put(span, span.queue)

    def _put(self, item: Item, queue: deque[Any] | None = None) -> None:
        queue = self.queue if queue is None else queue
        if len(queue) >= MAX_WAITING:
            with self._lock:
                self.refused += 1
            return
        queue.append(item)
        if self.writer_sleeps:
            self.wake()

    @property
    def active_traces(self) -> int:
        """Traces whose root is open in this process."""
        return len(self._roots)

    def _head_decision(
        self, identity: AgentIdentity, trace_id: str | None, headers: Mapping[str, str] | None
    ) -> tuple[str | None, bool]:
        """The trace id to use, and whether its trace is recorded at all; decided once, at its root."""
        outer = current.get()
        if outer is not None and outer.recorder is self:
            return trace_id, outer.trace.recorded
        rate = self._head_rate(identity.name, identity.tier) if self._head_rate is not None else 1.0
        if not 0.0 < rate < 1.0:
            return trace_id, rate > 0.0
        remote = remote_parent(headers) if headers is not None and trace_id is None else None
        if remote is not None:
            return None, share(uuid_text(remote.trace)) < rate
        wanted = uuid_text(uuid7_int() if trace_id is None else uuid_int(trace_id))
        return wanted, share(wanted) < rate

    def _silent(self) -> SilentSpan:
        """The span of an unwanted trace; its root marks the context, so that its leaves are silent too."""
        outer = current.get()
        within = outer is not None and outer.recorder is self
        return SilentSpan() if within else UnrecordedRoot(self._unrecorded)

    def after_fork(self) -> None:
        """In a child process: what the parent queued or has open is the parent's to write.

        A span open at the fork keeps its parent's queue, which nobody reads here; new spans belong to it.
        """
        self.queue = deque()
        self._roots = {}
        self._lock = threading.RLock()
        self.writer_sleeps = False
        self.refused = 0


def attributes_of(metadata: Any, budget: int) -> dict[str, Any]:
    """A bounded copy as attributes by name; what is no mapping becomes one attribute."""
    copied = snapshot(metadata, budget)
    return copied if isinstance(copied, dict) else {"metadata": copied}


def share(text: str) -> float:
    """Where a trace falls between 0 and 1: the first 8 bytes of its id's SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


_living: weakref.WeakSet[SpanRecorder] = weakref.WeakSet()


def _after_fork() -> None:
    for recorder in list(_living):
        recorder.after_fork()


os.register_at_fork(after_in_child=_after_fork)
