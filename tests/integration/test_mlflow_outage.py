"""Does nothing get lost, doubled or invented while the tracking server is away and after it is back?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from src.mlops.mlflow_connector import LoggedModel, MLflowConnector, ModelVersion, ReplayReport, RunInfo, RunStatus
from src.resilience.outcomes import Spooled, Unavailable
from tests.mlflow_store import Line, configuration, mlflow_server

ROOT = Path(__file__).resolve().parents[2]
REPLAY = """
import asyncio, sys
from src.mlops.mlflow_connector import MLflowConnector
connector = MLflowConnector(sys.argv[1], config_path=sys.argv[2])
report = asyncio.run(connector.replay_spool())
print(report.runs, report.entries, report.pending)
"""
DIES = """
import asyncio, os, sys
from src.mlops.mlflow_connector import MLflowConnector
async def work():
    connector = MLflowConnector(sys.argv[1], config_path=sys.argv[2])
    async with connector.start_run(await connector.get_or_create_experiment(sys.argv[3])) as run:
        await run.log_metric("m", 1.0, 4)
        os.kill(os.getpid(), 9)
asyncio.run(work())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("mlflow-server")
    with mlflow_server(folder) as url:
        yield url, folder


@pytest.fixture
def line(server: tuple[str, Path]) -> Iterator[Line]:
    line = Line(server[0])
    yield line
    line.end()


@pytest.fixture
def rows(server: tuple[str, Path]) -> Any:
    """Rows of the server's own database."""

    def query(sql: str, *values: Any) -> list[Any]:
        with sqlite3.connect(server[1] / "mlflow.db") as database:
            return database.execute(sql, values).fetchall()

    return query


def connected(line: Line, folder: Path, **changes: Any) -> MLflowConnector:
    return MLflowConnector(line.url, config_path=configuration(folder, **changes))


async def the_run(connector: MLflowConnector, experiment: str) -> RunInfo:
    """The only run of an experiment."""
    listed = await connector.list_experiments()
    assert isinstance(listed, list)
    (experiment_id,) = [e.experiment_id for e in listed if e.name == f"e2i_{experiment}"]
    found = await connector.search_runs([str(experiment_id)])
    assert isinstance(found, list)
    (run,) = found
    return run


async def record(connector: MLflowConnector, experiment: str, folder: Path, *, cut: Line | None = None) -> Any:
    """A run with a bit of everything; ``cut`` is cut after its first entries."""
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "a.txt").write_text("ä", "utf-8")
    async with connector.start_run(await connector.get_or_create_experiment(experiment), "the run") as run:
        await run.log_params({"early": 1})
        await run.log_metric("loss", 0.9, 0)
        if cut is not None:
            cut.cut()
        for step in (1, 2, 3):
            await run.log_metric("loss", 0.9 - step / 10, step)
        await run.log_params({"late": 2, "password": "hunter2"})
        await run.set_tags({"team": "x"})
        await run.log_artifact(folder / "report", "out")
    return run


async def check_everything_is_there_once(
    connector: MLflowConnector, rows: Any, experiment: str, folder: Path
) -> RunInfo:
    info = await the_run(connector, experiment)
    assert info.params == {"early": "1", "late": "2", "password": "***"}
    assert info.status is RunStatus.FINISHED
    assert info.tags["team"] == "x"
    assert info.run_name == "the run"
    losses = rows("SELECT step, value FROM metrics WHERE run_uuid = ? ORDER BY step", info.run_id)
    assert losses == [(step, pytest.approx(0.9 - step / 10)) for step in range(4)]
    copy = await connector.download_artifact(info.run_id, "out/report/a.txt", folder / "down")
    assert isinstance(copy, Path)
    assert copy.read_text("utf-8") == "ä"
    return info


