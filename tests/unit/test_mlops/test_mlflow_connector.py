"""Does the connector keep exactly what it was given, under the name it was given, and say when it could not?"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.errors import ConfigError, ContractViolation, RunNotFound, UnreadableFile
from src.mlops import mlflow_connector as module
from src.mlops.mlflow.values import Masking
from src.mlops.mlflow_connector import (
    Experiment,
    MLflowConnector,
    MLflowRun,
    RunInfo,
    RunStatus,
    StoreRefused,
    Written,
    get_mlflow_connector,
    reset_mlflow_connector,
)
from src.resilience.circuit_breaker import CircuitState
from src.resilience.outcomes import Spooled, Unavailable
from tests.mlflow_store import closed_port, configuration, local_connector, new_store


@pytest.fixture
def connector(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path)


@pytest.fixture
def single() -> Iterator[None]:
    reset_mlflow_connector()
    yield
    reset_mlflow_connector()


def away(folder: Path, **changes: Any) -> MLflowConnector:
    """A connector whose server does not listen."""
    return MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=configuration(folder, **changes))


async def stored(connector: MLflowConnector, run: MLflowRun) -> RunInfo:
    assert run.run_id is not None
    info = await connector.get_run(run.run_id)
    assert isinstance(info, RunInfo)
    return info


@pytest.mark.usefixtures("single")
def test_thirty_two_threads_get_one_connector() -> None:
    gate = threading.Barrier(32)

    def get() -> MLflowConnector:
        gate.wait()
        return get_mlflow_connector()

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        found = [future.result() for future in [pool.submit(get) for _ in range(32)]]
    assert len({id(one) for one in found}) == 1


@pytest.mark.usefixtures("single")
def test_after_a_reset_the_configuration_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_mlflow_connector()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert get_mlflow_connector() is first
    reset_mlflow_connector()
    assert get_mlflow_connector().tracking_uri == "http://127.0.0.1:1"


@pytest.mark.usefixtures("single")
def test_the_shipped_store_lies_in_the_folder_for_generated_files() -> None:
    assert get_mlflow_connector().tracking_uri == f"sqlite:///{os.environ['E2I_VAR_DIR']}/mlflow.db"


def test_importing_the_connector_loads_no_mlflow() -> None:
    code = "import sys, src.mlops.mlflow_connector; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_arguments_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = configuration(tmp_path, tracking={"uri": "http://127.0.0.1:2"}, experiments={"prefix": "lab"})
    from_file = MLflowConnector(config_path=file)
    given = MLflowConnector("http://127.0.0.1:3", "s3://bucket", "mine", config_path=file)
    assert (from_file.tracking_uri, from_file.experiment_prefix) == ("http://127.0.0.1:2", "lab")
    assert (given.tracking_uri, given.experiment_prefix) == ("http://127.0.0.1:3", "mine")
    assert given.config.tracking.artifact_location == "s3://bucket"
    assert MLflowConnector(config_path=file).config.tracking.request_timeout == 30


async def test_without_a_store_nothing_is_recorded_and_nothing_claims_to_be(tmp_path: Path) -> None:
    connector = MLflowConnector("", config_path=configuration(tmp_path))
    assert connector.enabled is False
    async with connector.start_run() as run:
        assert isinstance(await run.log_param("a", 1), Unavailable)
    assert run.to_dict()["run_id"] is None
    assert run.persisted is False
    assert not (tmp_path / "spool").exists()
    assert isinstance(await connector.list_experiments(), Unavailable)


@pytest.mark.parametrize(
    ("name", "full"),
    [("uplift", "e2i_uplift"), ("e2i_uplift", "e2i_uplift"), ("e2i_e2i_uplift", "e2i_uplift"), (" x ", "e2i_x")],
)
async def test_the_prefix_stands_in_the_store_exactly_once(connector: MLflowConnector, name: str, full: str) -> None:
    created = await connector.get_or_create_experiment(name)
    assert created.name == full
    found = await connector.list_experiments()
    assert isinstance(found, list)
    assert [experiment.name for experiment in found] == [full]


@pytest.mark.parametrize("name", ["", "e2i_", "   "])
async def test_an_experiment_without_a_name_is_refused(connector: MLflowConnector, name: str) -> None:
    with pytest.raises(ContractViolation, match="needs a name"):
        await connector.get_or_create_experiment(name)


async def test_an_experiment_asked_for_twice_is_one(connector: MLflowConnector, tmp_path: Path) -> None:
    first = await connector.get_or_create_experiment("twice", tags={"team": "x"})
    again = await MLflowConnector(
        connector.tracking_uri, config_path=tmp_path / "mlflow.yaml"
    ).get_or_create_experiment("e2i_twice")
    assert again.experiment_id == first.experiment_id
    assert again.tags == {"project": "e2i", "team": "x"}


async def test_many_who_create_the_same_experiment_at_once_get_one(tmp_path: Path) -> None:
    uri, file = new_store(tmp_path), configuration(tmp_path)
    connectors = [MLflowConnector(uri, config_path=file) for _ in range(8)]
    found = await asyncio.gather(*(one.get_or_create_experiment("race") for one in connectors))
    assert len({experiment.experiment_id for experiment in found}) == 1


async def test_a_deleted_experiment_is_not_used_silently(connector: MLflowConnector, tmp_path: Path) -> None:
    created = await connector.get_or_create_experiment("gone")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'e2i_gone'")
    fresh = MLflowConnector(connector.tracking_uri, config_path=tmp_path / "mlflow.yaml")
    with pytest.raises(StoreRefused, match=f"restore -x {created.experiment_id}"):
        await fresh.get_or_create_experiment("gone")


async def test_no_folder_appears_where_the_program_was_started(
    connector: MLflowConnector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "note.txt").write_text("x", "utf-8")
    async with connector.start_run() as run:
        await run.log_artifact(tmp_path / "note.txt")
    assert list(elsewhere.iterdir()) == []
    assert (await stored(connector, run)).artifact_uri.startswith(str(tmp_path))


async def test_a_run_that_ends_well_is_finished(connector: MLflowConnector) -> None:
    async with connector.start_run(run_name="first", tags={"a": 1}, description="why") as run:
        assert run.status is RunStatus.RUNNING
        assert (await stored(connector, run)).status is RunStatus.RUNNING
    info = await stored(connector, run)
    assert info.status is run.status is RunStatus.FINISHED
    assert (info.run_name, info.tags["a"], info.tags["mlflow.note.content"]) == ("first", "1", "why")
    assert info.end_time is not None
    assert info.end_time >= info.start_time


async def test_a_run_whose_body_raises_is_failed_and_the_exception_is_the_same(connector: MLflowConnector) -> None:
    error = ConnectionError("the data source is away: postgresql://me:hunter2@db/x token=abc123")
    with pytest.raises(ConnectionError) as caught:
        async with connector.start_run() as run:
            raise error
    assert caught.value is error
    info = await stored(connector, run)
    assert info.status is RunStatus.FAILED
    assert info.tags["error_type"] == "ConnectionError"
    assert info.tags["error_message"] == "the data source is away: postgresql://***@db/x token=***"


async def test_the_body_s_own_connection_error_is_not_charged_to_the_store(connector: MLflowConnector) -> None:
    for _ in range(6):
        with pytest.raises(ConnectionError):
            async with connector.start_run():
                raise ConnectionError("elsewhere")
    assert connector.circuit_breaker.metrics.failed == 0
    assert connector.circuit_breaker.state is CircuitState.CLOSED


async def test_a_cancelled_run_is_killed(connector: MLflowConnector) -> None:
    runs: list[MLflowRun] = []

    async def work() -> None:
        async with connector.start_run() as run:
            runs.append(run)
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    while not runs:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await stored(connector, runs[0])).status is RunStatus.KILLED


async def test_a_run_cancelled_while_it_is_created_is_not_left_running(connector: MLflowConnector) -> None:
    await connector.get_or_create_experiment("default")
    for delay in (0.0, 0.001, 0.004):

        async def work() -> None:
            async with connector.start_run():
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    found = await connector.search_runs()
    assert isinstance(found, list)
    assert {info.status for info in found} <= {RunStatus.KILLED}


async def test_a_nested_run_hangs_below_the_one_around_it(connector: MLflowConnector) -> None:
    async with connector.start_run() as outer:
        async with connector.start_run(nested=True) as inner:
            pass
        async with connector.start_run() as beside:
            pass
    async with connector.start_run(parent_run_id=outer.run_id) as later:
        pass
    parents = [(await stored(connector, run)).parent_run_id for run in (outer, inner, beside, later)]
    assert parents == [None, outer.run_id, None, outer.run_id]


async def test_a_nested_run_needs_one_around_it(connector: MLflowConnector) -> None:
    with pytest.raises(ContractViolation, match="needs a run around it"):
        async with connector.start_run(nested=True):
            pass


async def test_twenty_runs_at_once_keep_their_own_params_and_metrics(connector: MLflowConnector) -> None:
    async def work(number: int) -> tuple[str | None, int]:
        async with connector.start_run(run_name=f"run {number}") as run:
            for step in range(3):
                await run.log_metric("value", number * 100 + step, step)
                await asyncio.sleep(0)
            await run.log_params({"number": number, f"only_{number}": True})
        return run.run_id, number

    await connector.get_or_create_experiment("default")
    done = await asyncio.gather(*(work(number) for number in range(20)))
    for run_id, number in done:
        assert run_id is not None
        info = await connector.get_run(run_id)
        assert isinstance(info, RunInfo)
        assert info.params == {"number": str(number), f"only_{number}": "True"}
        assert info.metrics == {"value": number * 100 + 2}


async def test_no_run_is_active_for_the_whole_process(connector: MLflowConnector) -> None:
    import mlflow

    async with connector.start_run():
        assert mlflow.active_run() is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("depth", 3, "3"),
        ("rate", 0.25, "0.25"),
        ("on", True, "True"),
        ("none", None, "None"),
        ("columns", ["a", "b"], '["a", "b"]'),
        ("long", "x" * 600, "x" * 500),
        ("password", "hunter2", "***"),
        ("db_password", "hunter2", "***"),
        ("apiKey", "sk-1", "***"),
        ("openai.api_key", "sk-1", "***"),
        ("auth-token", "t", "***"),
        ("client_secrets", "t", "***"),
        ("max_tokens", 4096, "4096"),
        ("tokenizer", "bpe", "bpe"),
        ("nested", {"user": "me", "secret": "s"}, '{"user": "me", "secret": "***"}'),
        ("dsn", "postgresql://me:pw@host/db", "postgresql://***@host/db"),
    ],
)
def test_a_value_is_text_of_bounded_length_without_secrets(name: str, value: Any, text: str) -> None:
    assert Masking(["password", "api_key", "secret", "token"]).texts({name: value}, "parameter") == {name: text}


async def test_the_store_holds_params_as_masked_and_bounded_text(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        assert await run.log_param("depth", 3) == Written("mlflow", "params")
        await run.log_params({"long": "x" * 600, "password": "hunter2", "nested": {"token": "t", "n": 1}})
    params = (await stored(connector, run)).params
    assert params == {"depth": "3", "long": "x" * 500, "password": "***", "nested": '{"token": "***", "n": 1}'}


async def test_more_params_than_one_request_takes_are_all_kept(connector: MLflowConnector) -> None:
    params = {f"p{number}": str(number) for number in range(250)}
    async with connector.start_run() as run:
        await run.log_params(params)
    assert (await stored(connector, run)).params == params


async def test_a_second_value_of_a_param_is_refused_and_the_breaker_is_not_charged(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        await run.log_param("a", 1)
        await run.log_param("a", 1)
        with pytest.raises(StoreRefused, match="Changing param values is not allowed"):
            await run.log_param("a", 2)
    assert connector.circuit_breaker.metrics.failed == 0
    assert (await stored(connector, run)).params == {"a": "1"}


@pytest.mark.parametrize("name", ["", "bad;name", "x" * 251])
async def test_a_name_the_store_would_refuse_is_refused_before_it_is_spooled(tmp_path: Path, name: str) -> None:
    connector = away(tmp_path)
    async with connector.start_run() as run:
        for write in (run.log_param(name, 1), run.log_metric(name, 1), run.set_tag(name, 1)):
            with pytest.raises(ContractViolation, match="name"):
                await write


async def test_metrics_keep_their_steps(connector: MLflowConnector, tmp_path: Path) -> None:
    async with connector.start_run() as run:
        for step in (0, 1, 2):
            await run.log_metrics({"loss": 1 / (step + 1), "auc": np.float64(0.5)}, step)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        rows = database.execute("SELECT step, value FROM metrics WHERE key = 'loss' ORDER BY step").fetchall()
    assert rows == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert (await stored(connector, run)).metrics == {"loss": pytest.approx(1 / 3), "auc": 0.5}


async def test_a_metric_that_is_not_finite_is_named_in_a_tag_and_not_stored(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        outcome = await run.log_metrics({"good": 1.0, "loss": float("nan")})
        await run.log_metric("gain", float("inf"))
    assert outcome == Written("mlflow", "metrics", ("loss",))
    info = await stored(connector, run)
    assert info.metrics == {"good": 1.0}
    assert info.tags["nonfinite_metric"] == "gain,loss"


@pytest.mark.parametrize("value", ["0.5", None, [1]])
async def test_a_metric_that_is_no_number_is_refused(connector: MLflowConnector, value: Any) -> None:
    async with connector.start_run() as run:
        with pytest.raises(ContractViolation, match="'auc' must be a number"):
            await run.log_metric("auc", value)


async def test_tags_are_masked_and_the_last_value_stays(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        await run.set_tags({"stage": "a", "token": "t"})
        await run.set_tag("stage", "b")
    tags = (await stored(connector, run)).tags
    assert (tags["stage"], tags["token"]) == ("b", "***")


async def test_a_file_and_a_folder_come_back_as_they_were(connector: MLflowConnector, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "deep" / "b.txt").write_text("ä", "utf-8")
    async with connector.start_run() as run:
        await run.log_artifact(folder / "a.bin", "single")
        await run.log_artifact(folder, "whole")
    assert run.run_id is not None
    single = await connector.download_artifact(run.run_id, "single/a.bin", tmp_path / "down")
    whole = await connector.download_artifact(run.run_id, "whole/report", tmp_path / "down")
    assert isinstance(single, Path)
    assert isinstance(whole, Path)
    assert single.read_bytes() == bytes(range(256))
    assert {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*") if p.is_file()} == {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


async def test_a_file_that_is_not_there_is_an_error(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        with pytest.raises(UnreadableFile, match=r"nothing\.csv: no such file"):
            await run.log_artifact("nothing.csv")


async def test_a_run_can_be_written_to_by_its_id(connector: MLflowConnector, tmp_path: Path) -> None:
    async with connector.start_run() as run:
        pass
    assert run.run_id is not None
    (tmp_path / "a.txt").write_text("a", "utf-8")
    await connector.log_param("a", 1, run_id=run.run_id)
    await connector.log_params({"b": 2}, run_id=run.run_id)
    await connector.log_metric("m", 1, 3, run_id=run.run_id)
    await connector.log_metrics({"n": 2}, run_id=run.run_id)
    await connector.set_tags({"t": "u"}, run_id=run.run_id)
    await connector.log_artifact(tmp_path / "a.txt", run_id=run.run_id)
    info = await stored(connector, run)
    assert (info.params, info.metrics, info.tags["t"]) == ({"a": "1", "b": "2"}, {"m": 1.0, "n": 2.0}, "u")
    assert isinstance(await connector.download_artifact(run.run_id, "a.txt", tmp_path / "down"), Path)


async def test_runs_are_found_by_what_they_hold(connector: MLflowConnector) -> None:
    for value in (1, 2, 3):
        async with connector.start_run(await connector.get_or_create_experiment("search")) as run:
            await run.log_metric("m", value)
    found = await connector.search_runs(filter_string="metrics.m > 1", order_by=["metrics.m DESC"])
    assert isinstance(found, list)
    assert [info.metrics["m"] for info in found] == [3, 2]
    limited = await connector.search_runs([str(run.experiment_id)], max_results=1)
    assert isinstance(limited, list)
    assert len(limited) == 1
    assert await connector.search_runs([]) == []


async def test_an_unknown_run_is_an_error_and_no_outage(connector: MLflowConnector) -> None:
    with pytest.raises(RunNotFound, match="no run 'nothing'"):
        await connector.get_run("nothing")
    assert connector.circuit_breaker.metrics.failed == 0


async def test_a_bad_filter_is_refused_in_one_line(connector: MLflowConnector) -> None:
    await connector.get_or_create_experiment("x")
    with pytest.raises(StoreRefused, match="Invalid") as caught:
        await connector.search_runs(filter_string="metrics.")
    assert "\n" not in str(caught.value)


async def test_away_reads_are_unavailable_and_writes_are_spooled(tmp_path: Path) -> None:
    connector = away(tmp_path)
    experiment = await connector.get_or_create_experiment("later")
    assert experiment == Experiment("e2i_later", None, None, {"project": "e2i"})
    async with connector.start_run(experiment, "r") as run:
        outcome = await run.log_param("a", 1)
    assert isinstance(outcome, Spooled)
    assert Path(outcome.spool_path).parent == tmp_path / "spool"
    assert run.to_dict() == {
        "run_id": None,
        "experiment_id": None,
        "experiment_name": "e2i_later",
        "run_name": "r",
        "status": "finished",
        "persisted": False,
        "lost_writes": 0,
    }
    for answer in (
        await connector.list_experiments(),
        await connector.get_run("x"),
        await connector.search_runs(),
        await connector.register_model("x", "m"),
        await connector.get_latest_model_version("m"),
        await connector.load_model("models:/m/1"),
    ):
        assert isinstance(answer, Unavailable)
    moved = await connector.transition_model_stage("m", 1, "staging")
    assert not moved
    assert moved.reason


async def test_what_one_store_could_not_take_is_never_given_to_another(tmp_path: Path) -> None:
    gone = away(tmp_path)
    async with gone.start_run() as run:
        pass
    other = MLflowConnector(new_store(tmp_path), config_path=configuration(tmp_path))
    assert await other.replay_spool() == module.ReplayReport()
    assert await other.search_runs() == []
    assert (await other.get_metrics())["spool"]["journals_of_other_stores"] == 2
    assert (await gone.get_metrics())["spool"]["pending"] == 3
    assert run.persisted is False


async def test_a_secret_never_reaches_the_spool(tmp_path: Path) -> None:
    connector = away(tmp_path)

    async def work() -> None:
        async with connector.start_run(tags={"api_key": "planted-1"}) as run:
            await run.log_params({"password": "planted-2", "config": {"token": "planted-3"}})
            raise ValueError("wrong: secret=planted-4 at http://me:planted-5@host/")

    with pytest.raises(ValueError, match="wrong"):
        await work()
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert "***" in text
    assert "planted-" not in text


async def test_outages_open_the_breaker_at_the_threshold_and_reject_without_counting(tmp_path: Path) -> None:
    connector = away(tmp_path, circuit_breaker={"failure_threshold": 3})
    for _ in range(2):
        await connector.list_experiments()
    assert connector.circuit_breaker.state is CircuitState.CLOSED
    await connector.list_experiments()
    assert connector.circuit_breaker.state is CircuitState.OPEN
    failed = connector.circuit_breaker.metrics.failed
    answer = await connector.list_experiments()
    assert isinstance(answer, Unavailable)
    assert answer.retry_after_s is not None
    assert 0 < answer.retry_after_s <= 30
    assert connector.circuit_breaker.metrics.failed == failed == 3


async def test_health_says_whether_the_store_answers_now(connector: MLflowConnector, tmp_path: Path) -> None:
    here = await connector.health_check()
    assert here.reachable
    assert here.latency_ms is not None
    gone = away(tmp_path)
    there = await gone.health_check()
    assert (there.reachable, there.latency_ms, gone.enabled) == (False, None, True)
    assert "refused" in there.reason


async def test_metrics_count_what_was_written_and_what_waits(tmp_path: Path) -> None:
    connector = local_connector(tmp_path)
    async with connector.start_run() as run:
        await run.log_param("a", 1)
    here = await connector.get_metrics()
    assert here["writes"] == {"written": 2, "spooled": 0, "refused_by_spool": 0}
    assert here["spool"]["pending"] == 0
    gone = away(tmp_path)
    async with gone.start_run() as run:
        await run.log_param("a", 1)
    there = await gone.get_metrics()
    assert there["writes"]["written"] == 0
    assert there["spool"]["pending"] == 4
    assert json.loads(json.dumps(there))["circuit_breaker"]["failed"] > 0


async def test_a_full_spool_refuses_clearly_and_the_run_says_that_it_lost_something(tmp_path: Path) -> None:
    connector = away(tmp_path, spool={"max_mb": 0.02})
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(30_000))
    async with connector.start_run() as run:
        outcome = await run.log_artifact(big)
        small = await run.log_param("a", 1)
    assert isinstance(outcome, Unavailable)
    assert "is full (0.02 MB" in outcome.reason
    assert isinstance(small, Spooled)
    assert run.to_dict()["lost_writes"] == 1
    assert run.persisted is False
    lines = [json.loads(line) for line in Path(small.spool_path).read_text("utf-8").splitlines()]
    assert lines[-1]["tags"]["incomplete"].startswith("1 writes were lost")


def test_the_ui_command_names_the_store_but_not_on_the_command_line(tmp_path: Path) -> None:
    connector = MLflowConnector("postgresql://me:hunter2@127.0.0.1/mlflow", config_path=configuration(tmp_path))
    command = connector.server_command(port=5001)
    assert command.argv[1:] == ("ui", "--host", "127.0.0.1", "--port", "5001", "--workers", "1")
    assert command.environment["MLFLOW_BACKEND_STORE_URI"] == connector.tracking_uri
    assert "hunter2" not in repr(command)


def test_the_ui_asks_nothing_of_the_internet_when_it_starts(connector: MLflowConnector) -> None:
    """LiteLLM, which MLflow's server loads, would fetch prices: without a network it hangs while it is imported."""
    environment = connector.server_command().environment
    assert (environment["LITELLM_LOCAL_MODEL_COST_MAP"], environment["MLFLOW_DISABLE_TELEMETRY"]) == ("True", "true")


def test_a_tracking_server_needs_no_ui_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"open http://\*\*\*@host:5000"):
        MLflowConnector("http://me:pw@host:5000", config_path=configuration(tmp_path)).server_command()


def test_a_model_s_name_follows_the_pattern_with_the_prefix_once(connector: MLflowConnector) -> None:
    assert connector.model_name("uplift", "lightgbm") == connector.model_name("e2i_uplift", "lightgbm")
    assert connector.model_name("uplift", "lightgbm") == "e2i_uplift_lightgbm"
