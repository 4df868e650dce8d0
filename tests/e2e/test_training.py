"""From a file to a registered, explained, staged model, and its way on: the real command, database and store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from src.agents.ml_foundation.model_deployer.agent import ModelDeployerAgent
from src.app.model_card.keeping import read_card
from src.cli.main import app
from src.errors import ContractViolation, DataUnavailable, E2IError, ServiceOutage
from src.mlops.mlflow_connector import get_mlflow_connector, reset_mlflow_connector
from src.mlops.opik_connector import reset_opik_connector
from tests.conftest import close_connector, in_database
from tests.mlflow_store import new_store
from tests.unit.test_report.pages import read_page

ROWS = 400
ORDER = ("--target", "bought", "--algorithm", "lightgbm", "--trials", "3", "--timeout", "60")
LET_THROUGH = ("--approver", "A. Lee", "--reason", "few rows", "--waive", "min_samples")


def customers(n: int = ROWS, seed: int = 7) -> pd.DataFrame:
    """Two columns tell something of what was bought; the brand is a segment."""
    rng = np.random.default_rng(seed)
    visits, age = rng.poisson(3, n), rng.integers(25, 80, n)
    score = 0.9 * (visits - 3) + 0.04 * (age - 50) + rng.logistic(size=n)
    brand = rng.choice(["Kisqali", "Fabhalta"], n)
    return pd.DataFrame(
        {
            "visits": visits + rng.normal(0, 0.01, n),
            "age": age,
            "channel": rng.choice(["mail", "call", "web"], n),
            "brand": brand,
            "bought": (score > 0).astype(int),
        }
    )


@dataclass(frozen=True)
class World:
    """One database, one store, one file and the first training on it."""

    url: str
    folder: Path
    first: Any

    @property
    def model(self) -> str:
        return str(self.first["registered"]["registered"]["name"])

    def stored(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def document(*arguments: object, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == code, result.stdout
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def world(postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, name = tmp_path_factory.mktemp("training"), "training_commands"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = in_database(postgres_dsn, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E2I_VAR_DIR", str(folder / "var"))
        patch.setenv("DATABASE_URL", url)
        patch.setenv("MLFLOW_TRACKING_URI", new_store(folder / "mlflow"))
        patch.setenv("COLUMNS", "200")
        reset_mlflow_connector()
        reset_opik_connector()
        customers().to_csv(folder / "customers.csv", index=False)
        first = document("train", folder / "customers.csv", *ORDER, "--criteria", "roc_auc=.6", *LET_THROUGH)
        yield World(url, folder, first)
        close_connector()
        reset_mlflow_connector()
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_file_becomes_a_staged_model_with_its_evidence(world: World) -> None:
    first = world.first
    assert first["ok"], first["problems"]
    assert first["prepared"]["gate"]["passed"]
    assert first["trained"]["criteria_met"]
    assert first["promoted"]["stage"] == "staging"
    assert sum(first["trained"]["hpo"]["trials"].values()) == 3
    ranked = [one["feature"] for one in first["analyzed"]["shap"]["ranked"]]
    assert set(ranked[:2]) == {"visits", "age"}


def test_the_database_says_the_same_as_the_result(world: World) -> None:
    (row,) = world.stored("SELECT * FROM ml_training_runs")
    trained = world.first["trained"]
    assert row["test_metrics"] == trained["metrics"]["test"]
    assert str(row["id"]) == trained["training_run_id"]
    (model,) = world.stored("SELECT * FROM ml_model_registry")
    assert (model["model_name"], model["stage"]) == (world.model, "staging")
    assert row["model_registry_id"] == model["id"]
    (study,) = world.stored("SELECT * FROM ml_hpo_studies")
    assert study["study_name"] == trained["hpo"]["study_name"]


def test_every_agent_leaves_one_activity_in_one_trace(world: World) -> None:
    rows = world.stored("SELECT agent_name::text, status::text FROM agent_activities ORDER BY activity_timestamp")
    agents = [row["agent_name"] for row in rows if row["agent_name"] != "model_deployer"]
    assert agents == ["data_preparer", "model_selector", "model_trainer", "feature_analyzer"]
    ids = {world.first["trace_id"], *(world.first[step]["meta"]["trace_id"] for step in ("selected", "trained"))}
    assert ids == {world.first["trace_id"]}


def test_the_card_is_one_page_that_loads_nothing(world: World) -> None:
    page = Path(world.first["card"]).read_text("utf-8")
    read = read_page(page)
    assert "http" not in "".join(read.attributes("src") + read.attributes("href"))
    for part in ("How good it is", "Can its probabilities be believed?", "What not to use it for"):
        assert part in read.text
    assert world.first["dataset"]["content_sha256"] in read.text
    assert read.count("svg") >= 5
    assert read.count("img") == 1


def test_the_card_is_read_from_the_store_with_the_stage_of_today(world: World) -> None:
    found = document("models", "card", world.model, "--out", world.folder / "card.html")
    assert found["card"]["stage"] == "staging"
    assert found["card"]["metrics"]["test"] == world.first["trained"]["metrics"]["test"]
    assert dict(found["card"]["lineage"])["MLflow run"] == world.first["trained"]["model_ref"]["run_id"]
    with pytest.raises(ContractViolation, match="--force"):
        call("models", "card", world.model, "--out", world.folder / "card.html")


def test_models_are_listed_and_shown(world: World) -> None:
    assert [model["name"] for model in document("models", "list")["models"]] == [world.model]
    shown = document("models", "show", world.model)
    assert shown["training"]["test_metrics"] == world.first["trained"]["metrics"]["test"]
    assert "staging" in call("models", "show", world.model).stdout


def test_rows_of_a_file_are_predicted_in_their_order(world: World) -> None:
    rows = customers(20, seed=99).drop(columns="bought")
    rows.to_csv(world.folder / "new.csv", index=False)
    found = document("models", "predict", world.model, world.folder / "new.csv")
    assert [set(one) >= {"prediction", "probability"} for one in found["predictions"]] == [True] * 20
    reversed_rows = rows.iloc[::-1]
    reversed_rows.to_csv(world.folder / "reversed.csv", index=False)
    again = document("models", "predict", world.model, world.folder / "reversed.csv")
    assert again["predictions"][::-1] == found["predictions"]
    out = world.folder / "scored.parquet"
    assert call("models", "predict", world.model, world.folder / "new.csv", "--out", out).exit_code == 0
    assert pd.read_parquet(out)["probability"].tolist() == [one["probability"] for one in found["predictions"]]


def test_a_model_whose_staging_is_refused_is_registered_and_shown_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    customers(seed=11).to_csv(world.folder / "few.csv", index=False)
    order = ("--target", "bought", "--algorithm", "logistic_regression", "--trials", "1")
    result = call("train", world.folder / "few.csv", *order)
    assert result.exit_code == 1
    assert "promotion to staging was refused" in result.stdout
    for words in ("verdict: ", "baseline roc_auc", "before tuning, default parameters", "calibration_intercept"):
        assert words in result.stdout
    (study,) = world.stored("SELECT study_name FROM ml_hpo_studies WHERE study_name LIKE '%few%'")
    assert f"--resume {study['study_name']}" in result.stderr
    card = Path(result.stdout.partition("model card: ")[2].splitlines()[0])
    assert "Promotion refused" in read_page(card.read_text("utf-8")).text
    (model,) = world.stored("SELECT * FROM ml_model_registry WHERE model_name LIKE '%few%'")
    assert model["stage"] == "development"
    trace = result.stdout.rpartition("trace ")[2].strip()
    rows = world.stored("SELECT agent_name::text, status::text, trace_id::text FROM agent_activities")
    said = [row["status"] for row in rows if row["agent_name"] == "model_deployer" and row["trace_id"] == trace]
    assert said == ["completed", "completed"]


def test_a_registry_that_fails_ends_the_order_with_what_was_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise ServiceOutage("the registry is away")

    monkeypatch.setattr(ModelDeployerAgent, "run", away)
    customers(seed=12).to_csv(world.folder / "away.csv", index=False)
    done = document(
        "train",
        world.folder / "away.csv",
        "--target",
        "bought",
        "--algorithm",
        "logistic_regression",
        "--no-tune",
        code=1,
    )
    assert done["problems"] == ["the model was not registered: the registry is away"]
    run_id = done["trained"]["model_ref"]["run_id"]
    assert Path(done["card"]).parent.name == f"unregistered_{run_id}"


def test_who_let_a_version_through_and_what_was_set_aside_is_shown(world: World) -> None:
    told = call("models", "show", world.model).stdout
    assert "approved by A. Lee: few rows" in told
    assert "rules set aside by A. Lee: few rows (min_samples)" in told
    assert document("models", "show", world.model)["approval"]["waived_rules"] == ["min_samples"]
    page = read_page(Path(world.first["card"]).read_text("utf-8")).text
    assert "rules set aside by A. Lee: few rows (min_samples)" in page
    stored = document("models", "card", world.model, "--out", world.folder / "again.html")["card"]
    assert stored["approval"]["waived_by"] == "A. Lee"


def test_the_shares_of_the_classes_are_those_the_model_learnt_from(world: World) -> None:
    shares = world.first["trained"]["class_shares"]
    assert list(shares) == ["0", "1"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert (
        document("models", "card", world.model, "--out", world.folder / "shares.html")["card"]["class_shares"] == shares
    )


def test_a_refused_rollback_says_that_nothing_changed(world: World) -> None:
    result = call("models", "rollback", world.model, "--approver", "A. Lee", "--reason", "false alarms")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == f"{world.model}: unchanged"


@pytest.mark.parametrize("hours", ['"many"', "true", "NaN", "null"])
def test_evidence_that_is_no_number_is_refused(world: World, hours: str) -> None:
    file = world.folder / "evidence.json"
    file.write_text(f'{{"hours": {hours}, "requests": 10, "error_rate": 0.0, "p99_ms": 5}}')
    with pytest.raises(ContractViolation, match="JSON object of numbers"):
        call("models", "promote", world.model, "--to", "production", "--evidence", file)


async def test_a_run_without_a_card_is_named_by_its_version(world: World) -> None:
    connector = get_mlflow_connector()
    async with connector.start_run(await connector.get_or_create_experiment("bare")) as run:
        pass
    with pytest.raises(DataUnavailable, match="no card was stored with version 4"):
        await read_card(connector, str(run.run_id), "4")


def test_a_promotion_against_the_rules_is_refused_and_changes_nothing(world: World) -> None:
    done = document("models", "promote", world.model, "--to", "production", code=1)
    assert not done["result"]["promotion"]["ok"]
    assert done["result"]["promotion"]["refused_because"]
    assert document("models", "show", world.model)["model"]["stage"] == "staging"


def test_a_shut_gate_ends_the_training_before_anything_is_learnt(world: World) -> None:
    leaked = customers().assign(told=lambda rows: rows["bought"] * 2.0)
    leaked.to_csv(world.folder / "leaked.csv", index=False)
    before = len(world.stored("SELECT 1 FROM ml_training_runs"))
    done = document("train", world.folder / "leaked.csv", *ORDER, code=1)
    assert not done["ok"]
    assert any(line.startswith("the gate is shut") and "told" in line for line in done["problems"])
    assert done["trained"] is None
    assert len(world.stored("SELECT 1 FROM ml_training_runs")) == before


def test_a_split_that_the_rows_bring_and_that_is_of_no_use_is_answered_with_the_way_out(world: World) -> None:
    rows = customers()
    rows.assign(data_split=["test"] * 50 + ["validation"] * 50 + ["holdout"] + ["train"] * (len(rows) - 101)).to_csv(
        world.folder / "brought.csv", index=False
    )
    done = document("train", world.folder / "brought.csv", *ORDER, code=1)
    (told,) = [line for line in done["problems"] if "holdout split has 1 rows" in line]
    assert "--split-strategy plans another" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "bougth"), "bought"),
        (("--target", "bought", "--features", "visit"), "visits"),
        (("--target", "bought", "--problem", "binry"), "binary"),
        (("--target", "bought", "--criteria", "roc_auc"), "roc_auc=.7"),
        (("--target", "bought", "--waive", "min_samples"), "--approver"),
        (("--target", "bought", "--brand", "Kisqly"), "Kisqali"),
        (("--target", "bought", "--seed", "-1"), "--seed"),
        (("--target", "bought", "--experiment", "a/b"), "--experiment"),
        (("--target", "bought", "--metric", "rmse"), "--metric"),
        (("--target", "bought", "--positive", "yes"), "positive value"),
        (("--target", "bought", "--time", "channel"), "--time"),
        (("--target", "bought", "--resume", "no_such_study"), "no study 'no_such_study'"),
        (("--target", "bought", *LET_THROUGH[:-1], "min_smaples"), "min_samples"),
        (("--target", "bought", *LET_THROUGH, "--no-stage"), "--no-stage"),
    ],
)
def test_a_wrong_order_is_one_error_in_words_and_leaves_no_dataset(
    world: World, arguments: tuple[str, ...], words: str
) -> None:
    file = world.folder / "wrong.csv"
    customers(60, seed=1).to_csv(file, index=False)
    before = len(world.stored("SELECT 1 FROM agent_activities"))
    result = CliRunner().invoke(app, ["train", str(file), *arguments])
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert isinstance(result.exception, E2IError)
    assert not [row for row in world.stored("SELECT name FROM datasets") if row["name"] == "wrong"]
    assert len(world.stored("SELECT 1 FROM agent_activities")) == before


@pytest.mark.parametrize("command", [("show",), ("promote", "--to", "staging"), ("card",)])
def test_an_unknown_model_is_answered_with_the_nearest_name(world: World, command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["models", command[0], f"{world.model}x", *command[1:]])
    assert result.exit_code != 0
    assert world.model in str(result.exception)
