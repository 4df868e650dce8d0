"""When are old traces, tuning patterns and conversations deleted, and how many?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from src.app.conversation_retention import ConversationReport, forget_idle_conversations
from src.errors import DatabaseUnavailable, E2IError
from src.mlops.hpo_pattern_memory import HPOPatternMemory, PatternStats, PostgresPatterns
from src.mlops.tracing.configuration import RetentionSettings, load_observability_config
from src.storage.connection import connect
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.trace_records import Deleted
from src.storage.traces import TraceRepository

Progress = Callable[[str], None]
PATTERN_DAYS = 90


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


@dataclass(frozen=True, slots=True)
class PatternReport:
    """Tuning patterns that were (or would be, in a dry run) forgotten: neither made nor used for ``days``; what is
    remembered after it."""

    days: int
    dry_run: bool
    forgotten: int
    remembered: PatternStats

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        verb, kept = "to be deleted" if self.dry_run else "deleted", self.remembered
        return (
            f"Tuning patterns neither made nor used for {self.days} days, {verb}: {self.forgotten:,}; "
            f"there are {kept.patterns:,}, of which {kept.used:,} were used {kept.uses:,} times"
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


async def forget_old_patterns(
    memory: HPOPatternMemory, *, days: int = PATTERN_DAYS, dry_run: bool = False
) -> PatternReport:
    """Forget the tuning patterns that were neither made nor used for ``days``. Raises DatabaseUnavailable."""
    cleanup = await memory.cleanup_old_patterns(days, dry_run)
    return PatternReport(days, dry_run, len(cleanup.pattern_ids), await memory.get_pattern_stats())


async def delete_what_is_old() -> tuple[RetentionReport, PatternReport, ConversationReport]:
    """Traces, tuning patterns and idle conversations of the configured database, migrated.

    Raises ConfigError, MigrationError and DatabaseUnavailable.
    """
    async with connect(migrate=True) as database:
        traces = await apply_retention(TraceRepository(database))
        patterns = PostgresPatterns(HPOPatternRepository(PostgresGateway(database)))
        conversations = await forget_idle_conversations(
            database, days=load_observability_config().retention.conversation_days
        )
        return traces, await forget_old_patterns(HPOPatternMemory(patterns)), conversations


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
