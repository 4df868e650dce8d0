"""Does every key of config/mlflow/mlflow.yaml change what happens, and is every other key refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from src.errors import ConfigError
from src.mlops.mlflow.configuration import MLFLOW_FILE, load_mlflow_config
from src.mlops.mlflow.store import resolve_address
from src.mlops.mlflow_connector import MLflowConnector, MLflowRun, RunInfo
from src.resilience.circuit_breaker import CircuitState
from src.settings import PROJECT_ROOT, var_dir
from tests.mlflow_store import closed_port, configuration, local_connector


async def test_default_tags_stand_on_new_experiments(tmp_path: Path) -> None:
    connector = local_connector(tmp_path, experiments={"default_tags": {"owner": "lab"}})
    assert (await connector.get_or_create_experiment("x")).tags["owner"] == "lab"


async def test_the_prefix_names_the_experiments(tmp_path: Path) -> None:
    connector = local_connector(tmp_path, experiments={"prefix": "lab_"})
    assert (await connector.get_or_create_experiment("x")).name == "lab_x"


async def test_artifacts_lie_where_the_file_says(tmp_path: Path) -> None:
    connector = local_connector(tmp_path, tracking={"artifact_location": str(tmp_path / "there")})
    (tmp_path / "a.txt").write_text("a", "utf-8")
    async with connector.start_run() as run:
        await run.log_artifact(tmp_path / "a.txt")
    assert list((tmp_path / "there" / "e2i_default").rglob("a.txt"))


def test_the_naming_pattern_names_models(tmp_path: Path) -> None:
    connector = local_connector(tmp_path, registry={"naming_pattern": "{algorithm}.{experiment}"})
    assert connector.model_name("x", "forest") == "forest.x"


async def test_masked_words_come_from_the_file(tmp_path: Path) -> None:
    connector = local_connector(tmp_path, logging={"mask_params": ["zip"]})
    async with connector.start_run() as run:
        await run.log_params({"zip_code": "1234", "password": "shown"})
    info = await connector.get_run(str(run.run_id))
    assert isinstance(info, RunInfo)
    assert info.params == {"zip_code": "***", "password": "shown"}


@pytest.mark.parametrize(
    ("changes", "attempts"), [({"max_attempts": 1}, 1), ({"max_attempts": 4, "backoff_factor": 0.001}, 4)]
)
async def test_a_call_is_tried_as_often_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], attempts: int
) -> None:
    connector = local_connector(tmp_path, tracking={"retry": changes})
    await connector.get_or_create_experiment("x")
    from mlflow import MlflowClient

    tried: list[str] = []

    def fail(self: Any, run_id: str) -> None:
        tried.append(run_id)
        raise ConnectionError("away")

    monkeypatch.setattr(MlflowClient, "get_run", fail)
    assert not await connector.get_run("r")
    assert tried == ["r"] * attempts


def test_waits_between_attempts_come_from_the_file(tmp_path: Path) -> None:
    file = configuration(tmp_path, tracking={"retry": {"backoff_factor": 4, "max_backoff": 6}})
    policy = load_mlflow_config(file).tracking.retry.policy()
    assert 2 <= policy.delay_s(1) <= 4
    assert 3 <= policy.delay_s(5) <= 6


async def test_the_request_timeout_reaches_the_library(tmp_path: Path) -> None:
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT

    connector = local_connector(tmp_path, tracking={"request_timeout": 17})
    await connector.health_check()
    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 17
    assert resolve_address("postgresql://h/d", timeout_s=17).uri == "postgresql+psycopg://h/d?connect_timeout=17"


async def test_the_breaker_is_set_up_from_the_file(tmp_path: Path) -> None:
    settings = {
        "failure_threshold": 1,
        "reset_timeout_seconds": 7,
        "half_open_max_calls": 1,
        "success_threshold": 1,
    }
    now = [0.0]
    file = configuration(tmp_path, circuit_breaker=settings)
    connector = MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=file, clock=lambda: now[0])
    await connector.list_experiments()
    breaker = connector.circuit_breaker
    assert breaker.state is CircuitState.OPEN
    now[0] = 6.9
    assert breaker.retry_after_s() == pytest.approx(0.1)
    now[0] = 7.1
    assert [breaker.allow_request(), breaker.allow_request()] == [True, False]
    breaker.record_success()
    assert breaker.state is CircuitState.CLOSED


async def test_a_breaker_that_opened_probes_when_its_time_has_come_and_closes_again(tmp_path: Path) -> None:
    now = [0.0]
    connector = local_connector(tmp_path)
    connector.circuit_breaker._clock = lambda: now[0]
    connector.circuit_breaker.force_open()
    async with connector.start_run() as run:
        assert run.run_id is None
    now[0] = 30.1
    assert isinstance(await connector.list_experiments(), list)
    assert connector.circuit_breaker.state is CircuitState.HALF_OPEN
    assert isinstance(await connector.list_experiments(), list)
    assert connector.circuit_breaker.state is CircuitState.CLOSED
    report = await connector.replay_spool()
    assert (report.runs, report.pending) == (1, 0)
    assert isinstance(run, MLflowRun)
    assert run.persisted


def test_the_spool_lies_where_the_file_says(tmp_path: Path) -> None:
    config = load_mlflow_config(configuration(tmp_path, spool={"path": "elsewhere", "max_mb": 1}))
    assert config.spool.folder == var_dir() / "elsewhere"
    assert config.spool.max_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "surprise: unknown key"),
        ({"tracking": {"url": "x"}}, "tracking.url: unknown key"),
        ({"registry": {"stages": {"staging": {"auc": 1}}}}, "registry.stages.staging.auc: unknown key"),
        ({"registry": {"naming_pattern": "{name}"}}, "registry.naming_pattern: Value error, must contain"),
        ({"autolog": {"frameworks": ["keras"]}}, "autolog.frameworks.0: Input should be"),
        ({"circuit_breaker": {"failure_threshold": 0}}, "circuit_breaker.failure_threshold: Input should be"),
        ({"spool": {"max_mb": 0}}, "spool.max_mb: Input should be greater than 0"),
        ({"tracking": {"retry": {"max_attempts": 0}}}, "tracking.retry.max_attempts: Input should be"),
    ],
)
def test_a_bad_key_or_value_is_named_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = configuration(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        MLflowConnector(config_path=file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_the_environment_overrides_the_shipped_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert load_mlflow_config(MLFLOW_FILE).tracking.uri == "https://mlflow.example"
    assert MLflowConnector().tracking_uri == "https://mlflow.example"
    assert MLflowConnector("http://127.0.0.1:9").tracking_uri == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("uri", "resolved"),
    [
        ("sqlite:///var/x.db", "sqlite:///{var}/x.db"),
        ("sqlite:///data/x.db", "sqlite:///{project}/data/x.db"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
        ("postgresql+psycopg://h/d?sslmode=disable", "postgresql+psycopg://h/d?sslmode=disable&connect_timeout=30"),
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d?connect_timeout=30"),
        ("http://h:5000/", "http://h:5000"),
    ],
)
def test_addresses_are_resolved_as_mlflow_takes_them(uri: str, resolved: str) -> None:
    assert resolve_address(uri).uri == resolved.format(var=var_dir(), project=PROJECT_ROOT)
    assert "p@h" not in repr(resolve_address(uri))


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_would_lose_runs_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.uri"):
        resolve_address(uri)
