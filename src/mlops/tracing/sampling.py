"""Which traces do the mirrors get? One decision per trace; PostgreSQL gets them all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from src.domain.agents import agent_identity
from src.mlops.tracing.configuration import SamplingSettings
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid_int, uuid_text
from src.mlops.tracing.recorder import Item, share
from src.mlops.tracing.records import Record, Route
from src.mlops.tracing.spans import SpanContext

MAX_TRACES = 10_000
MAX_HELD_BYTES = 32_000_000


@dataclass(slots=True)
class _Decision:
    """``held`` are records of a trace that only an error would bring to the mirrors."""

    mirrored: bool
    held: list[Record] = field(default_factory=list)


class TraceRouter:
    """Routes records as they are written.

    A trace is mirrored when its share (a stable hash of its id) lies below the rate of its root's agent,
    and from its first error on, with everything it recorded before. At most ``MAX_HELD_BYTES`` of records
    are kept for open traces that may still fail; beyond that the oldest traces let go of theirs.
    """

    def __init__(self, settings: SamplingSettings, *, primary: bool, mirrors: bool) -> None:
        self._settings = settings
        self._primary = primary
        self._mirrors = mirrors
        self._decisions: OrderedDict[str, _Decision] = OrderedDict()
        self._held = 0

    def routes(self, item: Item, record: Record) -> Iterator[tuple[Route, Record]]:
        """Where ``record`` goes, and earlier records of its trace that go to the mirrors now."""
        if not self._mirrors:
            yield Route.PRIMARY, record
            return
        decision = self._decision(item)
        if decision is None or decision.mirrored:
            yield Route.ALL if self._primary else Route.MIRRORS, record
            return
        if self._settings.always_sample_errors and _is_error(item):
            decision.mirrored = True
            earlier = decision.held
            self._let_go(decision)
            for kept in earlier:
                yield Route.MIRRORS, kept
            yield Route.ALL if self._primary else Route.MIRRORS, record
            return
        if self._settings.always_sample_errors:
            self._hold(decision, record)
            if isinstance(item, SpanContext) and item.root:
                self._let_go(decision)  # it ended well: nothing brings it to the mirrors any more
        if self._primary:
            yield Route.PRIMARY, record

    def _decision(self, item: Item) -> _Decision | None:
        """The trace's decision; None for a metric without a trace and feedback on a trace not seen here."""
        if isinstance(item, FinishedSpan):
            identity = agent_identity(item.agent_name)
            trace, agent, tier = uuid_text(uuid_int(item.trace_id)), identity.name, identity.tier
        elif (shared := item.trace if isinstance(item, SpanContext) else item.open_trace) is not None:
            trace, agent, tier = shared.text, shared.root_agent, shared.root_tier
        else:
            return self._decisions.get(item.trace_id) if item.trace_id is not None else None
        known = self._decisions.get(trace)
        if known is None:
            known = _Decision(share(trace) < self._settings.rate(agent, tier))
            self._decisions[trace] = known
            self._forget_old()
        return known

    def _hold(self, decision: _Decision, record: Record) -> None:
        decision.held.append(record)
        self._held += len(record.body)
        if self._held > MAX_HELD_BYTES:
            self._let_go(next((kept for kept in self._decisions.values() if kept.held), decision))

    def _let_go(self, decision: _Decision) -> None:
        self._held -= sum(len(record.body) for record in decision.held)
        decision.held = []

    def _forget_old(self) -> None:
        while len(self._decisions) > MAX_TRACES:
            _, forgotten = self._decisions.popitem(last=False)
            self._let_go(forgotten)


def _is_error(item: Item) -> bool:
    return isinstance(item, SpanContext | FinishedSpan) and item.error_type is not None
