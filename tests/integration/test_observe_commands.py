"""`e2i observe` shows what is stored and delivered, with exit codes a script can use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from src.cli.observe import app
from src.errors import E2IError, TraceNotFound
from src.mlops.opik_connector import get_opik_connector, reset_opik_connector
from src.storage.database import Database
from tests.unit.test_database.stored_spans import Row, add_feedback, add_metric, span, store

DAY = 86_400.0
NAMES = ("run", "load", "explain", "llm_call")
TRACE = "0199c2a4-51b0-7abc-8def-0123456789ab"
OTHER = "0199c2a4-51b0-7abd-8def-0123456789ab"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    """A database, a spool and a connector of the test's own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    reset_opik_connector()
    yield
    reset_opik_connector()


def fill(url: str, *rows: Row, feedback: str | None = None) -> None:
    async def work() -> None:
        async with Database.open(url) as database:
            await store(database, rows)
            if feedback is not None:
                await add_feedback(database, feedback, value=0.9, reason="convincing", source="ui")
                await add_metric(database, feedback)

    asyncio.run(work())


def analysis(trace: str = TRACE, **root: Any) -> list[Row]:
    """A run of three steps, the last with a model call that failed."""
    usage = {"input_tokens": 1200, "output_tokens": 80, "total_cost": 0.0123}
    return [
        span(trace, "run", agent="orchestrator", ago_s=60, ms=1000, **root),
        span(trace, "load", agent="causal_impact", parent="run", ago_s=59.9, ms=300),
        span(trace, "explain", agent="explainer", parent="run", ago_s=59.5, ms=450),
        span(trace, "llm_call", agent="explainer", parent="explain", ago_s=59.4, ms=200, status="timeout",
             model_name="claude-haiku-5-5", error_message="no answer in 30 s", **usage),
    ]  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments: object, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    return json.loads(result.stdout)


