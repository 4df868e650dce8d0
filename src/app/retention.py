"""When are old traces deleted, and how many?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from src.errors import DatabaseUnavailable, E2IError
from src.mlops.tracing.configuration import RetentionSettings, load_observability_config
from src.storage.trace_records import Deleted
from src.storage.traces import TraceRepository

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What was deleted (or would be, in a dry run): whole traces whose newest span is older than ``cutoff``."""

    cutoff: datetime
    days: float
    dry_run: bool
    deleted: Deleted

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {"cutoff": self.cutoff, "days": self.days, "dry_run": self.dry_run, **asdict(self.deleted)}

    def line(self) -> str:
        """One line for people."""
        what = self.deleted
        verb = "to be deleted" if self.dry_run else "deleted"
        return (
            f"Older than {self.cutoff:%Y-%m-%d %H:%M} UTC ({self.days:g} days), {verb}: traces {what.traces:,}, "
            f"spans {what.spans:,}, feedback scores {what.feedback:,}, metrics {what.metrics:,}"
        )


async def apply_retention(
    traces: TraceRepository,
    *,
    days: float | None = None,
    dry_run: bool = False,
    settings: RetentionSettings | None = None,
    now: datetime | None = None,
    on_progress: Progress = lambda _: None,
) -> RetentionReport:
    """Delete what is older than ``days`` (default: retention.days of config/observability.yaml).

    Raises ConfigError and DatabaseUnavailable; what was deleted before stays deleted, and the next call goes on.
    """
    chosen = settings or load_observability_config().retention
    kept_days = chosen.days if days is None else days
    cutoff = (now or datetime.now(UTC)) - timedelta(days=kept_days)
    if dry_run:
        deleted = await traces.count_older_than(cutoff)
    else:
        deleted = await traces.delete_older_than(
            cutoff, batch=chosen.batch, on_progress=lambda done: on_progress(f"{done.spans:,} spans deleted")
        )
    return RetentionReport(cutoff, kept_days, dry_run, deleted)


def _is_away(error: E2IError) -> bool:
    return isinstance(error, DatabaseUnavailable)


async def retain_for_ever(
    round_of_work: Callable[[], Any],
    *,
    every_s: float,
    stop: asyncio.Event,
    on_outage: Progress,
    may_pass: Callable[[E2IError], bool] = _is_away,
) -> int:
    """Repeat ``round_of_work`` until ``stop`` is set; returns how many rounds ended well.

    What ``may_pass`` (by default a database that is away) is reported to ``on_outage``, and the next round
    tries again; any other error ends the loop.
    """
    rounds = 0
    while not stop.is_set():
        try:
            await round_of_work()
            rounds += 1
        except E2IError as error:
            if not may_pass(error):
                raise
            on_outage(str(error))
        try:
            await asyncio.wait_for(stop.wait(), timeout=every_s)
        except TimeoutError:
            continue
    return rounds
