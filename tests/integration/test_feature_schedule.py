"""What is carried over when views are due, and how does the script that does it end?"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scripts import run_materialization
from src.app.feature_schedule import JobOutcome, interruptible, may_pass, run_due, run_round
from src.app.retention import retain_for_ever
from src.errors import (
    ConfigError,
    DatabaseUnavailable,
    DataUnavailable,
    E2IError,
    MaterializationFailed,
    MigrationError,
)
from src.feature_store.configuration import load_feast_config
from src.feature_store.feast_client import FeastClient
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs
from tests.feature_rows import (
    DAY,
    HOUR,
    NOW,
    VIEW,
    Clock,
    FailingWrites,
    feature_client,
    feature_config,
    latest_values,
    online_content,
    random_rows,
    write_source,
)

ROWS = random_rows(300, 60)


async def opened(folder: Path, db: Database, clock: Clock, **settings: Any) -> Any:
    """A client on the database with its view registered."""
    write_source(folder, ROWS)
    client = feature_client(feature_config(folder, **settings), database=db, clock=clock)
    await client.apply()
    return client


async def test_a_day_of_rounds_runs_what_is_due(db: Database, tmp_path: Path) -> None:
    clock = Clock(NOW)
    client = await opened(tmp_path, db, clock)
    ran: list[tuple[float, str, int | None]] = []
    for passed in (0, 0.5, 1, 1.5, 2, 24, 24.5):
        clock.now = NOW + passed * HOUR
        ran += [(passed, one.job.mode, one.rows) for one in await run_due(client, db, clock)]
    everything = len(latest_values(ROWS, NOW))
    assert ran == [(0, "full", everything), (1, "incremental", 0), (2, "incremental", 0), (24, "full", everything)]
    assert online_content(tmp_path) == latest_values(ROWS, NOW)
    await client.close()


async def test_a_failed_view_is_told_and_stays_due(db: Database, tmp_path: Path) -> None:
    clock = Clock(NOW)
    client = await opened(tmp_path, db, clock, materialization={"max_retries": 0})
    FailingWrites(client._store_to_write(), times=1)
    (failed,) = await run_due(client, db, clock)
    assert failed.rows is None
    assert failed.error is not None
    assert "OperationalError: database is locked" in failed.line()
    (done,) = await run_due(client, db, clock)
    assert (done.error, done.rows, done.job.mode) == (None, len(latest_values(ROWS, NOW)), "full")
    await client.close()


async def test_a_clock_that_was_set_back_is_told_in_every_round_and_nothing_newer_is_replaced(
    db: Database, tmp_path: Path
) -> None:
    clock = Clock(NOW)
    client = await opened(tmp_path, db, clock)
    await run_due(client, db, clock)
    clock.now = NOW - 10 * DAY
    for _ in range(2):
        (refused,) = await run_due(client, db, clock)
        assert refused.rows is None
        assert refused.error is not None
        assert "holds values up to 2026-04-05T12:00:00+00:00" in refused.error
    assert online_content(tmp_path) == latest_values(ROWS, NOW)
    clock.now = NOW + HOUR
    (after,) = await run_due(client, db, clock)
    assert (after.error, after.job.mode) == (None, "incremental")
    await client.close()


BROKEN = "hcp_profile"  # by name before VIEW, so it comes first


async def two_views(folder: Path, db: Database, **settings: Any) -> FeastClient:
    """A client on the tables of the database, which has two views registered."""
    config = feature_config(folder, materialization={"max_retries": 0}, **settings)
    (config.repository() / "__init__.py").write_text(
        "import feature_repo\n\n\ndef define(make_source):\n"
        "    return [item for item in feature_repo.define(make_source)\n"
        f"            if item.name in ('trigger', 'hcp', '{VIEW}', '{BROKEN}')]\n"
    )
    client = FeastClient(config, database=db, clock=Clock(NOW))
    await client.apply()
    return client


def as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


async def without_table(client: FeastClient, db: Database) -> None:
    await db.execute("ALTER TABLE hcp_profiles RENAME TO gone")


async def no_file_to_write(client: FeastClient, db: Database) -> None:
    as_directory(client.config.offline_store.folder / f"{BROKEN}.parquet")


async def gone_from_the_registry(client: FeastClient, db: Database) -> None:
    listed = await client.list_feature_views()
    client._store_to_write().registry.delete_feature_view(BROKEN, client.config.project)

    async def as_before() -> Any:
        return listed

    client.list_feature_views = as_before  # type: ignore[method-assign]


async def a_mistake_in_the_library(client: FeastClient, db: Database) -> None:
    ask = client._store_to_write().registry.get_feature_view

    def fail(name: str, *arguments: Any, **options: Any) -> Any:
        if name == BROKEN:
            raise KeyError(name)
        return ask(name, *arguments, **options)

    client._store_to_write().registry.get_feature_view = fail


def answering(answer: Unavailable | E2IError) -> Callable[[FeastClient, Database], Any]:
    """The client's answer for BROKEN, as where a server went away after the views were listed."""

    async def break_one(client: FeastClient, db: Database) -> None:
        materialize = client.materialize

        async def answered(start: datetime, end: datetime, views: list[str]) -> Any:
            if views != [BROKEN]:
                return await materialize(start, end, views)
            if isinstance(answer, E2IError):
                raise answer
            return answer

        client.materialize = answered  # type: ignore[method-assign, assignment]

    return break_one


