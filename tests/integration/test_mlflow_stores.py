"""Does everything from experiment to loaded model work on each kind of store, and can people look at it?"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from src.mlops.mlflow.store import create_sqlite_store, resolve_address
from src.mlops.mlflow_connector import Evidence, LoggedModel, MLflowConnector, ModelVersion, RunInfo, RunStatus, Waiver
from src.resilience.outcomes import Spooled, Unavailable
from tests.conftest import in_database
from tests.mlflow_store import closed_port, configuration, new_store, served

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count(1)
CREATE = """
import asyncio, sys
from src.mlops.mlflow_connector import MLflowConnector
print(asyncio.run(MLflowConnector(sys.argv[1]).get_or_create_experiment("together")).experiment_id)
"""


@pytest.fixture
def postgres_store(postgres_dsn: str) -> Iterator[str]:
    """Address of an empty database of its own beside the product's."""
    name = f"mlflow_{next(_numbers)}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield in_database(postgres_dsn, name)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return new_store(tmp_path)
    return str(request.getfixturevalue("postgres_store"))


async def test_from_experiment_to_the_loaded_production_model(store: str, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(100, 2)), columns=["a", "b"])
    model = LogisticRegression().fit(frame, (frame["a"] > 0).astype(int))
    connector = MLflowConnector(store, str(tmp_path / "files"), config_path=configuration(tmp_path))

    experiment = await connector.get_or_create_experiment("uplift", tags={"brand": "x"})
    async with connector.start_run(experiment, "fit") as run:
        await run.log_params({"C": 1.0})
        await run.log_metrics({"auc": 0.93, "n_samples": 5000})
        logged = await run.log_model(model, input_example=frame.head(2))
    assert isinstance(logged, LoggedModel)
    name = connector.model_name("uplift", "logistic")
    version = await connector.register_model(logged.run_id, name)
    assert isinstance(version, ModelVersion)
    waiver = Waiver(frozenset({"min_hours"}), "joe", "first of its kind")
    seen = Evidence(requests=2000, error_rate=0.0, p99_ms=20)
    for stage in ("staging", "shadow", "production"):
        moved = await connector.transition_model_stage(
            name, version.version, stage, True, "jane", evidence=seen, waiver=waiver
        )
        assert moved, moved.reason

    found = await connector.search_runs(filter_string="params.C = '1.0'")
    assert isinstance(found, list)
    assert [(info.run_id, info.status, info.metrics["auc"]) for info in found] == [
        (run.run_id, RunStatus.FINISHED, 0.93)
    ]
    champion = await connector.get_latest_model_version(name, "production")
    assert isinstance(champion, ModelVersion)
    assert (champion.version, champion.run_id, champion.tags["approved_by"]) == (1, run.run_id, "jane")
    loaded = await connector.load_model(f"models:/{name}@production")
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))


async def test_twenty_runs_at_once_do_not_mix(store: str, tmp_path: Path) -> None:
    connector = MLflowConnector(store, config_path=configuration(tmp_path))
    experiment = await connector.get_or_create_experiment("together")

    async def work(number: int) -> None:
        async with connector.start_run(experiment, str(number)) as run:
            await asyncio.gather(*(run.log_metric("m", number + step, step) for step in range(3)))
            await run.log_params({f"p{number}": number})

    await asyncio.gather(*(work(number) for number in range(20)))
    found = await connector.search_runs()
    assert isinstance(found, list)
    assert {info.run_name: (dict(info.params), info.metrics["m"]) for info in found} == {
        str(number): ({f"p{number}": str(number)}, number + 2) for number in range(20)
    }


async def test_a_database_that_goes_away_and_comes_back_loses_nothing(
    postgres_dsn: str, postgres_store: str, tmp_path: Path
) -> None:
    connector = MLflowConnector(postgres_store, str(tmp_path / "files"), config_path=configuration(tmp_path))
    name = postgres_store.rpartition("/")[2].partition("?")[0]
    async with connector.start_run(await connector.get_or_create_experiment("x")) as run:
        await run.log_param("a", 1)
        with psycopg.connect(postgres_dsn, autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            assert isinstance(await run.log_param("b", 2), Spooled)
            assert isinstance(await connector.get_run(str(run.run_id)), Unavailable)
            server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    info = await connector.get_run(str(run.run_id))
    assert isinstance(info, RunInfo)
    assert (info.params, info.status) == ({"a": "1", "b": "2"}, RunStatus.FINISHED)
    assert run.persisted


async def test_a_database_that_never_answered_is_an_outage_at_once(tmp_path: Path) -> None:
    address = f"postgresql://me:hunter2@127.0.0.1:{closed_port()}/mlflow"
    connector = MLflowConnector(address, config_path=configuration(tmp_path))
    health = await connector.health_check()
    assert not health.reachable
    assert "refused" in health.reason
    assert "hunter2" not in health.reason
    assert (await connector.get_metrics())["tracking_uri"].startswith("postgresql+psycopg://***@127.0.0.1")


@pytest.mark.slow
def test_processes_that_open_a_new_store_together_create_it_once(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", CREATE, f"sqlite:///{tmp_path}/deep/mlflow.db"]
    processes = [
        subprocess.Popen(argv, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [process.communicate()[0].strip() for process in processes]
    assert said == ["1", "1", "1"]
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_whose_creation_was_interrupted_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.mlops.mlflow import store as module

    def interrupted(file: Path, artifact_root: str) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_fill_sqlite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            create_sqlite_store(tmp_path / "mlflow.db", str(tmp_path))
    assert not (tmp_path / "mlflow.db").exists()
    assert isinstance(resolve_address(new_store(tmp_path)).sqlite_file, Path)


@pytest.mark.slow
async def test_the_ui_command_shows_the_store_s_runs(tmp_path: Path) -> None:
    connector = MLflowConnector(new_store(tmp_path), config_path=configuration(tmp_path))
    experiment = await connector.get_or_create_experiment("seen")
    async with connector.start_run(experiment, "look at me") as run:
        await run.log_metric("auc", 0.5)
    port = closed_port()
    command = connector.server_command(port=port)
    with served(list(command.argv), command.environment, port, tmp_path) as url:
        answer = await asyncio.to_thread(_runs, url, str(experiment.experiment_id))
    assert [(r["info"]["run_id"], r["info"]["run_name"], r["data"]["metrics"][0]["value"]) for r in answer] == [
        (run.run_id, "look at me", 0.5)
    ]


def _runs(url: str, experiment_id: str) -> list[dict[str, dict[str, object]]]:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/runs/search",
        json.dumps({"experiment_ids": [experiment_id]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        runs: list[dict[str, dict[str, object]]] = json.load(answer)["runs"]
        return runs
