"""Does a stored bundle answer raw rows exactly as the model that was trained, and hold nobody's data?"""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, UnknownColumn
from src.mlops.mlflow_connector import LoggedModel, MLflowConnector
from src.mlops.modelling.bundle import BUNDLE_FLAVOR, ModelBundle, as_bundle
from src.mlops.modelling.calibration import Sigmoid
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.targets import fit_target
from src.mlops.modelling.types import Labelled
from src.mlops.preparation.transforms import fit_transforms
from tests.mlflow_store import local_connector
from tests.unit.test_mlops.labelled_rows import FAST, FITTED

BINARY, MULTICLASS, REGRESSION = ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION
N = 160
FEATURES = ("dose", "stage", "since", "topics", "active")


def raw() -> pd.DataFrame:
    """Numbers, words, times, lists and truth, with empty cells and a target of each kind."""
    rng = np.random.default_rng(3)
    start = pd.Timestamp("2024-01-01", tz="UTC")
    frame = pd.DataFrame(
        {
            "dose": rng.normal(10, 2, N),
            "stage": rng.choice(["early [I]", "late <II>", 'late "III"'], N),
            "since": start + pd.to_timedelta(rng.integers(0, 300, N), unit="D"),
            "topics": [["price"] if n % 3 else ["price", "safety"] for n in range(N)],
            "active": rng.random(N) > 0.5,
        },
        index=range(1000, 1000 + N),
    )
    signal = frame["dose"] - 10 + 2 * (frame["stage"] == "early [I]") + rng.normal(size=N)
    # An even number of doses is left: their median is nobody's.
    frame.loc[[1003, 1004], "dose"] = np.nan
    frame["yes"] = np.where(signal > 1, "adopts", "waits")
    frame["kind"] = np.digitize(signal, [-0.5, 1.5]) * 10
    frame["amount"] = 100 + 7 * signal
    return frame


TARGETS = {BINARY: "yes", MULTICLASS: "kind", REGRESSION: "amount"}


def bundle(algorithm: str, problem_type: ProblemType, recalibration: Sigmoid | None = None) -> ModelBundle:
    frame, target = raw(), TARGETS[problem_type]
    transforms = fit_transforms(frame, pd.Series(["train"] * N), FEATURES)
    coding = fit_target(frame[target], problem_type, "adopts" if problem_type is BINARY else None)
    rows = Labelled(transforms.apply(frame), coding.encode(frame[target]))
    model = fit_model(algorithm, problem_type, FAST[algorithm], rows, validation=rows, early_stopping_rounds=4)
    model = replace(model, recalibration=recalibration)
    return ModelBundle(transforms, model, coding, target, 0.37 if problem_type is BINARY else None)


