"""`e2i features` registers, carries over, reads and dates feature values, with exit codes a script can use."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from src.app.feature_requests import entity_rows, feature_references
from src.cli.features import app
from src.contracts.feature_views import get_feature_view
from src.errors import ContractViolation, DataUnavailable, E2IError, UnknownFeature, UnreadableFile
from src.storage.database import Database
from src.storage.loading import load_table
from tests.unit.test_contracts.frames import clean_frame

VIEWS = 8


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Path:
    """Four professionals in the database, and a feature store of the test's own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")

    async def fill() -> None:
        async with Database.open(database_url) as database:
            await load_table([clean_frame("hcp_profiles")], "hcp_profiles", db=database)

    asyncio.run(fill())
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments: object, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    return json.loads(result.stdout)


def test_views_are_listed_without_a_database_or_feast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setitem(sys.modules, "feast", None)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    views = {view["name"]: view for view in document("list")["views"]}
    assert len(views) == VIEWS
    assert views["hcp_prescribing"]["key_parts"] == ["hcp_id", "brand"]
    assert views["hcp_profile"]["features"]["decile"] == "Int64"
    assert "hcp_brand_id (hcp_id + brand)" in call("list").stdout


@pytest.fixture
def applied(stored: Path) -> Path:
    """The same, with the feature views registered."""
    assert call("apply").exit_code == 0
    return stored


def test_applying_says_what_changed_and_a_second_time_nothing_does(stored: Path) -> None:
    first = call("apply").stdout
    assert first.startswith(f"{VIEWS} feature views registered; views added: hcp_engagement, ")
    assert "entities added: brand, " in first
    again = document("apply")
    assert (again["views"]["added"], len(again["views"]["unchanged"])) == ([], VIEWS)
    assert again["rows"]["hcp_profile"] == 4
    assert "nothing has changed" in call("apply").stdout


def test_values_are_carried_over_read_and_dated(applied: Path) -> None:
    before = document("freshness", "--view", "hcp_profile", code=1)["views"]
    assert [(view["feature_view"], view["status"], view["is_fresh"]) for view in before] == [
        ("hcp_profile", "UNKNOWN", False)
    ]
    asked = ("--view", "hcp_profile", "--entity", "hcp_id=hcp_id_1", "--entity", "hcp_id=nobody")
    assert {one["values"]["hcp_profile:decile"] for one in document("get", *asked)["entities"]} == {None}
    carried = document("materialize", "--view", "hcp_profile")
    assert (carried["mode"], carried["rows"], [view["name"] for view in carried["views"]]) == (
        "full",
        4,
        ["hcp_profile"],
    )
    known, unknown = document("get", *asked)["entities"]
    assert (known["keys"], known["values"]["hcp_profile:decile"]) == ({"hcp_id": "hcp_id_1"}, 2)
    assert known["event_times"]["hcp_profile"].startswith("2024-03-01")
    assert set(unknown["values"].values()) == {None}
    assert (known["expired"], unknown["expired"]) == ({"hcp_profile": True}, {"hcp_profile": False})
    assert document("freshness", "--view", "hcp_profile")["views"][0]["status"] == "FRESH"
    everything = document("freshness", code=1)["views"]
    assert {view["feature_view"] for view in everything if view["is_fresh"]} == {"hcp_profile"}
    assert len(everything) == VIEWS
    again = document("materialize", "--view", "hcp_profile", "--incremental")
    assert (again["mode"], again["rows"]) == ("incremental", 0)


def test_people_read_the_same_values_and_ages(applied: Path) -> None:
    shown = call("materialize", "--view", "hcp_profile").stdout
    assert "4 rows carried over (full)" in shown
    shown = call(
        "get", "--features", "hcp_profile:decile,hcp_profile:practice_type", "--entity", "hcp_id=hcp_id_0"
    ).stdout
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert (rows["hcp_profile:decile"], rows["hcp_profile:practice_type"]) == (["1"], ["solo"])
    ttl = get_feature_view("hcp_profile").ttl_days
    assert f"older than its view's {ttl} days" in shown
    aged = call("freshness")
    assert aged.exit_code == 1
    assert "e2i features materialize" in aged.stdout
    assert call("freshness", "--view", "hcp_profile").exit_code == 0


def test_history_gives_what_was_known_at_each_rows_time(applied: Path) -> None:
    rows, out = applied / "rows.csv", applied / "out.parquet"
    rows.write_text(
        "hcp_id,event_timestamp,score\nhcp_id_2,2024-03-05,1.5\nhcp_id_0,2024-03-01T12:00Z,2.5\n007,2024-03-05T00:00Z,3.5\n"
    )
    asked = ("--entities", rows, "--features", "hcp_profile:decile,hcp_profile:affiliations")
    done = document("history", *asked, "--out", out)
    frame = pd.read_parquet(out)
    assert (done["rows"], list(frame["hcp_id"])) == (3, ["hcp_id_2", "hcp_id_0", "007"])
    # What happened on 1 March is known when that day is over.
    assert frame["hcp_profile__decile"].tolist()[0] == 3
    assert frame["hcp_profile__decile"].isna().tolist() == [False, True, True]
    assert frame["score"].tolist() == [1.5, 2.5, 3.5]
    assert isinstance(call("history", *asked, "--out", out).exception, ContractViolation)
    assert call("history", *asked, "--out", applied / "out.csv").stdout.startswith("3 rows with 2 features")
    assert "hcp_id_2" in (applied / "out.csv").read_text()


