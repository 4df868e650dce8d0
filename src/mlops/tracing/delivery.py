"""How does every record in the spool reach every sink, whatever fails in between?"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from src.errors import ServiceOutage
from src.mlops.tracing.configuration import BatchingSettings
from src.mlops.tracing.ledger import Leadership, Ledger, Tally, concerns
from src.mlops.tracing.records import Kind, Record, RecordRefused, Sink
from src.mlops.tracing.spool import Segment, remove_drafts, segments
from src.resilience.circuit_breaker import CircuitOpenError
from src.resilience.outages import PROGRAMMING_ERRORS, retry_after_seconds
from src.resilience.retry import RetryPolicy

_log = logging.getLogger(__name__)

DEAD_FOLDER = "dead"
TICK_S = 0.5
# While somebody waits for a flush, a service that fails is tried again after this pause, or what it asked for.
HURRIED_PAUSE_S = 0.25
YIELD_EVERY_S = 10.0
YIELD_FOR_S = 1.5
# A service that asks for a longer pause is asked again all the same: it may be back long before.
LONGEST_PAUSE_S = 300.0
# Above this share of the bound the mirrors give up what the primary already has.
GIVE_UP_SHARE = 0.8


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
            if len(batch.records) >= self._batching.max_batch_size:
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
                if len(batch.records) >= self._batching.max_batch_size:
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


class Delivery:
    """Leads the delivery from one spool while no other process does.

    A process leads only while all ``required`` sinks are attached: one that cannot reach the database
    does not keep another from delivering to it.
    """

    def __init__(
        self,
        folder: Path,
        required: Collection[str],
        batching: BatchingSettings,
        *,
        max_bytes: float,
        mirror_wait_s: float,
        rest_s: float,
    ) -> None:
        self._folder = folder
        self._required = frozenset(required)
        self._batching = batching
        self._max_bytes = max_bytes
        self._mirror_wait_s = mirror_wait_s
        self._rest_s = rest_s
        self._leadership = Leadership(folder)
        self._sinks: dict[str, Sink] = {}
        self._couriers: dict[str, Courier] = {}
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.ledger: Ledger | None = None

    @property
    def leads(self) -> bool:
        """Whether this process delivers."""
        return self._leadership.held

    @property
    def sinks(self) -> dict[str, Sink]:
        """Sinks attached in this process."""
        return dict(self._sinks)

    def attach(self, sink: Sink) -> None:
        """Deliver to ``sink`` from now on, what is in the spool for it included."""
        with self._lock:
            self._sinks[sink.name] = sink
            previous = self._couriers.pop(sink.name, None)
            if previous is not None:
                previous.stop()
            if self.leads:
                self._start_courier(sink)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="e2i-delivery", daemon=True)
                self._thread.start()
        self._news.set()

    def detach(self, name: str, timeout: float = 1.0) -> None:
        """Stop delivering to a sink; its records stay in the spool."""
        with self._lock:
            known = self._sinks.pop(name, None)
            courier = self._couriers.pop(name, None)
        if courier is not None:
            courier.stop()
            courier.join(timeout)
        if known is not None and name in self._required:
            self._resign(timeout)

    def notify(self) -> None:
        """There may be new records."""
        for courier in list(self._couriers.values()):
            courier.notify()

    def flush(self, timeout: float) -> bool:
        """Deliver what is in the spool now to all attached sinks; False when something is left."""
        deadline = time.monotonic() + timeout
        goal = {segment.name: size for segment in segments(self._folder) if (size := _size(segment)) is not None}
        self._news.set()
        while True:
            for courier in list(self._couriers.values()):
                courier.hurry(max(deadline - time.monotonic(), 0.0))
            if self._reached(goal):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)

    def errors(self) -> dict[str, str]:
        """What the sinks said last, for those that fail now."""
        return {name: courier.last_error for name, courier in self._couriers.items() if courier.last_error}

    def close(self, timeout: float) -> bool:
        """Deliver until the deadline, then stop; what is left stays in the spool."""
        deadline = time.monotonic() + timeout
        # Where another process leads, the records are safe in the spool and no business of this one any more.
        finished = self.flush(timeout) if self._sinks and self._leads_soon() else not self._sinks
        self._stopping = True
        self._news.set()
        self._resign(max(0.05, deadline - time.monotonic()))
        if self._thread is not None:
            self._thread.join(max(0.05, deadline - time.monotonic()))
        return finished

    def _resign(self, timeout: float) -> None:
        """Stop to lead. A request still under way is forgotten, and repeated by the next leader."""
        deadline = time.monotonic() + timeout
        with self._lock:
            couriers, self._couriers = list(self._couriers.values()), {}
        for courier in couriers:
            courier.stop()
        for courier in couriers:
            courier.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if self.ledger is not None:
                self._try_to_tidy(deadline)
                self.ledger.close()
                self.ledger = None
            self._leadership.release()

    def _leads_soon(self) -> bool:
        """Whether this process delivers, or would with the next look at the lock."""
        if not self.leads and self._required <= self._sinks.keys():
            with self._lock:
                self._step()
        return self.leads

    def abandon(self) -> None:
        """In a child process: threads, lock and connections belong to the parent."""
        self._lock = threading.RLock()
        self._leadership.release()
        self.ledger = None
        self._couriers = {}
        self._thread = None

    def _reached(self, goal: dict[str, int]) -> bool:
        ledger = self.ledger or Ledger.read(self._folder)
        return all(self._has_all(name, size, ledger) for name, size in goal.items())

    def _has_all(self, name: str, size: int, ledger: Ledger) -> bool:
        """Whether every attached sink has the first ``size`` bytes of a segment; a removed one was delivered."""
        segment = Segment(self._folder / name)
        try:
            wanted = [sink for sink in segment.sinks() or self._sinks if sink in self._sinks]
            end = _complete(segment, size) if wanted else 0
        except FileNotFoundError:
            return True
        return all(ledger.offset(name, sink) >= end for sink in wanted) or not segment.path.exists()

    def _run(self) -> None:
        yielded = time.monotonic()
        while not self._stopping:
            try:
                with self._lock:
                    self._step()
                if time.monotonic() - yielded > YIELD_EVERY_S and self._lacks_a_sink():
                    self._resign(TICK_S)
                    time.sleep(YIELD_FOR_S)
                    yielded = time.monotonic()
            except Exception as error:  # noqa: BLE001 - the thread that leads goes on; the next round tries again
                _log.warning("the delivery from %s stumbled: %s", self._folder, type(error).__name__)
            self._news.wait(TICK_S)
            self._news.clear()

    def _step(self) -> None:
        ready = not self._stopping and self._required <= self._sinks.keys()
        if ready and not self.leads and self._may_lead():
            self._lead()
        if self.leads and not self._stopping:
            self._try_to_tidy()

    def _lacks_a_sink(self) -> bool:
        """Whether records wait for a sink that another process may have: it gets a chance to lead."""
        if self.ledger is None:
            return False
        for segment in segments(self._folder):
            try:
                if any(name not in self._sinks for name in segment.sinks() or {}):
                    return True
            except FileNotFoundError:
                continue
        return False

    def _may_lead(self) -> bool:
        try:
            return self._leadership.acquire()
        except OSError as error:  # tried again at the next tick: the writer waits for the folder as well
            _log.debug("the spool %s cannot be led now: %s", self._folder, error.strerror)
            return False

    def _lead(self) -> None:
        try:
            self.ledger = Ledger.read(self._folder)
            self.ledger.finish_removals()
        except Exception:
            self.ledger = None
            self._leadership.release()
            raise
        remove_drafts(self._folder)
        for sink in self._sinks.values():
            self._start_courier(sink)

    def _start_courier(self, sink: Sink) -> None:
        assert self.ledger is not None
        wait = self._batching.max_wait_seconds if sink.primary else self._mirror_wait_s
        courier = Courier(sink, self._folder, self.ledger, self._batching, longest_wait_s=wait, rest_s=self._rest_s)
        self._couriers[sink.name] = courier
        courier.start()

    def _try_to_tidy(self, deadline: float | None = None) -> None:
        try:
            self._tidy(deadline)
        except OSError as error:  # tried again at the next tick; nothing was removed before it was counted
            _log.warning("the spool %s cannot be tidied now: %s", self._folder, error.strerror)

    def _tidy(self, deadline: float | None) -> None:
        """Remove segments that every sink has, as many as there is time for; keep the spool within its bound."""
        assert self.ledger is not None
        total = 0
        finished: list[tuple[Segment, dict[str, bool]]] = []
        for segment in segments(self._folder):
            if deadline is not None and time.monotonic() > deadline:
                break
            try:
                if (sinks := self._sinks_of_finished(segment)) is not None:
                    finished.append((segment, sinks))
                else:
                    total += segment.size()
            except FileNotFoundError:
                continue
        self.ledger.retire(finished)
        if total > self._max_bytes * GIVE_UP_SHARE:
            self._give_up(total)

    def _sinks_of_finished(self, segment: Segment) -> dict[str, bool] | None:
        """The sinks of a segment that every one of them has, and to which nothing is added; otherwise None."""
        assert self.ledger is not None
        if not segment.is_closed():
            return None
        sinks = segment.sinks()
        if not sinks:
            sinks = {name: sink.primary for name, sink in self._sinks.items()} if sinks is not None else {}
        end = _complete(segment, segment.size())
        for name, primary in sinks.items():
            offset = self.ledger.offset(segment.name, name)
            if offset < end and any(concerns(line, primary) for line in segment.lines(offset)):
                return None
        return sinks

    def _give_up(self, total: int) -> None:
        """Oldest first: mirrors let go of closed segments that the primary has already."""
        assert self.ledger is not None
        for segment in segments(self._folder):
            if total <= self._max_bytes * GIVE_UP_SHARE:
                return
            sinks = segment.sinks() or {}
            if not segment.is_closed() or not any(primary for primary in sinks.values()):
                continue
            end = _complete(segment, segment.size())
            places = {name: self.ledger.offset(segment.name, name) for name in sinks}
            if any(places[name] < end for name, primary in sinks.items() if primary):
                continue
            for name, primary in sinks.items():
                if not primary and places[name] < end:
                    left = sum(concerns(line, False) for line in segment.lines(places[name]))
                    self.ledger.advance(segment.name, name, places[name], end, Tally(dropped=left))
                    _log.warning("the spool is full: %s gives up %d records that the database has", name, left)
            total -= segment.size()


def pause_s(failures: int, error: BaseException, policy: RetryPolicy, *, retries: int, rest_s: float) -> float:
    """Seconds to wait after the ``failures``-th failure in a row; at least ``rest_s`` after each ``retries`` repeats.

    A ``Retry-After`` is kept up to ``LONGEST_PAUSE_S``.
    """
    burst = retries + 1
    wait = min(policy.delay_s((failures - 1) % burst + 1, error), LONGEST_PAUSE_S)
    return max(wait, rest_s) if failures % burst == 0 else wait


def _complete(segment: Segment, size: int) -> int:
    """Bytes of whole lines among the first ``size``: what follows the last newline was torn by a kill."""
    with segment.path.open("rb") as file:
        position = size
        while position > 0:
            start = max(0, position - 4096)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            position = start
    return 0


def _size(segment: Segment) -> int | None:
    try:
        return segment.size()
    except FileNotFoundError:
        return None


def append_dead(folder: Path, sink: str, lines: bytes) -> None:
    """Add lines to the dead letters of a sink; a line torn before does not spoil them. Raises OSError."""
    place = folder / DEAD_FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    file = os.open(place / f"{sink}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, (b"\n" if torn else b"") + lines)
    finally:
        os.close(file)


def dead_records(path: Path) -> tuple[list[Record], bytes]:
    """The records of a dead-letter file, each once, and the lines that cannot be read."""
    records: dict[bytes, Record] = {}
    unreadable: list[bytes] = []
    for line in filter(None, path.read_bytes().split(b"\n")):
        try:
            entry = orjson.loads(line)
            body = orjson.dumps(entry["record"])
            records[body] = Record(Kind(entry["kind"]), body)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            unreadable.append(line + b"\n")
    return list(records.values()), b"".join(unreadable)