@pytest.mark.parametrize(
    ("break_one", "says"),
    [
        (without_table, "UndefinedTable"),
        (no_file_to_write, "IsADirectoryError"),
        (gone_from_the_registry, f"no feature view '{BROKEN}' is registered"),
        (a_mistake_in_the_library, "KeyError"),
        (answering(DatabaseUnavailable("the database is not available: closed")), "the database is not available"),
        (answering(Unavailable("redis", "refused")), "redis is not available: refused"),
    ],
)
async def test_a_view_that_cannot_be_carried_over_stops_no_other(
    db: Database, tmp_path: Path, break_one: Callable[[FeastClient, Database], Any], says: str
) -> None:
    client = await two_views(tmp_path, db)
    await break_one(client, db)
    told: list[JobOutcome] = []
    outcomes = await run_due(client, db, Clock(NOW), told.append)
    assert [(one.job.feature_view, one.rows) for one in outcomes] == [(BROKEN, None), (VIEW, 0)]
    assert told == outcomes
    assert outcomes[1].error is None
    assert outcomes[0].error is not None
    assert says in outcomes[0].error
    await client.close()


async def test_nothing_registered_is_a_clear_error(db: Database, tmp_path: Path) -> None:
    client = feature_client(feature_config(tmp_path), database=db, clock=Clock(NOW))
    with pytest.raises(DataUnavailable, match="run 'e2i features apply' first"):
        await run_due(client, db, Clock(NOW))
    await client.close()


async def test_a_missing_feast_is_a_clear_error(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = feature_client(feature_config(tmp_path), database=db, clock=Clock(NOW))
    monkeypatch.setitem(sys.modules, "feast", None)
    with pytest.raises(DataUnavailable, match="feast is not available"):
        await run_due(client, db, Clock(NOW))


def a_registry_that_is_no_database(folder: Path) -> None:
    folder.mkdir()
    (folder / "registry.db").write_bytes(b"no database, " * 1000)


def a_file_for_a_folder(folder: Path) -> None:
    folder.write_text("")


def a_lock_that_cannot_be_written(folder: Path) -> None:
    (folder / ".registry.lock").mkdir(parents=True)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (a_registry_that_is_no_database, "file is not a database"),
        (a_file_for_a_folder, "cannot be made"),
        (a_lock_that_cannot_be_written, "IsADirectoryError"),
    ],
)
async def test_a_round_on_a_damaged_disk_is_an_outage_that_the_next_round_can_end(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    says: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    damage(tmp_path / "features")
    stop, told = asyncio.Event(), []

    def on_outage(problem: str) -> None:
        told.append(problem)
        if len(told) == 2:
            stop.set()

    async def round_of_work() -> None:
        await run_round(Clock(NOW), pytest.fail)

    rounds = await retain_for_ever(round_of_work, every_s=0.001, stop=stop, on_outage=on_outage, may_pass=may_pass)
    assert (rounds, len(told)) == (0, 2)
    assert says in told[0]


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        {"FEAST_REGISTRY_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"},
    ],
)
async def test_a_server_that_is_away_is_an_outage(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in ({"DATABASE_URL": database_url, "E2I_VAR_DIR": str(tmp_path)} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises((DatabaseUnavailable, DataUnavailable), match="refused") as caught:
        await run_round(Clock(NOW), pytest.fail)
    assert may_pass(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DatabaseUnavailable("away"), True),
        (DataUnavailable("nothing"), True),
        (MaterializationFailed("locked"), True),
        (ConfigError("key"), False),
        (MigrationError("changed file"), False),
    ],
)
async def test_only_mistakes_that_no_next_round_can_mend_end_the_loop(error: E2IError, expected: bool) -> None:
    stop, told = asyncio.Event(), []

    async def fail() -> None:
        stop.set()
        raise error

    looping = retain_for_ever(fail, every_s=0.001, stop=stop, on_outage=told.append, may_pass=may_pass)
    if expected:
        assert await looping == 0
        assert told == [str(error)]
        return
    with pytest.raises(type(error)):
        await looping


async def test_a_stop_interrupts_the_work_that_is_under_way() -> None:
    stop, states = asyncio.Event(), []

    async def work() -> None:
        states.append("begun")
        stop.set()
        try:
            await asyncio.sleep(60)
        finally:
            states.append("ended")

    assert not await interruptible(work, stop)
    assert states == ["begun", "ended"]


async def test_work_that_is_not_stopped_comes_to_its_end() -> None:
    assert await interruptible(lambda: asyncio.sleep(0), asyncio.Event())


async def test_an_error_of_the_work_leaves() -> None:
    async def work() -> None:
        raise DataUnavailable("gone")

    with pytest.raises(DataUnavailable, match="gone"):
        await interruptible(work, asyncio.Event())


