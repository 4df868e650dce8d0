"""Do audit chain, pattern memory, catalogue, splits, retrieval and causal records keep their promises?"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.mlops.scoring import TuningProblem, pattern_similarity, running_mean
from tests.unit.test_database.sql_session import REFUSED, Row, SqlSession

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC).replace(microsecond=0)
DIGEST = "ab" * 32


# Audit chain


def chain_of(sql: SqlSession, length: int) -> uuid.UUID:
    chain = uuid.uuid4()
    for number in range(length):
        query = "SELECT append_audit_entry(%s, 'causal_impact', %s, %s, %s)"
        sql.rows(query, chain, f"node_{number}", DIGEST, f"{number:064x}")
    return chain


def test_schema_audit_chain_grows_and_verifies(sql: SqlSession) -> None:
    chain = chain_of(sql, 4)
    entries = sql.rows("SELECT * FROM audit_chain WHERE chain_id = %s ORDER BY sequence", chain)
    assert [entry["sequence"] for entry in entries] == [0, 1, 2, 3]
    assert entries[0]["previous_sha256"] == "0" * 64
    assert [entry["previous_sha256"] for entry in entries[1:]] == [entry["entry_sha256"] for entry in entries[:-1]]
    assert sql.value("verify_chain(%s)", chain) is True


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_chain SET output_sha256 = repeat('f', 64) WHERE sequence = 1",
        "UPDATE audit_chain SET node = 'other' WHERE sequence = 0",
        "UPDATE audit_chain SET agent = 'explainer' WHERE sequence = 2",
        "UPDATE audit_chain SET created_at = created_at + interval '1 microsecond' WHERE sequence = 3",
        "UPDATE audit_chain SET previous_sha256 = repeat('f', 64) WHERE sequence = 1",
        "UPDATE audit_chain SET entry_sha256 = repeat('f', 64) WHERE sequence = 3",
        "DELETE FROM audit_chain WHERE sequence = 1",
        "DELETE FROM audit_chain WHERE sequence = 0",
    ],
)
def test_schema_audit_chain_shows_tampering(sql: SqlSession, tampering: str) -> None:
    chain = chain_of(sql, 4)
    sql.change(tampering)
    assert sql.value("verify_chain(%s)", chain) is False


def test_schema_audit_chain_rewritten_entry_breaks_the_next(sql: SqlSession) -> None:
    chain = chain_of(sql, 3)
    sql.change("UPDATE audit_chain SET node = 'other' WHERE sequence = 1")
    sql.change("UPDATE audit_chain AS a SET entry_sha256 = audit_entry_digest(a) WHERE sequence = 1")
    assert sql.value("verify_chain(%s)", chain) is False


def test_schema_audit_chain_without_entries_is_not_verified(sql: SqlSession) -> None:
    assert sql.value("verify_chain(%s)", uuid.uuid4()) is False


# Pattern memory


def pattern(sql: SqlSession, problem: TuningProblem, **values: Any) -> Any:
    defaults = {
        "algorithm_name": "lightgbm", "problem_type": "binary", "metric": "roc_auc", "direction": "maximize",
        "search_space": dict.fromkeys(problem.parameters or (), 1), "best_params": {"depth": 3}, "best_value": 0.8,
        "n_samples": problem.n_samples, "n_features": problem.n_features, "class_balance": problem.class_balance,
        "target_scale": problem.target_scale, "feature_types": problem.feature_types,
    }  # fmt: skip
    return sql.add("ml_hpo_patterns", **defaults | values)["pattern_id"]


def similar(sql: SqlSession, problem: TuningProblem, least: float = 0.0) -> list[Row]:
    query = (
        "SELECT * FROM find_similar_hpo_patterns('lightgbm', 'binary', 'roc_auc', %s, %s, %s::float8, %s::float8,"
        " %s::jsonb, %s::jsonb, %s::float8)"
    )
    space = None if problem.parameters is None else dict.fromkeys(problem.parameters, 1)
    mix = None if problem.feature_types is None else dict(problem.feature_types)
    return sql.rows(
        query, problem.n_samples, problem.n_features, problem.class_balance, problem.target_scale, mix, space, least
    )


problems = st.builds(
    TuningProblem,
    n_samples=st.integers(1, 10**7),
    n_features=st.integers(1, 10**4),
    class_balance=st.none() | st.floats(0, 0.5, allow_subnormal=False),
    target_scale=st.none() | st.floats(1e-3, 1e3),
    feature_types=st.none() | st.dictionaries(st.sampled_from("abc"), st.integers(1, 50), min_size=1),
    parameters=st.none() | st.sets(st.sampled_from(["depth", "rate", "leaves", "rounds"]), min_size=1),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=problems, asked=problems)
def test_schema_pattern_similarity_is_the_same_in_sql_and_python(
    sql: SqlSession, known: TuningProblem, asked: TuningProblem
) -> None:
    sql.change("DELETE FROM ml_hpo_patterns")
    identity = pattern(sql, known)
    (found,) = similar(sql, asked)
    stored = TuningProblem(**{**_fields(known), "parameters": known.parameters or ()})
    assert found["pattern_id"] == identity
    assert found["similarity"] == pytest.approx(pattern_similarity(stored, asked), abs=1e-12)


def _fields(problem: TuningProblem) -> Row:
    return {name: getattr(problem, name) for name in TuningProblem.__slots__}


def test_schema_equal_problems_are_fully_alike_and_unlike_ones_are_left_out(sql: SqlSession) -> None:
    problem = TuningProblem(1000, 20, 0.3, None, {"numeric": 15, "text": 5}, ("depth", "rate"))
    near = pattern(sql, problem)
    pattern(sql, TuningProblem(10**6, 2000, 0.01, None, {"text": 9}, ("other",)))
    for change in ({"metric": "f1"}, {"algorithm_name": "ridge"}, {"problem_type": "regression"}):
        pattern(sql, problem, **change)
    found = similar(sql, problem, least=0.7)
    assert [(row["pattern_id"], row["similarity"]) for row in found] == [(near, pytest.approx(1.0))]
    assert [row["similarity"] for row in similar(sql, problem)][1] < 0.2


def test_schema_similarity_weights_add_up_part_by_part(sql: SqlSession) -> None:
    base = TuningProblem(1000, 20, 0.5, None, {"a": 1}, ("x",))
    pattern(sql, base)
    for other, expected in [
        (TuningProblem(10_000, 20, 0.5, None, {"a": 1}, ("x",)), 1 - 0.30 / 2),
        (TuningProblem(1000, 200, 0.5, None, {"a": 1}, ("x",)), 1 - 0.20 / 2),
        (TuningProblem(1000, 20, 0.25, None, {"a": 1}, ("x",)), 1 - 0.20 / 2),
        (TuningProblem(1000, 20, 0.5, None, {"a": 1, "b": 1}, ("x",)), 1 - 0.15 / 2),
        (TuningProblem(1000, 20, 0.5, None, {"a": 1}, ("x", "y")), 1 - 0.15 / 2),
    ]:
        assert similar(sql, other)[0]["similarity"] == pytest.approx(expected)
        assert pattern_similarity(base, other) == pytest.approx(expected)


def test_schema_warmstart_average_is_the_arithmetic_mean_of_all_values(sql: SqlSession) -> None:
    identity = pattern(sql, TuningProblem(1000, 20))
    gains = np.random.default_rng(3).normal(size=7).tolist()
    mean: float | None = None
    for number, gain in enumerate(gains):
        stored = sql.value("record_hpo_warmstart_usage(%s, %s)", identity, gain)
        mean = running_mean(mean, number, gain)
        assert stored == pytest.approx(mean) == pytest.approx(np.mean(gains[: number + 1]))
    row = sql.row("SELECT * FROM ml_hpo_patterns")
    assert (row["times_used_as_warmstart"], row["last_used_at"] is not None) == (7, True)


def test_schema_unmeasured_or_unknown_warmstart_is_an_error(sql: SqlSession) -> None:
    identity = pattern(sql, TuningProblem(1000, 20))
    with pytest.raises(psycopg.errors.NullValueNotAllowed):
        sql.value("record_hpo_warmstart_usage(%s, NULL)", identity)
    with pytest.raises(psycopg.errors.NoDataFound):
        sql.value("record_hpo_warmstart_usage(%s, 0.1)", uuid.uuid4())


# Catalogue and runs


def dataset(sql: SqlSession, **values: Any) -> Row:
    defaults = {
        "dataset_id": "ds_0123456789abcdef", "name": "sales", "kind": "file", "source": "sales.csv",
        "content_sha256": DIGEST, "n_rows": 3, "columns": {"a": "int"},
    }  # fmt: skip
    return sql.add("datasets", **defaults | values)


def test_schema_dataset_name_is_unique_among_those_not_removed(sql: SqlSession) -> None:
    dataset(sql)
    with pytest.raises(psycopg.errors.UniqueViolation):
        dataset(sql, dataset_id="ds_1")
    sql.change("UPDATE datasets SET removed_at = now()")
    dataset(sql, dataset_id="ds_1")


@pytest.mark.parametrize(
    "values", [{"kind": "rumour"}, {"content_sha256": "abc"}, {"n_rows": -1}, {"name": ""}, {"source": None}]
)
def test_schema_dataset_refuses(sql: SqlSession, values: Row) -> None:
    with pytest.raises(REFUSED):
        dataset(sql, **values)


def run(sql: SqlSession, **values: Any) -> Row:
    defaults = {
        "run_id": uuid.uuid4(), "trace_id": "t", "question": "?", "understood": {}, "request": {},
        "request_sha256": DIGEST, "dataset_id": "ds_1", "data_sha256": DIGEST, "code_version": "0.1.0",
        "random_state": 20_260_101, "versions": {}, "queries": [], "status": "running", "started_at": NOW,
    }  # fmt: skip
    return sql.add("analysis_runs", **defaults | values)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "asleep"},
        {"status": "completed", "ended_at": NOW},
        {"status": "completed", "verdict": "not identified", "analysis": {}},
        {"status": "failed", "ended_at": NOW},
        {"error_type": "E", "error_message": "m"},
        {"ended_at": NOW},
        {"ended_at": NOW - timedelta(seconds=1)},
    ],
)
def test_schema_run_refuses_a_status_its_fields_contradict(sql: SqlSession, values: Row) -> None:
    with pytest.raises(REFUSED):
        run(sql, **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"status": "completed", "verdict": "not identified", "analysis": {"a": 1}, "ended_at": NOW},
        {"status": "failed", "error_type": "E", "error_message": "m", "ended_at": NOW},
    ],
)
def test_schema_run_of_each_status_is_stored(sql: SqlSession, values: Row) -> None:
    assert run(sql, **values)["status"] == values.get("status", "running")


# Splits


def split_config(sql: SqlSession) -> None:
    sql.add("ml_split_registry", split_config_id="chrono", strategy="chronological")


def journey(sql: SqlSession, number: int, **values: Any) -> Row:
    defaults = {
        "patient_journey_id": f"j{number}", "patient_id": "p1", "journey_start_date": date(2024, 3, 1),
        "journey_stage": "diagnosis", "journey_status": "active", "geographic_region": "south",
    }  # fmt: skip
    return sql.add("patient_journeys", **defaults | values)


def test_schema_patient_keeps_one_split_across_statements_and_updates(sql: SqlSession) -> None:
    journey(sql, 1, data_split="train")
    journey(sql, 2, data_split="train")
    journey(sql, 3)
    with pytest.raises(psycopg.errors.CheckViolation, match="two data_splits"):
        journey(sql, 4, data_split="test")
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.change("UPDATE patient_journeys SET data_split = 'test' WHERE patient_journey_id = 'j3'")
    sql.change("UPDATE patient_journeys SET data_split = 'test' WHERE patient_id = 'p1'")


def test_schema_journey_and_assignment_may_not_contradict(sql: SqlSession) -> None:
    split_config(sql)
    sql.add("ml_patient_split_assignments", split_config_id="chrono", patient_id="p1", data_split="train")
    with pytest.raises(psycopg.errors.CheckViolation, match="contradicts"):
        journey(sql, 1, data_split="test", split_config_id="chrono")
    journey(sql, 1, data_split="train", split_config_id="chrono")
    with pytest.raises(psycopg.errors.CheckViolation, match="contradicts"):
        sql.change("UPDATE ml_patient_split_assignments SET data_split = 'test'")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.add("ml_patient_split_assignments", split_config_id="chrono", patient_id="p1", data_split="train")


def test_schema_preprocessing_is_computed_on_train_only(sql: SqlSession) -> None:
    split_config(sql)
    row = {"split_config_id": "chrono", "feature_name": "age", "transformation": "scale", "parameters": {"mean": 1}}
    assert sql.add("ml_preprocessing_metadata", **row)["computed_on_split"] == "train"
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.add("ml_preprocessing_metadata", **row | {"feature_name": "b", "computed_on_split": "test"})


def test_schema_split_ratios_must_add_up(sql: SqlSession) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.add("ml_split_registry", split_config_id="x", strategy="rolling_window", train_ratio=0.7)


# Retrieval


def test_schema_chunk_text_is_searchable_and_embedding_dimension_is_checked(sql: SqlSession) -> None:
    document = sql.add("rag_documents", source_type="file", source_id="BU5", title="TRx", checksum="c")["document_id"]
    chunk = sql.add(
        "rag_chunks", document_id=document, ordinal=0, content="Prescriptions rose in the Midwest", token_count=5
    )["chunk_id"]
    assert sql.rows("SELECT chunk_id FROM rag_chunks WHERE tsv @@ to_tsquery('english', 'prescription')")
    sql.add("rag_embeddings", chunk_id=chunk, model="small", dims=3, embedding="[1,0,0]")
    sql.add("rag_embeddings", chunk_id=chunk, model="large", dims=4, embedding="[1,0,0,0]")
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.add("rag_embeddings", chunk_id=chunk, model="wrong", dims=4, embedding="[1,0,0]")


@pytest.mark.parametrize(("model", "dims"), [("all-MiniLM-L6-v2", 384), ("text-embedding-3-small", 1536)])
def test_schema_each_configured_embedding_model_has_an_index_of_its_dimension(
    sql: SqlSession, model: str, dims: int
) -> None:
    rows = sql.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'rag_embeddings' AND indexdef LIKE '%%hnsw%%'")
    assert sum(model in row["indexdef"] and f"vector({dims})" in row["indexdef"] for row in rows) == 1


# Causal records and views


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ({"ate": 0.3, "ate_se": 0.1, "ci_lower": 0.1, "ci_upper": 0.5}, True),
        ({"error_type": "OverlapViolated", "error_message": "no overlap"}, True),
        ({}, False),
        ({"ate": 0.3, "error_type": "E", "error_message": "m"}, False),
        ({"ate": 0.3, "ate_se": 0.0}, False),
        ({"ate": float("nan")}, False),
        ({"ate": 0.3, "ci_lower": 0.5, "ci_upper": 0.1}, False),
        ({"error_type": "E", "error_message": "m", "selected": True}, False),
    ],
)
def test_schema_estimate_has_an_answer_or_an_error_never_both(sql: SqlSession, values: Row, accepted: bool) -> None:
    if accepted:
        sql.add("estimator_evaluations", estimator="aipw", **values)
    else:
        with pytest.raises(REFUSED):
            sql.add("estimator_evaluations", estimator="aipw", **values)


def test_schema_estimator_performance_counts_failures_under_their_own_name(sql: SqlSession) -> None:
    sql.add("estimator_evaluations", estimator="aipw", ate=0.3, ate_se=0.1, selected=True)
    sql.add("estimator_evaluations", estimator="ipw", error_type="OverlapViolated", error_message="no overlap")
    rows = {row["estimator"]: row for row in sql.rows("SELECT * FROM v_estimator_performance")}
    assert (rows["aipw"]["times_selected"], rows["aipw"]["failure_rate"]) == (1, 0.0)
    assert (rows["ipw"]["failures"], rows["ipw"]["failure_rate"]) == (1, 1.0)
    assert rows["aipw"]["avg_energy_score"] is None


def test_schema_refutation_needs_a_verdict_only_where_it_applies(sql: SqlSession) -> None:
    owner = sql.add("estimator_evaluations", estimator="aipw", ate=0.3)["id"]
    common = {"estimation_id": owner, "critical": True, "gate": "proceed"}
    sql.add("causal_validations", test_name="e_value", applicable=False, **common)
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.add("causal_validations", test_name="placebo", applicable=True, **common)


@pytest.mark.parametrize(
    ("value", "target", "status"),
    [
        (100.0, 100.0, "on_target"),
        (90.0, 100.0, "below_target"),
        (89.0, 100.0, "warning"),
        (74.0, 100.0, "critical"),
        (74.0, None, "no_threshold"),
    ],
)
def test_schema_current_kpi_is_the_latest_value_with_its_status(
    sql: SqlSession, value: float, target: float | None, status: str
) -> None:
    common = {"metric_type": "kpi", "metric_name": "BU5", "brand": "Kisqali"}
    sql.add("business_metrics", metric_id="a", metric_date=date(2024, 1, 1), value=1.0, target=1.0, **common)
    sql.add("business_metrics", metric_id="b", metric_date=date(2024, 2, 1), value=value, target=target, **common)
    sql.add("business_metrics", metric_id="c", metric_date=date(2024, 1, 1), value=5.0, region="west", **common)
    rows = {row["region"]: row for row in sql.rows("SELECT * FROM v_kpi_current WHERE metric_name = 'BU5'")}
    assert (rows[None]["value"], rows[None]["status"]) == (value, status)
    assert rows["west"]["value"] == 5.0


def test_schema_driver_paths_are_validated_and_strongest_first(sql: SqlSession) -> None:
    for identity, effect, status in (("a", 0.1, "proceed"), ("b", -0.6, "proceed"), ("c", 0.9, "review")):
        sql.add(
            "causal_paths", path_id=identity, discovery_date=date(2024, 1, 1), start_node="calls", end_node="nrx",
            path_length=1, causal_effect_size=effect, method_used="aipw", validation_status=status,
        )  # fmt: skip
    assert [row["path_id"] for row in sql.rows("SELECT path_id FROM v_driver_paths")] == ["b", "a"]


def test_schema_failed_composer_step_names_its_error(sql: SqlSession) -> None:
    owner = sql.add("composer_compositions", trace_id="t", query="q", status="partial")["composition_id"]
    sql.add("composer_steps", composition_id=owner, ordinal=0, tool="gap_calculator", status="success")
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.add("composer_steps", composition_id=owner, ordinal=1, tool="gap_calculator", status="failed")


@pytest.mark.parametrize("values", [{"status": "failed"}, {"status": "completed"}, {"window_end": NOW - timedelta(1)}])
def test_schema_materialisation_job_refuses(sql: SqlSession, values: Row) -> None:
    defaults = {
        "feature_view": "hcp_profile", "mode": "full", "window_start": NOW, "window_end": NOW,
        "status": "running", "started_at": NOW,
    }  # fmt: skip
    sql.add("ml_feast_materialization_jobs", **defaults)
    with pytest.raises(REFUSED):
        sql.add("ml_feast_materialization_jobs", **defaults | values)
