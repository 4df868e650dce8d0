"""Which feature views were due, and how did carrying them over end?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from src.errors import ContractViolation, DataUnavailable, MaterializationFailed
from src.feature_store.feast_client import FeastClient
from src.feature_store.portions import EARLIEST
from src.feature_store.results import MaterializationResult
from src.feature_store.scheduler import Job, due_jobs
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs


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


async def run_due(client: FeastClient, database: Database, now: Callable[[], datetime]) -> list[JobOutcome]:
    """Carry over every registered view that is due, one after the other; a failure does not stop the others.

    Raises DataUnavailable (Feast is missing, a store's server is away, nothing is registered) and
    DatabaseUnavailable.
    """
    views = await client.list_feature_views()
    if isinstance(views, Unavailable):
        raise _missing(views)
    if not views:
        raise DataUnavailable("no feature view is registered: run 'e2i features apply' first")
    history = await FeatureJobs(database).finished_runs()
    due = due_jobs(now(), history, client.config.materialization, [view.name for view in views])
    return [await _run(client, job, now()) for job in due]


async def interruptible(work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Await ``work()``; cancelled as soon as ``stop`` is set. Raises what it raises."""
    working, stopping = asyncio.ensure_future(work()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
    if not working.cancelled():
        await working


async def _run(client: FeastClient, job: Job, now: datetime) -> JobOutcome:
    try:
        if job.mode == "full":
            result = await client.materialize(EARLIEST, now, [job.feature_view])
        else:
            result = await client.materialize_incremental(now, [job.feature_view])
    except (MaterializationFailed, ContractViolation) as error:
        return JobOutcome(job, None, str(error))
    if not isinstance(result, MaterializationResult):
        raise _missing(result)
    return JobOutcome(job, result.rows, None)


def _missing(answer: Unavailable) -> DataUnavailable:
    return DataUnavailable(f"{answer.component} is not available: {answer.reason}")
