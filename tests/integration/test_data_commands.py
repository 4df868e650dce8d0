"""`e2i data` does what it says, with exit codes a script can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from src.cli.data import app
from src.errors import ContractViolation, DatasetNotFound, E2IError, UnreadableFile
from tests.integration.loading_files import as_text, metrics, write_csv
from tests.unit.test_contracts.frames import clean_frame


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Path:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "var"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def test_a_generated_process_is_listed_described_exported_and_removed(tmp_path: Path, var: Path) -> None:
    made = document("generate", "confounded", "--rows", 500, "--random-state", 3)
    dataset = made["dataset"]["dataset_id"]
    assert made["dataset"]["declared"]["confounders"] == ["severity", "academic"]
    truth = json.loads(Path(made["truth"]).read_text())
    assert (truth["n_rows"], truth["process"]) == (500, "confounded")
    assert document("generate", "confounded", "--rows", 500, "--random-state", 3)["dataset"]["dataset_id"] == dataset
    assert [record["name"] for record in document("list")["datasets"]] == ["confounded"]
    columns = {column["name"]: column for column in document("describe", "confounded")["columns"]}
    assert columns["academic"]["distinct"] == 2
    out = tmp_path / "out.parquet"
    assert document("export", dataset, "--out", out)["rows"] == 500
    assert pq.read_table(out).column_names == list(columns)
    assert document("remove", "confounded")["dataset_id"] == dataset
    assert document("list")["datasets"] == []
    assert not list((var / "datasets").glob("*.parquet"))


def test_the_panel_is_entered_under_its_own_name_with_what_is_known_per_treatment() -> None:
    made = document("generate", "panel", "--rows", 1_080, "--random-state", 5)
    assert (made["dataset"]["name"], made["dataset"]["n_rows"], made["loads"]) == ("hcp_month_panel", 1_080, {})
    assert made["dataset"]["declared"]["questions"]["rep_calls"]["unit_key"] == "hcp_id"
    assert json.loads(Path(made["truth"]).read_text())


@pytest.mark.slow
def test_the_panel_is_loaded_once_and_replaced_when_told() -> None:
    first = document("generate", "panel", "--rows", 1_080, "--random-state", 5, "--load")
    assert first["dataset"]["name"] == "hcp_month_panel"
    loaded = {name: report["rows_loaded"] for name, report in first["loads"].items()}
    assert len(loaded) == 8
    assert all(loaded.values())
    assert document("list")["tables"] == loaded
    again = document("generate", "panel", "--rows", 1_080, "--random-state", 5, "--load")
    assert not any(report["rows_loaded"] for report in again["loads"].values())
    other = call("generate", "panel", "--rows", 1_080, "--random-state", 6, "--load")
    assert isinstance(other.exception, ContractViolation)
    assert document("list")["datasets"][0]["dataset_id"] == first["dataset"]["dataset_id"]
    replaced = document("generate", "panel", "--rows", 1_080, "--random-state", 6, "--load", "--replace")
    assert replaced["dataset"]["dataset_id"] != first["dataset"]["dataset_id"]
    tables = {name: report["rows_loaded"] for name, report in replaced["loads"].items()}
    assert document("list")["tables"] == tables


def test_rejected_rows_are_shown_and_exit_is_1(tmp_path: Path) -> None:
    frame = as_text(metrics(40)).astype(object).assign(value="[/bold]bad")
    path, rejects = write_csv(tmp_path / "in.csv", frame), tmp_path / "rejects.csv"
    result = call("load", path, "--table", "business_metrics", "--rejects", rejects)
    assert result.exit_code == 1
    assert result.stdout.count("[/bold]bad") == 20
    assert "40 of 40 rows break the contract (40 broken rules)" in result.stdout
    assert "nothing was loaded" in result.stdout
    assert len(rejects.read_text().splitlines()) == 41


def test_skipping_rejected_rows_loads_the_rest_and_still_exits_1(tmp_path: Path) -> None:
    frame = as_text(metrics(4)).astype(object)
    frame.loc[2, "value"] = "bad"
    path = write_csv(tmp_path / "in.csv", frame)
    result = call("load", path, "--table", "business_metrics", "--skip-rejected")
    assert (result.exit_code, "3 rows loaded" in result.stdout) == (1, True)


def test_a_clean_load_exits_0(tmp_path: Path) -> None:
    result = call("load", write_csv(tmp_path / "in.csv", metrics(4)), "--table", "business_metrics")
    assert (result.exit_code, "4 rows loaded into business_metrics" in result.stdout) == (0, True)


def test_personal_columns_are_exported_only_when_told(tmp_path: Path) -> None:
    call("load", write_csv(tmp_path / "in.csv", clean_frame("hcp_profiles")), "--table", "hcp_profiles")
    without = document("export", "table:hcp_profiles", "--out", tmp_path / "a.csv")
    assert without["left_out"] == ["first_name", "last_name", "npi", "zip_code"]
    assert "npi" not in (tmp_path / "a.csv").read_text()
    document("export", "table:hcp_profiles", "--out", tmp_path / "b.csv", "--include-personal")
    assert "npi" in (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["load", "missing.csv"], UnreadableFile, "no such file"),
        (["load", "missing.csv", "--rejects", "r.csv"], ContractViolation, "go with --table"),
        (["load", "missing.csv", "--table", "triggers", "--name", "x"], ContractViolation, "not both"),
        (["generate", "confoundet"], ContractViolation, "did you mean 'confounded'"),
        (["generate", "confounded", "--load"], ContractViolation, "are for the panel"),
        (["generate", "panel", "--replace"], ContractViolation, "needs --load"),
        (["describe", "nothing"], DatasetNotFound, "there is no dataset"),
        (["export", "table:triggers", "--out", "x.xlsx"], ContractViolation, "named .csv or .parquet"),
        (["remove", "table:triggers"], ContractViolation, "is a table"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    var: Path, arguments: list[str], error: type[E2IError], says: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(var.rglob("*.parquet"))


def test_every_command_explains_itself_with_an_example() -> None:
    for command in ("generate", "load", "list", "describe", "export", "remove"):
        result = call(command, "--help")
        assert result.exit_code == 0
        assert "Example: e2i data" in result.stdout
