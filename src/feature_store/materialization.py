"""How are features carried from the offline into the online store, portion by portion, so that a kill loses nothing?

A run writes each entity once, with its latest row in the window, in order of time. After a portion the registry's
interval and the job's row say how far it came. One process at a time materialises a view.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import ContractViolation, E2IError, MaterializationFailed
from src.feature_store.carrying import RowsMissing, ViewCarrier, registered_names, registered_view
from src.feature_store.configuration import FeastConfig
from src.feature_store.portions import EARLIEST, Portion, SourceIndex, full_portions, new_portions
from src.feature_store.results import MaterializationResult, Mode, ViewMaterialization
from src.feature_store.rows_written import TicketClosed, WriteTicket
from src.resilience.retry import RetryPolicy, retry_async
from src.storage.feature_jobs import ERROR_LENGTH, TICK, FeatureJobs, JobLog, JobRecord, UnrecordedJobs

GRACE_S = 10.0  # for a write that is under way when its time is up
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


@dataclass(slots=True)
class _Run:
    """One view's run over [start, end]; ``position`` is where it goes on."""

    carrier: ViewCarrier
    jobs: JobLog
    mode: Mode
    start: datetime
    end: datetime
    position: datetime
    resumed: bool = False
    rows: int = 0
    source_seen: datetime | None = None


class Materializer:
    """Full and incremental materialisation. ``open_store`` gives the ``feast.FeatureStore``; it runs in a thread.

    ``prepare`` brings a view's source up to date before it is read.
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

        A run with this ``start`` that was interrupted goes on where it stopped, unless ``from_scratch``, the
        source was replaced since, or the run was to reach beyond ``end``. Raises ContractViolation (times
        without zone, in the future or in the wrong order; a window that ends before what is already there)
        and UnknownFeature before anything is written, MaterializationFailed and DatabaseUnavailable.
        """
        _check_window(start, end, self._clock())

        async def begin(carrier: ViewCarrier, jobs: JobLog) -> _Run:
            return await self._full(carrier, jobs, start, end, from_scratch=from_scratch)

        return await self._all("full", end, views, begin, on_progress)

    async def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
    ) -> MaterializationResult:
        """Carry over what happened or became known since the last materialisation, up to ``end`` (default: now).

        A view that was never materialised is carried over in full. What is told late *and* without a created
        time of its own is found by the next full run. Raises as ``materialize`` does.
        """
        until = self._clock() if end is None else end
        _check_window(EARLIEST, until, self._clock())

        async def begin(carrier: ViewCarrier, jobs: JobLog) -> _Run:
            return await self._incremental(carrier, jobs, until)

        return await self._all("incremental", until, views, begin, on_progress)

    async def _all(
        self,
        mode: Mode,
        end: datetime,
        views: Sequence[str] | None,
        begin: Callable[[ViewCarrier, JobLog], Awaitable[_Run]],
        on_progress: OnProgress,
    ) -> MaterializationResult:
        carriers = await asyncio.to_thread(self._carriers, views, end)
        done = [await self._one(carrier, begin, on_progress) for carrier in carriers]
        return MaterializationResult(tuple(done), mode, recorded=self._jobs.records)

    def _carriers(self, views: Sequence[str] | None, end: datetime) -> list[ViewCarrier]:
        """The views asked for, all of them checked before the first is touched."""
        store = self._open_store()
        names = registered_names(store) if views is None else list(dict.fromkeys(views))
        if not names:
            raise ContractViolation("no feature view was named; leave views out for all of them")
        carriers = [ViewCarrier(store, registered_view(store, name).name) for name in names]
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
            if self._prepare is not None:
                await self._prepare(carrier.name)
            run = await begin(carrier, jobs)
            begun_at = run.position
            if run.position <= run.end:
                await self._with_retries(run, on_progress)
        first = begun_at if run.resumed else run.start
        return ViewMaterialization(
            carrier.name, run.rows, min(first, run.end), run.end, time.monotonic() - started, run.resumed
        )

    async def _full(
        self, carrier: ViewCarrier, jobs: JobLog, start: datetime, end: datetime, *, from_scratch: bool
    ) -> _Run:
        await asyncio.to_thread(_refuse_older, carrier, end)
        stopped = await jobs.latest()
        position, changed = start, await asyncio.to_thread(carrier.source_changed_at)
        if stopped is not None and not from_scratch and _may_go_on(stopped, start, end):
            carried = await jobs.carried_since(start)
            if _reaches(carried, start, stopped.window_start) and changed and changed < carried[0].started_at:
                position = stopped.window_start
        return _Run(carrier, jobs, "full", start, end, position, position > start, source_seen=changed)

    async def _incremental(self, carrier: ViewCarrier, jobs: JobLog, end: datetime) -> _Run:
        last = await asyncio.to_thread(_refuse_older, carrier, end)
        if last is None:
            return await self._full(carrier, jobs, EARLIEST, end, from_scratch=False)
        start, stopped = last + TICK, await jobs.latest()
        if stopped is not None and stopped.status == "failed":
            if end < stopped.window_end:
                raise ContractViolation(
                    f"feature view '{carrier.name}': an interrupted materialisation was to reach "
                    f"{stopped.window_end.isoformat()}; give an end of at least that, or materialise in full"
                )
            if stopped.mode == "incremental":
                start = min(start, stopped.window_start)
        return _Run(carrier, jobs, "incremental", start, end, start)

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
        await asyncio.to_thread(_start_over_where_replaced, run)
        job = await run.jobs.begin(run.mode, run.position, run.end, self._clock())
        try:
            index, portions = await asyncio.to_thread(self._plan, run)
            total = run.rows + sum(portion.rows for portion in portions)
            for portion in portions:
                await self._carry(run, index, portion)
                job = await run.jobs.complete(job, portion.end, portion.rows, self._clock(), run_end=run.end)
                run.position, run.rows = portion.end + TICK, run.rows + portion.rows
                on_progress(Progress(run.carrier.name, run.rows, total))
        except BaseException as error:
            await run.jobs.fail(job, described(error), self._clock())
            raise
        await asyncio.to_thread(self._conclude, run)

    def _plan(self, run: _Run) -> tuple[SourceIndex, list[Portion]]:
        full, size = run.mode == "full", self._settings.chunk_rows
        index = run.carrier.index(run.position if full else EARLIEST, run.end)
        if run.carrier.source_changed_at() != run.source_seen:
            raise RowsMissing("the source was replaced while it was read")
        return index, (full_portions if full else new_portions)(index, run.position, run.end, size)

    async def _carry(self, run: _Run, index: SourceIndex, portion: Portion) -> None:
        ticket = WriteTicket(index.key_texts(portion.codes))
        await within(self._settings.timeout_seconds, lambda: run.carrier.carry(portion, ticket), ticket)
        if self._jobs.records:
            await asyncio.to_thread(run.carrier.note, portion.start, portion.end)

    def _conclude(self, run: _Run) -> None:
        if not self._jobs.records:
            run.carrier.note(run.start, run.end)
        run.carrier.join_intervals()