RECALIBRATIONS: dict[tuple[str, ProblemType], Sigmoid] = {
    ("xgboost", BINARY): Sigmoid(0.7, -0.1),
    ("random_forest", BINARY): Sigmoid(1.3, 0.2),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[MLflowConnector, dict[Any, tuple[ModelBundle, str]]]:
    """Every family and problem, each stored once in a real store."""
    connector = local_connector(tmp_path_factory.mktemp("store"))
    kept: dict[Any, tuple[ModelBundle, str]] = {}

    async def store() -> None:
        async with connector.start_run() as run:
            for algorithm, problem_type in FITTED:
                made = bundle(algorithm, problem_type, RECALIBRATIONS.get((algorithm, problem_type)))
                name = f"{algorithm}-{problem_type}"
                logged = await run.log_model(made, name, BUNDLE_FLAVOR, input_example=made.example())
                assert isinstance(logged, LoggedModel)
                kept[algorithm, problem_type] = (made, logged.uri)

    asyncio.run(store())
    return connector, kept


@pytest.mark.parametrize(("algorithm", "problem_type"), FITTED)
async def test_a_stored_bundle_predicts_bit_for_bit_what_it_did_before(
    stored: tuple[MLflowConnector, dict[Any, tuple[ModelBundle, str]]], algorithm: str, problem_type: ProblemType
) -> None:
    made, uri = stored[1][algorithm, problem_type]
    frame = raw()[list(FEATURES)]
    for flavor in (None, "pyfunc"):
        loaded = as_bundle(await stored[0].load_model(uri, flavor))
        np.testing.assert_array_equal(loaded.scores(frame), made.scores(frame))
        pd.testing.assert_frame_equal(loaded.predict(frame), made.predict(frame), check_exact=True)
        assert loaded.transforms == made.transforms
        assert loaded.coding == made.coding
        kept = (
            "algorithm",
            "problem_type",
            "columns",
            "n_classes",
            "rounds",
            "rounds_fitted",
            "recalibration",
            "notes",
        )
        assert {name: getattr(loaded.model, name) for name in kept} == {
            name: getattr(made.model, name) for name in kept
        }
        assert dict(loaded.model.params) == dict(made.model.params)
        assert (loaded.features, loaded.target, loaded.threshold) == (FEATURES, made.target, made.threshold)


async def test_the_stored_files_hold_no_pickle_and_no_row(
    stored: tuple[MLflowConnector, dict[Any, tuple[ModelBundle, str]]], tmp_path: Path
) -> None:
    folder = await stored[0].download_model(stored[1]["lightgbm", BINARY][1], tmp_path / "model")
    assert isinstance(folder, Path)
    files = {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert [name for name in files if name.startswith("model.")] == ["model.skops"]
    assert not [name for name, content in files.items() if name.endswith(".pkl") or content.startswith(b"\x80\x05")]
    doses = {repr(round(value, 6)) for value in raw()["dose"].dropna()}
    shown = files["input_example.json"].decode()
    assert not any(dose[:7] in shown for dose in doses)


async def test_the_signature_names_raw_columns_and_predictions(
    stored: tuple[MLflowConnector, dict[Any, tuple[ModelBundle, str]]], tmp_path: Path
) -> None:
    from mlflow.models import Model

    folder = await stored[0].download_model(stored[1]["xgboost", MULTICLASS][1], tmp_path / "model")
    signature = Model.load(str(folder)).signature
    assert signature.inputs.input_names() == list(FEATURES)
    assert signature.outputs.input_names()[:2] == ["prediction", "probability"]


def test_two_classes_are_predicted_at_the_threshold_of_the_bundle() -> None:
    made, frame = bundle("xgboost", BINARY), raw()
    found = made.predict(frame)
    assert list(found.columns) == ["prediction", "probability"]
    assert list(found.index) == list(frame.index)
    assert ((found["probability"] >= 0.37) == (found["prediction"] == "adopts")).all()
    assert made.classes == ("waits", "adopts")
    assert (found["prediction"] == frame["yes"]).mean() > 0.8
    strict = replace(made, threshold=0.99).predict(frame)
    assert (strict["prediction"] == "adopts").sum() < (found["prediction"] == "adopts").sum()


def test_several_classes_are_predicted_with_the_probability_of_each() -> None:
    found = bundle("lightgbm", MULTICLASS).predict(raw())
    each = found[["probability_0", "probability_10", "probability_20"]]
    assert set(found["prediction"]) == {0, 10, 20}
    np.testing.assert_allclose(each.sum(axis=1), 1)
    assert (found["probability"] == each.max(axis=1)).all()
    assert (each.idxmax(axis=1) == "probability_" + found["prediction"].astype(str)).all()


def test_numbers_are_predicted_in_units_of_the_target() -> None:
    found = bundle("ridge", REGRESSION).predict(raw())
    assert list(found.columns) == ["prediction"]
    assert np.corrcoef(found["prediction"], raw()["amount"])[0, 1] > 0.7
    assert found["prediction"].mean() == pytest.approx(raw()["amount"].mean(), rel=0.02)


@pytest.mark.parametrize("problem_type", list(TARGETS))
def test_no_rows_give_no_predictions_of_the_same_shape(problem_type: ProblemType) -> None:
    made = bundle("random_forest", problem_type)
    empty, some = made.predict(raw().head(0)), made.predict(raw().head(2))
    assert list(empty.columns) == list(some.columns)
    assert empty.empty


def test_raw_rows_pass_through_the_transforms_of_the_training_rows() -> None:
    made, frame = bundle("ridge", REGRESSION), raw()
    pd.testing.assert_frame_equal(made.transform(frame), made.transforms.apply(frame))
    np.testing.assert_array_equal(made.scores(frame), made.model.scores(made.transform(frame)))
    with pytest.raises(UnknownColumn, match="stage"):
        made.predict(frame.drop(columns="stage"))
    with pytest.raises(ContractViolation, match="dose"):
        made.predict(frame.assign(dose="high"))


def test_the_example_row_is_typical_and_can_be_predicted() -> None:
    made = bundle("xgboost", BINARY)
    example = made.example()
    assert example["dose"].item() == pytest.approx(raw()["dose"].median())
    assert example["stage"].item() == raw()["stage"].mode()[0]
    assert len(made.predict(example)) == 1


def test_a_bundle_survives_a_pickle_and_refuses_another_format() -> None:
    made = bundle("lightgbm", BINARY, Sigmoid(2.0, 0.5))
    copy = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(copy.scores(raw()), made.scores(raw()))
    state = made.__getstate__()
    with pytest.raises(ContractViolation, match="format 7"):
        ModelBundle.__new__(ModelBundle).__setstate__(state | {"format": 7})
    with pytest.raises(ContractViolation, match="recalibration"):
        ModelBundle.__new__(ModelBundle).__setstate__(state | {"recalibration": {"method": "beta"}})


def test_a_model_of_another_kind_is_not_taken_for_a_bundle() -> None:
    with pytest.raises(ContractViolation, match="FittedModel without the preparation"):
        as_bundle(bundle("ridge", REGRESSION).model)
