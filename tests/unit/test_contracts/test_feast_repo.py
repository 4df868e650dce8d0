"""Can a real feature store be made from the declarations, and does it answer without the future?"""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.contracts.checking import check_frame
from src.contracts.feast_declarations import FeastDeclaration, build_feast
from src.contracts.tables import TABLES
from src.feature_store.library import load_feast
from tests.unit.test_contracts.frames import clean_frame

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def _source_frame(declaration: FeastDeclaration, frame: pd.DataFrame) -> pd.DataFrame:
    columns = {
        column.name: frame[column.parts[0]]
        if len(column.parts) == 1
        else frame[list(column.parts)].astype(str).agg("_".join, axis=1)
        for column in declaration.source_columns
    }
    source = pd.DataFrame(columns)
    for name in (declaration.event_time, declaration.created_time):
        source[name] = pd.to_datetime(source[name], utc=True)
    return source


def _store(folder: Path, frames: dict[str, pd.DataFrame]) -> tuple[Any, dict[str, FeastDeclaration]]:
    load_feast()
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast import types as feast_types
    from feast.value_type import ValueType

    store = FeatureStore(
        config=RepoConfig(
            project="contract",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    declarations, objects = {}, []
    for table in TABLES.values():
        declaration = build_feast(table)
        if declaration is None:
            continue
        declarations[table.name] = declaration
        file = folder / f"{table.name}.parquet"
        _source_frame(declaration, frames[table.name]).to_parquet(file)
        entity = declaration.entities[0]
        joined = Entity(name=entity.name, join_keys=[entity.join_key], value_type=ValueType.STRING)
        view = FeatureView(
            name=table.name,
            entities=[joined],
            ttl=timedelta(days=400),
            schema=[Field(name=field.name, dtype=_type(feast_types, field.value_type)) for field in declaration.fields],
            source=FileSource(
                path=str(file),
                timestamp_field=declaration.event_time,
                created_timestamp_column=declaration.created_time,
            ),
        )
        objects += [joined, view]
    store.apply(objects)
    return store, declarations


def _type(feast_types: Any, name: str) -> Any:
    return feast_types.Array(feast_types.String) if name == "Array(String)" else getattr(feast_types, name)


def test_a_local_store_applies_the_declarations_and_reads_a_row_back(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Feast and what it imports warn about their own deprecated calls
        frames = {name: check_frame(table, clean_frame(name)).frame for name, table in TABLES.items()}
        store, declarations = _store(tmp_path, frames)
        assert {view.name for view in store.list_feature_views()} == set(declarations)
        asked = pd.DataFrame(
            {
                "hcp_id": ["hcp_id_1", "hcp_id_1"],
                "event_timestamp": pd.to_datetime(["2024-03-02", "2024-02-01"], utc=True),
            }
        )
        features = ["hcp_profiles:decile", "hcp_profiles:practice_type", "hcp_profiles:affiliations"]
        answer = store.get_historical_features(entity_df=asked, features=features).to_df()
    early = answer["event_timestamp"] < pd.Timestamp("2024-03-01", tz="UTC")
    assert answer.loc[early, ["decile", "practice_type"]].isna().all(axis=None)
    answer = answer[~early].reset_index(drop=True)
    expected = frames["hcp_profiles"].iloc[1]
    assert answer.loc[0, "decile"] == expected["decile"]
    assert answer.loc[0, "practice_type"] == expected["practice_type"]
    assert list(answer.loc[0, "affiliations"]) == expected["affiliations"]
