"""Which feature views were due, and how did carrying them over end?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from src.app.features import answered, feature_client
from src.errors import ConfigError, DataUnavailable, E2IError, MigrationError
from src.feature_store.feast_client import FeastClient
from src.feature_store.materialization import described
from src.feature_store.portions import EARLIEST
from src.feature_store.scheduler import Job, due_jobs
from src.storage.connection import connect
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs

Clock = Callable[[], datetime]

# What these libraries raise of the disk or the server below a store (Feast passes it on as it is).
_STORE_LIBRARIES = ("sqlalchemy", "psycopg", "redis")


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How one due job ended: ``rows`` written, or the ``error`` that ended it."""

    job: Job
    rows: int | None
    error: str | None

    def line(self) -> str:
        """One line for people."""
        what = f"{self.job.feature_view} ({self.job.mode})"
        return f"{what}: {self.rows:,} rows" if self.error is None else f"{what}: {self.error}"

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self.job), "rows": self.rows, "error": self.error}


def round_document(outcomes: Sequence[JobOutcome], error: str | None) -> dict[str, Any]:
    """JSON form of a round; ``error`` is what kept it from looking at every view, or None."""
    return {"jobs": [outcome.document() for outcome in outcomes], "error": error}


async def run_round(now: Clock, on_outcome: Callable[[JobOutcome], None]) -> None:
    """Open the configured database and feature store, and carry over every view that is due.

    ``on_outcome`` is told of each one as it ends. Raises ConfigError and MigrationError, and what
    ``may_pass`` says yes to: DatabaseUnavailable, DataUnavailable (nothing registered, the registry or its disk).
    """
    try:
        async with connect(migrate=True) as database, feature_client(database) as client:
            await run_due(client, database, now, on_outcome)
    except Exception as error:
        if isinstance(error, E2IError) or not _is_of_a_store(error):
            raise
        raise DataUnavailable(f"the feature store cannot be used: {described(error)}") from error


def may_pass(error: E2IError) -> bool:
    """Whether the next round may go well without this process being started anew."""
    return not isinstance(error, ConfigError | MigrationError)


async def run_due(
    client: FeastClient,
    database: Database,
    now: Clock,
    on_outcome: Callable[[JobOutcome], None] = lambda _: None,
) -> list[JobOutcome]:
    """Carry over every registered view that is due, one after the other; no failure stops the others.

    Raises DataUnavailable (Feast is missing, the registry's server is away, nothing is registered) and
    DatabaseUnavailable, both before the first view.
    """
    views = answered(await client.list_feature_views())
    if not views:
        raise DataUnavailable("no feature view is registered: run 'e2i features apply' first")
    history = await FeatureJobs(database).finished_runs()
    outcomes = []
    for job in due_jobs(now(), history, client.config.materialization, [view.name for view in views]):
        outcomes.append(await _run(client, job, now()))
        on_outcome(outcomes[-1])
    return outcomes


async def interruptible(work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
    """Await ``work()``; cancelled as soon as ``stop`` is set. Returns whether it came to its end; raises as it does."""
    working, stopping = asyncio.ensure_future(work()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
    if working.cancelled():
        return False
    await working
    return True


async def _run(client: FeastClient, job: Job, now: datetime) -> JobOutcome:
    try:
        if job.mode == "full":
            result = answered(await client.materialize(EARLIEST, now, [job.feature_view]))
        else:
            result = answered(await client.materialize_incremental(now, [job.feature_view]))
    except E2IError as error:
        return JobOutcome(job, None, str(error))
    except Exception as error:  # noqa: BLE001 - whatever one view does, the others are carried over
        return JobOutcome(job, None, described(error))
    return JobOutcome(job, result.rows, None)


def _is_of_a_store(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | sqlite3.Error) or library in _STORE_LIBRARIES
