"""Do the generator's tables go through every layer without a rename?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import psycopg
import pytest

from src.contracts.checking import check_frame
from src.contracts.expectations import build_expectations
from src.contracts.feature_views import FEATURE_VIEWS
from src.contracts.tables import TABLES
from src.synthetic import generate_panel
from tests.unit.test_contracts.layers import insert, run_suite

pytestmark = pytest.mark.integration
MOST_ROWS = 200


@pytest.fixture(scope="module")
def world() -> dict[str, pd.DataFrame]:
    """The eight tables of a small world, coerced."""
    tables = generate_panel(30, 1).tables
    checked = {name: check_frame(TABLES[name], frame) for name, frame in tables.items()}
    assert {name: check.failures[:3] for name, check in checked.items() if not check.passed} == {}
    return {name: check.frame for name, check in checked.items()}


@pytest.mark.parametrize("name", list(TABLES))
def test_generated_tables_pass_great_expectations(name: str, world: dict[str, pd.DataFrame], gx_context: Any) -> None:
    declarations = build_expectations(TABLES[name], present=world[name].columns)
    results = run_suite(gx_context, f"world_{name}", world[name], declarations)
    assert [key for key, result in results.items() if not result.success] == []


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as opened:
        yield opened


def test_generated_tables_load_and_feed_the_feature_store(
    world: dict[str, pd.DataFrame], connection: psycopg.Connection[Any]
) -> None:
    journeys = world["patient_journeys"].head(MOST_ROWS)
    events = world["treatment_events"]
    events = events[events["patient_journey_id"].isin(journeys["patient_journey_id"])]
    metrics = world["business_metrics"]
    national = metrics[(metrics["metric_name"] == "BU5") & metrics["region"].isna()].head(MOST_ROWS // 2)
    metrics = pd.concat([national, metrics]).drop_duplicates("metric_id")
    sample = world | {"patient_journeys": journeys, "treatment_events": events, "business_metrics": metrics}
    for name in sorted(TABLES, key=lambda name: bool(TABLES[name].foreign_keys)):
        table = TABLES[name]
        frame = sample[name].head(MOST_ROWS).reindex(columns=list(table.column_names))
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
            insert(connection, table, row)
    for view in FEATURE_VIEWS:
        found = connection.execute(view.query().encode()).fetchall()
        assert found, view.name
        assert len(found[0]) == len(view.features) + 3
