"""Does a materialisation that was killed, cancelled or stopped go on without losing or doubling a row?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.contracts.feature_views import get_feature_view
from src.errors import ContractViolation, MaterializationFailed
from src.feature_store.configuration import FeastConfig
from src.feature_store.feast_client import FeastClient
from src.feature_store.materialization import Materializer, Progress
from src.feature_store.portions import EARLIEST
from src.feature_store.results import FreshnessStatus, MaterializationResult
from src.feature_store.sources import source_schema
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.feature_jobs import TICK, FeatureJobs, UnrecordedJobs
from tests.feature_rows import (
    BEGIN,
    DAY,
    NOW,
    VIEW,
    FailingWrites,
    FeatureRow,
    feature_client,
    feature_config,
    latest_values,
    online_content,
    random_rows,
    utc_now,
    write_source,
)

pytestmark = pytest.mark.integration

ROWS = random_rows(1_200, 540)
PORTIONS = {"chunk_rows": 100, "max_retries": 0}


class Interrupted(Exception):
    """What a test stops a materialisation with."""


def stop_after(portions: int) -> Any:
    """A progress callback that stops the run when as many portions are done."""
    seen: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == portions:
            raise Interrupted

    return on_progress


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    """A registered view with ROWS."""
    write_source(tmp_path, ROWS)
    opened = feature_client(feature_config(tmp_path, materialization=PORTIONS))
    await opened.apply()
    yield opened
    await opened.close()


@pytest.fixture
def materializer(client: Any, db: Database) -> Materializer:
    return Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=utc_now)


async def stopped_after(materializer: Materializer, portions: int, end: Any = NOW) -> None:
    with pytest.raises(MaterializationFailed, match="Interrupted"):
        await materializer.materialize(EARLIEST, end, on_progress=stop_after(portions))


async def assert_complete(db: Database, folder: Path, expected: dict[str, float]) -> None:
    """Nothing lost, nothing doubled: in the store, in the counts and in the windows."""
    assert online_content(folder) == expected
    done = sorted(
        (job for job in await FeatureJobs(db).recent(VIEW, 10_000) if job.status == "completed"),
        key=lambda job: job.window_start,
    )
    assert sum(job.rows or 0 for job in done) == len(expected)
    assert done[0].window_start == EARLIEST
    assert done[-1].window_end == NOW
    assert all(after.window_start == before.window_end + TICK for before, after in zip(done, done[1:], strict=False))


@pytest.mark.parametrize("portions", [1, 7])
async def test_a_stopped_run_goes_on_after_its_last_portion(
    materializer: Materializer, db: Database, tmp_path: Path, portions: int
) -> None:
    await stopped_after(materializer, portions)
    before = len(online_content(tmp_path))
    result = await materializer.materialize(EARLIEST, NOW)
    assert result.views[0].resumed
    assert result.views[0].start > EARLIEST
    assert result.rows == len(latest_values(ROWS, NOW)) - before
    await assert_complete(db, tmp_path, latest_values(ROWS, NOW))


async def test_a_run_from_scratch_begins_at_the_start(materializer: Materializer, tmp_path: Path) -> None:
    await stopped_after(materializer, 3)
    result = await materializer.materialize(EARLIEST, NOW, from_scratch=True)
    assert (result.views[0].resumed, result.rows) == (False, len(latest_values(ROWS, NOW)))


async def test_a_run_with_another_start_begins_there(materializer: Materializer) -> None:
    await stopped_after(materializer, 3)
    result = await materializer.materialize(BEGIN, NOW)
    assert (result.views[0].resumed, result.views[0].start) == (False, BEGIN)


async def test_a_source_that_was_replaced_is_read_from_the_start(materializer: Materializer, tmp_path: Path) -> None:
    await stopped_after(materializer, 9)
    # Entities of the first portions keep only their oldest rows, which the stopped run had left out.
    fewer = [row for row in ROWS if row.event < BEGIN + DAY]
    write_source(tmp_path, fewer)
    result = await materializer.materialize(EARLIEST, NOW)
    assert not result.views[0].resumed
    assert {key: online_content(tmp_path)[key] for key in latest_values(fewer, NOW)} == latest_values(fewer, NOW)


async def test_a_shorter_run_after_a_stopped_one_leaves_no_entity_out(
    materializer: Materializer, tmp_path: Path
) -> None:
    # T1 was left for a later portion of the first run, which the second one does not reach.
    rows = [
        *(FeatureRow(BEGIN + number * TICK, f"T{number}", 0.1) for number in range(1, 300)),
        FeatureRow(BEGIN + 50 * DAY, "T1", 0.9),
    ]
    write_source(tmp_path, rows)
    await stopped_after(materializer, 1)
    assert "T1" not in online_content(tmp_path)
    result = await materializer.materialize(EARLIEST, BEGIN + 20 * DAY)
    assert not result.views[0].resumed
    assert online_content(tmp_path) == latest_values(rows, BEGIN + 20 * DAY)


async def test_an_incremental_call_finishes_what_was_stopped_but_stops_no_sooner(
    materializer: Materializer, tmp_path: Path
) -> None:
    await stopped_after(materializer, 3)
    with pytest.raises(ContractViolation, match="an interrupted materialisation was to reach"):
        await materializer.materialize_incremental(BEGIN + 59 * DAY)
    await materializer.materialize_incremental(NOW)
    assert online_content(tmp_path) == latest_values(ROWS, NOW)


async def test_a_stopped_incremental_run_goes_on_without_counting_a_row_twice(
    materializer: Materializer, db: Database, tmp_path: Path
) -> None:
    middle = BEGIN + 20 * DAY
    await materializer.materialize(EARLIEST, middle)
    with pytest.raises(MaterializationFailed):
        await materializer.materialize_incremental(NOW, on_progress=stop_after(2))
    await materializer.materialize_incremental(NOW)
    assert online_content(tmp_path) == latest_values(ROWS, NOW)
    jobs = [job for job in await FeatureJobs(db).recent(VIEW) if (job.mode, job.status) == ("incremental", "completed")]
    assert sum(job.rows or 0 for job in jobs) == len({row.key for row in ROWS if row.event > middle})


async def test_freshness_moves_with_the_portions(materializer: Materializer, client: Any) -> None:
    await stopped_after(materializer, 5)
    found = await client.get_feature_freshness(VIEW)
    assert BEGIN < found.last_materialized < BEGIN + 60 * DAY
    assert found.status is FreshnessStatus.EXPIRED


async def test_a_finished_run_counts_as_finished_and_a_stopped_one_does_not(
    materializer: Materializer, db: Database
) -> None:
    jobs = FeatureJobs(db)
    await stopped_after(materializer, 4)
    assert await jobs.finished_runs() == {}
    await materializer.materialize(EARLIEST, NOW - DAY, from_scratch=True)
    ended = (await jobs.finished_runs())[VIEW, "full"]
    with pytest.raises(MaterializationFailed):
        await materializer.materialize(EARLIEST, NOW, on_progress=stop_after(4))
    assert await jobs.finished_runs() == {(VIEW, "full"): ended}


async def test_an_incremental_run_that_was_stopped_does_not_count_as_finished(
    materializer: Materializer, db: Database
) -> None:
    await materializer.materialize(EARLIEST, BEGIN + 10 * DAY)
    with pytest.raises(MaterializationFailed):
        await materializer.materialize_incremental(NOW, on_progress=stop_after(2))
    assert (VIEW, "incremental") not in await FeatureJobs(db).finished_runs()
    await materializer.materialize_incremental(NOW)
    assert (VIEW, "incremental") in await FeatureJobs(db).finished_runs()


async def test_a_run_over_part_of_the_time_is_not_the_full_one(
    materializer: Materializer, db: Database, tmp_path: Path
) -> None:
    rows = [FeatureRow(BEGIN, "old", 0.1), FeatureRow(NOW - DAY / 2, "new", 0.2)]
    write_source(tmp_path, rows)
    await materializer.materialize(NOW - DAY, NOW)
    assert await FeatureJobs(db).finished_runs() == {}
    assert online_content(tmp_path) == {"new": 0.2}
    result = await materializer.materialize_incremental(NOW)
    assert (result.views[0].start, result.rows) == (EARLIEST, 2)
    assert online_content(tmp_path) == latest_values(rows, NOW)


async def test_history_in_postgres_goes_on_where_a_run_stopped_unless_a_row_changed(
    db: Database, database_url: str, tmp_path: Path
) -> None:
    await db.execute(
        "INSERT INTO business_metrics (metric_id, metric_date, metric_type, metric_name, brand, value, created_at)"
        " SELECT brand || n, '2024-01-01'::date + n, 'kpi', 'BU5', brand::brand_type, n, '2024-01-01Z'"
        " FROM (VALUES ('Kisqali', 2), ('Fabhalta', 5), ('Remibrutinib', 9)) AS b (brand, n)"
    )
    parts = {"offline_store": {"type": "postgres", "path": tmp_path}, "materialization": PORTIONS | {"chunk_rows": 1}}
    client = FeastClient(FeastConfig.model_validate(parts), database=db)
    await client.apply()
    end, views = utc_now(), ["market_dynamics"]
    with pytest.raises(MaterializationFailed):
        await client.materialize(EARLIEST, end, views, on_progress=stop_after(1))
    with pytest.raises(MaterializationFailed):
        await client.materialize(EARLIEST, end, views, on_progress=stop_after(1))
    assert [job.rows for job in await FeatureJobs(db).recent("market_dynamics") if job.status == "completed"] == [1, 1]
    await db.execute("UPDATE business_metrics SET value = 100 WHERE brand = 'Kisqali'")
    result = await client.materialize(EARLIEST, end, views)
    assert (result.views[0].resumed, result.rows) == (False, 3)
    answer = await client.get_online_features([{"brand": "Kisqali"}], ["market_dynamics:value"])
    assert answer.values == {"market_dynamics__value": [100]}
    await client.close()


async def test_a_cancelled_run_is_recorded_and_goes_on_later(
    materializer: Materializer, db: Database, tmp_path: Path
) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(materializer.materialize(EARLIEST, NOW, on_progress=lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (latest, *_) = await FeatureJobs(db).recent(VIEW)
    assert (latest.status, latest.error_message) == ("failed", "CancelledError")
    assert (await materializer.materialize(EARLIEST, NOW)).views[0].resumed
    await assert_complete(db, tmp_path, latest_values(ROWS, NOW))


async def test_two_processes_do_not_materialise_one_view_at_once(db: Database) -> None:
    jobs = FeatureJobs(db)
    async with jobs.claim("a"), jobs.claim("b"):
        with pytest.raises(MaterializationFailed, match="'a' is being materialised by another process"):
            async with jobs.claim("a"):
                pass
    async with jobs.claim("a"):
        pass


async def test_without_a_database_a_lock_file_keeps_others_out(tmp_path: Path) -> None:
    async with UnrecordedJobs(tmp_path).claim("a"), UnrecordedJobs(tmp_path).claim("b"):
        with pytest.raises(MaterializationFailed, match="'a' is being materialised by another process"):
            async with UnrecordedJobs(tmp_path).claim("a"):
                pass


async def test_concurrent_calls_of_one_process_never_write_at_the_same_time(
    client: Any, db: Database, tmp_path: Path
) -> None:
    writing, most = [], []

    def overlapping() -> None:
        writing.append(1)
        most.append(len(writing))
        time.sleep(0.005)
        writing.pop()

    FailingWrites(client.store(), before=overlapping)
    runs = [Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=utc_now) for _ in range(2)]
    results = await asyncio.gather(*(run.materialize(EARLIEST, NOW) for run in runs), return_exceptions=True)
    assert set(most) == {1}
    assert {result.rows for result in results if isinstance(result, MaterializationResult)} == {
        len(latest_values(ROWS, NOW))
    }
    assert online_content(tmp_path) == latest_values(ROWS, NOW)


def killed_run(folder: Path, dsn: str, chunk_rows: int, *, portions: int, delay_s: float) -> None:
    """Materialise in another process and kill it ``delay_s`` after so many portions."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.feature_child", "materialize", str(folder), dsn, str(chunk_rows)],
        cwd=PROJECT_ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    with child.stdout:
        for _ in range(portions + 1):
            assert child.stdout.readline()
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        child.wait()


