"""How are features carried from the offline into the online store, portion by portion, so that a kill loses nothing?

A run writes each entity once, with its latest row in the window, in order of time. After a portion the online
store, the registry's interval and the job's row say how far it came. One process at a time materialises a view.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from src.errors import ContractViolation, DatabaseUnavailable, E2IError, MaterializationFailed
from src.feature_store.carrying import RowsMissing, ViewCarrier, registered_names, registered_view
from src.feature_store.configuration import FeastConfig
from src.feature_store.portions import EARLIEST, Portion, Reading, SourceIndex, plan_portions
from src.feature_store.results import MaterializationResult, Mode, ViewMaterialization
from src.feature_store.rows_written import TicketClosed, WriteTicket
from src.resilience.retry import RetryPolicy, retry_async
from src.storage.feature_jobs import ERROR_LENGTH, TICK, FeatureJobs, JobLog, JobRecord, UnrecordedJobs

GRACE_S = 10.0  # for a write that is under way when its time is up
# A row that is committed late has a created time that an earlier run took for past.
LATE_COMMIT = timedelta(hours=1)
_IN_CODE_OR_DATA = (TypeError, ValueError, LookupError, AttributeError, ImportError, FileNotFoundError)


class PortionTimedOut(Exception):
    """A portion took longer than ``timeout_seconds``. ``is_running``: its thread has not ended and cannot be ended."""

    def __init__(self, seconds: float, *, is_running: bool) -> None:
        self.is_running = is_running
        rest = "; its write hangs, end this process before trying again" if is_running else ""
        super().__init__(f"a portion took longer than {seconds:g} s (materialization.timeout_seconds){rest}")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a view has come: ``rows`` of ``total`` are in the online store."""

    feature_view: str
    rows: int
    total: int


OnProgress = Callable[[Progress], None]
T = TypeVar("T")


