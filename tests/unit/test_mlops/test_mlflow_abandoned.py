import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src.mlops.mlflow_connector import MLflowConnector, MLflowRun, RunInfo, RunStatus
from src.mlops.processes import this_process
from tests.mlflow_store import closed_port, configuration, local_connector

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def gone() -> str:
    """The name of a process that has ended."""
    command = [sys.executable, "-c", "from src.mlops.processes import this_process; print(this_process())"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def connector(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path)


async def info(connector: MLflowConnector, run: MLflowRun | str | None) -> RunInfo:
    run_id = run.run_id if isinstance(run, MLflowRun) else run
    assert run_id is not None
    found = await connector.get_run(run_id)
    assert isinstance(found, RunInfo)
    return found


async def left_behind(connector: MLflowConnector, owner: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A run with a run below it, of a process called ``owner``; open as long as somebody holds what is returned."""
    with monkeypatch.context() as patch:
        patch.setattr("src.mlops.mlflow_connector.this_process", lambda: owner)
        experiment = await connector.get_or_create_experiment("training")
        contexts = [connector.start_run(experiment, "parent"), connector.start_run(experiment, "trial", nested=True)]
        return [(await context.__aenter__(), context) for context in contexts]


async def test_runs_of_a_process_that_was_killed_are_ended_with_the_reason(
    connector: MLflowConnector, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await left_behind(connector, gone, monkeypatch)
    (parent, _), (trial, _) = opened
    ended = await connector.end_abandoned_runs(parent.experiment)
    assert isinstance(ended, list)
    assert set(ended) == {parent.run_id, trial.run_id}
    for run in (parent, trial):
        found = await info(connector, run)
        assert found.status is RunStatus.KILLED
        assert found.tags["error_type"] == "ProcessEnded"
        assert "the process ended" in found.tags["error_message"]
    # When it ended is not known: it lived at least until its trial began.
    assert (await info(connector, parent)).end_time == (await info(connector, trial)).start_time
    assert await connector.end_abandoned_runs(parent.experiment) == []


async def test_a_run_of_a_living_process_or_of_another_machine_is_left_alone(
    connector: MLflowConnector, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "/".join(("elsewhere", *gone.split("/")[1:]))
    opened = [await left_behind(connector, owner, monkeypatch) for owner in (this_process(), elsewhere, "")]
    assert await connector.end_abandoned_runs(opened[0][0][0].experiment) == []
    assert {(await info(connector, run)).status for pair in opened for run, _ in pair} == {RunStatus.RUNNING}


async def test_a_run_that_ended_keeps_how_it_ended(
    connector: MLflowConnector, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parent, around), (trial, below) = await left_behind(connector, gone, monkeypatch)
    await below.__aexit__(None, None, None)
    await around.__aexit__(None, None, None)
    assert await connector.end_abandoned_runs(parent.experiment) == []
    assert (await info(connector, trial)).status is RunStatus.FINISHED


async def test_a_run_whose_own_end_waits_in_the_spool_is_left_to_the_replay(
    connector: MLflowConnector, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await left_behind(connector, gone, monkeypatch)
    parent = opened[0][0]
    journal = connector._spool
    journal.append(parent.local_id, {"kind": "end", "at": 1, "status": "FINISHED", "tags": {}, "run_id": parent.run_id})
    ended = await connector.end_abandoned_runs(parent.experiment)
    assert isinstance(ended, list)
    assert parent.run_id not in ended
    await connector.replay_spool()
    assert (await info(connector, parent)).status is RunStatus.FINISHED


async def test_while_the_store_is_away_nothing_is_ended_and_nothing_raised(tmp_path: Path) -> None:
    away = MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=configuration(tmp_path))
    experiment = await away.get_or_create_experiment("training")
    assert experiment.experiment_id is None
    assert await away.end_abandoned_runs(experiment) == []