async def test_a_run_recorded_while_the_server_was_away_is_there_as_it_was(
    line: Line, rows: Any, tmp_path: Path
) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    before = time.time() * 1000
    run = await record(connector, "away", tmp_path)
    after = time.time() * 1000
    assert (run.run_id, run.persisted, run.status) == (None, False, RunStatus.FINISHED)
    line.restore()
    connector.circuit_breaker.reset()
    await asyncio.sleep(0.05)
    report = await connector.replay_spool()
    assert (report.runs, report.refused, report.pending) == (1, 0, 0)
    info = await check_everything_is_there_once(connector, rows, "away", tmp_path)
    assert report.run_ids[run.local_id] == run.run_id == info.run_id
    assert run.persisted
    times = [
        info.start_time.timestamp() * 1000,
        *(t for (t,) in rows("SELECT timestamp FROM metrics WHERE run_uuid = ?", info.run_id)),
    ]
    assert info.end_time is not None
    assert all(before - 1 <= moment <= after + 1 for moment in [*times, info.end_time.timestamp() * 1000])
    assert list((tmp_path / "spool").glob("*.jsonl")) == []


async def test_a_second_replay_changes_nothing(line: Line, rows: Any, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    await record(connector, "twice", tmp_path)
    line.restore()
    connector.circuit_breaker.reset()
    await connector.replay_spool()
    first = await check_everything_is_there_once(connector, rows, "twice", tmp_path)
    assert await connector.replay_spool() == ReplayReport()
    assert await check_everything_is_there_once(connector, rows, "twice", tmp_path) == first


async def test_a_server_lost_in_the_middle_of_a_run_loses_nothing_of_it(line: Line, rows: Any, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    run = await record(connector, "middle", tmp_path, cut=line)
    assert run.run_id is not None
    assert run.persisted is False
    line.restore()
    connector.circuit_breaker.reset()
    report = await connector.replay_spool()
    assert (report.runs, report.pending) == (0, 0)
    info = await check_everything_is_there_once(connector, rows, "middle", tmp_path)
    assert info.run_id == run.run_id
    assert run.persisted


async def test_a_short_outage_heals_itself_at_the_end_of_the_run(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    async with connector.start_run(await connector.get_or_create_experiment("blip")) as run:
        line.cut()
        assert isinstance(await run.log_param("a", 1), Spooled)
        line.restore()
        assert isinstance(await run.log_param("b", 2), Spooled)
    assert run.persisted
    info = await the_run(connector, "blip")
    assert (info.params, info.status) == ({"a": "1", "b": "2"}, RunStatus.FINISHED)


async def test_a_run_goes_on_with_the_server_after_a_replay_in_its_middle(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    async with connector.start_run(await connector.get_or_create_experiment("goes-on")) as run:
        await run.log_param("a", 1)
        line.restore()
        connector.circuit_breaker.reset()
        await connector.replay_spool()
        assert run.persisted
        assert not isinstance(await run.log_param("b", 2), Spooled)
        assert (await the_run(connector, "goes-on")).status is RunStatus.RUNNING
    info = await the_run(connector, "goes-on")
    assert (info.run_id, info.params, info.status) == (run.run_id, {"a": "1", "b": "2"}, RunStatus.FINISHED)
    assert list((tmp_path / "spool").glob("*/run_id")) == []


@pytest.mark.parametrize("requests", [0, 1, 2, 4, 7, 12])
async def test_a_replay_that_breaks_off_anywhere_is_completed_by_the_next(
    line: Line, rows: Any, tmp_path: Path, requests: int
) -> None:
    connector = connected(line, tmp_path, circuit_breaker={"failure_threshold": 100})
    line.cut()
    experiment = f"broken-{requests}"
    await record(connector, experiment, tmp_path)
    line.restore()
    line.cut_after(requests)
    broken = await connector.replay_spool()
    assert broken.pending > 0
    assert "does not answer" in broken.reason
    line.restore()
    assert (await connector.replay_spool()).pending == 0
    await check_everything_is_there_once(connector, rows, experiment, tmp_path)


@pytest.mark.parametrize("back_for_the_child", [False, True])
async def test_children_find_their_parents_again(line: Line, tmp_path: Path, back_for_the_child: bool) -> None:
    connector = connected(line, tmp_path)
    names = [f"{name}-{back_for_the_child}" for name in ("parent", "child")]
    line.cut()
    async with connector.start_run(await connector.get_or_create_experiment(names[0])) as parent:
        if back_for_the_child:
            line.restore()
            connector.circuit_breaker.reset()
        async with connector.start_run(await connector.get_or_create_experiment(names[1]), nested=True) as child:
            pass
    line.restore()
    connector.circuit_breaker.reset()
    await connector.replay_spool()
    assert (await the_run(connector, names[1])).parent_run_id == (await the_run(connector, names[0])).run_id
    assert parent.persisted
    assert child.persisted


async def test_the_library_prints_nothing(line: Line, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    connector = connected(line, tmp_path)
    async with connector.start_run(await connector.get_or_create_experiment("quiet")):
        line.cut()
    assert capfd.readouterr() == ("", "")


async def test_failed_runs_stay_failed_through_the_spool(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    experiment = await connector.get_or_create_experiment("failed")
    with pytest.raises(KeyError):
        async with connector.start_run(experiment):
            raise KeyError("column")
    line.restore()
    connector.circuit_breaker.reset()
    await connector.replay_spool()
    info = await the_run(connector, "failed")
    assert (info.status, info.tags["error_type"]) == (RunStatus.FAILED, "KeyError")


class Echo:
    """The least that can be stored."""

    def predict(self, frame: Any) -> Any:
        return frame


async def test_a_model_logged_while_away_is_stored_and_registered_once(line: Line, rows: Any, tmp_path: Path) -> None:
    connector = connected(line, tmp_path, circuit_breaker={"failure_threshold": 100})
    line.cut()
    async with connector.start_run(await connector.get_or_create_experiment("model")) as run:
        logged = await run.log_model(Echo(), flavor="pyfunc", registered_model_name="e2i_away")
        assert isinstance(logged, Spooled)
        assert isinstance(await connector.register_model("any", "e2i_away"), Unavailable)
    for requests in (4, 6, 8, 10):
        line.restore()
        line.cut_after(requests)
        await connector.replay_spool()
    line.restore()
    assert (await connector.replay_spool()).pending == 0
    info = await the_run(connector, "model")
    assert rows("SELECT count(*) FROM logged_models WHERE experiment_id = ?", info.experiment_id) == [(1,)]
    assert rows("SELECT version FROM model_versions WHERE name = 'e2i_away'") == [(1,)]
    model = await connector.load_model("models:/e2i_away/1")
    assert model.predict([1]) == [1]


async def test_models_round_trip_through_a_tracking_server(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    async with connector.start_run(await connector.get_or_create_experiment("served")) as run:
        await run.log_metrics({"auc": 0.9, "n_samples": 5000})
        logged = await run.log_model(Echo(), flavor="pyfunc")
    assert isinstance(logged, LoggedModel)
    version = await connector.register_model(logged.run_id, "e2i_served")
    assert isinstance(version, ModelVersion)
    assert await connector.transition_model_stage("e2i_served", version.version, "staging")
    assert (await connector.load_model("models:/e2i_served@staging")).predict([1]) == [1]


async def test_a_write_that_the_server_will_never_take_is_set_aside_and_holds_nothing_up(
    line: Line, tmp_path: Path
) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    async with connector.start_run(await connector.get_or_create_experiment("refused")) as run:
        await run.log_param("a", 1)
        await run.log_param("a", 2)
        await run.log_param("b", 3)
    line.restore()
    connector.circuit_breaker.reset()
    report = await connector.replay_spool()
    assert (report.refused, report.pending) == (1, 0)
    assert (await the_run(connector, "refused")).params == {"a": "1", "b": "3"}
    (kept,) = (tmp_path / "spool" / "refused").glob("*.jsonl")
    assert "Changing param values" in json.loads(kept.read_text("utf-8"))["refused_because"]


async def test_writes_by_run_id_wait_and_arrive_too(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    async with connector.start_run(await connector.get_or_create_experiment("by-id")) as run:
        pass
    line.cut()
    assert isinstance(await connector.log_metric("m", 1.5, 2, run_id=str(run.run_id)), Spooled)
    line.restore()
    connector.circuit_breaker.reset()
    assert (await connector.replay_spool()).pending == 0
    info = await the_run(connector, "by-id")
    assert (info.metrics, info.status) == ({"m": 1.5}, RunStatus.FINISHED)


async def test_a_line_cut_off_by_a_crash_costs_that_line_only(line: Line, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    async with connector.start_run(await connector.get_or_create_experiment("torn")) as run:
        outcome = await run.log_param("a", 1)
        assert isinstance(outcome, Spooled)
        with open(outcome.spool_path, "ab") as journal:
            journal.write(b'{"kind": "params", "par')
        await run.log_param("b", 2)
    line.restore()
    connector.circuit_breaker.reset()
    report = await connector.replay_spool()
    assert (report.damaged_lines, report.pending) == (1, 0)
    assert (await the_run(connector, "torn")).params == {"a": "1", "b": "2"}


ANSWERS = ["experiments/create", "runs/create", "logged-models ", "registered-models/create", "model-versions/create"]


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("path", ANSWERS)
async def test_an_answer_lost_on_the_way_doubles_nothing(
    line: Line, rows: Any, tmp_path: Path, path: str, spooled: bool
) -> None:
    connector = connected(line, tmp_path)
    name = f"lost-{ANSWERS.index(path)}-{spooled}"
    line.lose_answer_to(path)
    if spooled:
        line.cut()
    async with connector.start_run(await connector.get_or_create_experiment(name)) as run:
        await run.log_model(Echo(), flavor="pyfunc", registered_model_name=f"e2i_{name}")
    if spooled:
        line.restore()
        connector.circuit_breaker.reset()
        assert (await connector.replay_spool()).pending == 0
    assert line.lost
    info = await the_run(connector, name)
    assert info.run_id == run.run_id
    assert run.persisted
    assert rows("SELECT count(*) FROM logged_models WHERE experiment_id = ?", info.experiment_id) == [(1,)]
    assert rows("SELECT version FROM model_versions WHERE name = ?", f"e2i_{name}") == [(1,)]


def child(code: str, line: Line, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", code, line.url, str(configuration(folder)), *arguments]
    return subprocess.Popen(argv, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
async def test_a_process_killed_in_its_replay_leaves_the_rest_for_the_next(
    line: Line, rows: Any, tmp_path: Path
) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    await record(connector, "killed-replay", tmp_path)
    line.restore()
    connector.circuit_breaker.reset()
    line.stall_after(6)
    process = child(REPLAY, line, tmp_path)
    await asyncio.to_thread(line.stalled.wait, 120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    line.cut()
    line.restore()
    assert (await connector.replay_spool()).pending == 0
    await check_everything_is_there_once(connector, rows, "killed-replay", tmp_path)


@pytest.mark.slow
async def test_two_processes_that_replay_at_once_store_everything_once(line: Line, rows: Any, tmp_path: Path) -> None:
    connector = connected(line, tmp_path)
    line.cut()
    await record(connector, "two-replays", tmp_path)
    line.restore()
    processes = [child(REPLAY, line, tmp_path) for _ in range(2)]
    said = [await asyncio.to_thread(process.communicate) for process in processes]
    assert sorted(out.split()[0] for out, _ in said) == ["0", "1"]
    connector.circuit_breaker.reset()
    await check_everything_is_there_once(connector, rows, "two-replays", tmp_path)


@pytest.mark.slow
async def test_the_run_of_a_process_that_died_is_closed_as_killed(line: Line, tmp_path: Path) -> None:
    line.cut()
    process = child(DIES, line, tmp_path, "died")
    await asyncio.to_thread(process.communicate)
    line.restore()
    connector = connected(line, tmp_path)
    assert (await connector.replay_spool()).pending == 0
    info = await the_run(connector, "died")
    assert (info.status, info.metrics, info.tags["error_type"]) == (RunStatus.KILLED, {"m": 1.0}, "ProcessEnded")