def script(*arguments: str, dsn: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """The script on a database and a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "scripts/run_materialization.py", *arguments],
        cwd=PROJECT_ROOT, env={**os.environ, "DATABASE_URL": dsn, "E2I_VAR_DIR": str(folder), **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


async def next_round(child: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The document of the next round that is ``wanted``; every line is one."""
    assert child.stdout is not None
    while line := await asyncio.to_thread(child.stdout.readline):
        if wanted(document := json.loads(line)):
            return document
    raise AssertionError(f"the script ended with {child.wait()}: {child.stderr and child.stderr.read()}")


@pytest.mark.parametrize(("option", "value"), [("--every", "-1"), ("--grace", "0"), ("--every", "nan")])
def test_a_wrong_call_ends_with_2(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_materialization.py", "--once", option, value])
    with pytest.raises(SystemExit) as ended:
        run_materialization.main()
    assert ended.value.code == 2
    assert f"{option} takes a positive number" in capsys.readouterr().err


def test_a_round_that_cannot_begin_ends_with_2_and_says_why_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:s3cret@127.0.0.1:1/none")
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run_materialization.py", "--once", "--json"])
    assert run_materialization.main() == 2
    output, problems = capsys.readouterr()
    (why,) = problems.splitlines()
    assert why.startswith("cannot connect to PostgreSQL at 127.0.0.1:1/none")
    assert json.loads(output) == {"jobs": [], "error": why}


async def test_a_single_round_that_a_signal_ends_is_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        child = script("--once", "--json", dsn=database, folder=tmp_path)
        connection, _ = await asyncio.to_thread(silent.accept)
        child.send_signal(signal.SIGTERM)
        output, problems = await asyncio.to_thread(child.communicate)
        connection.close()
    assert (child.returncode, problems) == (1, "the round was interrupted\n")
    assert json.loads(output) == {"jobs": [], "error": "the round was interrupted"}


async def apply_shipped_views(db: Database, folder: Path) -> None:
    shipped = load_feast_config()
    config = shipped.model_copy(
        update={"offline_store": shipped.offline_store.model_copy(update={"path": folder / "features"})}
    )
    client = FeastClient(config, database=db)
    await client.apply()
    await client.close()


@asynccontextmanager
async def refusing_connections(dsn: str) -> AsyncIterator[None]:
    """The database is away: its connections are ended, and no new one is let in."""
    name = dsn.rsplit("/", 1)[1].partition("?")[0]
    admin = dsn.replace(f"/{name}", "/postgres")
    async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_the_loop_outlives_what_goes_wrong_and_ends_at_sigterm(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    child = script("--loop", "--every", "0.2", "--json", dsn=database_url, folder=tmp_path)
    first = await next_round(child, lambda _: True)
    assert first == {"jobs": [], "error": "no feature view is registered: run 'e2i features apply' first"}
    await apply_shipped_views(db, tmp_path)
    carried = await next_round(child, lambda document: document["jobs"])
    assert {job["mode"] for job in carried["jobs"]} == {"full"}
    assert {job["error"] for job in carried["jobs"]} == {None}
    assert VIEW in {job["feature_view"] for job in carried["jobs"]}
    assert await next_round(child, lambda _: True) == {"jobs": [], "error": None}
    async with refusing_connections(database_url):
        away = await next_round(child, lambda document: document["error"])
        assert (away["jobs"], "accepting connections" in away["error"]) == ([], True)
    await next_round(child, lambda document: document["error"] is None)
    child.send_signal(signal.SIGTERM)
    _, problems = await asyncio.to_thread(child.communicate)
    assert child.returncode == 0
    assert problems.splitlines()[0] == first["error"]
    assert "Traceback" not in problems
    ended = (await FeatureJobs(db).finished_runs())[VIEW, "full"]
    assert isinstance(ended, datetime)
    assert ended > NOW - 10_000 * DAY


async def test_one_failed_view_is_exit_1_and_the_others_are_carried_over(
    db: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    await apply_shipped_views(db, tmp_path)
    once = argparse.Namespace(once=True, loop=False, json=False, every=60.0, grace=60.0)
    async with FeatureJobs(db).claim(VIEW):
        code = await run_materialization.run(once)
    output, problems = capsys.readouterr()
    assert (code, problems) == (1, "")
    told = dict(line.split(" (full): ") for line in output.splitlines())
    assert "is being materialised by another process" in told.pop(VIEW)
    assert len(told) > 1
    assert set(told.values()) == {"0 rows"}


async def test_a_store_that_hangs_does_not_keep_the_loop_from_ending(database_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        child = script("--loop", "--grace", "0.5", dsn=database_url, folder=tmp_path, FEAST_REGISTRY_URL=registry)
        connection, _ = await asyncio.to_thread(silent.accept)
        child.send_signal(signal.SIGINT)
        try:
            output, problems = await asyncio.to_thread(child.communicate, timeout=60)
        finally:
            child.kill()
            connection.close()
    assert (child.returncode, output) == (0, "")
    assert "has not ended within 0.5 s" in problems
