"""`e2i observe quality` runs the agent that measures, and leaves its spans and one activity."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from src.cli.observe import app
from src.errors import ContractViolation, DataUnavailable
from src.mlops.opik_connector import get_opik_connector, reset_opik_connector
from src.mlops.tracing.configuration import load_observability_config
from src.mlops.tracing.orphans import find_orphans
from src.storage.database import Database
from tests.e2e.command_line import CommandLine
from tests.unit.test_database.stored_spans import Row, span, store

OWN = {"run", "emit_spans", "aggregate_metrics"}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    """A database, a spool and a connector of the test's own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    reset_opik_connector()
    yield
    reset_opik_connector()


def fill(url: str) -> None:
    """Two agents: one slow and whole; one with a fallback and a model call that ran out of time."""

    async def work() -> None:
        call = {"model_name": "claude-haiku-5-5", "input_tokens": 1200, "output_tokens": 80, "total_cost": 0.0123}
        rows = [
            span("t", "analysis", agent="causal_impact", ms=1000),
            span("t", "load", agent="causal_impact", parent="analysis", ms=300),
            span("t", "explain", agent="explainer", parent="analysis", ms=450, fallback_used=True),
            span("t", "call", agent="explainer", parent="explain", ms=200, status="timeout", **call),
        ]
        async with Database.open(url) as database:
            await store(database, rows)

    asyncio.run(work())


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def measured(*arguments: object) -> Any:
    result = call("quality", *arguments, "--json")
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return json.loads(result.stdout)


def rows(url: str, query: str) -> list[Row]:
    """Rows after everything recorded so far was delivered."""
    reset_opik_connector()
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def activities(url: str) -> list[Row]:
    return rows(url, "SELECT * FROM agent_activities")


def spans(url: str) -> list[Row]:
    return rows(url, "SELECT * FROM ml_observability_spans")


def test_latency_rates_tokens_and_score_are_those_of_the_stored_spans(database_url: str) -> None:
    fill(database_url)
    found = measured("--agent", "causal_impact", "--agent", "explainer", "--window", "1h")
    metrics = found["metrics"]
    assert (found["window"], found["status"], found["notes"]) == ("1h", "completed", [])
    assert (metrics["sample_size"], metrics["success_rate"], metrics["quality_score"]) == (4, 0.75, 0.625)
    agents, tiers = metrics["latency"]["agent"], metrics["latency"]["tier"]
    assert (agents["causal_impact"]["p50"], agents["causal_impact"]["n"]) == (650.0, 2)
    assert (agents["explainer"]["p50"], tiers["self_improvement"]["p50"]) == (325.0, 325.0)
    assert metrics["error_rate"] == {"causal_impact": 0.0, "explainer": 0.5}
    assert metrics["fallback_rate"] == {"causal_impact": 0.0, "explainer": 0.5}
    assert (metrics["tokens"], metrics["cost"]) == ({"causal_impact": 0, "explainer": 1280}, 0.0123)


def test_people_read_the_same_figures_by_tier_and_agent(database_url: str) -> None:
    fill(database_url)
    shown = call("quality", "--agent", "causal_impact", "--agent", "explainer").stdout
    assert "Quality score 0.625 over 4 spans of the last 24h; 75.0% succeeded" in shown
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert lines["causal_impact"] == ["2", "650.0", "965.0", "993.0", "0.0%", "0.0%", "0"]
    assert lines["explainer"][4:] == ["50.0%", "50.0%", "1,280"]
    assert list(lines).index("causal_analytics") + 1 == list(lines).index("causal_impact")
    assert "cost of model calls: $0.0123" in shown


def test_an_empty_window_has_a_reason_and_no_numbers(database_url: str) -> None:
    found = measured("--window", "1h")
    assert (found["metrics"], found["reason"], found["status"]) == (None, "no spans in the last 1h", "completed")
    reset_opik_connector()
    result = call("quality", "--agent", "explainer")
    assert (result.exit_code, result.stdout) == (0, "Nothing to measure: no spans of explainer in the last 24h\n")
    assert [row["records_processed"] for row in activities(database_url)] == [0, 0]


