"""Which portions were carried into the online store, who may do it now, and who was told of stale features?"""

from __future__ import annotations

import dataclasses
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

import psycopg

from src.errors import MaterializationFailed
from src.storage.database import Database, Row, Session

Mode = Literal["full", "incremental"]

TICK = timedelta(microseconds=1)  # windows include both ends, so the next one begins a tick later
LOCK_PATIENCE = "3s"
ERROR_LENGTH = 300
_STATUSES = ("FRESH", "WARNING", "STALE", "EXPIRED", "UNKNOWN")  # from good to bad


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One row of ml_feast_materialization_jobs.

    A running or failed job names what was still to be done, up to the end of its run; a completed one what was done.
    """

    job_id: str
    feature_view: str
    mode: Mode
    window_start: datetime
    window_end: datetime
    rows: int | None
    status: Literal["running", "completed", "failed"]
    error_message: str | None
    started_at: datetime
    ended_at: datetime | None


COLUMNS = ", ".join(field.name for field in dataclasses.fields(JobRecord))


class JobLog(Protocol):
    """The jobs of one view, while nobody else may materialise it."""

    async def interrupt(self, at: datetime) -> int:
        """Mark jobs left running by a process that ended as failed; returns how many."""
        ...

    async def latest(self) -> JobRecord | None:
        """The job begun last."""
        ...

    async def carried_since(self, start: datetime) -> list[JobRecord]:
        """Completed full jobs of the latest run that began at ``start``, by window."""
        ...

    async def begin(self, mode: Mode, start: datetime, end: datetime, at: datetime) -> str | None:
        """Record a running job for [start, end]; returns its id."""
        ...

    async def complete(
        self, job_id: str | None, end: datetime, rows: int, at: datetime, *, run_end: datetime
    ) -> str | None:
        """Narrow the job to what was done, and in the same transaction begin one for the rest of the run, if any."""
        ...

    async def fail(self, job_id: str | None, message: str, at: datetime) -> None:
        """Record that a job failed."""
        ...


class FeatureJobs:
    """ml_feast_materialization_jobs."""

    records = True

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def claim(self, view: str) -> AsyncIterator[JobLog]:
        """Be the only process that materialises ``view``. Raises MaterializationFailed when another one does.

        The jobs are written on the connection that holds the lock: who lost the lock cannot write any more.
        """
        async with self._database.session() as session:
            await _lock(session, view)
            try:
                yield _LockedJobs(session, view)
            finally:
                if not session.connection.closed:
                    await session.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [_lock_name(view)])

    async def last_completed_end(self, view: str) -> datetime | None:
        """The latest end of what was carried over for ``view``."""
        row = await self._database.fetchrow(
            "SELECT max(window_end) AS latest FROM ml_feast_materialization_jobs "
            "WHERE feature_view = %s AND status = 'completed'",
            [view],
        )
        return row["latest"] if row else None

    async def recent(self, view: str, limit: int = 100) -> list[JobRecord]:
        """The latest jobs of ``view``, newest first."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM ml_feast_materialization_jobs WHERE feature_view = %s "
            "ORDER BY started_at DESC LIMIT %s",
            [view, limit],
        )
        return [_record(row) for row in rows]

    async def finished_runs(self) -> dict[tuple[str, Mode], datetime]:
        """When the latest run of each view and mode that came to its end did so.

        The last job of such a run is completed and no job goes on where it stopped.
        """
        rows = await self._database.fetch(
            "SELECT feature_view, mode, max(ended_at) AS ended_at FROM ("
            " SELECT feature_view, mode, status, window_end, ended_at, lead(window_start) OVER ("
            "  PARTITION BY feature_view, mode ORDER BY started_at) AS continued_at"
            " FROM ml_feast_materialization_jobs) AS job "
            "WHERE status = 'completed' AND (mode = 'incremental' OR continued_at IS NULL "
            " OR continued_at <> window_end + interval '1 microsecond') GROUP BY feature_view, mode"
        )
        return {(row["feature_view"], row["mode"]): row["ended_at"] for row in rows}


