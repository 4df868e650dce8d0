"""Do the tables and functions of the improvement loop score, rank, activate and roll back as promised?"""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from src.mlops.scoring import (
    RAGAS_WEIGHTS,
    RUBRIC_WEIGHTS,
    calculate_combined_score,
    determine_improvement_priority,
    determine_improvement_type,
    weighted_mean_of_present,
)
from tests.unit.test_database.sql_session import REFUSED, Row, SqlSession

pytestmark = pytest.mark.integration

# Subnormal numbers underflow in PostgreSQL's arithmetic; no score is that small.
unit = st.none() | st.floats(0, 1, allow_subnormal=False)
rating = st.none() | st.floats(1, 5)
ragas_scores = st.fixed_dictionaries({}, optional=dict.fromkeys(RAGAS_WEIGHTS, unit))
rubric_scores = st.fixed_dictionaries({}, optional=dict.fromkeys(RUBRIC_WEIGHTS, rating))
on_one_session = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@on_one_session
@given(ragas=ragas_scores, rubric=rubric_scores)
@example(ragas={}, rubric={})
@example(ragas={"faithfulness": 0.7}, rubric={"actionability": None})
def test_self_improvement_combined_score_is_the_same_in_sql_and_python(
    sql: SqlSession, ragas: dict[str, float | None], rubric: dict[str, float | None]
) -> None:
    combined = calculate_combined_score(ragas, rubric)
    assert sql.value("calculate_combined_score(%s, %s)", ragas, rubric) == combined
    r, q = weighted_mean_of_present(ragas, RAGAS_WEIGHTS), weighted_mean_of_present(rubric, RUBRIC_WEIGHTS)
    assert sql.value("ragas_weighted_mean(%s)", ragas) == r
    assert sql.value("rubric_weighted_mean(%s)", rubric) == q
    kind = sql.value("determine_improvement_type(%s::float8, %s::float8)", r, q)
    assert kind == determine_improvement_type(r, q)
    assert sql.value("determine_improvement_priority(%s::float8)", combined) == determine_improvement_priority(combined)


def test_self_improvement_combined_score_equals_the_arithmetic(sql: SqlSession) -> None:
    ragas = dict.fromkeys(RAGAS_WEIGHTS, 0.5)
    rubric = dict.fromkeys(RUBRIC_WEIGHTS, 3.0)
    assert sql.value("calculate_combined_score(%s, %s)", ragas, rubric) == pytest.approx(0.5)
    assert sql.value("calculate_combined_score(%s, %s)", {"faithfulness": 1.0}, rubric) == pytest.approx(0.7)
    assert sql.value("calculate_combined_score(NULL, NULL)") is None


@given(ragas=ragas_scores, name=st.sampled_from(list(RAGAS_WEIGHTS)))
def test_self_improvement_a_missing_metric_never_lowers_the_score(ragas: dict[str, Any], name: str) -> None:
    measured = {key: value for key, value in ragas.items() if value is not None}
    without = weighted_mean_of_present({key: value for key, value in measured.items() if key != name}, RAGAS_WEIGHTS)
    if without is not None:
        assert weighted_mean_of_present({**measured, name: None}, RAGAS_WEIGHTS) == without
        assert weighted_mean_of_present({**measured, name: 0.0}, RAGAS_WEIGHTS) <= without  # type: ignore[operator]


@pytest.mark.parametrize(
    ("r", "q", "kind"),
    [
        (0.69, 3.79, "workflow"),
        (0.69, 3.81, "retrieval"),
        (0.71, 3.79, "prompt"),
        (0.71, 3.81, "none"),
        (None, 3.0, "prompt"),
        (0.1, None, "retrieval"),
        (None, None, "none"),
    ],
)
def test_self_improvement_type_points_to_the_weaker_side(
    sql: SqlSession, r: float | None, q: float | None, kind: str
) -> None:
    assert sql.value("determine_improvement_type(%s::float8, %s::float8)", r, q) == kind
    assert determine_improvement_type(r, q) == kind


@pytest.mark.parametrize(
    ("combined", "priority"),
    [
        (0.0, "critical"), (0.399, "critical"), (0.40, "high"), (0.549, "high"), (0.55, "medium"),
        (0.699, "medium"), (0.70, "low"), (0.849, "low"), (0.85, "none"), (1.0, "none"), (None, "none"),
    ],
)  # fmt: skip
def test_self_improvement_priority_bands_are_half_open(sql: SqlSession, combined: float | None, priority: str) -> None:
    assert sql.value("determine_improvement_priority(%s::float8)", combined) == priority
    assert determine_improvement_priority(combined) == priority


def signal(sql: SqlSession, **values: Any) -> Row:
    return sql.add("learning_signals", **{"component": "explainer", "signal_type": "evaluation"} | values)


