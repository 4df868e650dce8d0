"""data_preparer on real PostgreSQL, Great Expectations and Feast: what is read, judged, stored and waited for."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.agents.ml_foundation.data_preparer.agent import DataPreparerAgent, PrepareResult
from src.agents.ml_foundation.data_preparer.services import Services
from src.agents.quality_gate import LAYERS, LayerStatus
from src.agents.runtime import Deps
from src.app.session import CatalogueDatasets
from src.domain.period import Period
from src.feature_store.configuration import FeastConfig, OfflineStoreSettings
from src.feature_store.feast_client import FeastClient
from src.feature_store.results import FreshnessStatus
from src.mlops.data_quality import DataQualityConfig, DataQualityValidator
from src.mlops.preparation.transforms import from_parameters
from src.mlops.tracing.ids import uuid7
from src.resilience.outcomes import Unavailable
from src.storage.catalogue import Catalogue, register_file
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.preparation import PreparationRepository
from src.storage.quality_reports import QualityReportRepository
from tests.traces import memory_connector

from .parts import FEATURES, Features, alerts, request

pytestmark = pytest.mark.integration


@pytest.fixture
async def filled(db: Database) -> Database:
    """A database whose table ``triggers`` holds the alerts."""
    rows: list[Any] = alerts().astype(object).to_dict("records")
    await PostgresGateway(db).insert("triggers", rows)
    return db


async def prepare(db: Database, features: Any = None, **changes: Any) -> PrepareResult:
    """Run the agent with nothing but real parts around it, except the feature store unless given."""
    gateway, config = PostgresGateway(db), DataQualityConfig()
    services = Services(
        DataQualityValidator(config=config),
        PreparationRepository(gateway),
        QualityReportRepository(gateway),
        config,
        features or Features(),
    )
    connector, _ = memory_connector()
    deps = Deps(CatalogueDatasets(Catalogue(db)), connector, str(uuid7()), str(uuid7()))
    try:
        return await DataPreparerAgent(services, sla_seconds=600).run(request(**changes), deps)
    finally:
        await connector.flush()


async def test_clean_rows_of_a_table_pass_and_leave_their_evidence(filled: Database) -> None:
    result = await prepare(filled)
    assert (result.gate.passed, result.gate.blockers) == (True, ())
    assert result.gate.layers == dict.fromkeys(LAYERS, LayerStatus.PASSED)
    assert (result.is_ready, result.meta.status) == (True, "completed")
    assert result.splits is not None
    gateway, split_id = PostgresGateway(filled), result.splits.split_config_id
    report = await QualityReportRepository(gateway).latest("triggers")
    assert report is not None
    assert (report.overall_status, report.leakage_detected) == ("passed", False)
    assert report.completeness_score == 1.0
    store = PreparationRepository(gateway)
    assert (await store.plan(split_id)).cuts == result.splits.cuts
    assert len(await store.assignments(split_id)) == 300
    learnt = from_parameters(await store.preprocessing(split_id))
    assert [feature.name for feature in learnt.features] == list(FEATURES)
    assert learnt.n_rows == result.splits.rows["train"]
    audits = await store.audits("triggers")
    assert {row["check_type"] for row in audits} == {"target", "temporal", "train_test_overlap", "preprocessing"}
    assert {(row["leakage_detected"], row["split_config_id"], row["trace_id"]) for row in audits} == {
        (False, split_id, result.meta.trace_id)
    }


async def test_the_same_data_again_registers_nothing_twice(filled: Database) -> None:
    first, second = await prepare(filled), await prepare(filled)
    assert first.splits == second.splits
    assert (second.gate, second.target_rate) == (first.gate, first.target_rate)
    counts = {
        table: (await filled.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"]
        for table in ("ml_split_registry", "ml_patient_split_assignments", "ml_preprocessing_metadata")
    }
    assert counts == {"ml_split_registry": 1, "ml_patient_split_assignments": 300, "ml_preprocessing_metadata": 3}
    assert (await filled.fetch("SELECT count(*) AS n FROM ml_data_quality_reports"))[0]["n"] == 2


async def test_a_registered_split_gives_the_same_rows(filled: Database) -> None:
    first = await prepare(filled)
    assert first.splits is not None
    again = await prepare(filled, split_id=first.splits.split_config_id)
    assert again.splits == first.splits
    assert dict(again.splits.rows) == dict(first.splits.rows)
    assert again.target_rate == first.target_rate


async def test_transforms_read_back_are_those_of_the_latest_run_with_the_split(filled: Database) -> None:
    store = PreparationRepository(PostgresGateway(filled))
    ids = set()
    for wanted in (("confidence_score", "lead_time_days"), ("lead_time_days", "priority")):
        result = await prepare(filled, required_features=wanted)
        assert result.splits is not None
        ids.add(result.splits.split_config_id)
        learnt = from_parameters(await store.preprocessing(result.splits.split_config_id))
        assert tuple(feature.name for feature in learnt.features) == wanted
    assert len(ids) == 1


async def test_brand_and_period_are_applied_in_the_database(filled: Database) -> None:
    period = Period(date(2023, 1, 1), date(2023, 12, 31))
    result = await prepare(filled, brand="Kisqali", period=period)
    frame = alerts()
    within = (frame["trigger_timestamp"] < pd.Timestamp("2024-01-01", tz="UTC")).sum()
    assert result.splits is not None
    assert sum(result.splits.rows.values()) == within
    other = await prepare(filled, brand="Fabhalta")
    assert other.error is not None
    assert other.error.type == "DataUnavailable"
    report = await QualityReportRepository(PostgresGateway(filled)).latest("triggers")
    assert report is not None
    assert report.brand == "Kisqali"


async def test_a_file_is_held_to_the_contract_it_is_said_to_keep(db: Database, tmp_path: Path) -> None:
    frame = alerts()
    frame["priority"] = frame["priority"].where(frame.index >= 5, "urgent")
    frame.loc[7, "confidence_score"] = 3.0
    path = tmp_path / "march_alerts.csv"
    frame.to_csv(path, index=False)
    await register_file(Catalogue(db), path)
    unnamed = await prepare(db, data_source="march_alerts")
    assert unnamed.error is not None
    assert (unnamed.error.type, unnamed.error.node) == ("DataUnavailable", "load_data")
    result = await prepare(db, data_source="march_alerts", suite="triggers")
    assert (result.gate.passed, result.error) == (False, None)
    assert result.gate.layers["schema"] is LayerStatus.FAILED
    assert "schema: confidence_score must be between 0 and 1 (1 row)" in result.gate.blockers
    assert any(blocker.startswith("schema: priority must be one of") for blocker in result.gate.blockers)
    named = (*result.gate.blockers, *result.gate.warnings)
    assert any(line.startswith("ge: triggers.priority_allowed") and "5 rows" in line for line in named)
    report = await QualityReportRepository(PostgresGateway(db)).latest("triggers")
    assert report is not None
    assert {"triggers.priority_allowed", "triggers.confidence_score_range"} <= {
        failure["id"] for failure in report.failed_expectations
    }
    assert await db.fetch("SELECT * FROM ml_preprocessing_metadata") == []


async def test_planted_leakage_blocks_and_is_on_record(filled: Database) -> None:
    await filled.execute("UPDATE triggers SET lead_time_days = CASE WHEN false_positive_flag THEN 9 ELSE 1 END")
    result = await prepare(filled)
    assert result.gate.layers == dict.fromkeys(LAYERS, LayerStatus.PASSED) | {"leakage": LayerStatus.FAILED}
    report = await QualityReportRepository(PostgresGateway(filled)).latest("triggers")
    assert report is not None
    assert report.leakage_detected is True
    (row,) = await filled.fetch("SELECT * FROM ml_leakage_audit WHERE leakage_detected")
    assert (row["check_type"], row["severity"]) == ("target", "critical")


async def test_blocked_data_on_a_new_installation_is_a_shut_gate_and_no_failed_run(
    filled: Database, tmp_path: Path
) -> None:
    await filled.execute("UPDATE triggers SET lead_time_days = CASE WHEN false_positive_flag THEN 9 ELSE 1 END")
    client = FeastClient(FeastConfig(offline_store=OfflineStoreSettings(path=tmp_path / "features")), database=filled)
    try:
        result = await prepare(filled, client)
        assert (result.error, result.gate.passed, result.feast.registered) == (None, False, ())
        assert result.target_rate
    finally:
        await client.close()


async def test_readiness_waits_for_the_feature_store_to_be_filled(filled: Database, tmp_path: Path) -> None:
    config = FeastConfig(offline_store=OfflineStoreSettings(path=tmp_path / "features"))
    client = FeastClient(config, database=filled)
    try:
        before = await prepare(filled, client)
        assert (before.gate.passed, before.is_ready) == (True, False)
        assert before.feast.registered == ("trigger_effectiveness",)
        assert [age.status for age in before.feast.freshness] == [FreshnessStatus.UNKNOWN]
        done = await client.materialize(datetime(2023, 1, 1, tzinfo=UTC), datetime.now(UTC), ["trigger_effectiveness"])
        assert not isinstance(done, Unavailable)
        assert done.rows == 600
        after = await prepare(filled, client)
        assert (after.is_ready, after.meta.warnings) == (True, ())
        assert [age.status for age in after.feast.freshness] == [FreshnessStatus.FRESH]
        plain = dataclasses.replace(after.feast, freshness=())
        assert plain == dataclasses.replace(before.feast, freshness=())
    finally:
        await client.close()