def test_a_run_leaves_its_spans_and_one_activity_in_the_same_trace(database_url: str) -> None:
    fill(database_url)
    found = measured("--agent", "explainer")
    own = [row for row in spans(database_url) if row["trace_id"] == found["trace_id"]]
    assert {row["operation_type"] for row in own} == OWN
    assert {row["agent_name"] for row in own} == {"observability_connector"}
    assert find_orphans(own) == []
    (activity,) = activities(database_url)
    assert (activity["agent_name"], activity["agent_tier"], activity["status"]) == (
        "observability_connector",
        "ml_foundation",
        "completed",
    )
    assert (activity["trace_id"], activity["records_processed"]) == (found["trace_id"], 2)
    assert (activity["error_type"], activity["processing_duration_ms"] > 0) == (None, True)
    again = measured("--agent", "observability_connector")
    assert again["metrics"]["latency"]["agent"]["observability_connector"]["n"] == len(OWN)
    assert len(activities(database_url)) == 2


def test_records_that_are_not_stored_yet_are_named(database_url: str) -> None:
    connector = get_opik_connector()
    with connector.trace_agent("explainer", "run"):
        pass
    assert asyncio.run(connector.accepted(10))
    assert measured("--agent", "explainer")["notes"][-1] == "records that are not stored yet and not counted: 1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--window", "2h"], "there is no window '2h'; use 1h, 24h, 7d"),
        (["--agent", "causal_impakt"], "there is no agent 'causal_impakt'; did you mean 'causal_impact'"),
    ],
)
def test_a_wrong_request_is_one_line_and_no_run(database_url: str, arguments: list[str], says: str) -> None:
    error = call("quality", *arguments).exception
    assert isinstance(error, ContractViolation)
    assert says in str(error)
    assert "\n" not in str(error)
    assert (activities(database_url), spans(database_url)) == ([], [])


def test_a_run_beyond_its_budget_is_a_timeout_and_not_an_answer(database_url: str) -> None:
    with psycopg.connect(database_url) as blocking:
        blocking.execute("LOCK TABLE ml_observability_spans IN ACCESS EXCLUSIVE MODE")
        error = call("quality").exception
        blocking.rollback()
    assert isinstance(error, DataUnavailable)
    assert "raise its timeouts in config/agents.yaml" in str(error)
    (activity,) = activities(database_url)
    assert (activity["status"], activity["error_type"]) == ("timeout", "TimeoutError")
    assert {row["operation_type"]: row["status"] for row in spans(database_url)} == {
        "run": "timeout",
        "aggregate_metrics": "timeout",
        "emit_spans": "success",
    }


def test_a_run_that_breaks_is_kept_as_failed_and_its_error_leaves_unchanged(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ml_observability_spans RENAME COLUMN total_cost TO price")
        error = call("quality").exception
        connection.execute("ALTER TABLE ml_observability_spans RENAME COLUMN price TO total_cost")
    assert isinstance(error, psycopg.errors.UndefinedColumn)
    (activity,) = activities(database_url)
    assert (activity["status"], activity["error_type"]) == ("failed", "UndefinedColumn")


def test_the_installed_command_traces_itself_without_orphans(tmp_path: Path, database_url: str) -> None:
    e2i = CommandLine(tmp_path / "var", database_url)
    done = e2i("observe", "quality", "--window", "7d")
    assert (done.code, done.out, done.err) == (0, "Nothing to measure: no spans in the last 7d\n", "")
    stored = spans(database_url)
    assert {row["operation_type"] for row in stored} == OWN | {"e2i observe quality"}
    assert find_orphans(stored) == []
    wrong = e2i("observe", "quality", "--window", "2h")
    assert (wrong.code, wrong.err) == (2, "e2i: there is no window '2h'; use 1h, 24h, 7d\n")


def test_status_says_from_which_day_the_prices_are() -> None:
    day = str(load_observability_config().prices.as_of)
    assert json.loads(call("status", "--json").stdout)["prices_as_of"] == day
    assert f"prices of model calls as published on {day}" in call("status").stdout
