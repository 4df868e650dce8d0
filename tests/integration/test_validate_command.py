"""`e2i data validate` checks a table or a file with both layers, keeps the report, and blocks with exit code 1."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from src.app.validated import GREAT_EXPECTATIONS, PANDERA
from src.cli.main import app
from src.contracts.pandera_builder import build_pandera
from src.errors import ContractViolation, E2IError, UnreadableFile
from src.storage.database import Database
from src.storage.loading import load_table
from tests.integration.loading_files import as_text, metrics, write_csv
from tests.unit.test_contracts.frames import clean_frame
from tests.unit.test_report.pages import read_page


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "validate", *map(str, arguments)])


def document(*arguments: object, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stdout
    return json.loads(result.stdout)


def reports(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM ml_data_quality_reports ORDER BY run_at").fetchall()


def fill(url: str, table: str, frame: pd.DataFrame) -> None:
    async def work() -> None:
        async with Database.open(url) as database:
            await load_table([frame], table, db=database)

    asyncio.run(work())


def broken(found: Any) -> dict[str, Any]:
    return {rule["rule"]: rule for rule in found["broken_rules"]}


def with_values(frame: pd.DataFrame, **cells: dict[int, Any]) -> pd.DataFrame:
    """``frame`` as text with some cells replaced: column = {row: value}."""
    text = as_text(frame).astype(object)
    for column, values in cells.items():
        for row, value in values.items():
            text.loc[row, column] = value
    return text


def test_a_clean_file_passes_both_layers_and_its_report_is_kept(tmp_path: Path, database_url: str) -> None:
    found = document(write_csv(tmp_path / "in.csv", metrics(40)), "--table", "business_metrics")
    assert (found["passed"], found["blocking"], found["stored"]) == (True, False, True)
    assert found["layers"] == {PANDERA: "passed", GREAT_EXPECTATIONS: "passed"}
    assert found["result"]["rows_validated"] == 40
    assert found["score"] == pytest.approx(1.0)
    (report,) = reports(database_url)
    assert (report["table_name"], report["overall_status"], report["success_rate"]) == (
        "business_metrics",
        "passed",
        1.0,
    )
    assert str(report["id"]) == found["result"]["id"]


def test_a_broken_file_is_blocked_with_every_rule_in_words_and_the_lines_it_breaks_on(
    tmp_path: Path, database_url: str
) -> None:
    frame = with_values(
        metrics(40),
        value={2: "many", 5: "lots"},
        achievement_rate={7: "9.5"},
        metric_id={9: "metric_id_8"},
        region={11: "north"},
    )
    path = write_csv(tmp_path / "in.csv", frame)
    found = document(path, "--table", "business_metrics", code=1)
    rules = broken(found)
    assert (found["blocking"], found["labels"]) == (True, "line")
    assert set(rules) == {"value_type", "achievement_rate_ratio", "metric_id_unique", "region_allowed"}
    assert (rules["value_type"]["rows"], rules["value_type"]["count"]) == ([4, 7], 2)
    assert rules["value_type"]["words"] == "value must be a number"
    assert (rules["achievement_rate_ratio"]["rows"], rules["achievement_rate_ratio"]["layers"]) == ([9], [PANDERA])
    assert rules["metric_id_unique"]["rows"] == [11]
    assert set(rules["region_allowed"]["layers"]) == {PANDERA, GREAT_EXPECTATIONS}
    (report,) = reports(database_url)
    assert report["overall_status"] == "failed"
    stored = {failed["id"].split(".")[1] for failed in report["failed_expectations"]}
    assert stored == set(rules)


def test_a_rule_that_only_the_schema_can_check_blocks_and_is_stored_as_a_failure(
    tmp_path: Path, database_url: str
) -> None:
    path = write_csv(tmp_path / "in.csv", with_values(metrics(40), achievement_rate={7: "9.5"}))
    found = document(path, "--table", "business_metrics", code=1)
    assert found["layers"] == {PANDERA: "failed", GREAT_EXPECTATIONS: "passed"}
    (report,) = reports(database_url)
    assert (report["overall_status"], report["expectations_failed"]) == ("failed", 1)


def test_people_read_status_scores_and_rules(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", with_values(metrics(40), region={11: "north"}))
    result = call(path, "--table", "business_metrics", "--no-store")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("business_metrics: failed; 40 rows, ")
    assert f"layers: {PANDERA} failed, {GREAT_EXPECTATIONS} passed" in lines
    assert any(line.startswith("scores: completeness 1.000, validity 0.99") for line in lines)
    assert any("the gate needs 0.80" in line for line in lines)
    assert "region must be one of northeast, south, midwest, west" in result.stdout
    assert "first (line)" in result.stdout


def test_a_missing_column_is_a_broken_rule_and_a_further_one_is_named(tmp_path: Path) -> None:
    frame = metrics(40).drop(columns="metric_date").assign(mood="good")
    found = document(write_csv(tmp_path / "in.csv", frame), "--table", "business_metrics", "--no-store", code=1)
    assert "metric_date_present" in broken(found)
    assert broken(found)["metric_date_present"]["words"] == "metric_date column is missing"
    assert found["notes"] == ["not in the contract, left out: mood"]


def test_a_parquet_file_is_validated_as_a_csv_file_is(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    metrics(40).assign(region="north").to_parquet(path, index=False)
    found = document(path, "--table", "business_metrics", "--no-store", code=1)
    assert broken(found)["region_allowed"]["rows"][:3] == [2, 3, 4]
    assert broken(found)["region_allowed"]["count"] == 40


def test_an_empty_table_is_blocked_and_an_empty_file_is_none(tmp_path: Path) -> None:
    found = document("business_metrics", "--no-store", code=1)
    assert broken(found)["row_count"]["words"] == "there must be at least one row"
    result = call(write_csv(tmp_path / "in.csv", metrics(0)), "--table", "business_metrics")
    assert isinstance(result.exception, UnreadableFile)


def test_a_file_that_is_not_stored_needs_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    found = document(write_csv(tmp_path / "in.csv", metrics(40)), "--table", "business_metrics", "--no-store")
    assert (found["passed"], found["stored"]) == (True, False)


@pytest.mark.parametrize("target", ["business_metrics", "table:business_metrics"])
def test_a_table_of_the_database_is_validated_with_its_keys_as_labels(database_url: str, target: str) -> None:
    fill(database_url, "business_metrics", clean_frame("business_metrics", 40))
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE business_metrics DROP CONSTRAINT business_metrics_achievement_rate_ratio")
        connection.execute("UPDATE business_metrics SET achievement_rate = 9.5 WHERE metric_id = 'metric_id_7'")
    found = document(target, code=1)
    assert (found["labels"], found["source"]) == ("metric_id", "table business_metrics of the database")
    assert {name: rule["rows"] for name, rule in broken(found).items()} == {"achievement_rate_ratio": ["metric_id_7"]}
    assert found["result"]["rows_validated"] == 40
    assert len(reports(database_url)) == 1


def test_every_table_of_the_database_keeps_the_contract_it_was_loaded_by(database_url: str) -> None:
    for table in ("hcp_profiles", "patient_journeys", "triggers", "causal_paths"):
        fill(database_url, table, clean_frame(table, 12))
        found = document(table)
        assert found["layers"][PANDERA] == "passed", broken(found)
        assert found["blocking"] is False, broken(found)


def test_only_the_rows_of_a_split_are_validated(tmp_path: Path, database_url: str) -> None:
    frame = clean_frame("triggers", 40).assign(data_split="train")
    frame.loc[30:, "data_split"] = "test"
    fill(database_url, "triggers", frame)
    found = document("triggers", "--split", "test")
    assert (found["result"]["rows_validated"], found["result"]["data_split"]) == (10, "test")
    assert reports(database_url)[0]["data_split"] == "test"
    path = write_csv(tmp_path / "in.csv", frame.drop(columns="created_at", errors="ignore"))
    assert document(path, "--table", "triggers", "--split", "train")["result"]["rows_validated"] == 30


SMALL_BATCHES = "batches: {rows: 15, rows_named: 4}\nalerting: {min_severity: warning}\n"


@pytest.fixture
def in_small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from src.mlops.quality import configuration

    path = tmp_path / "data_quality.yaml"
    path.write_text(SMALL_BATCHES)
    monkeypatch.setattr(configuration, "DATA_QUALITY_FILE", path)


@pytest.mark.usefixtures("in_small_batches")
def test_a_table_of_many_batches_gives_the_counts_of_one_run(tmp_path: Path) -> None:
    frame = with_values(
        metrics(40),
        value=dict.fromkeys(range(0, 40, 4), "many"),
        achievement_rate={7: "9.5", 30: "9.5"},
        metric_id={39: "metric_id_1"},
    )
    path = write_csv(tmp_path / "in.csv", frame)
    found = document(path, "--table", "business_metrics", "--no-store", code=1)
    rules = broken(found)
    assert found["result"]["rows_validated"] == 40
    assert (rules["value_type"]["count"], rules["value_type"]["rows"]) == (10, [2, 6, 10, 14])
    assert (rules["achievement_rate_ratio"]["count"], rules["achievement_rate_ratio"]["rows"]) == (2, [9, 32])
    assert (rules["metric_id_unique"]["count"], rules["metric_id_unique"]["rows"]) == (1, [41])


@pytest.mark.usefixtures("in_small_batches")
def test_clean_batches_pass(tmp_path: Path, database_url: str) -> None:
    fill(database_url, "business_metrics", clean_frame("business_metrics", 40))
    for target in (("business_metrics",), (write_csv(tmp_path / "in.csv", metrics(40)), "--table", "business_metrics")):
        found = document(*target)
        assert found["layers"] == {PANDERA: "passed", GREAT_EXPECTATIONS: "passed"}
        assert found["result"]["rows_validated"] == 40


@pytest.mark.usefixtures("in_small_batches")
def test_a_contradiction_between_batches_is_found(tmp_path: Path) -> None:
    frame = clean_frame("patient_journeys", 40)
    frame.loc[39, ["patient_id", "data_split"]] = ["pat_000000", "test"]
    path = write_csv(tmp_path / "in.csv", frame)
    found = document(path, "--table", "patient_journeys", "--no-store", code=1)
    rule = broken(found)["one_split_per_patient"]
    assert (rule["count"], rule["rows"]) == (1, [41])


@pytest.mark.usefixtures("in_small_batches")
def test_keys_repeated_within_and_between_batches_are_counted_once_each(tmp_path: Path) -> None:
    frame = as_text(metrics(40)).drop(columns=["brand", "region"]).astype(object)
    for row in (1, 20, 39):
        frame.loc[row, ["metric_name", "metric_date"]] = frame.loc[0, ["metric_name", "metric_date"]]
    path = write_csv(tmp_path / "in.csv", frame)
    found = document(path, "--table", "business_metrics", "--no-store", code=1)
    rule = broken(found)["metric_key"]
    assert (rule["count"], rule["rows"]) == (3, [3, 22, 41])
    assert set(rule["layers"]) == {PANDERA, GREAT_EXPECTATIONS}


def test_a_row_of_empty_cells_is_a_row_and_a_blank_line_is_none(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(3))
    lines = path.read_text().splitlines()
    empty = "," * lines[0].count(",")
    path.write_text("\n".join([*lines[:2], "", empty, *lines[2:], empty, "", ""]))
    found = document(path, "--table", "business_metrics", "--no-store", code=1)
    assert found["result"]["rows_validated"] == 5
    assert broken(found)["metric_id_not_null"]["rows"] == [4, 7]


def test_the_page_says_what_the_command_says_and_shows_nothing_personal(tmp_path: Path) -> None:
    frame = with_values(clean_frame("hcp_profiles", 12), npi={3: "not-an-npi"}, decile={4: "99"})
    path, page = write_csv(tmp_path / "in.csv", frame), tmp_path / "quality.html"
    result = call(path, "--table", "hcp_profiles", "--html", page, "--no-store")
    assert result.exit_code == 1
    assert f"report: {page}" in result.stdout
    shown = page.read_text()
    assert "decile must be" in read_page(shown).text
    for text in (shown, result.stdout, call(path, "--table", "hcp_profiles", "--json", "--no-store").stdout):
        assert "not-an-npi" not in text
        assert "first_name_" not in text


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = write_csv(tmp_path / "in.csv", metrics(40))
    result = call(path, "--table", "business_metrics", "--no-store", "--html", tmp_path / "file" / "page.html")
    assert isinstance(result.exception, ContractViolation)
    assert "cannot be written" in str(result.exception)


def test_a_page_that_is_there_is_replaced_only_when_told_to_and_nothing_is_validated_before(
    tmp_path: Path, database_url: str
) -> None:
    path, page = write_csv(tmp_path / "in.csv", metrics(40)), tmp_path / "page.html"
    page.write_text("mine")
    refused = call(path, "--table", "business_metrics", "--html", page)
    assert isinstance(refused.exception, ContractViolation)
    assert "--force" in str(refused.exception)
    assert page.read_text() == "mine"
    assert reports(database_url) == []
    assert call(path, "--table", "business_metrics", "--html", page, "--force").exit_code == 0
    assert "business_metrics" in page.read_text()


def test_no_folder_is_made_for_a_page(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(40))
    result = call(path, "--table", "business_metrics", "--no-store", "--html", tmp_path / "new" / "page.html")
    assert isinstance(result.exception, ContractViolation)
    assert not (tmp_path / "new").exists()


def test_a_database_that_refuses_the_report_loses_no_alert(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE ml_data_quality_reports CASCADE")
    bad = write_csv(tmp_path / "b.csv", with_values(metrics(40), region={1: "north"}))
    assert call(bad, "--table", "business_metrics").exit_code != 0
    assert [record.levelname for record in caplog.records if "data quality of" in record.message] == ["ERROR"]


@pytest.mark.parametrize("settings", ["in_small_batches", "tmp_path"])
def test_without_pandera_nothing_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, settings: str
) -> None:
    import sys

    request.getfixturevalue(settings)
    build_pandera.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "pandera"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pandera", None)
    found = document(write_csv(tmp_path / "in.csv", metrics(40)), "--table", "business_metrics", code=1)
    assert (found["layers"][PANDERA], found["blocking"]) == ("skipped", True)
    assert found["result"]["overall_status"] == "skipped"
    assert "pandera" in found["result"]["reason"]


def test_a_failed_validation_is_told_and_a_passed_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert document(write_csv(tmp_path / "a.csv", metrics(40)), "--table", "business_metrics")["alerted"] is False
    bad = write_csv(tmp_path / "b.csv", with_values(metrics(40), region={1: "north"}))
    assert document(bad, "--table", "business_metrics", code=1)["alerted"] is True
    assert [record.levelname for record in caplog.records if "data quality of" in record.message] == ["ERROR"]


def test_without_great_expectations_nothing_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "great_expectations"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "great_expectations", None)
    found = document(write_csv(tmp_path / "in.csv", metrics(40)), "--table", "business_metrics", code=1)
    assert (found["layers"][GREAT_EXPECTATIONS], found["blocking"]) == ("skipped", True)
    assert found["result"]["overall_status"] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["bussiness_metrics"], ContractViolation, "did you mean 'business_metrics'"),
        (["table:trigers"], ContractViolation, "did you mean 'triggers'"),
        (["missing.csv", "--table", "triggers"], UnreadableFile, "no such file"),
        (["missing.csv"], ContractViolation, "--table"),
        (["missing.csv", "--table", "trigers"], ContractViolation, "did you mean 'triggers'"),
        (["triggers", "--table", "causal_paths"], ContractViolation, "held to its own contract"),
        (["triggers", "--split", "training"], ContractViolation, "there is no split 'training'; use train"),
        (["business_metrics", "--split", "train"], ContractViolation, "leave out --split"),
    ],
)
def test_bad_input_is_one_line_and_stores_nothing(
    database_url: str, arguments: list[str], error: type[E2IError], says: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert reports(database_url) == []


def test_a_file_of_another_table_is_one_line(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", pd.DataFrame({"x": [1], "y": [2]}))
    result = call(path, "--table", "business_metrics")
    assert isinstance(result.exception, ContractViolation)
    assert "not one column is of table 'business_metrics'" in str(result.exception)


@pytest.mark.parametrize("command", ["validate", "prepare"])
def test_the_commands_explain_themselves_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, ["data", command, "--help"])
    assert (result.exit_code, f"Example: e2i data {command}" in result.stdout) == (0, True)
