"""Which requests does model_trainer accept, and what does it say of the others?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from src.agents.ml_foundation.model_trainer.request import request_from
from src.agents.quality_gate import LayerStatus
from src.domain.modelling import ProblemType
from src.errors import ContractViolation

from .parts import LOGISTIC, OPEN, request

JSON: dict[str, Any] = {
    "experiment_id": "exp",
    "candidate": {"algorithm": "lightgbm", "family": "boosting", "class_path": "lightgbm.LGBMClassifier", "score": 0.9},
    "qc_gate": {"passed": True, "score": 0.9, "blockers": [], "layers": {"schema": "passed"}},
    "problem_type": "binary",
    "data": {
        "dataset_id": "table:journeys",
        "target": "responded",
        "features": ["score", "lead", "score"],
        "split_id": "split-1",
        "period": ["2024-01-01", None],
    },
    "hpo_trials": 5,
}


def changed(**values: Any) -> dict[str, Any]:
    """The JSON request with ``part__key`` or ``key`` put over it."""
    raw = {key: dict(value) if isinstance(value, dict) else value for key, value in JSON.items()}
    for name, value in values.items():
        part, _, key = name.partition("__")
        if key:
            raw[part][key] = value
        else:
            raw[part] = value
    return raw


def test_a_request_as_json_is_the_typed_one() -> None:
    asked = request_from(JSON)
    assert asked.problem_type is ProblemType.BINARY
    assert asked.candidate.algorithm == "lightgbm"
    assert asked.qc_gate.layers == {"schema": LayerStatus.PASSED}
    assert asked.data.features == ("score", "lead")
    assert asked.data.period == ("2024-01-01", None)
    assert request_from(asked) == asked


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (changed(hpo_trails=5), "unknown key 'hpo_trails' in the request; did you mean 'hpo_trials'"),
        (changed(candidate__algoritm="x"), "unknown key 'algoritm' in the candidate; did you mean 'algorithm'"),
        (changed(data__targt="x"), "unknown key 'targt' in the data"),
        (changed(qc_gate__passd=True), "unknown key 'passd' in the qc_gate"),
        ({key: JSON[key] for key in JSON if key != "qc_gate"}, "the request needs 'qc_gate'"),
        (changed(data={"dataset_id": "d", "target": "t", "features": ["a"]}), "the data needs 'split_id'"),
        (changed(candidate="lightgbm"), "candidate must be an object"),
        (changed(data__features="score"), r"data\.features must be a list"),
        (changed(data__features=[]), r"data\.features is empty"),
        (changed(data__features=["score", "responded"]), "the target 'responded' is among the features"),
        (changed(data__brand="Kisqal"), "there is no brand 'Kisqal'; did you mean 'Kisqali'"),
        (changed(data__region="nort"), "there is no region 'nort'"),
        (changed(problem_type="binry"), "there is no problem_type 'binry'; did you mean 'binary'"),
        (changed(problem_type="effect"), "use causal_impact"),
        (changed(qc_gate__passed="false"), "qc_gate.passed is 'false'; it must be true or false"),
        (changed(qc_gate__passed=1), "qc_gate.passed is '1'; it must be true or false"),
        (changed(qc_gate__blockers=["leakage: target"]), "contradicts itself: passed is true, and yet leakage: target"),
        (changed(qc_gate__layers={"leakage": "failed"}), "and yet layer leakage failed"),
        (changed(qc_gate__layers=["schema"]), r"qc_gate\.layers must be an object"),
        (changed(qc_gate__blockers=[1]), r"qc_gate\.blockers must be a list of texts"),
        (changed(candidate__search_space=[1]), r"candidate\.search_space must be an object"),
        (changed(candidate__search_space={"C": [1]}), r"candidate\.search_space\.C must be an object"),
        (changed(candidate__default_params=None), r"candidate\.default_params must be an object"),
        (changed(data__period=["2024-01-01"]), r"data\.period must be two days like 2024-01-31"),
        (changed(data__period=["yesterday", None]), r"data\.period: 'yesterday' is no day like 2024-01-31"),
        (changed(data__period=[20240101, None]), r"data\.period: '20240101' is no day"),
        (changed(data__period=None), r"data\.period must be"),
        (changed(metric="f1"), "f1 depends on a threshold, which is chosen after the search"),
        (changed(qc_gate__layers={"schema": "fine"}), "there is no layer 'schema' 'fine'"),
        (changed(hpo_trials=0), "hpo_trials is 0; it must be a whole number from 1 to 10,000"),
        (changed(hpo_trials=True), "hpo_trials is True"),
        (changed(workers=65), "workers is 65"),
        (changed(hpo_timeout_s=float("nan")), "hpo_timeout_s is nan; it must be seconds above 0"),
        (changed(hpo_timeout_s=0), "hpo_timeout_s is 0"),
        (changed(random_state=-1), "random_state is -1"),
        (changed(metric="rmse"), "metric: a binary model has no metric 'rmse'"),
        (changed(metric="rocauc"), "did you mean 'roc_auc'"),
        (changed(metric="calibration_slope"), "has no metric 'calibration_slope'"),
        (changed(success_criteria={"auc": 0.7}), "success_criteria: a binary model has no metric 'auc'"),
        (changed(success_criteria={"roc_auc": "high"}), r"success_criteria\.roc_auc is 'high'; it must be a number"),
        (changed(success_criteria=["roc_auc"]), "success_criteria must be an object"),
        (changed(enable_mlflow="no"), "enable_mlflow must be true or false"),
        (changed(experiment_id="  "), "experiment_id must be a text"),
        (changed(experiment_id="x" * 201), "longer than 200"),
        (changed(resume_study="s", enable_hpo=False), "leave enable_hpo true"),
    ],
)
def test_a_request_that_is_not_valid_is_refused_in_words(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractViolation, match=said):
        request_from(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 0},
        {"problem_type": "binary"},
        {"metric": "f2"},
        {"features": ()},
        {"period": None},
        {"period": ("2024-01-01", "soon")},
        {"candidate": dataclasses.replace(LOGISTIC, default_params=None)},
        {"candidate": dataclasses.replace(LOGISTIC, search_space=())},
        {"qc_gate": dataclasses.replace(OPEN, passed="true")},
        {"qc_gate": dataclasses.replace(OPEN, blockers=("leakage: target",))},
        {"qc_gate": dataclasses.replace(OPEN, layers={"ge": LayerStatus.FAILED})},
    ],
)
def test_a_typed_request_is_checked_as_well(changes: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        request_from(request(**changes))


def test_a_metric_at_a_threshold_judges_a_model_that_is_not_searched_for() -> None:
    assert request_from(changed(metric="f1", enable_hpo=False)).metric == "f1"
    assert request_from(changed(metric="f1", problem_type="multiclass")).metric == "f1"


@pytest.mark.parametrize(
    ("problem", "metric"), [("binary", "log_loss"), ("multiclass", "f1_weighted"), ("regression", "r2")]
)
def test_each_problem_has_its_metrics(problem: str, metric: str) -> None:
    asked = request_from(changed(problem_type=problem, metric=metric, success_criteria={metric: 0.5}))
    assert asked.metric == metric
    assert dataclasses.asdict(asked)["success_criteria"] == {metric: 0.5}
