"""A request is checked before anything is read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from src.agents.ml_foundation.feature_analyzer.request import request_from
from src.domain.modelling import ProblemType
from src.errors import ContractViolation
from tests.unit.test_agents.test_ml_foundation.test_feature_analyzer.parts import analyze, request

DATA = {"dataset_id": "accounts", "target": "adopted", "features": ["calls", "reach"], "split_id": "split-1"}
JSON: dict[str, Any] = {"experiment_id": "exp-1", "data": DATA, "problem_type": "binary"}


def test_json_becomes_a_typed_request() -> None:
    found = request_from(
        JSON
        | {"selection_config": {"max_vif": 5}, "feature_config": {"ratios": True}, "model_uri": "models:/adoption/3"}
    )
    assert found.data.features == ("calls", "reach")
    assert found.problem_type is ProblemType.BINARY
    assert (found.selection_config.max_vif, found.feature_config.ratios, found.max_samples) == (5, True, 1_000)
    assert request_from(found) == found


def test_a_feature_named_twice_is_taken_once() -> None:
    assert request_from(request(features=("calls", "reach", "calls"))).data.features == ("calls", "reach")


@pytest.mark.parametrize("missing", ["experiment_id", "data", "problem_type"])
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(ContractViolation, match=missing):
        request_from({key: value for key, value in JSON.items() if key != missing})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"experimentid": "x"}, "did you mean 'experiment_id'"),
        ({"data": DATA | {"feature": ["a"]}}, "did you mean 'features'"),
        ({"data": {"dataset_id": "accounts"}}, "the data needs 'target'"),
        ({"data": ["accounts"]}, "data must be an object"),
        ({"feature_config": {"topk": 3}}, "did you mean 'top_k'"),
        ({"selection_config": {"vif": 3}}, "unknown key 'vif'"),
        ({"problem_type": "binari"}, "did you mean 'binary'"),
    ],
)
def test_json_of_another_shape_is_refused_with_the_nearest_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractViolation, match=says):
        request_from(JSON | changes)


WRONG: list[tuple[str, Any, str]] = [
    ("experiment_id", " ", "experiment_id must be a text"),
    ("experiment_id", "e" * 201, "longer than 200"),
    ("problem_type", ProblemType.EFFECT, "causal_impact"),
    ("model_uri", "", "model_uri must be a text"),
    ("training_run_id", "run 7", "UUID"),
    ("max_samples", 0, "max_samples must be a whole number, 1 or more"),
    ("max_samples", True, "max_samples"),
    ("max_samples", 2.5, "max_samples"),
    ("random_state", -1, "random_state"),
    ("compute_interactions", "yes", "true or false"),
    ("dataset_id", "", "data.dataset_id"),
    ("target", "", "data.target"),
    ("features", (), "at least one column"),
    ("features", "calls", "at least one column"),
    ("features", ("calls", ""), "data.features must be a text"),
    ("features", ("calls", "adopted"), "cannot be a feature of itself"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_a_wrong_value_is_refused_in_words(name: str, value: Any, says: str) -> None:
    with pytest.raises(ContractViolation, match=says):
        request_from(request(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_variance", -0.1),
        ("max_correlation", 1.1),
        ("max_vif", 0.5),
        ("max_vif", float("nan")),
        ("min_stability", 2),
        ("min_stability", True),
        ("subsamples", 0),
    ],
)
def test_a_rule_of_selection_out_of_its_range_is_refused(name: str, value: Any) -> None:
    rules = dataclasses.replace(request().selection_config, **{name: value})
    with pytest.raises(ContractViolation, match=f"selection_config.{name}"):
        request_from(request(selection_config=rules))


@pytest.mark.parametrize(("name", "value"), [("top_k", 0), ("top_k", 1.5), ("ratios", 1), ("logarithms", None)])
def test_a_rule_of_generation_of_another_kind_is_refused(name: str, value: Any) -> None:
    rules = dataclasses.replace(request().feature_config, **{name: value})
    with pytest.raises(ContractViolation, match=f"feature_config.{name}"):
        request_from(request(feature_config=rules))


@pytest.mark.parametrize(
    ("dataset", "feature"),
    [("table:triggers", "trigger_id"), ("table:triggers", "patient_id"), ("uploaded", "patient_id")],
)
def test_a_column_that_identifies_somebody_is_no_feature(dataset: str, feature: str) -> None:
    with pytest.raises(ContractViolation, match=f"'{feature}' identifies"):
        request_from(request(dataset_id=dataset, features=("calls", feature)))


async def test_a_wrong_request_reads_nothing() -> None:
    with pytest.raises(ContractViolation):
        await analyze(JSON | {"max_samples": 0})
