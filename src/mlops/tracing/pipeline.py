"""How do recorder, spool and delivery work together in one process, across forks and until its end?"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

from src.mlops.tracing.census import SinkCounts, count, document
from src.mlops.tracing.configuration import ObservabilityConfig
from src.mlops.tracing.dead_letters import DEAD_FOLDER, append_dead, dead_records
from src.mlops.tracing.delivery import Delivery
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.ledger import Ledger
from src.mlops.tracing.recorder import RecordingLimits, SpanRecorder
from src.mlops.tracing.records import Route, Sink
from src.mlops.tracing.sampling import TraceRouter
from src.mlops.tracing.spans import Clock, monotonic_clock, wall_clock
from src.mlops.tracing.spool import SegmentWriter, framed
from src.mlops.tracing.writer import SpoolWriter


class Pipeline:
    """One spool, its writer and its delivery. ``sinks`` are the names expected to take records (True: primary).

    Nothing starts before the first record or sink. After a fork the child has a pipeline of its own on the
    same spool, without sinks: the parent goes on delivering, the child's records included.
    """

    def __init__(
        self,
        config: ObservabilityConfig,
        folder: Path,
        sinks: Mapping[str, bool],
        *,
        wall_ns: Clock = wall_clock,
        monotonic_ns: Clock = monotonic_clock,
    ) -> None:
        self._config = config
        self.folder = folder
        self.expected = dict(sinks)
        self._has_primary = any(sinks.values())
        sampling = config.sampling
        unheld = not self._has_primary and not sampling.always_sample_errors
        spans = config.spans
        self.recorder = SpanRecorder(
            limits=RecordingLimits(
                int(spans.max_input_kb * 1024), int(spans.max_output_kb * 1024), int(spans.max_attributes_kb * 1024)
            ),
            enabled=bool(sinks),
            head_rate=sampling.rate if unheld else None,
            wall_ns=wall_ns,
            monotonic_ns=monotonic_ns,
        )
        self._build()
        _living.add(self)
        # A child of multiprocessing ends without atexit; what it recorded is still written.
        util.register_after_fork(self, _write_at_child_end)

    def _build(self) -> None:
        config = self._config
        mirrors = any(not primary for primary in self.expected.values())
        self.delivery = Delivery(
            self.folder,
            self.expected,
            config.batching,
            max_bytes=config.fallback.max_mb * 1e6,
            mirror_wait_s=config.opik.flush_interval_seconds,
            rest_s=config.circuit_breaker.reset_timeout_seconds,
        )
        self.writer = SpoolWriter(
            self.recorder,
            Encoder(config.spans, config.prices),
            TraceRouter(config.sampling, primary=self._has_primary, mirrors=mirrors),
            self.folder,
            self.expected,
            config.fallback,
            on_commit=self.delivery.notify,
        )

    def attach(self, sinks: Sequence[Sink]) -> None:
        """Deliver to these sinks, what the spool holds already included."""
        for sink in sinks:
            self.delivery.attach(sink)

    @property
    def attached(self) -> frozenset[str]:
        """Names of the sinks delivered to."""
        return frozenset(self.delivery.sinks)

    def accepted(self, timeout: float) -> bool:
        """Wait until everything that ended so far is in the spool."""
        return self.writer.barrier(timeout) if self.recorder.enabled else True

    def flush(self, timeout: float) -> bool:
        """Wait until everything that ended so far is in the spool and in every attached sink."""
        deadline = time.monotonic() + timeout
        spooled = self.accepted(timeout)
        if not self.delivery.sinks:
            return spooled
        return self.delivery.flush(max(deadline - time.monotonic(), 0.0)) and spooled

    def close(self, timeout: float) -> bool:
        """Write and deliver until the deadline; what is left stays in the spool for the next process."""
        deadline = time.monotonic() + timeout
        written = self.writer.close(timeout)
        delivered = self.delivery.close(max(deadline - time.monotonic(), 0.05))
        return written and delivered

    def status(self) -> dict[str, Any]:
        """Counts by sink and of the spool, from this process and from the files, as JSON."""
        counts, lost = count(self.folder, self.delivery.ledger)
        errors = self.delivery.errors()
        attached = self.delivery.sinks
        sinks = document(dict.fromkeys(sorted(self.expected), SinkCounts()) | counts)
        for name, numbers in sinks.items():
            numbers |= {"attached": name in attached, "last_error": errors.get(name)}
        return {
            "sinks": sinks,
            "queue_depth": len(self.recorder.queue),
            "refused": lost["refused"] + max(self.writer.total_refused - self.writer.noted_refusals, 0),
            "damaged": lost["damaged"],
            "leader": self.delivery.leads,
            "spool": str(self.folder),
            "spool_error": self.writer.last_error,
        }

    def replay_dead(self) -> dict[str, int]:
        """Put what the attached sinks refused into the spool again; returns how many by sink."""
        return {name: replayed for name in self.expected if (replayed := self._replay(name))}

    def _replay(self, name: str) -> int:
        ledger = self.delivery.ledger
        if ledger is None:
            return 0
        path = self.folder / DEAD_FOLDER / f"{name}.jsonl"
        taken = path.with_suffix(".replayed")
        replayed = self._requeue(name, taken, ledger) if taken.exists() else 0  # an earlier replay was killed
        with ledger.lock:
            if not path.exists():
                return replayed
            path.rename(taken)
        return replayed + self._requeue(name, taken, ledger)

    def _requeue(self, name: str, taken: Path, ledger: Ledger) -> int:
        records, unreadable = dead_records(taken)
        if records:
            segment = SegmentWriter(self.folder, {name: self.expected[name]}, fsync=self._config.fallback.fsync)
            route = Route.PRIMARY if self.expected[name] else Route.MIRRORS
            for record in records:
                segment.append(framed(record.kind.value + route.value, record.body))
            segment.sync()
            segment.close()
            ledger.requeued(name, len(records))
        if unreadable:
            append_dead(self.folder, f"{name}.unreadable", unreadable)
        taken.unlink()
        self.delivery.notify()
        return len(records)

    def after_fork(self) -> None:
        """In a child process: leave everything of the parent's alone and begin anew."""
        self.delivery.abandon()
        self.writer.abandon()
        self._build()


def _write_at_child_end(pipeline: Pipeline) -> None:
    util.Finalize(None, lambda: pipeline.writer.close(1.0), exitpriority=-100)


_living: weakref.WeakSet[Pipeline] = weakref.WeakSet()


def _after_fork() -> None:
    for pipeline in list(_living):
        pipeline.after_fork()


os.register_at_fork(after_in_child=_after_fork)