def test_history_without_any_value_keeps_the_declared_types(applied: Path) -> None:
    rows, out = applied / "rows.csv", applied / "out.parquet"
    rows.write_text("hcp_id,event_timestamp\nnobody,2024-03-05\n")
    document("history", "--entities", rows, "--view", "hcp_profile", "--out", out)
    types = {field.name: str(field.type) for field in pq.read_schema(out)}
    assert (types["hcp_profile__decile"], types["hcp_profile__practice_type"]) == ("int64", "string")
    assert types["hcp_profile__affiliations"].startswith("list<")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("hcp_id,event_timestamp\nhcp_id_0,yesterday\n", "row 1: 'yesterday' in event_timestamp is no time"),
        ("hcp_id\nhcp_id_0\n", "event_timestamp"),
        ("event_timestamp\n2024-03-05\n", "needs the key 'hcp_id'"),
    ],
)
def test_rows_that_cannot_be_joined_are_one_line_and_nothing_is_written(stored: Path, content: str, says: str) -> None:
    rows, out = stored / "rows.csv", stored / "out.csv"
    rows.write_text(content)
    result = call("history", "--entities", rows, "--view", "hcp_profile", "--out", out)
    assert isinstance(result.exception, E2IError)
    assert says in str(result.exception)
    assert not out.exists()


def test_nothing_registered_is_said_and_not_called_fresh(stored: Path) -> None:
    result = call("freshness")
    assert isinstance(result.exception, E2IError)
    assert "e2i features apply" in str(result.exception)


@pytest.mark.parametrize("command", ["apply", "materialize", "freshness"])
def test_without_feast_the_extra_to_install_is_named(
    stored: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "feast", None)
    result = call(command)
    assert isinstance(result.exception, DataUnavailable)
    assert "pip install 'e2i[features]'" in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["get", "--view", "hcp_profil", "--entity", "hcp_id=1"], UnknownFeature, "did you mean 'hcp_profile'"),
        (["get", "--features", "hcp_profile:decil", "--entity", "hcp_id=1"], UnknownFeature, "did you mean 'decile'"),
        (["get", "--features", "decile", "--entity", "hcp_id=1"], UnknownFeature, "view:feature"),
        (["get", "--entity", "hcp_id=1"], ContractViolation, "name what to read"),
        (["get", "--view", "hcp_profile"], ContractViolation, "--entity hcp_id=VALUE"),
        (["get", "--view", "hcp_profile", "--entity", "hcp_1"], ContractViolation, "is not KEY=VALUE"),
        (["get", "--view", "hcp_profile", "--entity", "hcp=1"], ContractViolation, "'hcp_id'"),
        (["get", "--view", "hcp_prescribing", "--entity", "hcp_id=1"], ContractViolation, "hcp_id and brand"),
        (["materialize", "--view", "hcp_profil"], UnknownFeature, "did you mean 'hcp_profile'"),
        (["materialize", "--start", "soon"], ContractViolation, "--start 'soon' is not a date"),
        (["materialize", "--incremental", "--start", "2026-01-01"], ContractViolation, "leave out --start"),
        (["materialize", "--incremental", "--from-scratch"], ContractViolation, "leave out --start"),
        (["freshness", "--view", "hcp_profil"], UnknownFeature, "did you mean 'hcp_profile'"),
        (
            ["history", "--entities", "no.csv", "--view", "hcp_profile", "--out", "x.csv"],
            UnreadableFile,
            "no such file",
        ),
        (
            ["history", "--entities", "no.csv", "--view", "hcp_profile", "--out", "x.xlsx"],
            ContractViolation,
            "named .csv",
        ),
    ],
)
def test_bad_input_is_one_line_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], error: type[E2IError], says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert isinstance(result.exception, error), result.exception
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_window_that_would_bring_back_older_values_is_refused(applied: Path) -> None:
    document("materialize", "--view", "hcp_profile")
    result = call("materialize", "--view", "hcp_profile", "--end", "2024-06-01")
    assert isinstance(result.exception, ContractViolation)


def test_an_entity_is_given_by_its_key_or_by_the_parts_of_it() -> None:
    references = feature_references(["hcp_prescribing"], ["hcp_profile:decile"])
    rows = entity_rows(["hcp_id=a", "brand=K", "hcp_id=b", "hcp_brand_id=b_K"], references)
    assert rows == [{"hcp_id": "a", "brand": "K"}, {"hcp_id": "b", "hcp_brand_id": "b_K"}]
    assert references[-1] == "hcp_profile:decile"


@pytest.mark.parametrize("command", ["list", "apply", "materialize", "freshness", "get", "history"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = call(command, "--help")
    assert (result.exit_code, f"Example: e2i features {command}" in result.stdout) == (0, True)


def test_help_and_lists_load_no_heavy_library(database_url: str) -> None:
    program = """
import sys
from typer.testing import CliRunner
from src.cli.main import app
for arguments in (["--help"], ["features", "list"], ["data", "--help"], ["data", "list"]):
    assert CliRunner().invoke(app, arguments).exit_code == 0, arguments
print(sorted({"feast", "great_expectations", "pandera", "sklearn", "duckdb", "matplotlib"} & set(sys.modules)))
"""
    environment = {**os.environ, "DATABASE_URL": database_url}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