def test_self_improvement_evaluation_writes_scores_and_what_follows(sql: SqlSession) -> None:
    ragas = {"faithfulness": 0.5, "context_recall": 0.6}
    rubric = dict(zip(RUBRIC_WEIGHTS, (2.0, 3.0, 2.0, 4.0, 3.0), strict=True))
    updated = sql.row(
        "SELECT * FROM update_learning_signal_evaluation(%s, %s, %s)", signal(sql)["signal_id"], ragas, rubric
    )
    combined = calculate_combined_score(ragas, rubric)
    assert updated["combined_score"] == combined
    assert updated["rubric_total"] == 14.0
    assert updated["improvement_type"] == "workflow"
    assert updated["improvement_priority"] == determine_improvement_priority(combined)
    assert sql.row("SELECT ragas_scores, rubric_scores FROM learning_signals") == {
        "ragas_scores": ragas,
        "rubric_scores": rubric,
    }


def test_self_improvement_total_stays_unmeasured_when_a_criterion_is(sql: SqlSession) -> None:
    rubric = {"causal_validity": 4.0}
    query = "SELECT * FROM update_learning_signal_evaluation(%s, NULL, %s)"
    updated = sql.row(query, signal(sql)["signal_id"], rubric)
    assert updated["rubric_total"] is None
    assert updated["rubric_weighted"] == 4.0


def test_self_improvement_evaluating_an_unknown_signal_is_an_error(sql: SqlSession) -> None:
    with pytest.raises(psycopg.errors.NoDataFound):
        sql.rows("SELECT update_learning_signal_evaluation(gen_random_uuid(), NULL, NULL)")


def interaction(sql: SqlSession) -> Any:
    return sql.add("rag_interactions", trace_id="t1", query="why?")["interaction_id"]


def test_self_improvement_one_evaluation_per_interaction_and_component(sql: SqlSession) -> None:
    answered = interaction(sql)
    signal(sql, interaction_id=answered)
    with pytest.raises(psycopg.errors.UniqueViolation):
        signal(sql, interaction_id=answered)
    signal(sql, interaction_id=answered, component="orchestrator")
    for _ in range(2):
        signal(sql, interaction_id=answered, signal_type="thumbs_up")


@pytest.mark.parametrize(
    "values",
    [
        {"ragas_weighted": 1.1},
        {"rubric_total": 4.0},
        {"rubric_weighted": 5.1},
        {"combined_score": -0.1},
        {"signal_type": "shrug"},
        {"rubric_decision": "MAYBE"},
        {"improvement_type": "magic"},
    ],
)
def test_self_improvement_signal_refuses(sql: SqlSession, values: Row) -> None:
    with pytest.raises(REFUSED):
        signal(sql, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"faithfulness": 1.01},
        {"context_recall": -0.01},
        {"causal_validity": 0.9},
        {"rubric_aggregate": 5.5},
        {"method": "guess"},
        {"context_count": 3},
        {"learning_signal_id": None},
    ],
)
def test_self_improvement_evaluation_result_refuses(sql: SqlSession, values: Row) -> None:
    defaults = {
        "learning_signal_id": signal(sql)["signal_id"], "query": "q", "response": "r",
        "retrieved_contexts": [], "method": "ragas", "context_count": 0,
    }  # fmt: skip
    sql.add("evaluation_results", **defaults)
    with pytest.raises(REFUSED):
        sql.add("evaluation_results", **defaults | values)


def test_self_improvement_trends_average_what_was_measured(sql: SqlSession) -> None:
    owner = signal(sql)["signal_id"]
    for faithfulness in (0.4, 0.8, None):
        sql.add(
            "evaluation_results", learning_signal_id=owner, query="q", response="r", retrieved_contexts=[],
            method="heuristic", faithfulness=faithfulness, ragas_aggregate=faithfulness,
        )  # fmt: skip
    trend = sql.row("SELECT * FROM v_ragas_performance_trends")
    assert (trend["evaluations"], trend["ragas_measured"], trend["rubric_measured"]) == (3, 2, 0)
    assert trend["avg_faithfulness"] == pytest.approx(0.6)
    assert trend["avg_rubric_aggregate"] is None


def action(sql: SqlSession, key: str = "k", **values: Any) -> Row:
    defaults = {
        "component": "explainer", "decision": "AUTO_UPDATE", "improvement_type": "prompt", "priority": "high",
        "status": "proposed", "action_description": "say the interval", "idempotency_key": key,
    }  # fmt: skip
    return sql.add("improvement_actions", **defaults | values)


