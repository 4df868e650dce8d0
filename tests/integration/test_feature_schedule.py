"""What is carried over when views are due, and how does the script that does it end?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from src.app.feature_schedule import interruptible, run_due
from src.errors import DataUnavailable
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


async def test_a_stop_interrupts_the_work_that_is_under_way() -> None:
    stop, states = asyncio.Event(), []

    async def work() -> None:
        states.append("begun")
        stop.set()
        try:
            await asyncio.sleep(60)
        finally:
            states.append("ended")

    await interruptible(work, stop)
    assert states == ["begun", "ended"]


async def test_an_error_of_the_work_leaves() -> None:
    async def work() -> None:
        raise DataUnavailable("gone")

    with pytest.raises(DataUnavailable, match="gone"):
        await interruptible(work, asyncio.Event())


def script(*arguments: str, dsn: str, folder: Path) -> subprocess.Popen[str]:
    """The script on a database and a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "scripts/run_materialization.py", *arguments],
        cwd=PROJECT_ROOT, env={**os.environ, "DATABASE_URL": dsn, "E2I_VAR_DIR": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_wrong_call_and_an_empty_registry_end_with_2(database_url: str, tmp_path: Path) -> None:
    wrong = script("--once", "--every", "-1", dsn=database_url, folder=tmp_path)
    assert "--every takes a positive number" in wrong.communicate()[1]
    assert wrong.returncode == 2
    empty = script("--once", dsn=database_url, folder=tmp_path)
    output, problem = empty.communicate()
    assert (empty.returncode, output) == (2, "")
    assert problem.strip().splitlines() == ["no feature view is registered: run 'e2i features apply' first"]


async def test_the_script_loops_until_sigterm_and_ends_cleanly(db: Database, database_url: str, tmp_path: Path) -> None:
    from src.feature_store.configuration import load_feast_config
    from src.feature_store.feast_client import FeastClient

    shipped = load_feast_config()
    config = shipped.model_copy(
        update={"offline_store": shipped.offline_store.model_copy(update={"path": tmp_path / "features"})}
    )
    client = FeastClient(config, database=db)
    await client.apply()
    await client.close()
    child = script("--loop", "--every", "0.2", "--json", dsn=database_url, folder=tmp_path)
    assert child.stdout is not None
    first = json.loads(await asyncio.to_thread(child.stdout.readline))
    second = json.loads(await asyncio.to_thread(child.stdout.readline))
    child.send_signal(signal.SIGTERM)
    _, problem = await asyncio.to_thread(child.communicate)
    assert (child.returncode, problem) == (0, "")
    assert {job["mode"] for job in first} == {"full"}
    assert VIEW in {job["feature_view"] for job in first}
    assert second == []
    ended = (await FeatureJobs(db).finished_runs())[VIEW, "full"]
    assert isinstance(ended, datetime)
    assert ended > NOW - 10_000 * DAY
