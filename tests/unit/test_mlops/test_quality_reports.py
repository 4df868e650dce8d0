"""Does a stored report say what the validation found, on a real PostgreSQL?"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.errors import ContractViolation
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from src.storage.postgres_gateway import PostgresGateway
from src.storage.quality_reports import TABLE, QualityReport, QualityReportRepository

pytestmark = pytest.mark.integration

NOW = datetime(2024, 3, 1, 9, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def gateway(db: Any) -> PostgresGateway:
    return PostgresGateway(db)


@pytest.fixture
def reports(gateway: PostgresGateway) -> QualityReportRepository:
    return QualityReportRepository(gateway)


def _result(**changes: Any) -> DataQualityResult:
    failed = FailedExpectation(
        id="business_metrics.brand_allowed",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "brand", "value_set": ["Kisqali", "other"]},
        columns=("brand",),
        observed="2 of 4 rows",
        critical=True,
        count=2,
        rows=(1, "third"),
    )
    result = DataQualityResult(
        id=str(uuid.uuid4()),
        suite_name="business_metrics_suite",
        table_name="business_metrics",
        run_at=NOW,
        overall_status=QualityStatus.FAILED,
        expectations=Counts(20, 19, 1),
        success_rate=0.95,
        failed_expectations=(failed,),
        scores=QualityScores(1.0, 0.5, 0.25, None, 0.75, 0.125),
        validation_ms=12.5,
        rows_validated=4,
        data_split="train",
        brand="Kisqali",
        region="west",
        leakage_detected=True,
    )
    return replace(result, **changes)


async def test_a_report_is_read_as_it_was_stored(reports: QualityReportRepository) -> None:
    result = _result()
    await reports.add(result)
    assert await reports.latest("business_metrics") == QualityReport(
        id=result.id,
        report_name="business_metrics_suite on train",
        suite_name="business_metrics_suite",
        table_name="business_metrics",
        data_split="train",
        brand="Kisqali",
        region="west",
        training_run_id=None,
        overall_status="failed",
        expectations_evaluated=20,
        expectations_passed=19,
        expectations_failed=1,
        success_rate=0.95,
        failed_expectations=[
            {
                "id": "business_metrics.brand_allowed",
                "type": "expect_column_values_to_be_in_set",
                "kwargs": {"column": "brand", "value_set": ["Kisqali", "other"]},
                "columns": ["brand"],
                "observed": "2 of 4 rows",
                "critical": True,
                "count": 2,
                "rows": [1, "third"],
                "approximate": False,
                "error": None,
            }
        ],
        completeness_score=1.0,
        validity_score=0.5,
        consistency_score=0.25,
        timeliness_score=None,
        uniqueness_score=0.75,
        accuracy_score=0.125,
        leakage_detected=True,
        validation_ms=12.5,
        run_at=NOW,
        rows_validated=result.rows_validated,
        reason=None,
    )


@pytest.mark.parametrize("status", list(QualityStatus))
async def test_every_status_is_stored(reports: QualityReportRepository, status: QualityStatus) -> None:
    await reports.add(_result(overall_status=status))
    stored = await reports.latest("business_metrics")
    assert stored is not None
    assert stored.overall_status == status


async def test_a_skipped_validation_has_no_rate_and_no_scores(reports: QualityReportRepository) -> None:
    skipped = _result(
        overall_status=QualityStatus.SKIPPED,
        expectations=Counts(0, 0, 0),
        success_rate=None,
        failed_expectations=(),
        scores=QualityScores(None, None, None, None, None, None),
        data_split=None,
        brand=None,
        region=None,
        reason="Great Expectations is not installed",
    )
    await reports.add(skipped)
    stored = await reports.latest("business_metrics")
    assert stored is not None
    assert (stored.success_rate, stored.completeness_score, stored.failed_expectations) == (None, None, [])
    assert (stored.report_name, stored.brand, stored.region) == ("business_metrics_suite", None, None)


async def test_storing_a_report_again_changes_nothing(
    reports: QualityReportRepository, gateway: PostgresGateway
) -> None:
    result = _result()
    await reports.add(result)
    before = await gateway.select(TABLE)
    await reports.add(result)
    assert await gateway.select(TABLE) == before
    assert len(before) == 1


async def test_reports_come_newest_first_and_only_as_many_as_asked_for(reports: QualityReportRepository) -> None:
    stored = [_result(run_at=NOW + timedelta(hours=hours)) for hours in (1, 3, 0, 2)]
    for result in stored:
        await reports.add(result)
    found = await reports.history("business_metrics", limit=3)
    assert [report.id for report in found] == [stored[1].id, stored[3].id, stored[0].id]
    latest = await reports.latest("business_metrics")
    assert latest is not None
    assert latest.id == stored[1].id


async def test_reports_of_one_split_or_table_are_found_alone(reports: QualityReportRepository) -> None:
    of_test = _result(data_split="test", run_at=NOW - timedelta(hours=1))
    other = _result(table_name="triggers", suite_name="triggers_suite", run_at=NOW + timedelta(hours=1))
    for result in (of_test, _result(), other):
        await reports.add(result)
    found = await reports.latest("business_metrics", data_split="test")
    assert found is not None
    assert found.id == of_test.id
    assert len(await reports.history("business_metrics")) == 2
    assert await reports.latest("causal_paths") is None


async def test_reports_of_a_training_run_decide_whether_it_may_train(
    reports: QualityReportRepository, gateway: PostgresGateway
) -> None:
    (experiment,) = await gateway.insert(
        "ml_experiments", [{"experiment_name": "e", "mlflow_experiment_id": "1", "prediction_target": "churn"}]
    )
    training = {
        "experiment_id": experiment["id"],
        "run_name": "r",
        "algorithm": "xgboost",
        "hyperparameters": {},
        "training_samples": 100,
        "status": "running",
        "started_at": NOW,
    }
    (run,) = await gateway.insert("ml_training_runs", [training])
    allowed = {"run": run["id"], "min_score": 0.9}
    assert await gateway.call("check_data_quality_for_training", allowed) is False
    clean = _result(overall_status=QualityStatus.PASSED, leakage_detected=False, training_run_id=run["id"])
    await reports.add(clean)
    assert await gateway.call("check_data_quality_for_training", allowed) is True
    found = await reports.history("business_metrics", training_run_id=run["id"])
    assert [report.training_run_id for report in found] == [run["id"]]


@pytest.mark.parametrize(
    "wrong",
    [{"training_run_id": str(uuid.uuid4())}, {"brand": "Humira"}, {"region": "nordost"}, {"data_split": "some"}],
)
async def test_what_the_database_does_not_know_is_refused(
    reports: QualityReportRepository, wrong: dict[str, str]
) -> None:
    with pytest.raises(ContractViolation, match=TABLE):
        await reports.add(_result(**wrong))
    assert await reports.history("business_metrics") == []


async def test_a_report_keeps_how_many_rows_there_were_and_why_it_was_skipped(reports: QualityReportRepository) -> None:
    reason = "Great Expectations is not installed"
    result = _result(overall_status=QualityStatus.SKIPPED, rows_validated=12, reason=reason)
    await reports.add(result)
    stored = await reports.latest("business_metrics")
    assert stored is not None
    assert (stored.rows_validated, stored.reason) == (12, reason)
