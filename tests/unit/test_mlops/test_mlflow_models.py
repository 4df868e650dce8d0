"""Does a stored model come back as it was, and is a fit recorded in its own run?"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.errors import ConfigError, ContractViolation, ModelNotFound
from src.mlops.mlflow.autolog import AutoLogger
from src.mlops.mlflow_connector import (
    LoggedModel,
    MLflowConnector,
    MLflowRun,
    ModelStage,
    ModelVersion,
    RunInfo,
    RunStatus,
)
from tests.mlflow_store import local_connector


@pytest.fixture
def connector(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path)


async def stored(connector: MLflowConnector, run: MLflowRun) -> RunInfo:
    info = await connector.get_run(str(run.run_id))
    assert isinstance(info, RunInfo)
    return info


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    return frame, (frame["a"] + rng.normal(scale=0.1, size=200) > 0).astype(int)


class Doubler:
    """Not a model of any library."""

    def predict(self, frame: pd.DataFrame) -> Any:
        return frame["a"].to_numpy() * 2


def fitted(kind: str, data: tuple[pd.DataFrame, pd.Series]) -> Any:
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(5, random_state=0),
        "lightgbm": LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1),
    }
    return models[kind].fit(*data) if kind in models else Doubler()


@pytest.mark.parametrize(
    ("kind", "flavor"),
    [("linear", "sklearn"), ("forest", "sklearn"), ("lightgbm", "lightgbm"), ("doubler", "pyfunc")],
)
async def test_a_loaded_model_predicts_what_the_stored_one_did(
    connector: MLflowConnector, data: tuple[pd.DataFrame, pd.Series], kind: str, flavor: str
) -> None:
    model, frame = fitted(kind, data), data[0]
    async with connector.start_run() as run:
        logged = await run.log_model(model, "m", flavor, input_example=frame.head(3))
    assert isinstance(logged, LoggedModel)
    expected = np.asarray(model.predict(frame))
    for uri, wanted in ((logged.uri, flavor), (f"runs:/{run.run_id}/m", None), (logged.uri, "pyfunc")):
        loaded = await connector.load_model(uri, wanted)
        np.testing.assert_array_equal(np.asarray(loaded.predict(frame)), expected)


async def test_a_stored_model_carries_its_signature_and_its_installed_requirements(
    connector: MLflowConnector, data: tuple[pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    import mlflow.models
    import sklearn

    signature = mlflow.models.infer_signature(*data)
    async with connector.start_run() as run:
        await run.log_model(fitted("linear", data), signature=signature)
    (folder,) = [path.parent for path in tmp_path.rglob("MLmodel")]
    assert mlflow.models.Model.load(str(folder)).signature == signature
    assert f"scikit-learn=={sklearn.__version__}" in (folder / "requirements.txt").read_text("utf-8").splitlines()
    assert mlflow.models.Model.load(str(folder)).run_id == run.run_id


async def test_a_foreign_type_is_not_stored_as_sklearn(connector: MLflowConnector) -> None:
    async with connector.start_run() as run:
        with pytest.raises(ContractViolation, match="store it with flavor 'pyfunc'"):
            await run.log_model(Doubler())


@pytest.mark.parametrize(
    ("flavor", "error", "message"),
    [("prophet", ContractViolation, "there is: sklearn"), ("xgboost", ConfigError, "pip install xgboost-cpu")],
)
async def test_a_flavor_that_cannot_be_used_is_named(
    connector: MLflowConnector, monkeypatch: pytest.MonkeyPatch, flavor: str, error: type[Exception], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    async with connector.start_run() as run:
        with pytest.raises(error, match=message):
            await run.log_model(Doubler(), flavor=flavor)


async def test_a_registered_model_gets_versions_from_one_upwards(
    connector: MLflowConnector, data: tuple[pd.DataFrame, pd.Series]
) -> None:
    async with connector.start_run() as run:
        await run.log_model(fitted("linear", data))
    assert run.run_id is not None
    first = await connector.register_model(run.run_id, "e2i_m", tags={"token": "t"}, description="why")
    second = await connector.register_model(run.run_id, "e2i_m")
    assert isinstance(first, ModelVersion)
    assert isinstance(second, ModelVersion)
    assert (first.version, second.version, first.stage) == (1, 2, ModelStage.DEVELOPMENT)
    assert (first.run_id, first.tags["token"], first.description) == (run.run_id, "***", "why")
    assert await connector.get_latest_model_version("e2i_m") == second
    assert (await connector.load_model(first.uri)).predict(data[0]).shape == (200,)


@pytest.mark.parametrize(("run_id", "path"), [("known", "other"), ("unknown", "model")])
async def test_what_was_never_logged_cannot_be_registered(connector: MLflowConnector, run_id: str, path: str) -> None:
    async with connector.start_run() as run:
        pass
    with pytest.raises(ModelNotFound):
        await connector.register_model(str(run.run_id) if run_id == "known" else run_id, "e2i_m", path)


@pytest.mark.parametrize("uri", ["models:/nothing/1", "models:/nothing@production", "models:/m-0", "runs:/x/m", "x"])
async def test_an_address_without_a_model_is_an_error(connector: MLflowConnector, uri: str) -> None:
    with pytest.raises(ModelNotFound):
        await connector.load_model(uri)
    assert connector.circuit_breaker.metrics.failed == 0


async def test_there_is_no_latest_version_of_an_unknown_model(connector: MLflowConnector) -> None:
    assert await connector.get_latest_model_version("e2i_nothing") is None
    assert await connector.get_latest_model_version("e2i_nothing", "production") is None


async def test_autologging_writes_to_the_run_that_fits_and_to_no_other(
    tmp_path: Path, data: tuple[pd.DataFrame, pd.Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import LogisticRegression

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    connector = local_connector(tmp_path, autolog={"frameworks": ["sklearn"]})
    logger = AutoLogger(connector)
    assert logger.enable_autolog() == {"sklearn"}
    try:
        async with connector.start_run() as one, connector.start_run() as two:
            await asyncio.gather(
                *(
                    logger.fit(run, lambda c=c: LogisticRegression(C=c).fit(*data))
                    for run, c in ((one, 1.5), (two, 2.5))
                )
            )
    finally:
        logger.disable_autolog()
    assert [(await stored(connector, run)).params["C"] for run in (one, two)] == ["1.5", "2.5"]
    assert {(await stored(connector, run)).status for run in (one, two)} == {RunStatus.FINISHED}
    assert "MLFLOW_TRACKING_URI" not in os.environ
    async with connector.start_run() as three:
        await logger.fit(three, lambda: LogisticRegression().fit(*data))
    assert (await stored(connector, three)).params == {}


def test_an_unknown_framework_has_no_autologging(connector: MLflowConnector) -> None:
    with pytest.raises(ContractViolation, match="'keras' has no autologging"):
        AutoLogger(connector).enable_autolog("keras")
