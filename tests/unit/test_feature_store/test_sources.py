"""Do the files that Feast reads hold what the tables hold, whole, and are they written only when something changed?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from src.app.features import Applied
from src.contracts.feature_views import get_feature_view
from src.errors import DataUnavailable
from src.feature_store import sources
from src.feature_store.feast_client import FeastClient
from src.feature_store.repository import ApplySummary, definition_of, parquet_path
from src.feature_store.sources import ExportedSources, StoredSources, source_fingerprint, source_schema
from src.storage.database import Database
from tests.unit.test_feature_store.worlds import at, configuration

pytestmark = pytest.mark.integration

VIEW = get_feature_view("market_dynamics")


async def add_metric(db: Database, key: str, day: str, value: float) -> None:
    await db.execute(
        "INSERT INTO business_metrics (metric_id, metric_date, metric_type, metric_name, brand, value, created_at)"
        " VALUES (%s, %s, 'kpi', 'BU5', 'Kisqali', %s, %s)",
        [key, day, value, at(day)],
    )


def stored(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(parquet_path(folder, VIEW.name)).to_pylist()
    return rows


async def test_the_file_holds_the_rows_of_the_table_in_order_of_time(db: Database, tmp_path: Path) -> None:
    await add_metric(db, "b", "2024-02-01", 20)
    await add_metric(db, "a", "2024-01-01", 10)
    assert await ExportedSources(db, tmp_path).ensure([VIEW]) == {"market_dynamics": 2}
    assert [row["value"] for row in stored(tmp_path)] == [10, 20]
    assert stored(tmp_path)[0]["event_timestamp"] == at("2024-01-01")
    assert stored(tmp_path)[0]["brand"] == "Kisqali"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["market_dynamics.parquet"]


async def test_a_table_without_rows_gives_a_file_with_all_types(db: Database, tmp_path: Path) -> None:
    assert await ExportedSources(db, tmp_path).ensure([VIEW]) == {"market_dynamics": 0}
    assert pq.read_schema(parquet_path(tmp_path, VIEW.name)).equals(source_schema(VIEW))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE business_metrics SET value = value + 1e-9 WHERE metric_id = 'a'",
        "UPDATE business_metrics SET created_at = created_at + interval '1 microsecond' WHERE metric_id = 'a'",
        "DELETE FROM business_metrics WHERE metric_id = 'a'",
        "UPDATE business_metrics SET value = CASE metric_id WHEN 'a' THEN 20 ELSE 10 END",
        "UPDATE business_metrics SET target = 5 WHERE metric_id = 'b'",
    ],
    ids=["a value", "when it was known", "a row fewer", "two values exchanged", "a missing value filled"],
)
async def test_whatever_changes_in_the_table_changes_the_file(db: Database, tmp_path: Path, change: str) -> None:
    await add_metric(db, "a", "2024-01-01", 10)
    await add_metric(db, "b", "2024-02-01", 20)
    exported = ExportedSources(db, tmp_path)
    await exported.ensure([VIEW])
    before = stored(tmp_path)
    await db.execute(change)
    await exported.ensure([VIEW])
    assert stored(tmp_path) != before


async def test_an_unchanged_table_leaves_the_file_alone(db: Database, tmp_path: Path) -> None:
    await add_metric(db, "a", "2024-01-01", 10)
    exported = ExportedSources(db, tmp_path)
    await exported.ensure([VIEW])
    written = identity(parquet_path(tmp_path, VIEW.name))
    # Columns that are no feature of the view do not count.
    await db.execute("UPDATE business_metrics SET sample_size = 7")
    assert await exported.ensure([VIEW]) == {"market_dynamics": 1}
    assert identity(parquet_path(tmp_path, VIEW.name)) == written


def identity(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced; reading it changes its access time only."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize(
    "older",
    [{"features": ("value",)}, {"condition": "metric_name = 'BU5'"}],
    ids=["another schema", "another query of the same rows"],
)
async def test_a_file_of_an_older_declaration_is_written_anew(
    db: Database, tmp_path: Path, older: dict[str, Any]
) -> None:
    exported = ExportedSources(db, tmp_path)
    await exported.ensure([replace(VIEW, **older)])
    before = source_fingerprint(parquet_path(tmp_path, VIEW.name))
    assert await exported.ensure([VIEW]) == {"market_dynamics": 0}
    assert pq.read_schema(parquet_path(tmp_path, VIEW.name)).equals(source_schema(VIEW))
    assert source_fingerprint(parquet_path(tmp_path, VIEW.name)) != before


async def test_professionals_without_a_time_count_in_totals_and_are_reported(db: Database, tmp_path: Path) -> None:
    await db.execute(
        "INSERT INTO hcp_profiles"
        " (hcp_id, specialty, geographic_region, territory_id, total_patient_volume, last_interaction_date) VALUES"
        " ('h1', 'Oncology', 'south', 'T', 100, '2024-01-01'), ('h2', 'Oncology', 'south', 'T', 900, NULL),"
        " ('h3', 'Oncology', 'south', 'U', 50, NULL), ('h4', 'Oncology', 'south', NULL, 7, '2024-01-02')"
    )
    client = FeastClient(configuration(tmp_path), database=db)
    summary = await client.apply()
    await client.close()
    assert isinstance(summary, ApplySummary)
    (total,) = pq.read_table(parquet_path(tmp_path, "territory_performance")).to_pylist()
    assert (total["territory_id"], total["total_patient_volume"]) == ("T", 1000)
    assert total["created_timestamp"] == at("2024-01-02")
    assert summary.rows["hcp_profile"] == 2
    assert summary.left_out == {"hcp_profile": 2, "hcp_engagement": 2, "territory_performance": 1}
    assert "left out for want of a time: hcp_profile 2, hcp_engagement 2, territory_p" in Applied(summary).line()


@pytest.mark.parametrize("content", [b"", b"PAR1 and not much more", b"text"])
async def test_a_file_that_is_none_is_written_anew(db: Database, tmp_path: Path, content: bytes) -> None:
    await add_metric(db, "a", "2024-01-01", 10)
    parquet_path(tmp_path, VIEW.name).write_bytes(content)
    await ExportedSources(db, tmp_path).ensure([VIEW])
    assert [row["value"] for row in stored(tmp_path)] == [10]


async def test_rows_are_streamed_in_groups_without_losing_one(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FETCHED_ROWS", 7)
    monkeypatch.setattr(sources, "GROUP_ROWS", 14)
    await db.execute(
        "INSERT INTO business_metrics (metric_id, metric_date, metric_type, metric_name, brand, value)"
        " SELECT 'm' || i, date '2020-01-01' + i, 'kpi', 'BU5', 'Kisqali', i FROM generate_series(0, 99) AS i"
    )
    await ExportedSources(db, tmp_path).ensure([VIEW])
    assert [row["value"] for row in stored(tmp_path)] == list(range(100))
    assert pq.read_metadata(parquet_path(tmp_path, VIEW.name)).num_row_groups == 8


async def test_an_export_that_fails_leaves_the_old_file(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_metric(db, "a", "2024-01-01", 10)
    exported = ExportedSources(db, tmp_path)
    await exported.ensure([VIEW])
    fingerprint = source_fingerprint(parquet_path(tmp_path, VIEW.name))
    await add_metric(db, "b", "2024-02-01", 20)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        await exported.ensure([VIEW])
    assert source_fingerprint(parquet_path(tmp_path, VIEW.name)) == fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["market_dynamics.parquet"]


async def test_exports_at_the_same_time_end_in_one_whole_file(db: Database, tmp_path: Path) -> None:
    await add_metric(db, "a", "2024-01-01", 10)
    exported = ExportedSources(db, tmp_path)
    assert await asyncio.gather(*(exported.ensure([VIEW]) for _ in range(4))) == [{"market_dynamics": 1}] * 4
    assert [row["value"] for row in stored(tmp_path)] == [10]


async def test_without_a_database_the_files_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="e2i features apply"):
        await StoredSources(tmp_path).ensure([VIEW])


async def test_history_shows_what_the_table_holds_now(db: Database, tmp_path: Path) -> None:
    import pandas as pd

    client = FeastClient(configuration(tmp_path), database=db)
    await client.apply()
    frame = pd.DataFrame({"brand": ["Kisqali"], "event_timestamp": pd.to_datetime(["2024-06-01"], utc=True)})
    for value in (10.0, 20.0):
        await add_metric(db, f"m{value}", f"2024-0{int(value) // 10}-01", value)
        answer = await client.get_historical_features(frame, ["market_dynamics:value"])
        assert isinstance(answer, pd.DataFrame)
        assert answer["market_dynamics__value"].tolist() == [value]
    await client.close()


async def test_the_database_lists_the_applied_views(db: Database, tmp_path: Path) -> None:
    client = FeastClient(configuration(tmp_path), database=db)
    await client.apply()
    query = "SELECT * FROM ml_feast_feature_views ORDER BY name"
    rows = await db.fetch(query)
    assert len(rows) == 8
    (row,) = [row for row in rows if row["name"] == "market_dynamics"]
    assert (row["entities"], row["ttl_seconds"]) == (["brand"], 400 * 86_400)
    assert row["source"] == f"{parquet_path(tmp_path, 'market_dynamics')}#{definition_of(VIEW)}"
    assert row["schema"]["value"] == "Float64"
    await db.execute(
        "INSERT INTO ml_feast_feature_views (name, entities, source, schema) VALUES ('old', '[]', '', '{}')"
    )
    await db.execute("UPDATE ml_feast_feature_views SET ttl_seconds = 1 WHERE name = 'hcp_profile'")
    await client.apply()
    again = {row["name"]: row for row in await db.fetch(query)}
    assert [{**row, "updated_at": None} for row in again.values()] == [{**row, "updated_at": None} for row in rows]
    changed = [row["name"] for row in rows if row["updated_at"] != again[row["name"]]["updated_at"]]
    assert changed == ["hcp_profile"]
    await client.close()