class _LockedJobs:
    def __init__(self, session: Session, view: str) -> None:
        self._session = session
        self._view = view

    async def interrupt(self, at: datetime) -> int:
        return await self._session.execute(
            "UPDATE ml_feast_materialization_jobs SET status = 'failed', error_message = 'interrupted', "
            "ended_at = greatest(%s, started_at) WHERE feature_view = %s AND status = 'running'",
            [at, self._view],
        )

    async def latest(self) -> JobRecord | None:
        row = await self._session.fetchrow(
            f"SELECT {COLUMNS} FROM ml_feast_materialization_jobs WHERE feature_view = %s "
            "ORDER BY started_at DESC LIMIT 1",
            [self._view],
        )
        return _record(row) if row else None

    async def carried_since(self, start: datetime) -> list[JobRecord]:
        rows = await self._session.fetch(
            f"SELECT {COLUMNS} FROM ml_feast_materialization_jobs WHERE feature_view = %(view)s AND mode = 'full' "
            "AND status = 'completed' AND started_at >= (SELECT max(started_at) FROM ml_feast_materialization_jobs "
            " WHERE feature_view = %(view)s AND mode = 'full' AND window_start = %(start)s) ORDER BY window_start",
            {"view": self._view, "start": start},
        )
        return [_record(row) for row in rows]

    async def begin(self, mode: Mode, start: datetime, end: datetime, at: datetime) -> str | None:
        # Jobs of a view are in the order of their times, also when the clock stands still or is set back.
        row = await self._session.fetchrow(
            "INSERT INTO ml_feast_materialization_jobs "
            "(feature_view, mode, window_start, window_end, status, started_at) "
            "SELECT %(view)s, %(mode)s, %(start)s, %(end)s, 'running', greatest(%(at)s, "
            " max(started_at) + interval '1 microsecond') "
            "FROM ml_feast_materialization_jobs WHERE feature_view = %(view)s RETURNING job_id",
            {"view": self._view, "mode": mode, "start": start, "end": end, "at": at},
        )
        assert row is not None
        return str(row["job_id"])

    async def complete(
        self, job_id: str | None, end: datetime, rows: int, at: datetime, *, run_end: datetime
    ) -> str | None:
        async with self._session.connection.transaction():
            done = await self._session.fetchrow(
                "UPDATE ml_feast_materialization_jobs SET status = 'completed', window_end = %s, rows = %s, "
                "ended_at = greatest(%s, started_at) WHERE job_id = %s RETURNING mode",
                [end, rows, at, job_id],
            )
            assert done is not None
            return await self.begin(done["mode"], end + TICK, run_end, at) if end < run_end else None

    async def fail(self, job_id: str | None, message: str, at: datetime) -> None:
        await self._session.execute(
            "UPDATE ml_feast_materialization_jobs SET status = 'failed', error_message = %s, "
            "ended_at = greatest(%s, started_at) WHERE job_id = %s",
            [message[:ERROR_LENGTH], at, job_id],
        )


class UnrecordedJobs:
    """No database: one process at a time all the same, but nothing to go on from and nothing recorded."""

    records = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def claim(self, view: str) -> AsyncIterator[JobLog]:
        """Be the only process on this machine that materialises ``view``. Raises MaterializationFailed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f".{view}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _busy(view) from error
            yield _NoJobs()


class _NoJobs:
    async def interrupt(self, at: datetime) -> int:
        return 0

    async def latest(self) -> JobRecord | None:
        return None

    async def carried_since(self, start: datetime) -> list[JobRecord]:
        return []

    async def begin(self, mode: Mode, start: datetime, end: datetime, at: datetime) -> str | None:
        return None

    async def complete(
        self, job_id: str | None, end: datetime, rows: int, at: datetime, *, run_end: datetime
    ) -> str | None:
        return None

    async def fail(self, job_id: str | None, message: str, at: datetime) -> None:
        return None


class SentAlerts:
    """ml_feast_freshness_alerts: who was warned of which view, in whichever process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def send_once(
        self,
        view: str,
        status: str,
        age_hours: float | None,
        *,
        at: datetime,
        within: timedelta,
        send: Callable[[], Awaitable[bool]],
    ) -> bool:
        """Call ``send`` unless the view was warned of ``within`` this time with the same or a worse status.

        Remembered only when ``send`` said that it was sent. Returns whether it was.
        """
        milder = _STATUSES[: _STATUSES.index(status)]
        async with self._database.transaction() as session:
            await session.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"e2i freshness alert {view}"]
            )
            earlier = await session.fetchrow(
                "SELECT 1 FROM ml_feast_freshness_alerts WHERE feature_view = %s AND sent_at > %s "
                "AND status <> ALL (%s) LIMIT 1",
                [view, at - within, list(milder)],
            )
            if earlier is not None or not await send():
                return False
            await session.execute(
                "INSERT INTO ml_feast_freshness_alerts (feature_view, status, age_hours, sent_at) "
                "VALUES (%s, %s, %s, %s)",
                [view, status, age_hours, at],
            )
        return True


async def _lock(session: Session, view: str) -> None:
    # A killed process's connection may take a moment to be noticed.
    try:
        async with session.connection.transaction():
            await session.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'")
            await session.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [_lock_name(view)])
    except psycopg.errors.LockNotAvailable as error:
        raise _busy(view) from error


def _lock_name(view: str) -> str:
    return f"e2i materialisation {view}"


def _busy(view: str) -> MaterializationFailed:
    return MaterializationFailed(f"feature view '{view}' is being materialised by another process; wait for it to end")


def _record(row: Row) -> JobRecord:
    return JobRecord(**row)