async def within(seconds: float, work: Callable[[], None], ticket: WriteTicket, *, grace_s: float = GRACE_S) -> None:
    """Run ``work`` in a thread; after ``seconds``, or when cancelled, its ticket is closed and it is waited for.

    Raises PortionTimedOut unless the work came to its end all the same.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
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
        task.result()
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


def _refuse_older(carrier: ViewCarrier, end: datetime) -> datetime | None:
    """The latest end so far. Raises ContractViolation when it is after ``end``."""
    last = carrier.last_end()
    if last is not None and end < last:
        raise ContractViolation(
            f"feature view '{carrier.name}' holds values up to {last.isoformat()}; "
            f"a window ending at {end.isoformat()} would replace newer values by older ones"
        )
    return last


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


def _start_over_where_replaced(run: _Run) -> None:
    # Rows that made others superfluous may be gone from the new file.
    seen = run.carrier.source_changed_at()
    if run.mode == "full" and seen != run.source_seen:
        run.position, run.rows, run.resumed = run.start, 0, False
    run.source_seen = seen


def _is_worth_repeating(error: BaseException) -> bool:
    """Errors of stores and their servers; those of our side, and of code and data, come again."""
    if isinstance(error, PortionTimedOut):
        return not error.is_running
    return not isinstance(error, (E2IError, *_IN_CODE_OR_DATA))