async def test_a_killed_process_loses_and_doubles_no_row(
    client: Any, materializer: Materializer, db: Database, database_url: str, tmp_path: Path
) -> None:
    killed_run(tmp_path, database_url, 100, portions=2, delay_s=np.random.default_rng().uniform(0, 0.2))
    result = await materializer.materialize(EARLIEST, NOW)
    assert result.views[0].resumed
    await assert_complete(db, tmp_path, latest_values(ROWS, NOW))
    jobs = await FeatureJobs(db).recent(VIEW, 1_000)
    assert [job.error_message for job in jobs if job.status == "failed"] == ["interrupted"]
    assert not any(job.status == "running" for job in jobs)


def write_million(folder: Path) -> dict[str, float]:
    """A million rows of some 630,000 entities, and the latest value of each."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(11)
    count = 1_000_000
    seconds = rng.permutation(count)  # no two rows at one time
    frame = pd.DataFrame(
        {
            "trigger_id": pd.Series(rng.integers(0, count, count)).map("T{:07d}".format),
            "confidence_score": rng.random(count),
            "lead_time_days": 7,
            "event_timestamp": pd.Timestamp(BEGIN) + pd.to_timedelta(seconds * 5, unit="s"),
        }
    )
    frame["created_timestamp"] = frame["event_timestamp"]
    schema = source_schema(get_feature_view(VIEW))
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), folder / f"{VIEW}.parquet")
    latest = frame.sort_values("event_timestamp").groupby("trigger_id")["confidence_score"].last()
    return {str(key): float(value) for key, value in latest.items()}


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_a_million_rows_survive_kills_at_random_points(db: Database, database_url: str, tmp_path: Path) -> None:
    expected = write_million(tmp_path)
    config = feature_config(tmp_path, materialization={"chunk_rows": 25_000})
    opened = feature_client(config)
    await opened.apply()
    rng = np.random.default_rng(7)
    for _ in range(5):
        portions = int(rng.integers(0, 5))
        killed_run(tmp_path, database_url, 25_000, portions=portions, delay_s=rng.uniform(0, 4))
    steps: list[Progress] = []
    materializer = Materializer(opened.store, config, jobs=FeatureJobs(db), clock=utc_now)
    result = await materializer.materialize(EARLIEST, NOW, on_progress=steps.append)
    assert result.views[0].resumed
    assert len(steps) > 5
    await assert_complete(db, tmp_path, expected)
    await opened.close()
