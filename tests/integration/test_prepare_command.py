"""`e2i data prepare` runs the agent that guards training, shows its gate, and leaves one activity."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from src.agents.configuration import AgentBudget, AgentsConfig
from src.agents.ml_foundation.data_preparer import agent
from src.cli.main import app
from src.errors import ContractViolation, DataUnavailable, E2IError, UnknownColumn
from src.mlops.opik_connector import reset_opik_connector
from src.storage.database import Database
from src.storage.loading import load_table
from tests.unit.test_contracts.frames import clean_frame

ROWS = 600
ASKED = ("triggers", "--target", "outcome_value", "--features", "confidence_score,lead_time_days")


def triggers() -> pd.DataFrame:
    """Alerts over eighteen months, split by time with gaps; what came of them is noise."""
    rng = np.random.default_rng(11)
    times = pd.date_range("2024-01-01T09:00Z", "2025-06-30T09:00Z", periods=ROWS).floor("s")
    frame = clean_frame("triggers", ROWS).assign(
        trigger_timestamp=times,
        delivery_timestamp=times + pd.Timedelta(hours=1),
        view_timestamp=times + pd.Timedelta(hours=2),
        expiration_date=(times.tz_localize(None) + pd.Timedelta(days=30)).normalize(),
        confidence_score=rng.uniform(size=ROWS),
        lead_time_days=rng.integers(0, 60, ROWS),
        outcome_value=rng.normal(100.0, 10.0, ROWS),
        brand=np.where(np.arange(ROWS) % 3 == 0, "Kisqali", "Fabhalta"),
    )
    shares = {"train": 0.58, "unassigned": 0.60, "validation": 0.79, "test": 0.94, "holdout": 1.0}
    place = np.searchsorted(list(shares.values()), np.arange(ROWS) / ROWS, side="right")
    return frame.assign(data_split=np.array(list(shares))[place])


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    reset_opik_connector()


def fill(url: str, frame: pd.DataFrame) -> None:
    async def work() -> None:
        async with Database.open(url) as database:
            await load_table([frame], "triggers", db=database)

    asyncio.run(work())


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "prepare", *map(str, arguments)])


def document(*arguments: object, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stdout
    return json.loads(result.stdout)


def stored(url: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def test_clean_data_opens_the_gate_and_leaves_one_activity_and_one_report(database_url: str) -> None:
    fill(database_url, triggers())
    found = document(*ASKED)
    gate = found["gate"]
    assert gate["passed"] is True, gate
    assert gate["layers"] == dict.fromkeys(("schema", "quality", "ge", "leakage"), "passed")
    assert gate["score"] > 0.95
    assert (found["splits"]["rows"]["train"], sum(found["splits"]["rows"].values())) == (348, ROWS)
    assert found["target_rate"]["train"]["rate"] == pytest.approx(100.0, abs=2.0)
    assert {feature["name"] for feature in found["feature_stats"]["train"]} == {"confidence_score", "lead_time_days"}
    (activity,) = stored(database_url, "SELECT * FROM agent_activities")
    assert (activity["agent_name"], activity["status"], activity["records_processed"]) == (
        "data_preparer",
        "completed",
        ROWS,
    )
    assert activity["trace_id"] == found["trace_id"]
    (report,) = stored(database_url, "SELECT * FROM ml_data_quality_reports")
    assert (report["table_name"], report["overall_status"]) == ("triggers", "passed")


def test_a_view_that_was_never_materialised_leaves_the_gate_open_but_the_data_not_ready(database_url: str) -> None:
    fill(database_url, triggers())
    found = document(*ASKED)
    assert (found["gate"]["passed"], found["is_ready"]) == (True, False)
    assert [(view["feature_view"], view["status"]) for view in found["feast"]["freshness"]] == [
        ("trigger_effectiveness", "UNKNOWN")
    ]


def test_people_read_layers_score_splits_target_and_freshness(database_url: str) -> None:
    fill(database_url, triggers())
    result = call(*ASKED)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "table:triggers → outcome_value: gate open, not ready for training"
    assert lines[1] == "layers: schema passed, quality passed, ge passed, leakage passed"
    assert any("348" in line and "95 % interval" in line for line in lines)
    assert "feature view trigger_effectiveness: UNKNOWN" in result.stdout


def test_a_feature_that_is_the_target_shuts_the_gate(database_url: str) -> None:
    frame = triggers()
    fill(database_url, frame.assign(outcome_value=frame["confidence_score"] * 3.0 + 1.0))
    found = document(*ASKED, code=1)
    assert found["gate"]["layers"]["leakage"] == "failed"
    assert any("confidence_score" in blocker for blocker in found["gate"]["blockers"])
    assert len(stored(database_url, "SELECT * FROM agent_activities")) == 1
    assert stored(database_url, "SELECT count(*) AS n FROM ml_leakage_audit")[0]["n"] > 0


def test_values_known_only_after_their_row_shut_the_gate(database_url: str) -> None:
    fill(database_url, triggers())
    known = ("--known-at", "confidence_score=trigger_timestamp")
    assert document(*ASKED, *known)["request"]["scope"]["known_at"] == {"confidence_score": "trigger_timestamp"}
    late = document(*ASKED, *known, "--known-at", "lead_time_days = view_timestamp", code=1)
    assert late["gate"]["layers"]["leakage"] == "failed"
    assert any("'lead_time_days' was known (by 'view_timestamp')" in line for line in late["gate"]["blockers"])


def test_all_five_ways_of_leaking_are_on_record(database_url: str) -> None:
    fill(database_url, triggers())
    found = document(*ASKED)
    rows = stored(database_url, "SELECT DISTINCT details ->> 'check' AS looked_for, trace_id FROM ml_leakage_audit")
    assert {row["looked_for"] for row in rows} == {"target", "temporal", "group", "duplicate", "preprocessing"}
    assert {row["trace_id"] for row in rows} == {found["trace_id"]}


def test_a_broken_contract_shuts_the_gate_whatever_later_layers_say(database_url: str) -> None:
    fill(database_url, triggers())
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE triggers DROP CONSTRAINT triggers_confidence_score_range")
        connection.execute("UPDATE triggers SET confidence_score = 7 WHERE trigger_id = 'trigger_id_3'")
    result = call(*ASKED)
    assert result.exit_code == 1
    assert "gate shut" in result.stdout
    assert any(
        line.startswith("blocks: schema") and "confidence_score" in line for line in result.stdout.splitlines()
    ), result.stdout


def test_leakage_that_was_not_looked_for_is_no_pass(database_url: str) -> None:
    fill(database_url, triggers())
    found = document(*ASKED, "--skip-leakage-check", code=1)
    assert found["gate"]["layers"]["leakage"] == "skipped"
    assert any(blocker.startswith("leakage") for blocker in found["gate"]["blockers"])


def test_brand_in_any_case_and_days_narrow_the_rows(database_url: str) -> None:
    fill(database_url, triggers())
    found = document(*ASKED, "--brand", "kisqali")
    assert found["request"]["scope"]["brand"] == "Kisqali"
    assert sum(found["splits"]["rows"].values()) == ROWS // 3
    early = call(*ASKED, "--from", "2024-01-01", "--to", "2024-03-31", "--json")
    period = json.loads(early.stdout)["request"]["scope"]["period"]
    assert (period["start"], period["end"]) == ("2024-01-01", "2024-03-31")


@pytest.mark.parametrize("scope", [(), ("--from", "1999-01-01", "--to", "1999-12-31")])
def test_no_rows_to_judge_are_one_line_and_on_record(database_url: str, scope: tuple[str, ...]) -> None:
    if scope:
        fill(database_url, triggers())
    error = call(*ASKED, *scope).exception
    assert isinstance(error, DataUnavailable)
    assert "no rows within the scope" in str(error)
    (activity,) = stored(database_url, "SELECT * FROM agent_activities")
    assert (activity["status"], activity["error_type"]) == ("failed", "DataUnavailable")


def test_a_run_out_of_time_is_one_line_and_recorded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = AgentsConfig(agents={"data_preparer": AgentBudget(timeout_seconds=0.5, node_timeouts={})})
    monkeypatch.setattr(agent, "load_agents_config", lambda: budget)
    with psycopg.connect(database_url) as blocking:
        blocking.execute("LOCK TABLE triggers IN ACCESS EXCLUSIVE MODE")
        error = call(*ASKED).exception
        blocking.rollback()
    assert isinstance(error, DataUnavailable)
    assert "within its time budget" in str(error)
    (activity,) = stored(database_url, "SELECT * FROM agent_activities")
    assert (activity["status"], activity["error_type"]) == ("timeout", "TimeoutError")


def test_a_strategy_plans_a_new_split_and_its_id_uses_it_again(database_url: str) -> None:
    fill(database_url, triggers())
    planned = document(*ASKED, "--split-strategy", "patient_stratified")
    assert (planned["splits"]["strategy"], planned["splits"]["unit"]) == ("patient_stratified", "patient_id")
    assert planned["splits"]["rows"]["train"] != 348
    again = document(*ASKED, "--split-id", planned["splits"]["split_config_id"])
    assert again["splits"] == planned["splits"]


def test_a_split_of_few_rows_shuts_the_gate_whatever_else_is_clean(database_url: str) -> None:
    frame = triggers()
    few = (frame["data_split"] == "holdout") & (np.arange(ROWS) < ROWS - 9)
    fill(database_url, frame.assign(data_split=frame["data_split"].mask(few, "test")))
    found = document(*ASKED, code=1)
    assert found["gate"]["blockers"] == [
        "splits: the holdout split has 9 rows, and needs 10; take more rows, or another split"
    ]
    assert any(line.startswith("splits: the test split has") for line in found["gate"]["warnings"])


def test_an_unexpected_error_is_on_record_by_type_and_place_alone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise KeyError("patient 4711 of Example Street")

    monkeypatch.setattr(agent.DataPreparerAgent, "run", broken)
    assert isinstance(call(*ASKED).exception, KeyError)
    (activity,) = stored(database_url, "SELECT error_type, error_message FROM agent_activities")
    assert activity["error_type"] == "KeyError"
    assert activity["error_message"].startswith("run: unexpected, at test_prepare_command.py:") or activity[
        "error_message"
    ].startswith("unexpected, at test_prepare_command.py:")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["trigers", "--target", "x", "--features", "y"], ContractViolation, "did you mean 'triggers'"),
        (["triggers", "--target", "outcome_valu", "--features", "y"], UnknownColumn, "target 'outcome_valu'"),
        (["triggers", "--target", "outcome_value", "--features", "lead_time"], UnknownColumn, "'lead_time_days'"),
        (["triggers", "--target", "outcome_value", "--features", ","], ContractViolation, "is empty"),
        ([*ASKED, "--known-at", "lead_time_days"], ContractViolation, "is not like confidence_score=trigger_timestamp"),
        ([*ASKED, "--known-at", "lead_time_days=viewed"], UnknownColumn, "time 'viewed'"),
        ([*ASKED, "--known-at", "priority=view_timestamp"], ContractViolation, "'priority' is no required feature"),
        ([*ASKED, "--brand", "Kiskali"], ContractViolation, "did you mean 'Kisqali'"),
        ([*ASKED, "--region", "nord"], ContractViolation, "there is no region 'nord'"),
        ([*ASKED, "--region", "south"], UnknownColumn, "'region'"),
        (["triggers", "--target", "outcome_value", "--features", "patient_id"], ContractViolation, "identifies"),
        ([*ASKED, "--experiment", "x" * 201], ContractViolation, "longer than 200 characters"),
        ([*ASKED, "--split-strategy", "random"], ContractViolation, "no split strategy 'random'"),
        ([*ASKED, "--split-strategy", "chronological", "--split-id", "s"], ContractViolation, "leave out"),
        ([*ASKED, "--from", "2024-13-01"], ContractViolation, "--from '2024-13-01' is not a day"),
        ([*ASKED, "--from", "2024-05-01", "--to", "2024-04-01"], ContractViolation, "ends before it starts"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    database_url: str, arguments: list[str], error: type[E2IError], says: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert stored(database_url, "SELECT * FROM agent_activities") == []