@dataclass(slots=True)
class _Run:
    """One view's run over [start, end]; it began at ``begun_at`` and goes on at ``position``.

    What became known at ``late_since`` or later is carried over too, although it happened before ``position``.
    ``source_sha256`` is the state of the source that the run has read so far.
    """

    carrier: ViewCarrier
    jobs: JobLog
    mode: Mode
    start: datetime
    end: datetime
    position: datetime
    begun_at: datetime
    late_since: datetime | None = None
    source_sha256: str | None = None
    to_clear: bool = False
    rows: int = 0

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on where an interrupted run stopped."""
        return self.begun_at > self.start

    def begin_at(self, position: datetime) -> None:
        """Nothing before ``position`` is to be carried over, everything after it is."""
        self.position = self.begun_at = position
        self.late_since, self.rows = None, 0


class Materializer:
    """Full and incremental materialisation. ``open_store`` gives the ``feast.FeatureStore``; it runs in a thread.

    ``prepare`` brings a view's source up to date; every attempt begins with it.
    ``jobs`` None: nothing is recorded or resumed, and the registry moves only when a view is done. A portion
    that exceeds ``timeout_seconds`` may write nothing more; its thread cannot be killed, so it is waited for
    ``GRACE_S`` and, where it hangs all the same, the run fails without another attempt.
    """

    def __init__(
        self,
        open_store: Callable[[], Any],
        config: FeastConfig,
        *,
        jobs: FeatureJobs | None,
        clock: Callable[[], datetime],
        prepare: Callable[[str], Awaitable[object]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open_store = open_store
        self._settings = config.materialization
        self._jobs = jobs or UnrecordedJobs(config.offline_store.folder)
        self._clock = clock
        self._prepare = prepare
        self._sleep = sleep

    async def materialize(
        self,
        start: datetime,
        end: datetime,
        views: Sequence[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
        from_scratch: bool = False,
    ) -> MaterializationResult:
        """Carry over the latest row of every entity with an event in [start, end].

        A run with this ``start`` that was interrupted goes on where it stopped, unless the source or the online
        store was replaced since, the view was changed, or the run was to reach beyond ``end``. ``from_scratch``
        first removes every online value of the views, also of entities that the source no longer has; readers
        find none until the run has come to them. Raises ContractViolation (times without zone, in the future or
        in the wrong order; a window that ends before what is already there) and UnknownFeature before anything
        is written, DataUnavailable (no source), MaterializationFailed and DatabaseUnavailable.
        """
        _check_window(start, end, self._clock())

        async def begin(carrier: ViewCarrier, jobs: JobLog) -> _Run:
            return await self._full(carrier, jobs, start, end, from_scratch=from_scratch)

        return await self._all("full", None if from_scratch else end, views, begin, on_progress)

    async def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
    ) -> MaterializationResult:
        """Carry over what happened or became known since the last materialisation, up to ``end`` (default: now).

        A view that was never materialised since the first event, or whose online values were lost, is carried
        over in full. What was committed more than ``LATE_COMMIT`` after its created time is found by the next
        full run. Raises as ``materialize`` does.
        """
        until = self._clock() if end is None else end
        _check_window(EARLIEST, until, self._clock())

        async def begin(carrier: ViewCarrier, jobs: JobLog) -> _Run:
            return await self._incremental(carrier, jobs, until)

        return await self._all("incremental", until, views, begin, on_progress)

    async def _all(
        self,
        mode: Mode,
        checked_end: datetime | None,
        views: Sequence[str] | None,
        begin: Callable[[ViewCarrier, JobLog], Awaitable[_Run]],
        on_progress: OnProgress,
    ) -> MaterializationResult:
        carriers = await asyncio.to_thread(self._carriers, views, checked_end)
        done = [await self._one(carrier, begin, on_progress) for carrier in carriers]
        return MaterializationResult(tuple(done), mode, recorded=self._jobs.records)

    def _carriers(self, views: Sequence[str] | None, end: datetime | None) -> list[ViewCarrier]:
        """The views asked for, all of them checked (against ``end``, unless None) before the first is touched."""
        store = self._open_store()
        names = registered_names(store) if views is None else list(dict.fromkeys(views))
        if not names:
            raise ContractViolation("no feature view was named; leave views out for all of them")
        carriers = [ViewCarrier(store, registered_view(store, name).name) for name in names]
        if end is not None:
            for carrier in carriers:
                _refuse_older(carrier, end)
        return carriers

    async def _one(
        self,
        carrier: ViewCarrier,
        begin: Callable[[ViewCarrier, JobLog], Awaitable[_Run]],
        on_progress: OnProgress,
    ) -> ViewMaterialization:
        started = time.monotonic()
        async with self._jobs.claim(carrier.name) as jobs:
            await jobs.interrupt(self._clock())
            run = await begin(carrier, jobs)
            if run.position <= run.end:
                await self._with_retries(run, on_progress)
        return ViewMaterialization(
            carrier.name, run.rows, min(run.begun_at, run.end), run.end, time.monotonic() - started, run.is_resumed
        )

    async def _full(
        self, carrier: ViewCarrier, jobs: JobLog, start: datetime, end: datetime, *, from_scratch: bool
    ) -> _Run:
        run = _Run(carrier, jobs, "full", start, end, start, start, to_clear=from_scratch)
        if from_scratch:
            return run
        await asyncio.to_thread(_refuse_older, carrier, end)
        stopped = await jobs.latest()
        if stopped is not None and _may_go_on(stopped, start, end):
            carried = await jobs.carried_since(start)
            sources = {job.source_sha256 for job in carried}
            if (
                _reaches(carried, start, stopped.window_start)
                and len(sources) == 1
                and await asyncio.to_thread(carrier.covers, start, stopped.window_start - TICK)
            ):
                run.begin_at(stopped.window_start)
                run.source_sha256 = sources.pop()
                # The interrupted run left out what became known after its own end.
                run.late_since = stopped.window_end - LATE_COMMIT
        return run

    async def _incremental(self, carrier: ViewCarrier, jobs: JobLog, end: datetime) -> _Run:
        await asyncio.to_thread(_refuse_older, carrier, end)
        complete = await asyncio.to_thread(carrier.complete_until)
        if complete is None:
            return await self._full(carrier, jobs, EARLIEST, end, from_scratch=False)
        start, stopped = complete + TICK, await jobs.latest()
        if stopped is not None and stopped.status == "failed":
            if end < stopped.window_end:
                raise ContractViolation(
                    f"feature view '{carrier.name}': an interrupted materialisation was to reach "
                    f"{stopped.window_end.isoformat()}; give an end of at least that, or materialise in full"
                )
            if stopped.mode == "incremental":
                start = min(start, stopped.window_start)
        return _Run(carrier, jobs, "incremental", start, end, start, start, start - LATE_COMMIT)

    async def _with_retries(self, run: _Run, on_progress: OnProgress) -> None:
        attempts, delay = self._settings.max_retries + 1, self._settings.retry_delay_seconds
        policy = RetryPolicy(attempts=attempts, first_delay_s=delay, max_delay_s=delay)
        try:
            await retry_async(
                lambda: self._attempt(run, on_progress), policy, retry_on=_is_worth_repeating, sleep=self._sleep
            )
        except E2IError:
            raise
        except Exception as error:
            raise MaterializationFailed(
                f"feature view '{run.carrier.name}' was not materialised beyond {run.position.isoformat()}: "
                f"{described(error)}; the same call goes on from there where that is safe"
            ) from error

    async def _attempt(self, run: _Run, on_progress: OnProgress) -> None:
        """Plan from where the run stands, and carry over portion by portion."""
        job = await run.jobs.begin(run.mode, run.position, run.end, self._clock(), run_start=run.start)
        try:
            if self._prepare is not None:
                await self._prepare(run.carrier.name)
            index, portions = await asyncio.to_thread(self._plan, run)
            await run.jobs.settle(job, run.position, run.source_sha256)
            await asyncio.to_thread(_make_ready, run)
            total = run.rows + sum(portion.rows for portion in portions)
            there = run.rows
            for portion in portions:
                rows = await self._carry(run, index, portion)
                job = await run.jobs.complete(job, portion.end, rows, self._clock())
                run.position, run.rows, there = portion.end + TICK, run.rows + rows, there + portion.rows
                on_progress(Progress(run.carrier.name, there, total))
        except BaseException as error:
            await self._record_failure(run, job, error)
            raise
        await asyncio.to_thread(self._conclude, run)

    async def _record_failure(self, run: _Run, job: str | None, error: BaseException) -> None:
        try:
            # A second cancellation must not leave the job running for ever.
            await asyncio.shield(run.jobs.fail(job, described(error), self._clock()))
        except DatabaseUnavailable as lost:
            if isinstance(error, Exception):
                raise lost from error
            error.add_note(f"the job could not be recorded as failed: {lost}")

    def _plan(self, run: _Run) -> tuple[SourceIndex, list[Portion]]:
        carrier, before = run.carrier, run.carrier.source_changed_at()
        sha256 = carrier.source_sha256()
        if run.mode == "full" and run.position > run.start and sha256 != run.source_sha256:
            run.begin_at(run.start)  # rows that made others superfluous may be gone from the new source
        run.source_sha256 = sha256
        index = carrier.index(run.start if run.mode == "full" else EARLIEST, run.end)
        if carrier.source_changed_at() != before:
            raise RowsMissing("the source was replaced while it was read")
        size = self._settings.chunk_rows
        return index, plan_portions(index, run.position, run.end, size, late_since=run.late_since)

    async def _carry(self, run: _Run, index: SourceIndex, portion: Portion) -> int:
        """Carry a portion over; returns how many rows there were to write."""
        rows = 0
        for reading in portion.readings:
            rows += await within(self._settings.timeout_seconds, partial(_carry_rows, run, index, reading))
        if self._jobs.records:
            await asyncio.to_thread(run.carrier.note, portion.start, portion.end)
        return rows

    def _conclude(self, run: _Run) -> None:
        if not self._jobs.records:
            run.carrier.note(run.start, run.end)
        run.carrier.join_intervals()


def _carry_rows(run: _Run, index: SourceIndex, reading: Reading, ticket: WriteTicket) -> int:
    return run.carrier.carry(index.key_names(reading.codes), reading, run.end, ticket)


def _make_ready(run: _Run) -> None:
    if run.to_clear:
        run.carrier.clear()
        run.to_clear = False
    run.carrier.prepare_store()


async def within(seconds: float, work: Callable[[WriteTicket], T], *, grace_s: float = GRACE_S) -> T:
    """Run ``work`` in a thread; after ``seconds``, or when cancelled, its ticket is closed and it is waited for.

    Raises PortionTimedOut unless the work came to its end all the same.
    """
    ticket = WriteTicket()
    task = asyncio.ensure_future(asyncio.to_thread(work, ticket))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to ask for it
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            ticket.close()
            await asyncio.wait({task}, timeout=grace_s)
    if not task.done():
        raise PortionTimedOut(seconds, is_running=True)
    try:
        return task.result()
    except TicketClosed as error:
        raise PortionTimedOut(seconds, is_running=False) from error


def described(error: BaseException) -> str:
    """An error in one bounded line: its type and message, without what stands in quotes (values, addresses)."""
    lines = str(error).strip().splitlines()
    message = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", lines[0]) if lines else ""
    return f"{type(error).__name__}: {message}"[:ERROR_LENGTH] if message else type(error).__name__


def _check_window(start: datetime, end: datetime, now: datetime) -> None:
    for name, time_given in (("start", start), ("end", end)):
        if time_given.utcoffset() is None:
            raise ContractViolation(
                f"{name} {time_given.isoformat()} has no time zone; give one, such as {time_given.isoformat()}+00:00"
            )
    if start > end:
        raise ContractViolation(f"start {start.isoformat()} is after end {end.isoformat()}")
    if end > now:
        raise ContractViolation(
            f"end {end.isoformat()} is in the future (it is {now.isoformat()}); what has not happened cannot be carried"
        )


def _refuse_older(carrier: ViewCarrier, end: datetime) -> None:
    """Raise ContractViolation where the online store has values of after ``end``."""
    last = carrier.last_end()
    if last is not None and end < last:
        raise ContractViolation(
            f"feature view '{carrier.name}' holds values up to {last.isoformat()}; "
            f"a window ending at {end.isoformat()} would replace newer values by older ones"
        )


def _may_go_on(stopped: JobRecord, start: datetime, end: datetime) -> bool:
    # An entity whose row lay between ``end`` and the end of the earlier run was left for later in that run.
    return (
        (stopped.mode, stopped.status) == ("full", "failed")
        and start < stopped.window_start
        and stopped.window_end <= end
    )


def _reaches(carried: Sequence[JobRecord], start: datetime, until: datetime) -> bool:
    """Whether the jobs cover [start, until) without a gap."""
    for job in carried:
        if job.window_start != start:
            return False
        start = job.window_end + TICK
    return bool(carried) and start == until


def _is_worth_repeating(error: BaseException) -> bool:
    """Errors of stores and their servers; those of our side, and of code and data, come again."""
    import psycopg

    if isinstance(error, PortionTimedOut):
        return not error.is_running
    if isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.OperationalError)
    return not isinstance(error, (E2IError, *_IN_CODE_OR_DATA))
