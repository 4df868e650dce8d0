"""Which process delivers from a spool, to which sinks, and what happens to segments that everybody has?"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path

from src.mlops.tracing.configuration import BatchingSettings
from src.mlops.tracing.courier import TICK_S, Courier
from src.mlops.tracing.ledger import Leadership, Ledger, Tally, concerns
from src.mlops.tracing.records import Sink
from src.mlops.tracing.spool import Segment, remove_drafts, segments

_log = logging.getLogger(__name__)

# A leader that lacks a sink for which records wait steps back for a moment, so that a better one may lead.
YIELD_EVERY_S = 10.0
YIELD_FOR_S = 1.5
# Above this share of the bound the mirrors give up what the primary already has.
GIVE_UP_SHARE = 0.8


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
                self._start_couriers()
        self._start()
        self._news.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stopping:
                return
            thread = threading.Thread(target=self._run, name="e2i-delivery", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads now: tried again when there is something to deliver
                _log.warning("nothing is delivered from %s yet: %s", self._folder, error)
            else:
                self._thread = thread

    def notify(self) -> None:
        """There may be new records."""
        if self._thread is None:
            self._start()
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
        """In a child process: what leads, its threads and its connections are the parent's; a new one is made."""
        self._leadership.release()

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
            self._start_couriers()
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

    def _start_couriers(self) -> None:
        """One for every sink that has none; a thread that is not to be had now is asked for at the next tick."""
        assert self.ledger is not None
        for sink in [sink for name, sink in self._sinks.items() if name not in self._couriers]:
            wait = self._batching.max_wait_seconds if sink.primary else self._mirror_wait_s
            courier = Courier(sink, self._folder, self.ledger, self._batching, longest_wait_s=wait, rest_s=self._rest_s)
            try:
                courier.start()
            except RuntimeError as error:
                _log.warning("nothing is delivered to %s yet: %s", sink.name, error)
            else:
                self._couriers[sink.name] = courier

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