def test_self_improvement_action_is_recorded_once_per_key(sql: SqlSession) -> None:
    assert action(sql)["knowledge_ids"] == []
    with pytest.raises(psycopg.errors.UniqueViolation):
        action(sql)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "blocked"},
        {"status": "rolled_back"},
        {"status": "thinking"},
        {"decision": "MAYBE"},
        {"outcome_measured": True},
        {"prompt_version_id": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_self_improvement_action_refuses(sql: SqlSession, values: Row) -> None:
    with pytest.raises(REFUSED):
        action(sql, **values)


def test_self_improvement_summary_counts_outcomes(sql: SqlSession) -> None:
    measured = {"outcome_measured": True, "samples_measured": 20}
    action(sql, "a", status="confirmed", outcome_improved=True, outcome_delta=0.5, **measured)
    action(sql, "b", status="measuring", outcome_improved=False, outcome_delta=-0.1, **measured)
    action(sql, "c", status="blocked", blocked_reason="cooldown")
    summary = sql.row("SELECT * FROM v_improvement_summary")
    assert (summary["actions"], summary["confirmed"], summary["blocked"], summary["measured"]) == (3, 1, 1, 2)
    assert summary["improved_share"] == pytest.approx(0.5)
    assert summary["avg_outcome_delta"] == pytest.approx(0.2)


def test_self_improvement_signal_distribution_counts_what_waits(sql: SqlSession) -> None:
    signal(sql, signal_type="rating", signal_value=4)
    signal(sql, signal_type="rating", signal_value=2)
    sql.change("UPDATE learning_signals SET processed_at = now() WHERE signal_value = 2")
    row = sql.row("SELECT * FROM v_learning_signal_distribution")
    assert (row["signals"], row["unprocessed"], row["avg_signal_value"]) == (2, 1, 3.0)


def test_self_improvement_baseline_retrieval_configuration_is_active(sql: SqlSession) -> None:
    config = sql.row("SELECT * FROM get_active_retrieval_config()")
    names = ("version", "k", "chunk_size", "chunk_overlap", "dense_weight", "text_weight", "graph_weight")
    assert [config[name] for name in names] == [1, 10, 512, 50, 0.4, 0.3, 0.3]


@pytest.mark.parametrize(
    "values",
    [
        {"k": 0},
        {"k": 51},
        {"chunk_overlap": 512},
        {"dense_weight": 0.5},
        {"is_active": True},
        {"version": 1},
    ],
)
def test_self_improvement_retrieval_configuration_refuses(sql: SqlSession, values: Row) -> None:
    defaults = {
        "version": 2, "k": 8, "chunk_size": 512, "chunk_overlap": 50,
        "dense_weight": 0.4, "text_weight": 0.3, "graph_weight": 0.3,
    }  # fmt: skip
    with pytest.raises(REFUSED):
        sql.add("retrieval_configurations", **defaults | values)
    sql.add("retrieval_configurations", **defaults)


def prompt(sql: SqlSession, version: int, **values: Any) -> Row:
    content = f"wording {version}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    defaults = {"component": "explainer", "version": version, "content": content, "content_sha256": digest}
    return sql.add("prompt_versions", **defaults | {"origin": "file"} | values)


def states(sql: SqlSession) -> dict[int, str]:
    return {row["version"]: row["status"] for row in sql.rows("SELECT version, status FROM prompt_versions")}


def activate(sql: SqlSession, version: int) -> Row:
    return sql.row("SELECT * FROM activate_prompt_version('explainer', %s, 'ada')", version)


def test_self_improvement_activation_retires_the_version_before(sql: SqlSession) -> None:
    for version in (1, 2):
        prompt(sql, version)
    activate(sql, 1)
    activated = activate(sql, 2)
    assert states(sql) == {1: "retired", 2: "active"}
    assert (activated["parent_version"], activated["activated_by"]) == (1, "ada")
    assert activate(sql, 2)["activated_at"] == activated["activated_at"]


@pytest.mark.parametrize("status", ["rejected", "rolled_back"])
def test_self_improvement_failed_activation_changes_nothing(sql: SqlSession, status: str) -> None:
    prompt(sql, 1)
    prompt(sql, 2, status=status)
    activate(sql, 1)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=status):
        activate(sql, 2)
    with pytest.raises(psycopg.errors.NoDataFound, match="no version 9"):
        activate(sql, 9)
    assert states(sql) == {1: "active", 2: status}


def test_self_improvement_rollback_restores_the_parent(sql: SqlSession) -> None:
    for version in (1, 2):
        prompt(sql, version)
        activate(sql, version)
    restored = sql.row("SELECT * FROM rollback_prompt_version('explainer', 'scores fell')")
    assert restored["version"] == 1
    assert states(sql) == {1: "active", 2: "rolled_back"}
    taken_back = sql.row("SELECT rollback_reason FROM prompt_versions WHERE version = 2")
    assert taken_back["rollback_reason"] == "scores fell"


def test_self_improvement_rollback_without_parent_changes_nothing(sql: SqlSession) -> None:
    with pytest.raises(psycopg.errors.NoDataFound):
        sql.rows("SELECT rollback_prompt_version('explainer', 'x')")
    prompt(sql, 1)
    activate(sql, 1)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no parent"):
        sql.rows("SELECT rollback_prompt_version('explainer', 'x')")
    assert states(sql) == {1: "active"}


@pytest.mark.parametrize(
    "values", [{"content_sha256": "0" * 64}, {"status": "active"}, {"parent_version": 7}, {"origin": "dream"}]
)
def test_self_improvement_prompt_refuses(sql: SqlSession, values: Row) -> None:
    with pytest.raises(REFUSED):
        prompt(sql, 1, **values)


def test_self_improvement_two_active_prompts_are_impossible(sql: SqlSession) -> None:
    prompt(sql, 1)
    activate(sql, 1)
    prompt(sql, 2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.change("UPDATE prompt_versions SET status = 'active', activated_at = now() WHERE version = 2")
