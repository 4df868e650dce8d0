"""Are the feature views made of columns that exist, none of them an outcome or personal, and do their queries run?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from src.contracts.feature_views import FEATURE_VIEWS, FeatureViewDeclaration
from src.contracts.model import Role
from src.contracts.tables import TABLES
from src.feature_store.feast_client import FeastClient
from src.feature_store.repository import load_objects
from src.storage.database import Database
from src.storage.loading import load_tables
from src.synthetic import generate_panel
from tests.conftest import in_database
from tests.unit.test_feature_store.worlds import configuration

pytestmark = pytest.mark.integration

VIEWS = pytest.mark.parametrize("view", FEATURE_VIEWS, ids=lambda view: view.name)
LOADED = "e2i_features"


@pytest.fixture(scope="module")
def loaded_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    """Address of a database with the generated tables."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {LOADED} TEMPLATE {template_database}")
    asyncio.run(_load(in_database(postgres_dsn, LOADED)))
    yield in_database(postgres_dsn, LOADED)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {LOADED} WITH (FORCE)")


async def _load(url: str) -> None:
    async with Database.open(url) as database:
        await load_tables({name: [frame] for name, frame in generate_panel(30, 1).tables.items()}, db=database)


@pytest.fixture
def rows(loaded_url: str, view: FeatureViewDeclaration) -> Iterator[list[dict[str, Any]]]:
    with psycopg.connect(loaded_url, row_factory=dict_row) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection.execute(view.query().encode()).fetchall()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the repository in the checkout makes, by name."""
    objects = load_objects(configuration(tmp_path_factory.mktemp("features")))
    return {item.name: item for item in objects if hasattr(item, "batch_source")}


@VIEWS
def test_features_exist_and_are_neither_outcomes_nor_personal(
    view: FeatureViewDeclaration, registered: dict[str, Any]
) -> None:
    table = TABLES[view.table]
    for feature in registered[view.name].features:
        column = table.column(feature.name)
        assert column.role is Role.FEATURE, feature.name
        assert not column.is_personal, feature.name


@VIEWS
def test_feast_has_the_declared_view(view: FeatureViewDeclaration, registered: dict[str, Any]) -> None:
    made = registered[view.name]
    declared = {field.name: field.value_type for field in view.fields}
    assert {feature.name: str(feature.dtype) for feature in made.features} == declared
    assert made.join_keys == [view.join_key.join_key]
    assert made.ttl.days == view.ttl_days
    assert made.batch_source.created_timestamp_column == "created_timestamp"


@VIEWS
def test_the_query_yields_each_key_and_times_once(view: FeatureViewDeclaration, rows: list[dict[str, Any]]) -> None:
    assert rows
    assert list(rows[0]) == [view.join_key.join_key, *view.features, "event_timestamp", "created_timestamp"]
    keys = [(row[view.join_key.join_key], row["event_timestamp"], row["created_timestamp"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(None not in key and key[0] != "" for key in keys)


@VIEWS
def test_nothing_is_known_before_it_happened(view: FeatureViewDeclaration, rows: list[dict[str, Any]]) -> None:
    assert all(row["created_timestamp"] >= row["event_timestamp"] for row in rows)


async def test_the_generated_tables_reach_feast_and_come_back(loaded_url: str, tmp_path: Path) -> None:
    """The latest row of each view is what history says of its key right after it became known."""
    async with Database.open(loaded_url) as database:
        client = FeastClient(configuration(tmp_path), database=database)
        summary = await client.apply()
        assert all(summary.rows[view.name] > 0 for view in FEATURE_VIEWS)
        for view in FEATURE_VIEWS:
            source = pq.read_table(tmp_path / f"{view.name}.parquet").to_pylist()
            assert len(source) == summary.rows[view.name]
            last = max(source, key=lambda row: (row["event_timestamp"], row["created_timestamp"]))
            key = view.join_key.join_key
            frame = pd.DataFrame({key: [last[key]], "event_timestamp": [pd.Timestamp(last["created_timestamp"])]})
            answer = await client.get_historical_features(frame, [f"{view.name}:{name}" for name in view.features])
            assert isinstance(answer, pd.DataFrame)
            given = {name: answer[f"{view.name}__{name}"].tolist()[0] for name in view.features}
            missing = {name for name, value in given.items() if not isinstance(value, list) and pd.isna(value)}
            assert {name: None if name in missing else value for name, value in given.items()} == {
                name: last[name] for name in view.features
            }, view.name
        await client.close()
