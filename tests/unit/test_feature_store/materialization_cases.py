"""What does carrying features into the online store write, count and refuse?"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from src.errors import ConfigError, ContractViolation, DataUnavailable, MaterializationFailed, UnknownFeature
from src.feature_store.configuration import FeastConfig, load_feast_config
from src.feature_store.feast_client import FeastClient
from src.feature_store.materialization import Materializer, Progress
from src.feature_store.portions import EARLIEST
from src.feature_store.results import FreshnessStatus
from src.settings import PROJECT_ROOT
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


async def recorded_jobs(db: Database) -> list[tuple[Any, ...]]:
    jobs = await FeatureJobs(db).recent(VIEW)
    return [(job.mode, job.status, job.rows) for job in reversed(jobs)]


def _fail_on_call(number: int) -> Callable[[], None]:
    calls: list[int] = []

    def before() -> None:
        calls.append(1)
        if len(calls) == number:
            raise sqlite3.OperationalError("disk I/O error")

    return before


class MaterializationCases:
    """Rows carried into the online store, counted, and what happens when that fails."""

    async def test_full_materialization(self, tmp_path: Path, db: Database) -> None:
        rows = random_rows(3_000, 400)
        client = await applied(tmp_path, rows, materialization={"chunk_rows": 1_000})
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        result = await materializer.materialize(EARLIEST, NOW, [VIEW])
        assert online_content(tmp_path) == latest_values(rows, NOW)
        assert (result.mode, result.rows, result.recorded) == ("full", 400, True)
        jobs = await FeatureJobs(db).recent(VIEW)
        assert [job.status for job in jobs] == ["completed"] * len(jobs)
        assert sum(job.rows or 0 for job in jobs) == 400
        assert (jobs[-1].window_start, jobs[0].window_end) == (EARLIEST, NOW)
        await client.close()

    async def test_incremental_materialization(self, tmp_path: Path, db: Database) -> None:
        rows = random_rows(2_000, 300)
        client = await applied(tmp_path, rows)
        middle = BEGIN + 30 * DAY
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        await materializer.materialize(EARLIEST, middle, [VIEW])
        assert online_content(tmp_path) == latest_values(rows, middle)
        result = await materializer.materialize_incremental(NOW, [VIEW])
        assert online_content(tmp_path) == latest_values(rows, NOW)
        newer = {row.key for row in rows if row.event > middle}
        assert (result.mode, result.rows) == ("incremental", len(newer))
        assert await recorded_jobs(db) == [
            ("full", "completed", len(latest_values(rows, middle))),
            ("incremental", "completed", len(newer)),
        ]
        await client.close()

    async def test_the_client_materializes_with_the_same_rules(self, tmp_path: Path) -> None:
        client = await applied(tmp_path, [FeatureRow(BEGIN, "T1", 0.5)])
        assert (await client.materialize(EARLIEST, BEGIN + DAY)).rows == 1
        assert (await client.materialize_incremental()).rows == 0
        with pytest.raises(UnknownFeature, match="did you mean 'trigger_effectiveness'"):
            await client.materialize_incremental(views=["trigger_effectivenes"])
        await client.close()

    async def test_a_view_never_materialized_is_carried_over_in_full_by_an_incremental_call(
        self, tmp_path: Path, db: Database
    ) -> None:
        rows = random_rows(200, 50)
        client = await applied(tmp_path, rows)
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        result = await materializer.materialize_incremental(views=[VIEW])
        assert online_content(tmp_path) == latest_values(rows, NOW)
        assert result.views[0].start == EARLIEST
        assert await recorded_jobs(db) == [("full", "completed", len(latest_values(rows, NOW)))]
        await client.close()

    async def test_an_event_that_was_told_late_is_carried_over_by_the_next_incremental_call(
        self, tmp_path: Path
    ) -> None:
        client = await applied(tmp_path, [FeatureRow(BEGIN, "T1", 0.1), FeatureRow(BEGIN, "T2", 0.2)])
        await client.materialize(EARLIEST, BEGIN + 2 * DAY)
        write_source(
            tmp_path,
            [
                FeatureRow(BEGIN, "T1", 0.1),
                FeatureRow(BEGIN, "T2", 0.2),
                FeatureRow(BEGIN + DAY, "T1", 0.9, created=BEGIN + 3 * DAY),
            ],
        )
        result = await client.materialize_incremental(BEGIN + 4 * DAY)
        assert result.rows == 1
        assert online_content(tmp_path) == {"T1": 0.9, "T2": 0.2}
        await client.close()

    @pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
    async def test_a_corrected_value_replaces_the_first_one_in_every_store(
        self, tmp_path: Path, valkey: str, database_url: str, kind: str
    ) -> None:
        address = {"sqlite": "", "redis": valkey, "postgres": database_url}[kind]
        told = FeatureRow(BEGIN, "T1", 0.1)
        client = await applied(tmp_path, [told], online_store={"type": kind, "connection_string": address})
        assert (await client.materialize(EARLIEST, BEGIN + DAY)).rows == 1
        write_source(tmp_path, [told, FeatureRow(BEGIN, "T1", 0.7, created=BEGIN + 2 * DAY)])
        assert (await client.materialize_incremental(BEGIN + 3 * DAY)).rows == 1
        answer = await client.get_online_features([{"trigger_id": "T1"}], [f"{VIEW}:confidence_score"])
        assert answer.values == {f"{VIEW}__confidence_score": [0.7]}
        await client.close()

    async def test_history_kept_in_postgres_is_carried_over_like_a_file(
        self, tmp_path: Path, db: Database, database_url: str
    ) -> None:
        await db.execute(
            "INSERT INTO business_metrics (metric_id, metric_date, metric_type, metric_name, brand, value, created_at)"
            " SELECT 'm' || n, '2024-01-01'::date + n, 'kpi', 'BU5', brand::brand_type, n, '2024-01-01Z'"
            " FROM generate_series(1, 60) AS n, (VALUES ('Kisqali'), ('Fabhalta')) AS b (brand)"
            " WHERE (n % 2 = 0) = (brand = 'Kisqali')"
        )
        folder, portions = {"type": "postgres", "path": tmp_path, "dsn": database_url}, {"chunk_rows": 7}
        client = FeastClient(FeastConfig.model_validate({"offline_store": folder, "materialization": portions}))
        await client.apply()
        result = await client.materialize(EARLIEST, datetime(2024, 2, 20, tzinfo=UTC), ["market_dynamics"])
        brands = [{"brand": "Kisqali"}, {"brand": "Fabhalta"}]
        answer = await client.get_online_features(brands, ["market_dynamics:value"])
        assert (result.rows, answer.values) == (2, {"market_dynamics__value": [50, 49]})
        await client.close()

    async def test_readers_never_see_older_values_while_a_full_run_goes_through_history(self, tmp_path: Path) -> None:
        rows = [FeatureRow(BEGIN + number * HOUR, "T1", float(number)) for number in range(50)]
        others = [FeatureRow(BEGIN + number * HOUR, f"T2{number}", 0.0) for number in range(50)]
        client = await applied(tmp_path, [*rows, *others], materialization={"chunk_rows": 10})
        await client.materialize(EARLIEST, NOW)
        seen: list[float] = []
        await client.materialize(
            EARLIEST, NOW, on_progress=lambda progress: seen.append(online_content(tmp_path)["T1"])
        )
        assert len(seen) > 5
        assert set(seen) == {49.0}
        await client.close()

    async def test_progress_counts_up_to_the_rows_that_are_written(self, tmp_path: Path) -> None:
        client = await applied(tmp_path, random_rows(500, 500, seed=3), materialization={"chunk_rows": 100})
        steps: list[Progress] = []
        result = await client.materialize(EARLIEST, NOW, on_progress=steps.append)
        assert [step.rows for step in steps] == sorted({step.rows for step in steps})
        assert {step.total for step in steps} == {result.rows}
        assert (len(steps), steps[-1].rows, steps[-1].feature_view) == (5, result.rows, VIEW)
        await client.close()

    def test_materialization_config_loading(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://cache:6379/1")
        config = load_feast_config()
        assert (config.online_store.kind, config.repository()) == ("redis", PROJECT_ROOT / "feature_repo")
        settings = config.materialization
        assert (settings.incremental_interval_hours, settings.full_refresh_interval_hours) == (1, 24)
        assert (settings.timeout_seconds, settings.max_retries, settings.retry_delay_seconds) == (300, 3, 30)
        monkeypatch.delenv("REDIS_URL")
        assert load_feast_config().online_store.kind == "sqlite"
        broken = tmp_path / "feast.yaml"
        broken.write_text("feast: {materialization: {chunk_rows: 0}}")
        with pytest.raises(ConfigError, match=r"feast\.materialization\.chunk_rows: .*greater than 0"):
            load_feast_config(broken)

    async def test_materialization_error_handling(self, tmp_path: Path, db: Database) -> None:
        client = await applied(tmp_path, random_rows(100, 20), materialization={"max_retries": 2})
        writes = FailingWrites(client.store(), times=99)
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        with pytest.raises(MaterializationFailed, match=r"OperationalError: database is locked") as caught:
            await materializer.materialize(EARLIEST, NOW, [VIEW])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert writes.calls == 3
        jobs = await FeatureJobs(db).recent(VIEW)
        assert {(job.status, job.rows, job.error_message) for job in jobs} == {
            ("failed", None, "OperationalError: database is locked, key '…'")
        }
        assert len(jobs) == 3
        assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.UNKNOWN
        await client.close()

    async def test_a_failure_that_passes_is_repeated_after_the_configured_delay(
        self, tmp_path: Path, db: Database
    ) -> None:
        rows = random_rows(100, 20)
        client = await applied(tmp_path, rows, materialization={"retry_delay_seconds": 30})
        FailingWrites(client.store(), times=2)
        sleep = NoWait()
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW), sleep=sleep)
        assert (await materializer.materialize(EARLIEST, NOW, [VIEW])).rows == 20
        assert len(sleep.waited) == 2
        assert all(15 <= seconds <= 30 for seconds in sleep.waited)
        assert online_content(tmp_path) == latest_values(rows, NOW)
        assert [status for _, status, _ in await recorded_jobs(db)] == ["failed", "failed", "completed"]
        await client.close()

    async def test_a_source_that_cannot_be_read_is_not_tried_again(self, tmp_path: Path, db: Database) -> None:
        client = await applied(tmp_path, random_rows(10, 5))
        (tmp_path / f"{VIEW}.parquet").unlink()
        sleep = NoWait()
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW), sleep=sleep)
        with pytest.raises(DataUnavailable, match=f"{VIEW}.parquet"):
            await materializer.materialize(EARLIEST, NOW, [VIEW])
        assert sleep.waited == []
        assert [status for _, status, _ in await recorded_jobs(db)] == ["failed"]
        await client.close()

    async def test_a_portion_over_its_time_writes_nothing_more(self, tmp_path: Path, db: Database) -> None:
        client = await applied(
            tmp_path, random_rows(12_000, 12_000), materialization={"timeout_seconds": 0.2, "max_retries": 0}
        )
        # Reading has to be done before the time is up: loaded libraries and a warm connection see to that.
        await client.get_online_features([{"trigger_id": "T1"}], [f"{VIEW}:confidence_score"])
        released = threading.Event()
        writes = FailingWrites(client.store(), before=lambda: released.wait(1.0))
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        with pytest.raises(MaterializationFailed, match=r"longer than 0\.2 s \(materialization\.timeout_seconds\)"):
            await materializer.materialize(EARLIEST, NOW, [VIEW])
        released.set()
        written = writes.calls
        await asyncio.sleep(0.3)
        assert written <= 1
        assert writes.calls == written
        assert [status for _, status, _ in await recorded_jobs(db)] == ["failed"]
        await client.close()

    @pytest.mark.parametrize(
        ("start", "end", "message"),
        [
            (datetime(2026, 1, 1), NOW, "start 2026-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
            (BEGIN, datetime(2026, 1, 9), "end 2026-01-09T00:00:00 has no time zone"),  # noqa: DTZ001
            (NOW, BEGIN, "is after end"),
            (BEGIN, NOW + HOUR, "is in the future"),
        ],
    )
    async def test_a_window_that_makes_no_sense_is_refused_and_nothing_written(
        self, tmp_path: Path, db: Database, start: datetime, end: datetime, message: str
    ) -> None:
        client = await applied(tmp_path, random_rows(10, 5))
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        with pytest.raises(ContractViolation, match=message):
            await materializer.materialize(start, end, [VIEW])
        assert online_content(tmp_path) == {}
        assert await recorded_jobs(db) == []
        await client.close()

    async def test_a_window_that_ends_before_what_is_there_is_refused(self, tmp_path: Path) -> None:
        rows = [FeatureRow(BEGIN, "T1", 0.1), FeatureRow(BEGIN + 5 * DAY, "T1", 0.5)]
        client = await applied(tmp_path, rows)
        await client.materialize(EARLIEST, BEGIN + 9 * DAY)
        for call in (client.materialize(EARLIEST, BEGIN + DAY), client.materialize_incremental(BEGIN + DAY)):
            with pytest.raises(ContractViolation, match="would replace newer values by older ones"):
                await call
        assert online_content(tmp_path) == {"T1": 0.5}
        await client.close()

    async def test_views_that_are_not_registered_are_refused(self, tmp_path: Path) -> None:
        write_source(tmp_path, [])
        client = feature_client(feature_config(tmp_path), clock=Clock(NOW))
        with pytest.raises(UnknownFeature, match="run 'e2i features apply' first"):
            await client.materialize_incremental()
        with pytest.raises(UnknownFeature, match="run 'e2i features apply' first"):
            await client.get_feature_freshness(VIEW)
        await client.apply()
        with pytest.raises(ContractViolation, match="no feature view was named"):
            await client.materialize(EARLIEST, NOW, [])
        await client.close()

    async def test_without_a_database_the_result_says_that_nothing_was_recorded(self, tmp_path: Path) -> None:
        rows = random_rows(300, 100)
        client = await applied(tmp_path, rows, materialization={"chunk_rows": 50, "max_retries": 0})
        FailingWrites(client._store_to_write(), before=_fail_on_call(3))
        with pytest.raises(MaterializationFailed):
            await client.materialize(EARLIEST, NOW)
        assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.UNKNOWN
        result = await client.materialize(EARLIEST, NOW)
        assert (result.recorded, result.rows, result.views[0].resumed) == (False, len(latest_values(rows, NOW)), False)
        await client.close()

    async def test_the_registry_keeps_one_interval_however_many_portions_there_were(
        self, tmp_path: Path, db: Database
    ) -> None:
        client = await applied(tmp_path, random_rows(300, 300), materialization={"chunk_rows": 20})
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        await materializer.materialize(EARLIEST, NOW - HOUR, [VIEW])
        await materializer.materialize_incremental(NOW, [VIEW])
        view = client.store().registry.get_feature_view(VIEW, "e2i")
        assert view.materialization_intervals == [(EARLIEST, NOW)]
        await client.close()
