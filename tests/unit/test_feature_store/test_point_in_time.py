"""Does a historical join ever show the future? Compared with ten independent lines over random rows and corrections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from src.contracts.feature_views import get_feature_view
from src.feature_store.feast_client import FeastClient
from src.feature_store.repository import parquet_path
from src.feature_store.sources import ExportedSources
from src.storage.database import Database
from tests.unit.test_feature_store.worlds import at, configuration, row, write_rows, write_world

pytestmark = pytest.mark.integration

VIEW = get_feature_view("hcp_profile")
REF = "hcp_profile:decile"
ENTITIES = 40
ASKED = 10_000
START = at("2020-01-01")
DAYS = 900


def random_rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Rows on a coarse grid, so that many share the event time; most restated, some long after. Values differ."""
    event = rng.integers(0, DAYS // 3, n) * 3
    delay = np.where(rng.random(n) < 0.3, 0, rng.integers(0, 60, n) * 5)
    rows = {
        (int(key), int(day), int(day + late)): (int(key), int(day), int(day + late))
        for key, day, late in zip(rng.integers(0, ENTITIES, n), event, delay, strict=True)
    }
    return [row(f"h{key}", _day(day), _day(known), decile=value) for value, (key, day, known) in enumerate(rows)]


def random_questions(rng: np.random.Generator) -> pd.DataFrame:
    """Keys and times; half of the times lie exactly on the grid, and some keys are unknown."""
    days = rng.integers(-10, DAYS + 450, ASKED).astype(float)
    days += np.where(rng.random(ASKED) < 0.5, 0, rng.random(ASKED))
    times = pd.Timestamp(START) + pd.to_timedelta((days * 86_400e6).astype("int64"), unit="us")
    keys = [f"h{key}" for key in rng.integers(0, ENTITIES + 5, ASKED)]
    return pd.DataFrame({"hcp_id": keys, "event_timestamp": times}, index=rng.permutation(ASKED))


def oracle(rows: list[dict[str, Any]], asked: pd.DataFrame) -> list[int | None]:
    """Row by row: the latest event known by then and not expired; of equal events the last one told."""
    by_key: dict[str, list[dict[str, Any]]] = {key: [] for key in asked["hcp_id"]}
    for item in rows:
        by_key[item["key"]].append(item)
    answers: list[int | None] = []
    for key, time in zip(asked["hcp_id"], asked["event_timestamp"], strict=True):
        known = [
            (item["event_timestamp"], item["created_timestamp"], item["decile"])
            for item in by_key[key]
            if item["event_timestamp"] <= time <= item["event_timestamp"] + timedelta(days=VIEW.ttl_days)
            and item["created_timestamp"] <= time
        ]
        answers.append(max(known)[2] if known else None)
    return answers


def _day(number: int) -> str:
    return (START + timedelta(days=number)).replace(tzinfo=None).isoformat()


def deciles(answer: object) -> list[int | None]:
    assert isinstance(answer, pd.DataFrame)
    return [None if pd.isna(value) else int(value) for value in answer["hcp_profile__decile"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[FeastClient]:
    client = FeastClient(write_world(folder, {}))
    asyncio.run(client.apply())
    yield client
    asyncio.run(client.close())


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
async def test_ten_thousand_rows_get_what_was_known_then(client: FeastClient, folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, asked = random_rows(rng, 4_000), random_questions(rng)
    write_rows(folder, VIEW.name, [rows[i] for i in rng.permutation(len(rows))])
    answer = await client.get_historical_features(asked, [REF])
    expected = oracle(rows, asked)
    assert deciles(answer) == expected
    assert answer.index.equals(asked.index)
    # The draw has what it is meant to have: misses, corrections of the same event, expired rows.
    assert 0.1 < sum(value is None for value in expected) / ASKED < 0.9
    events = pd.DataFrame(rows).groupby(["key", "event_timestamp"]).size()
    assert (events > 1).sum() > 100


async def test_rows_of_the_future_change_nothing(client: FeastClient, folder: Path) -> None:
    rng = np.random.default_rng(4)
    rows, asked = random_rows(rng, 2_000), random_questions(rng)
    cut = pd.Timestamp(START) + pd.Timedelta(days=500)
    asked = asked[asked["event_timestamp"] < cut]
    past = [item for item in rows if item["event_timestamp"] < cut and item["created_timestamp"] < cut]
    write_rows(folder, VIEW.name, past)
    before = deciles(await client.get_historical_features(asked, [REF]))
    write_rows(folder, VIEW.name, rows)
    assert len(past) < len(rows)
    assert deciles(await client.get_historical_features(asked, [REF])) == before


async def test_of_rows_that_share_both_times_the_highest_key_counts(db: Database, tmp_path: Path) -> None:
    """Such ties are settled where the rows leave the table, so that Feast never has to choose."""
    rng = np.random.default_rng(5)
    view = get_feature_view("hcp_prescribing")
    events = pd.DataFrame(
        {
            "key": [f"e{i:04}" for i in rng.permutation(600)],
            "hcp_id": rng.choice(["hcp_a", "hcp_b", "hcp_c"], 600),
            "day": rng.integers(0, 60, 600),
            "cost": rng.permutation(600).astype(float),
        }
    )
    await _insert_events(db.dsn, events)
    client = FeastClient(configuration(tmp_path), database=db)
    await client.apply()
    times = pd.Timestamp(START) + pd.to_timedelta(np.arange(0.0, 70, 0.5), unit="D")
    asked = pd.DataFrame([(hcp, time) for hcp in ("hcp_a", "hcp_b", "hcp_c") for time in times])
    asked.columns = pd.Index(["hcp_id", "event_timestamp"])
    answer = await client.get_historical_features(asked.assign(brand="Kisqali"), ["hcp_prescribing:cost"])
    expected = []
    for hcp, time in zip(asked["hcp_id"], asked["event_timestamp"], strict=True):
        # What happens on a day is known when the day is over.
        known_at = pd.Timestamp(START) + pd.to_timedelta(events["day"] + 1, unit="D")
        over = events[(events["hcp_id"] == hcp) & (known_at <= time)]
        latest = over.sort_values(["day", "key"]).tail(1)
        expected.append(float(latest["cost"].iloc[0]) if len(latest) else None)
    assert isinstance(answer, pd.DataFrame)
    assert [None if pd.isna(value) else value for value in answer["hcp_prescribing__cost"]] == expected
    assert (await ExportedSources(db, tmp_path).ensure([view]))["hcp_prescribing"] < len(events)
    assert parquet_path(tmp_path, "hcp_prescribing").is_file()
    await client.close()


async def _insert_events(dsn: str, events: pd.DataFrame) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(
            "INSERT INTO hcp_profiles (hcp_id, specialty, geographic_region) SELECT hcp, 'Oncology', 'south'"
            " FROM unnest(ARRAY['hcp_a', 'hcp_b', 'hcp_c']) AS hcp"
        )
        await connection.execute(
            "INSERT INTO patient_journeys"
            " (patient_journey_id, patient_id, journey_start_date, journey_stage, journey_status, geographic_region)"
            " VALUES ('j', 'p', '2020-01-01', 'diagnosis', 'active', 'south')"
        )
        async with connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO treatment_events"
                " (treatment_event_id, patient_journey_id, patient_id, hcp_id, event_date, event_type, brand, cost)"
                " VALUES (%s, 'j', 'p', %s, date '2020-01-01' + %s::int, 'prescription', 'Kisqali', %s)",
                list(events.itertuples(index=False, name=None)),
            )
