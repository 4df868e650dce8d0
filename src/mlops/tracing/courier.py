"""How do the records of the spool get to one sink, in batches and whatever its service does?"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from src.errors import ServiceOutage
from src.mlops.tracing.configuration import BatchingSettings
from src.mlops.tracing.dead_letters import DEAD_FOLDER, append_dead
from src.mlops.tracing.ledger import Ledger, Tally, concerns
from src.mlops.tracing.records import Record, RecordRefused, Sink
from src.mlops.tracing.spool import Segment, segments
from src.resilience.circuit_breaker import CircuitOpenError
from src.resilience.outages import PROGRAMMING_ERRORS, retry_after_seconds
from src.resilience.retry import RetryPolicy

_log = logging.getLogger(__name__)

TICK_S = 0.5
# While somebody waits for a flush, a service that fails is tried again after this pause, or what it asked for.
HURRIED_PAUSE_S = 0.25
# A service that asks for a longer pause is asked again all the same: it may be back long before.
LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class Stretch:
    """A part of a segment: from where to where it was read, and how many records for the sink it holds."""

    start: int
    end: int
    records: int = 0


@dataclass(slots=True)
class Batch:
    """Records read from the spool for one sink, and the parts of segments they come from."""

    records: list[Record] = field(default_factory=list)
    stretches: dict[str, Stretch] = field(default_factory=dict)


class Courier:
    """Carries records from the spool to one sink, in its own thread, for ever."""

    def __init__(
        self,
        sink: Sink,
        folder: Path,
        ledger: Ledger,
        batching: BatchingSettings,
        *,
        longest_wait_s: float,
        rest_s: float,
    ) -> None:
        self.sink = sink
        self._folder = folder
        self._ledger = ledger
        self._batching = batching
        # What makes a batch is one thing, how much of a backlog goes at once another.
        self._most = batching.max_batch_size * getattr(sink, "backlog_batches", 1)
        self._longest_wait_s = longest_wait_s
        self._rest_s = rest_s
        self._policy = RetryPolicy(first_delay_s=batching.retry_delay_seconds, max_delay_s=rest_s)
        self._news = threading.Event()
        self._stopping = False
        self._hurry_until = 0.0
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"e2i-deliver-{sink.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def notify(self) -> None:
        """There may be new records."""
        self._news.set()

    def hurry(self, seconds: float) -> None:
        """Do not wait for full batches during the next ``seconds``, and try at once."""
        self._hurry_until = time.monotonic() + seconds
        self._news.set()

    def stop(self) -> None:
        """End after the request under way."""
        self._stopping = True
        self._news.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._carry()
            except Exception as error:  # noqa: BLE001 - a folder that cannot be read now must not end the delivery
                self._report(error)
                self._news.wait(TICK_S)
        self.sink.close()

    def _carry(self) -> None:
        """Gather a batch and deliver it, again and again."""
        batch, waiting_since = Batch(), 0.0
        while not self._stopping:
            self._news.clear()
            self._extend(batch)
            if not batch.records:
                self._settle(batch, [])
                batch = Batch()
                self._news.wait(TICK_S)
                continue
            waiting_since = waiting_since or time.monotonic()
            if len(batch.records) < self._batching.max_batch_size and self._may_wait(waiting_since):
                self._news.wait(0.1)
                continue
            self._deliver(batch)
            batch, waiting_since = Batch(), 0.0

    def _may_wait(self, since: float) -> bool:
        now = time.monotonic()
        return now >= self._hurry_until and now - since < self._longest_wait_s

    def _extend(self, batch: Batch) -> None:
        """Read on where the batch ends, up to a full one."""
        for segment in segments(self._folder):
            if len(batch.records) >= self._most:
                return
            try:
                self._read(segment, batch)
            except FileNotFoundError:  # removed with every record delivered
                continue

    def _read(self, segment: Segment, batch: Batch) -> None:
        known = batch.stretches.get(segment.name)
        start = known.end if known is not None else self._ledger.offset(segment.name, self.sink.name)
        if segment.size() <= start:
            return
        sinks = segment.sinks()
        # A header that is damaged names nobody: everybody gets the records.
        if sinks is None or (sinks and self.sink.name not in sinks):
            return
        stretch = known or batch.stretches.setdefault(segment.name, Stretch(start, start))
        for line in segment.lines(start):
            stretch.end = line.end
            if line.record is not None and concerns(line, self.sink.primary):
                batch.records.append(line.record)
                stretch.records += 1
                if len(batch.records) >= self._most:
                    return

    def _deliver(self, batch: Batch) -> None:
        failures = 0
        while not self._stopping:
            try:
                dead = self._send(batch.records)
                self._bury(dead)
            except Exception as error:  # noqa: BLE001 - whatever a sink's service does, its records wait
                failures += 1
                self._report(error)
                self._pause(failures, error)
                continue
            self.last_error = None
            self._settle(batch, dead)
            return

    def _send(self, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Deliver, halving a batch that is refused until the culprit is found; returns what can never go."""
        try:
            self.sink.deliver(records)
        except (RecordRefused, *PROGRAMMING_ERRORS) as refusal:
            own = not isinstance(refusal, RecordRefused)
            if len(records) == 1:
                return [(records[0], f"{type(refusal).__name__}: {refusal}" if own else str(refusal))]
            middle = len(records) // 2
            dead = self._send(records[:middle]) + self._send(records[middle:])
            if own and len(dead) == len(records):
                raise ServiceOutage(f"{self.sink.name} fails for every record: {dead[0][1][:300]}") from refusal
            return dead
        return []

    def _pause(self, failures: int, error: BaseException) -> None:
        """Wait a little longer after each failure, and a while after ``max_retries`` in a row."""
        wait = pause_s(failures, error, self._policy, retries=self._batching.max_retries, rest_s=self._rest_s)
        if (asked := retry_after_seconds(error)) is None:
            asked = 0.0
        began = time.monotonic()
        while not self._stopping and (spent := time.monotonic() - began) < wait:
            hurried = time.monotonic() < self._hurry_until
            if hurried and spent >= max(HURRIED_PAUSE_S, min(asked, wait)):
                return
            time.sleep(min(wait - spent, 0.05))

    def _report(self, error: BaseException) -> None:
        if self.last_error is None:
            _log.warning("%s does not take records, they wait in the spool: %s", self.sink.name, type(error).__name__)
        if self.last_error is None or not isinstance(error, CircuitOpenError):  # that one only says to wait
            self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

    def _bury(self, dead: list[tuple[Record, str]]) -> None:
        if not dead:
            return
        entries = [
            {"kind": record.kind.value, "reason": reason[:1000], "record": orjson.Fragment(record.body)}
            for record, reason in dead
        ]
        with self._ledger.lock:
            append_dead(self._folder, self.sink.name, b"".join(orjson.dumps(entry) + b"\n" for entry in entries))
        _log.warning(
            "%s refused %d records for good; they are in %s", self.sink.name, len(dead), self._folder / DEAD_FOLDER
        )

    def _settle(self, batch: Batch, dead: Sequence[object]) -> None:
        """Count the batch. Which segment a dead record came from does not matter to the sums."""
        left = len(dead)
        for name, stretch in batch.stretches.items():
            here = min(left, stretch.records)
            left -= here
            tally = Tally(delivered=stretch.records - here, dead=here)
            self._ledger.advance(name, self.sink.name, stretch.start, stretch.end, tally)
        if batch.stretches:
            try:
                self._ledger.write()
            except OSError as error:  # known in memory; after a kill the batch is sent again, and counted once
                self._report(error)


def pause_s(failures: int, error: BaseException, policy: RetryPolicy, *, retries: int, rest_s: float) -> float:
    """Seconds to wait after the ``failures``-th failure in a row; at least ``rest_s`` after each ``retries`` repeats.

    A ``Retry-After`` is kept up to ``LONGEST_PAUSE_S``.
    """
    burst = retries + 1
    wait = min(policy.delay_s((failures - 1) % burst + 1, error), LONGEST_PAUSE_S)
    return max(wait, rest_s) if failures % burst == 0 else wait
