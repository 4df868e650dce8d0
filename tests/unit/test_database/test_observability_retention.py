"""Does retention delete old traces, only old ones, each whole, and in steps that can be interrupted?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from scripts import run_retention
from src.app.retention import apply_retention, forget_old_patterns, retain_for_ever
from src.domain.modelling import ProblemType
from src.errors import DatabaseUnavailable, MigrationError
from src.mlops.hpo_pattern_memory import HPOPattern, HPOPatternMemory, InMemoryPatterns, PostgresPatterns
from src.mlops.tracing.configuration import RetentionSettings
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.trace_records import Deleted
from src.storage.traces import TraceRepository
from tests.unit.test_database.stored_spans import add_feedback, add_metric, ago, span, store

pytestmark = pytest.mark.integration
DAY = 86_400.0


async def left(db: Database, table: str) -> list[str]:
    rows = await db.fetch(f"SELECT DISTINCT trace_id FROM {table} ORDER BY trace_id")
    return [row["trace_id"] for row in rows]


async def fill(db: Database) -> None:
    """Two old traces, one whose newest span is young, one young trace."""
    await store(
        db,
        [
            span("old", "a", ago_s=40 * DAY),
            span("old", "b", parent="a", ago_s=40 * DAY),
            span("older", "a", ago_s=50 * DAY),
            span("long", "a", ago_s=40 * DAY),
            span("long", "b", parent="a", ago_s=29 * DAY),
            span("young", "a", ago_s=DAY),
        ],
    )


async def test_old_traces_go_whole_with_feedback_and_metrics_and_young_ones_stay(db: Database) -> None:
    await fill(db)
    for trace in ("old", "long", "young"):
        await add_feedback(db, trace, ago_s=40 * DAY)
        await add_metric(db, trace, ago_s=40 * DAY)
    await add_feedback(db, "old", ago_s=DAY)
    traces = TraceRepository(db)
    foreseen = await traces.count_older_than(ago(30 * DAY))
    assert (
        await traces.delete_older_than(ago(30 * DAY)) == foreseen == Deleted(traces=2, spans=3, feedback=2, metrics=1)
    )
    assert await left(db, "ml_observability_spans") == ["long", "young"]
    assert await left(db, "ml_observability_feedback") == ["long", "young"]
    assert await left(db, "ml_observability_metrics") == ["long", "young"]
    assert len((await traces.trace("long")).spans) == 2
    assert await traces.delete_older_than(ago(30 * DAY)) == Deleted()


async def test_a_span_that_ended_late_keeps_its_trace(db: Database) -> None:
    await store(db, [span("t", "a", ago_s=31 * DAY, ms=2 * DAY * 1000)])
    assert await TraceRepository(db).delete_older_than(ago(30 * DAY)) == Deleted()


async def test_feedback_and_metrics_without_a_stored_trace_go_by_their_own_time(db: Database) -> None:
    await add_feedback(db, "gone", ago_s=31 * DAY)
    await add_metric(db, None, ago_s=31 * DAY)
    await add_metric(db, None, ago_s=29 * DAY)
    await add_feedback(db, "on its way", ago_s=60)
    traces = TraceRepository(db)
    assert await traces.count_older_than(ago(30 * DAY)) == Deleted(feedback=1, metrics=1)
    assert await traces.delete_older_than(ago(30 * DAY), batch=1) == Deleted(feedback=1, metrics=1)
    assert await left(db, "ml_observability_feedback") == ["on its way"]
    assert len(await left(db, "ml_observability_metrics")) == 1


async def test_no_step_deletes_more_spans_than_the_batch_and_no_trace_is_halved(db: Database) -> None:
    rows = [span(f"t{i:02}", f"s{j}", ago_s=(60 - i) * DAY) for i in range(12) for j in range(3)]
    await store(db, [*rows, *(span("big", f"s{j}", ago_s=40 * DAY) for j in range(20))])
    steps: list[int] = []
    done = await TraceRepository(db).delete_older_than(
        ago(30 * DAY), batch=7, on_progress=lambda so_far: steps.append(so_far.spans)
    )
    sizes = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    assert sum(sizes) == done.spans == 56
    assert sorted(sizes) == [6] * 6 + [20]


async def test_an_interrupted_run_keeps_what_it_did_and_the_next_one_finishes(db: Database) -> None:
    await store(db, [span(f"t{i}", "s", ago_s=40 * DAY) for i in range(10)] + [span("young", "s")])
    traces = TraceRepository(db)

    def interrupt(so_far: Deleted) -> None:
        if so_far.spans >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await traces.delete_older_than(ago(30 * DAY), batch=2, on_progress=interrupt)
    assert len(await left(db, "ml_observability_spans")) == 7
    assert (await traces.delete_older_than(ago(30 * DAY), batch=2)).spans == 6
    assert await left(db, "ml_observability_spans") == ["young"]


async def test_a_trace_that_got_a_late_span_meanwhile_is_kept(db: Database) -> None:
    await store(db, [span("first", "s", ago_s=50 * DAY), span("second", "s", ago_s=40 * DAY)])
    late = span("second", "late", parent="s", ago_s=10)
    names = [name for name in late if name != "attributes"]
    statement = f"INSERT INTO ml_observability_spans ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"

    steps: list[Deleted] = []

    def arrive_once(so_far: Deleted) -> None:
        steps.append(so_far)
        if len(steps) == 1:
            with psycopg.connect(db.dsn, autocommit=True) as connection:
                connection.execute(statement.encode(), [late[name] for name in names])

    deleted = await TraceRepository(db).delete_older_than(ago(30 * DAY), batch=1, on_progress=arrive_once)
    assert deleted == Deleted(traces=1, spans=1)
    assert await left(db, "ml_observability_spans") == ["second"]


async def test_the_configured_days_count_unless_others_are_given(db: Database) -> None:
    await store(db, [span("week", "s", ago_s=7 * DAY), span("month", "s", ago_s=31 * DAY)])
    traces, settings = TraceRepository(db), RetentionSettings(days=30, batch=10)
    foreseen = await apply_retention(traces, settings=settings, dry_run=True)
    assert (foreseen.deleted.traces, foreseen.dry_run, foreseen.days) == (1, True, 30)
    assert len(await left(db, "ml_observability_spans")) == 2
    assert (await apply_retention(traces, settings=settings)).deleted.traces == 1
    assert (await apply_retention(traces, settings=settings, days=5)).deleted.traces == 1
    assert await left(db, "ml_observability_spans") == []


async def test_the_age_is_counted_from_the_given_moment(db: Database) -> None:
    await store(db, [span("t", "s")])
    then = datetime(2100, 1, 1, tzinfo=UTC)
    assert (await apply_retention(TraceRepository(db), days=30, now=then, dry_run=True)).deleted.traces == 1


def pattern(days: float) -> HPOPattern:
    """The best of a search that many days ago."""
    return HPOPattern(
        algorithm_name="ridge",
        problem_type=ProblemType.REGRESSION,
        metric="r2",
        search_space={"alpha": {"type": "float", "low": 0.1, "high": 10.0}},
        n_samples=300,
        n_features=4,
        direction="maximize",
        best_params={"alpha": 1.0},
        best_value=0.5,
        created_at=datetime.now(UTC) - timedelta(days=days),
    )


async def test_patterns_that_ninety_days_have_not_used_are_forgotten() -> None:
    memory = HPOPatternMemory(InMemoryPatterns())
    old, used, young = pattern(91), pattern(91), pattern(89)
    for one in (old, used, young):
        await memory.store_hpo_pattern(one)
    await memory.record_warmstart_outcome(used.pattern_id, 0.1)
    foreseen = await forget_old_patterns(memory, dry_run=True)
    assert (foreseen.forgotten, foreseen.remembered.patterns) == (1, 3)
    assert "to be deleted: 1; there are 3" in foreseen.line()
    done = await forget_old_patterns(memory)
    assert (done.forgotten, done.remembered.patterns, done.remembered.uses) == (1, 2, 1)
    assert "deleted: 1; there are 2, of which 1 were used 1 times" in done.line()
    assert (await forget_old_patterns(memory, days=80)).forgotten == 1


async def test_the_loop_survives_an_outage_and_ends_when_told() -> None:
    stop, told = asyncio.Event(), []
    rounds = iter(["away", "well", "last"])

    async def round_of_work() -> None:
        outcome = next(rounds)
        if outcome == "away":
            raise DatabaseUnavailable("gone")
        if outcome == "last":
            stop.set()

    assert await retain_for_ever(round_of_work, every_s=0.001, stop=stop, on_outage=told.append) == 2
    assert told == ["gone"]


async def test_any_other_error_ends_the_loop() -> None:
    async def round_of_work() -> None:
        raise MigrationError("changed file")

    with pytest.raises(MigrationError):
        await retain_for_ever(round_of_work, every_s=0.001, stop=asyncio.Event(), on_outage=lambda _: None)


def script(url: str, var: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT_ROOT / "scripts" / "run_retention.py"), *arguments],
        env={**os.environ, "DATABASE_URL": url, "E2I_VAR_DIR": str(var)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_the_script_runs_once_or_until_it_is_stopped(db: Database, database_url: str, tmp_path: Path) -> None:
    await store(db, [span("old", "s", ago_s=31 * DAY), span("young", "s")])
    memory = HPOPatternMemory(PostgresPatterns(HPOPatternRepository(PostgresGateway(db))))
    for days in (91, 5):
        await memory.store_hpo_pattern(pattern(days))
    once = script(database_url, tmp_path, "--once")
    out, err = once.communicate(timeout=60)
    assert (once.returncode, err) == (0, "")
    assert "deleted: traces 1, spans 1" in out
    assert "deleted: 1; there are 1" in out
    loop = script(database_url, tmp_path, "--loop", "--every", "1")
    assert loop.stdout is not None
    assert "deleted: traces 0" in loop.stdout.readline()
    assert "deleted: 0; there are 1" in loop.stdout.readline()
    assert "Conversations nobody used for 30 days, deleted: 0" in loop.stdout.readline()
    loop.send_signal(signal.SIGTERM)
    out, err = loop.communicate(timeout=60)
    assert (loop.returncode, out, err) == (0, "", "")
    assert await left(db, "ml_observability_spans") == ["young"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of the arguments --once --loop is required"),
        (["--loop", "--every", "0"], "positive number of hours"),
        (["--once"], "cannot connect to PostgreSQL at 127.0.0.1:1/none"),
    ],
)
def test_the_script_says_what_is_wrong_and_exits_with_2(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/none")
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run_retention.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        sys.exit(run_retention.main())
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert says in err
    assert "s3cret" not in err
