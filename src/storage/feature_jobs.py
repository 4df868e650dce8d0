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
from src.storage.database import Database, Parameters, Query, Row, Session, lost_connections

Mode = Literal["full", "incremental"]

TICK = timedelta(microseconds=1)  # windows include both ends, so the next one begins a tick later
LOCK_PATIENCE = "3s"
ERROR_LENGTH = 300
_STATUSES = ("FRESH", "WARNING", "STALE", "EXPIRED", "UNKNOWN")  # from good to bad


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One row of ml_feast_materialization_jobs.

    A running or failed job names what was still to be done, up to the end of its run; a completed one what was done.
    ``run_start`` and ``run_end`` are those of the whole run, ``source_sha256`` is the state of the source it read
    (None: it did not come to that).
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
    run_start: datetime | None
    run_end: datetime | None
    source_sha256: str | None


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

    async def begin(
        self, mode: Mode, start: datetime, end: datetime, at: datetime, *, run_start: datetime
    ) -> str | None:
        """Record a running job for [start, end] of the run from ``run_start`` to ``end``; returns its id."""
        ...

    async def settle(self, job_id: str | None, start: datetime, source_sha256: str | None) -> None:
        """Say where the job really begins, and which state of the source it reads."""
        ...

    async def complete(self, job_id: str | None, end: datetime, rows: int, at: datetime) -> str | None:
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
        async with self._database.session() as given:
            session = _ClaimedSession(given.connection)
            try:
                await _lock(session, view)
                yield _LockedJobs(self._database, session, view)
                await session.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [_lock_name(view)])
            except BaseException:
                # Whatever was under way, also the locking itself: a lock ends with its connection.
                await session.connection.close()
                raise

    async def last_completed_end(self, view: str) -> datetime | None:
        """The latest end of what was carried over for ``view`` as it is defined now."""
        row = await self._database.fetchrow(
            "SELECT max(window_end) AS latest FROM ml_feast_materialization_jobs "
            "WHERE feature_view = %(view)s AND status = 'completed' AND started_at >= coalesce("
            " (SELECT updated_at FROM ml_feast_feature_views WHERE name = %(view)s), '-infinity')",
            {"view": view},
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

        A full run over part of the time is not the full run: it has to begin in 1970, before any event.
        """
        rows = await self._database.fetch(
            "SELECT feature_view, mode, max(ended_at) AS ended_at FROM ml_feast_materialization_jobs "
            "WHERE status = 'completed' AND window_end = run_end AND (mode = 'incremental' OR run_start <= 'epoch') "
            "GROUP BY feature_view, mode"
        )
        return {(row["feature_view"], row["mode"]): row["ended_at"] for row in rows}


class _ClaimedSession(Session):
    """A connection that is used for long: its loss is told as DatabaseUnavailable where it is met."""

    async def fetch(self, query: Query, parameters: Parameters = None) -> list[Row]:
        with lost_connections():
            return await super().fetch(query, parameters)

    async def fetchrow(self, query: Query, parameters: Parameters = None) -> Row | None:
        with lost_connections():
            return await super().fetchrow(query, parameters)

    async def execute(self, query: Query, parameters: Parameters = None) -> int:
        with lost_connections():
            return await super().execute(query, parameters)


class _LockedJobs:
    def __init__(self, database: Database, session: Session, view: str) -> None:
        self._database = database
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

    async def begin(
        self, mode: Mode, start: datetime, end: datetime, at: datetime, *, run_start: datetime
    ) -> str | None:
        return await self._begin(mode, start, end, at, run_start, None)

    async def settle(self, job_id: str | None, start: datetime, source_sha256: str | None) -> None:
        await self._session.execute(
            "UPDATE ml_feast_materialization_jobs SET window_start = %s, source_sha256 = %s WHERE job_id = %s",
            [start, source_sha256, job_id],
        )

    async def complete(self, job_id: str | None, end: datetime, rows: int, at: datetime) -> str | None:
        with lost_connections():
            async with self._session.connection.transaction():
                done = await self._session.fetchrow(
                    "UPDATE ml_feast_materialization_jobs SET status = 'completed', window_end = %s, rows = %s, "
                    "ended_at = greatest(%s, started_at) WHERE job_id = %s AND status = 'running' "
                    "RETURNING mode, run_start, run_end, source_sha256",
                    [end, rows, at, job_id],
                )
                assert done is not None
                if end >= done["run_end"]:
                    return None
                return await self._begin(
                    done["mode"], end + TICK, done["run_end"], at, done["run_start"], done["source_sha256"]
                )

    async def fail(self, job_id: str | None, message: str, at: datetime) -> None:
        # The connection with the lock may be what failed.
        lost = self._session.connection.closed
        await (self._database if lost else self._session).execute(
            "UPDATE ml_feast_materialization_jobs SET status = 'failed', error_message = %s, "
            "ended_at = greatest(%s, started_at) WHERE job_id = %s AND status = 'running'",
            [message[:ERROR_LENGTH], at, job_id],
        )

    async def _begin(
        self, mode: Mode, start: datetime, end: datetime, at: datetime, run_start: datetime, source_sha256: str | None
    ) -> str:
        # Jobs of a view are in the order of their times, also when the clock stands still or is set back.
        row = await self._session.fetchrow(
            "INSERT INTO ml_feast_materialization_jobs "
            "(feature_view, mode, window_start, window_end, status, started_at, run_start, run_end, source_sha256) "
            "SELECT %(view)s, %(mode)s, %(start)s, %(end)s, 'running', greatest(%(at)s, "
            " max(started_at) + interval '1 microsecond'), %(run_start)s, %(end)s, %(source)s "
            "FROM ml_feast_materialization_jobs WHERE feature_view = %(view)s RETURNING job_id",
            {
                "view": self._view,
                "mode": mode,
                "start": start,
                "end": end,
                "at": at,
                "run_start": run_start,
                "source": source_sha256,
            },
        )
        assert row is not None
        return str(row["job_id"])


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

    async def begin(
        self, mode: Mode, start: datetime, end: datetime, at: datetime, *, run_start: datetime
    ) -> str | None:
        return None

    async def settle(self, job_id: str | None, start: datetime, source_sha256: str | None) -> None:
        return None

    async def complete(self, job_id: str | None, end: datetime, rows: int, at: datetime) -> str | None:
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
