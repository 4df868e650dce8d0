"""Do the tables of experiments, models, quality reports and spans keep their promises?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.unit.test_database.sql_session import REFUSED, Row, SqlSession

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC).replace(microsecond=0)


def experiment(sql: SqlSession, **values: Any) -> Any:
    row = sql.add("ml_experiments", **{"experiment_name": "churn", "prediction_target": "churned"} | values)
    return row["id"]


def training_run(sql: SqlSession, **values: Any) -> Row:
    defaults = {
        "experiment_id": values.pop("experiment_id", None) or experiment(sql),
        "run_name": "lightgbm_1",
        "algorithm": "lightgbm",
        "hyperparameters": {"depth": 3},
        "training_samples": 100,
        "status": "running",
        "started_at": NOW,
    }
    return sql.add("ml_training_runs", **defaults | values)


def model(sql: SqlSession, **values: Any) -> Row:
    defaults = {"model_name": "churn", "model_version": "1", "algorithm": "lightgbm"}
    owner = values.pop("experiment_id", None) or experiment(sql)
    return sql.add("ml_model_registry", **defaults | {"experiment_id": owner} | values)


def span(**values: Any) -> Row:
    defaults = {
        "trace_id": "t1", "span_id": "s1", "agent_name": "causal_impact", "agent_tier": "causal_analytics",
        "operation_type": "estimation", "started_at": NOW, "status": "success",
    }  # fmt: skip
    return defaults | values


def test_schema_experiment_is_stored_with_defaults(sql: SqlSession) -> None:
    row = sql.add("ml_experiments", experiment_name="churn", prediction_target="churned")
    assert row["energy_score_enabled"] is False
    assert row["created_at"].tzinfo is not None


@pytest.mark.parametrize(
    "values",
    [
        {"experiment_name": None},
        {"prediction_target": None},
        {"observation_window_days": 0},
        {"prediction_horizon_days": -1},
        {"minimum_auc": 0.49},
        {"minimum_auc": 1.01},
        {"minimum_precision_at_k": -0.1},
        {"maximum_fpr": 1.1},
        {"brand": "Humira"},
        {"region": "nowhere"},
        {"data_split": "some"},
    ],
)
def test_schema_experiment_refuses(sql: SqlSession, values: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        experiment(sql, **values)


def test_schema_mlflow_experiment_id_is_unique(sql: SqlSession) -> None:
    experiment(sql, mlflow_experiment_id="7")
    with pytest.raises(REFUSED):
        experiment(sql, mlflow_experiment_id="7")


def test_schema_training_run_keeps_metrics_as_documents(sql: SqlSession) -> None:
    row = training_run(sql, test_metrics={"roc_auc": 0.81})
    stored = sql.row(
        "SELECT train_metrics, test_metrics, (test_metrics ->> 'roc_auc')::float AS auc FROM ml_training_runs"
        " WHERE id = %s",
        row["id"],
    )
    assert (stored["train_metrics"], stored["test_metrics"], stored["auc"]) == ({}, {"roc_auc": 0.81}, 0.81)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "completed"},
        {"status": "failed"},
        {"status": "asleep"},
        {"training_samples": 0},
        {"completed_at": NOW - timedelta(seconds=1)},
        {"duration_seconds": -1},
        {"optuna_trial_number": -1},
        {"hyperparameters": None},
        {"experiment_id": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_schema_training_run_refuses(sql: SqlSession, values: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        training_run(sql, **values)


def test_schema_model_registry_refuses_an_illegal_stage(sql: SqlSession) -> None:
    assert (model(sql))["stage"] == "development"
    with pytest.raises(REFUSED):
        model(sql, model_version="2", stage="champion")


def test_schema_model_version_is_unique_and_one_champion_per_name(sql: SqlSession) -> None:
    owner = experiment(sql)
    model(sql, experiment_id=owner, is_champion=True)
    with pytest.raises(REFUSED):
        model(sql, experiment_id=owner)
    with pytest.raises(REFUSED):
        model(sql, experiment_id=owner, model_version="2", is_champion=True)
    model(sql, experiment_id=owner, model_name="other", is_champion=True)
    champions = sql.rows("SELECT model_name FROM v_champion_models ORDER BY model_name")
    assert [row["model_name"] for row in champions] == ["churn", "other"]


def test_schema_latest_model_is_the_last_one_registered_in_that_stage(sql: SqlSession) -> None:
    owner = experiment(sql)
    for version, stage, hours in (("1", "staging", 3), ("2", "staging", 2), ("3", "production", 1)):
        registered = NOW - timedelta(hours=hours)
        model(sql, experiment_id=owner, model_version=version, stage=stage, registered_at=registered)
    latest = sql.rows("SELECT model_version FROM get_latest_model('churn', 'staging')")
    assert [row["model_version"] for row in latest] == ["2"]
    assert sql.rows("SELECT * FROM get_latest_model('churn', 'shadow')") == []


@pytest.mark.parametrize(
    ("reports", "allowed"),
    [
        ([], False),
        ([("patient_journeys", "passed", 0.97, False)], True),
        ([("patient_journeys", "warning", 0.91, False)], True),
        ([("patient_journeys", "warning", 0.85, False)], False),
        ([("patient_journeys", "skipped", 1.0, False)], False),
        ([("patient_journeys", "passed", None, False)], False),
        ([("patient_journeys", "passed", 0.99, True)], False),
        ([("patient_journeys", "failed", 0.5, False), ("patient_journeys", "passed", 0.99, False)], True),
        ([("patient_journeys", "passed", 0.99, False), ("triggers", "failed", 0.99, False)], False),
    ],
)
def test_schema_data_quality_decides_on_the_latest_reports(
    sql: SqlSession, reports: list[tuple[str, str, float | None, bool]], allowed: bool
) -> None:
    run = (training_run(sql))["id"]
    for number, (table, status, rate, leakage) in enumerate(reports):
        sql.add(
            "ml_data_quality_reports", report_name="r", suite_name="s", table_name=table, overall_status=status,
            training_run_id=run, expectations_evaluated=10, expectations_passed=9, expectations_failed=1,
            success_rate=rate, leakage_detected=leakage, run_at=NOW + timedelta(seconds=number),
        )  # fmt: skip
    assert sql.value("check_data_quality_for_training(%s, 0.9)", run) is allowed


def test_schema_data_quality_counts_must_add_up(sql: SqlSession) -> None:
    with pytest.raises(REFUSED):
        sql.add(
            "ml_data_quality_reports", report_name="r", suite_name="s", table_name="triggers",
            overall_status="passed", expectations_evaluated=10, expectations_passed=9, expectations_failed=2,
            run_at=NOW,
        )  # fmt: skip


def test_schema_span_is_stored_once(sql: SqlSession) -> None:
    row = sql.add("ml_observability_spans", **span(input_tokens=3, output_tokens=4, total_tokens=7))
    assert (row["attributes"], row["fallback_used"]) == ({}, False)
    with pytest.raises(REFUSED):
        sql.add("ml_observability_spans", **span())
    sql.add("ml_observability_spans", **span(trace_id="t2"))


@pytest.mark.parametrize(
    "values",
    [
        {"agent_name": "nobody"},
        {"agent_tier": "tier_9"},
        {"status": "completed"},
        {"status": "error"},
        {"status": "timeout", "error_type": "TimeoutError"},
        {"error_message": "but it went well"},
        {"ended_at": NOW - timedelta(milliseconds=1)},
        {"duration_ms": -0.1},
        {"total_tokens": 8, "input_tokens": 3, "output_tokens": 4},
        {"input_tokens": -1},
        {"trace_id": None},
    ],
)
def test_schema_span_refuses(sql: SqlSession, values: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        sql.add("ml_observability_spans", **span(**values))


@pytest.mark.parametrize("column", ["trace_id", "agent_name", "agent_tier", "started_at", "status", "fallback_used"])
def test_schema_spans_are_indexed(sql: SqlSession, column: str) -> None:
    rows = sql.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'ml_observability_spans'")
    assert any(row["indexdef"].endswith(f"({column})") for row in rows)


def test_schema_latency_summary_equals_numpy_on_the_last_24_hours(sql: SqlSession) -> None:
    rng = np.random.default_rng(5)
    durations = rng.gamma(2.0, 50.0, size=101)
    failed = rng.random(101) < 0.2
    for i, duration in enumerate(durations):
        error = {"status": "error", "error_type": "E", "error_message": "m"} if failed[i] else {}
        values = span(span_id=f"s{i}", duration_ms=float(duration), fallback_used=i % 4 == 0, total_tokens=0, **error)
        sql.add("ml_observability_spans", **values)
    sql.add("ml_observability_spans", **span(span_id="old", duration_ms=1e6, started_at=NOW - timedelta(hours=25)))
    other = span(span_id="other", agent_name="explainer", agent_tier="self_improvement", duration_ms=1.0)
    sql.add("ml_observability_spans", **other)
    row = sql.row("SELECT * FROM v_agent_latency_summary WHERE agent_name = 'causal_impact'")
    assert row["total_spans"] == 101
    measured = [row[name] for name in ("avg_duration_ms", "p50_ms", "p95_ms", "p99_ms")]
    assert measured == pytest.approx([durations.mean(), *np.percentile(durations, [50, 95, 99])])
    assert row["error_rate"] == pytest.approx(failed.mean())
    assert row["fallback_rate"] == pytest.approx(26 / 101)
    assert row["total_tokens_used"] == 0


def test_schema_latency_summary_of_nothing_is_no_row(sql: SqlSession) -> None:
    assert sql.rows("SELECT * FROM v_agent_latency_summary") == []


@pytest.mark.parametrize(
    "values",
    [
        {"state": "COMPLETE", "value": None},
        {"state": "FAIL", "value": 0.9},
        {"state": "PRUNED", "value": 0.9},
        {"state": "DONE", "value": 0.9},
    ],
)
def test_schema_trial_has_a_value_only_when_complete(sql: SqlSession, values: dict[str, Any]) -> None:
    study = sql.add(
        "ml_hpo_studies", study_name="s", algorithm_name="lightgbm", problem_type="binary", direction="maximize",
        metric="roc_auc", search_space={}, started_at=NOW, status="running",
    )  # fmt: skip
    sql.add("ml_hpo_trials", study_id=study["id"], trial_number=0, state="COMPLETE", params={}, value=0.8)
    with pytest.raises(REFUSED):
        sql.add("ml_hpo_trials", study_id=study["id"], trial_number=1, params={}, **values)


def test_schema_study_counts_must_add_up(sql: SqlSession) -> None:
    with pytest.raises(REFUSED):
        sql.add(
            "ml_hpo_studies", study_name="s", algorithm_name="lightgbm", problem_type="binary",
            direction="maximize", metric="roc_auc", search_space={}, started_at=NOW, status="running",
            n_trials=5, n_completed=3, n_pruned=1,
        )  # fmt: skip
