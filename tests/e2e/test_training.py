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

from src.cli.main import app
from src.errors import ContractViolation
from src.mlops.mlflow_connector import reset_mlflow_connector
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "bougth"), "bought"),
        (("--target", "bought", "--features", "visit"), "visits"),
        (("--target", "bought", "--problem", "binry"), "binary"),
        (("--target", "bought", "--criteria", "roc_auc"), "roc_auc=.7"),
        (("--target", "bought", "--waive", "min_samples"), "--approver"),
        (("--target", "bought", "--brand", "Kisqly"), "Kisqali"),
    ],
)
def test_a_wrong_order_is_one_error_in_words_and_leaves_no_dataset(
    world: World, arguments: tuple[str, ...], words: str
) -> None:
    file = world.folder / "wrong.csv"
    customers(60, seed=1).to_csv(file, index=False)
    result = CliRunner().invoke(app, ["train", str(file), *arguments])
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert not [row for row in world.stored("SELECT name FROM datasets") if row["name"] == "wrong"]


@pytest.mark.parametrize("command", [("show",), ("promote", "--to", "staging"), ("card",)])
def test_an_unknown_model_is_answered_with_the_nearest_name(world: World, command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["models", command[0], f"{world.model}x", *command[1:]])
    assert result.exit_code != 0
    assert world.model in str(result.exception)