def refusal(*arguments: object) -> E2IError:
    result = call(*arguments)
    assert isinstance(result.exception, E2IError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def test_traces_are_listed_newest_first_and_filtered(database_url: str) -> None:
    fill(database_url, *analysis(), *analysis(OTHER, status="error"), span("old", "run", ago_s=3 * DAY))
    (failed,) = document("traces", "--status", "error")["traces"]
    assert (failed["trace_id"], failed["spans"], failed["errors"], failed["tokens"]) == (OTHER, 4, 2, 1280)
    assert (failed["cost"], failed["duration_ms"], failed["agents"]) == (
        0.0123,
        1000.0,
        ["causal_impact", "explainer", "orchestrator"],
    )
    assert failed["started_at"].endswith("Z")
    assert {trace["trace_id"] for trace in document("traces")["traces"]} == {TRACE, OTHER}
    assert len(document("traces", "--since", "7d")["traces"]) == 3
    assert len(document("traces", "--since", "7d", "--limit", 1)["traces"]) == 1
    assert document("traces", "--agent", "feedback_learner")["traces"] == []
    assert [trace["trace_id"] for trace in document("traces", "--since", "2020-01-01", "--limit", 9)["traces"]][
        -1
    ] == "old"


@pytest.mark.parametrize("columns", ["80", "160"])
def test_the_list_for_people_keeps_ids_that_can_be_asked_for(
    database_url: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    fill(database_url, *analysis())
    shown = call("traces").stdout
    beginning = next(word for word in shown.split() if word.startswith("0199c2a4"))
    assert document("trace", beginning)["trace_id"] == TRACE


def test_one_trace_is_a_tree_with_times_tokens_cost_errors_and_feedback(database_url: str) -> None:
    fill(database_url, *analysis(), feedback=TRACE)
    shown = call("trace", "0199c2a4-51b0-7abc")
    assert shown.exit_code == 0
    lines = {name: next((line for line in shown.stdout.splitlines() if f"{name} " in line), "") for name in NAMES}
    assert "├─ load" in lines["load"]
    assert "   └─ llm_call" in lines["llm_call"]
    for part in ("claude-haiku-5-5", "200", "1,280", "$0.0123", "timeout EstimationError: no answer in 30 s"):
        assert part in lines["llm_call"]
    assert lines["run"].count("█") == 20
    assert lines["load"].count("█") == 6
    assert lines["load"].index("█") < lines["explain"].index("█")
    assert "feedback: quality = 0.9 (ui): convincing" in shown.stdout
    assert "metric: rows = 7" in shown.stdout


@pytest.mark.leaves_orphans
def test_one_trace_in_json_has_every_span_with_its_feedback_metrics_and_orphans(database_url: str) -> None:
    fill(database_url, *analysis(), span(TRACE, "lost", parent="gone", ago_s=59), feedback=TRACE)
    found = document("trace", TRACE)
    assert [one["span_id"] for one in found["spans"]] == ["run", "load", "explain", "llm_call", "lost"]
    assert found["spans"][3]["error_message"] == "no answer in 30 s"
    assert [one["reason"] for one in found["feedback"]] == ["convincing"]
    assert [one["name"] for one in found["metrics"]] == ["rows"]
    assert found["orphans"] == [{"span_id": "lost", "reason": "parent absent"}]


def test_text_from_spans_cannot_steer_the_terminal(database_url: str) -> None:
    rows = [span(TRACE, "run", operation_type="[red]x[/red]\x1b[2J", status="error", error_message="a\nb\x1b]0;t")]
    fill(database_url, *rows)
    shown = call("trace", TRACE).stdout + call("traces").stdout
    assert "\x1b" not in shown
    assert "[red]x[/red]" in shown


@pytest.mark.parametrize(
    ("beginning", "says"),
    [("0199c2a4-51b0", "2 traces begin with '0199c2a4-51b0'"), ("ffff", "no trace has the id 'ffff'")],
)
def test_an_id_that_names_no_trace_is_one_clear_line(database_url: str, beginning: str, says: str) -> None:
    fill(database_url, *analysis(), *analysis(OTHER))
    error = refusal("trace", beginning)
    assert isinstance(error, TraceNotFound)
    assert says in str(error)


def test_latency_is_shown_by_agent_by_tier_and_over_all(database_url: str) -> None:
    fill(database_url, *analysis())
    found = document("latency", "--window", "1h")
    assert {one["agent_name"]: one["total_spans"] for one in found["agents"]} == {
        "orchestrator": 1,
        "causal_impact": 1,
        "explainer": 2,
    }
    assert {one["agent_tier"] for one in found["tiers"]} == {"coordination", "causal_analytics", "self_improvement"}
    assert (found["all"]["spans"], found["all"]["p50_ms"], found["all"]["error_rate"]) == (4, 375.0, 0.25)
    shown = call("latency").stdout
    assert all(name in shown for name in ("orchestrator", "causal_impact", "explainer", "25.0%", "375"))
    assert "No spans in the last 7d" not in call("latency", "--window", "7d").stdout


def test_without_any_span_the_commands_say_so() -> None:
    assert "No trace matches" in call("traces").stdout
    assert "No spans in the last 24h" in call("latency").stdout
    assert document("latency") == {"window": "24h", "agents": [], "tiers": [], "all": None}


@pytest.mark.leaves_orphans
def test_orphans_exit_with_1_and_none_with_0(database_url: str) -> None:
    fill(database_url, *analysis())
    assert document("orphans", "--settled", 0) == {"orphans": []}
    assert "No orphans" in call("orphans").stdout
    fill(database_url, span(OTHER, "lost", parent="gone", ago_s=600), span("busy", "child", parent="open", ago_s=1))
    (found,) = document("orphans", code=1)["orphans"]
    assert (found["span_id"], found["reason"], found["parent_span_id"]) == ("lost", "parent absent", "gone")
    assert call("orphans", "--since", "5m").exit_code == 0
    assert len(document("orphans", "--settled", 0, code=1)["orphans"]) == 2


def test_retention_counts_first_then_deletes_and_keeps_the_young(database_url: str) -> None:
    fill(database_url, *analysis(), span("old", "run", ago_s=40 * DAY), feedback="old")
    planned = document("retention", "--dry-run")
    assert {name: planned[name] for name in ("days", "dry_run", "traces", "spans", "feedback", "metrics")} == {
        "days": 30.0, "dry_run": True, "traces": 1, "spans": 1, "feedback": 1, "metrics": 1,
    }  # fmt: skip
    assert document("retention", "--days", 50)["traces"] == 0
    done = call("retention")
    assert (done.exit_code, "deleted: traces 1, spans 1" in done.stdout) == (0, True)
    assert [trace["trace_id"] for trace in document("traces", "--since", "60d")["traces"]] == [TRACE]


def test_everything_that_was_recorded_is_accounted_for() -> None:
    connector = get_opik_connector()
    with connector.trace_agent("explainer", "run"):
        pass
    assert asyncio.run(connector.accepted(10))
    waiting = document("status")
    sink = waiting["sinks"]["database"]
    assert (sink["accepted"], sink["pending"], waiting["healthy"]) == (1, 1, True)
    assert waiting["circuit_breaker"]["state"] == "closed"
    done = document("replay", "--limit", 30)
    assert (done["complete"], done["delivered"], done["pending"]) == (True, {"database": 1}, {"database": 0})
    assert document("status")["sinks"]["database"]["delivered"] == 1
    shown = call("status").stdout
    assert "every accepted record is accounted for" in shown
    assert "circuit breaker closed" in shown
    assert [one["operation"] for one in document("traces")["traces"]] == ["run"]


def test_dead_records_are_reported_and_delivered_when_their_reason_is_gone(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ml_observability_spans ADD CONSTRAINT quiet CHECK (operation_type <> 'loud')")
    connector = get_opik_connector()
    with connector.trace_agent("explainer", "loud"):
        pass
    left = document("replay", "--limit", 30, code=1)
    assert (left["complete"], left["dead"], left["pending"]) == (False, {"database": 1}, {"database": 0})
    sick = call("status")
    assert (sick.exit_code, "database: 1 dead; 'e2i observe replay --dead'" in sick.stdout) == (1, True)
    assert document("status", code=1)["problems"] == ["database: 1 dead; 'e2i observe replay --dead' tries them again"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ml_observability_spans DROP CONSTRAINT quiet")
    assert document("replay", "--dead", "--limit", 30)["complete"]
    assert document("status")["healthy"]
    assert [one["operation"] for one in document("traces")["traces"]] == ["loud"]
