"""Does the agent choose what the constraints, the history and the rows speak for, and only behind an open gate?"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.agents.ml_foundation.model_selector.graph import SIMPLE, STEPS
from src.agents.ml_foundation.model_selector.registry import INTERPRETABLE, PROFILES, catalogue
from src.agents.ml_foundation.model_selector.request import request_from
from src.agents.ml_foundation.model_selector.services import shipped_config
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, EstimationError
from src.mlops.modelling.families import ALGORITHMS
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.types import Labelled

from .parts import DATA, OPEN, SHUT, Counts, FrameRows, Trainings, World, problem, request

FAST = ("logistic_regression", "ridge", "lightgbm")
MEASURED: dict[str, Any] = {"data": DATA, "skip_benchmarks": False, "include": FAST}


async def test_a_shut_gate_refuses_before_any_step() -> None:
    world = World()
    done = await world.run(qc_gate=SHUT, data=DATA)
    assert (world.route(), world.rows.asked) == ([], [])
    assert done.error is not None
    assert done.error.type == "DataQualityCheckpointError"
    assert "schema: the validation failed" in done.error.message
    assert (done.primary, done.alternatives, done.rationale, done.meta.status) == (None, (), None, "failed")


async def test_a_gate_that_says_open_beside_a_blocker_refuses_too() -> None:
    world = World()
    done = await world.run(qc_gate=dataclasses.replace(OPEN, blockers=("leakage: the target is copied",)), data=DATA)
    assert (world.route(), done.primary, done.meta.status) == ([], None, "failed")
    assert done.error is not None
    assert "leakage: the target is copied" in done.error.message


async def test_the_steps_that_are_asked_for_are_taken_in_order() -> None:
    world = World()
    await world.run(**MEASURED)
    assert world.route() == [name for name, _ in STEPS if name != "register_mlflow"]


async def test_what_is_skipped_is_not_taken() -> None:
    world = World()
    await world.run()
    assert world.route() == [name for name, _ in STEPS if name not in ("run_benchmarks", "register_mlflow")]


async def test_simple_mode_filters_ranks_selects_and_says_why() -> None:
    world = World(simple=True)
    done = await world.run()
    assert world.route() == list(SIMPLE)
    assert done.primary is not None
    assert done.rationale is not None
    assert (done.history, done.baseline, done.run_id) == ({}, None, None)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (ProblemType.BINARY, {"logistic_regression", "ridge", "lasso", "random_forest", "xgboost", "lightgbm"}),
        (ProblemType.MULTICLASS, {"logistic_regression", "ridge", "lasso", "random_forest", "xgboost", "lightgbm"}),
        (ProblemType.REGRESSION, {"ridge", "lasso", "random_forest", "xgboost", "lightgbm"}),
        (ProblemType.EFFECT, {"linear_dml", "causal_forest"}),
    ],
)
async def test_only_algorithms_made_for_the_problem_are_candidates(kind: ProblemType, allowed: set[str]) -> None:
    done = await World().run(problem_type=kind)
    assert done.primary is not None
    assert {done.primary.algorithm, *(other.algorithm for other in done.alternatives)} == allowed
    assert set(done.removed) == set(PROFILES) - allowed


async def test_effects_are_chosen_for_without_a_benchmark() -> None:
    world = World()
    done = await world.run(problem_type=ProblemType.EFFECT, skip_benchmarks=False, data=DATA)
    assert "run_benchmarks" not in world.route()
    assert done.baseline is not None
    assert (done.benchmark, done.baseline.to_beat, done.error) == ((), None, None)


@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({"exclude": ("xgboost",)}, {"xgboost": "excluded"}),
        ({"include": ("ridge", "lasso")}, {"xgboost": "not among"}),
        ({"interpretability_required": True}, {"xgboost": "interpretability", "random_forest": "interpretability"}),
        ({"latency_budget_ms": 5.0}, {"random_forest": "the budget is 5 ms"}),
        ({"memory_gb": 0.21}, {"random_forest": "the budget is 0.21 GB"}),
    ],
)
async def test_every_constraint_removes_and_says_why(changes: dict[str, Any], removed: dict[str, str]) -> None:
    done = await World().run(**changes)
    for name, why in removed.items():
        assert why in done.removed[name]
        assert done.primary is not None
        assert name not in (done.primary.algorithm, *(other.algorithm for other in done.alternatives))


async def test_constraints_are_answered_in_the_rationale() -> None:
    done = await World().run(interpretability_required=True, latency_budget_ms=5.0)
    assert done.rationale is not None
    assert done.primary is not None
    assert PROFILES[done.primary.algorithm].interpretability >= INTERPRETABLE
    assert set(done.rationale.constraints) == {"interpretability_required", "latency_budget_ms"}


async def test_when_nothing_is_left_every_reason_is_told() -> None:
    world = World()
    done = await world.run(include=("xgboost", "lightgbm"), interpretability_required=True)
    assert world.route() == ["analyze_historical", "filter_algorithms"]
    assert done.error is not None
    assert "xgboost: interpretability 0.40" in done.error.message
    assert (done.primary, done.meta.status) == (None, "failed")


@pytest.mark.parametrize(("n", "family"), [(150, "linear"), (50_000, "boosting")])
async def test_few_rows_speak_for_lines_and_many_for_trees(n: int, family: str) -> None:
    done = await World().run(n_samples=n, n_features=10)
    assert done.primary is not None
    assert done.primary.family == family


async def test_an_algorithm_that_keeps_failing_falls_back() -> None:
    before = await World().run(n_samples=50_000, n_features=10)
    assert before.primary is not None
    failing = Trainings({before.primary.algorithm: Counts(0, 40)})
    after = await World({"trainings": failing}).run(n_samples=50_000, n_features=10)
    assert after.primary is not None
    assert after.primary.algorithm != before.primary.algorithm
    assert after.history[before.primary.algorithm].success_rate == 0.0


async def test_candidates_are_in_the_order_of_their_scores() -> None:
    done = await World().run(n_samples=2_000, n_features=10)
    assert done.primary is not None
    scores = [done.primary.score, *(other.score for other in done.alternatives)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


# Measurements on the training rows.


async def test_benchmarks_ask_for_the_training_split_alone_and_once() -> None:
    world = World()
    await world.run(**MEASURED)
    assert world.rows.asked == ["train"]


async def test_a_benchmark_is_cross_validation_with_every_row_held_out_once_and_classes_in_proportion() -> None:
    seen: list[Labelled] = []

    def spy(algorithm: str, problem_type: ProblemType, params: Any, train: Labelled, **options: Any) -> Any:
        seen.append(train)
        return fit_model(algorithm, problem_type, params, train, **options)

    done = await World({"fit": spy}).run(**{**MEASURED, "include": ("ridge",)})
    (benchmark,) = done.benchmark
    frame = problem()
    assert (benchmark.folds, len(seen)) == (5, 5)
    held_out = [set(frame.index) - set(train.X.index) for train in seen]
    assert sorted(row for rows in held_out for row in rows) == list(frame.index)
    assert all(abs(train.y.mean() - 0.5) < 0.02 for train in seen)


async def test_the_benchmark_equals_scikit_learn_s_own_cross_validation() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    done = await World().run(**{**MEASURED, "include": ("logistic_regression",)})
    frame = problem()
    words = pd.get_dummies(frame["priority"]).to_numpy(float)
    numbers = frame[["confidence", "lead_time"]].to_numpy(float)
    y = (frame["accepted"] == "yes").to_numpy().astype(int)
    aucs = []
    for train, held in StratifiedKFold(5, shuffle=True, random_state=42).split(numbers, y):
        scaler = StandardScaler().fit(numbers[train])
        A, B = (np.hstack([scaler.transform(numbers[rows]), words[rows]]) for rows in (train, held))
        model = LogisticRegression(max_iter=2_000).fit(A, y[train])
        aucs.append(roc_auc_score(y[held], model.predict_proba(B)[:, 1]))
    assert done.benchmark[0].mean == pytest.approx(np.mean(aucs), abs=5e-3)


async def test_the_choice_is_measured_against_a_model_without_features() -> None:
    done = await World().run(**MEASURED)
    assert done.baseline is not None
    assert done.primary is not None
    assert (done.baseline.metric, done.baseline.to_beat) == ("roc_auc", 0.5)
    assert "better than the 0.500" in done.baseline.comparison
    assert "not better" not in done.baseline.comparison


async def test_features_that_tell_nothing_are_said_to_tell_nothing() -> None:
    class Indifferent:
        def scores(self, rows: pd.DataFrame) -> Any:
            return np.full((len(rows), 2), 0.5)

    done = await World({"fit": lambda *_, **__: Indifferent()}).run(**{**MEASURED, "include": ("ridge",)})
    assert done.baseline is not None
    assert "not better than the 0.500" in done.baseline.comparison
    assert any("the features may tell nothing" in line for line in done.meta.warnings)


@pytest.mark.parametrize(
    ("target", "kind", "metric"),
    [("amount", ProblemType.REGRESSION, "neg_rmse"), ("grade", ProblemType.MULTICLASS, "f1_weighted")],
)
async def test_other_problems_are_measured_by_their_own_metric(target: str, kind: ProblemType, metric: str) -> None:
    data = dataclasses.replace(DATA, target=target)
    done = await World().run(**{**MEASURED, "data": data, "problem_type": kind, "include": ("ridge",)})
    (benchmark,) = done.benchmark
    assert benchmark.metric == metric
    assert done.baseline is not None
    assert done.baseline.to_beat is not None
    assert benchmark.mean is not None
    assert benchmark.mean > done.baseline.to_beat
    if kind is ProblemType.REGRESSION:
        assert done.baseline.to_beat == pytest.approx(-problem()["amount"].std(), rel=0.05)


async def test_rows_of_one_unit_are_never_torn_apart() -> None:
    frame = problem()
    units = pd.Series(frame.index // 4, index=frame.index)
    seen: list[set[int]] = []

    def spy(algorithm: str, problem_type: ProblemType, params: Any, train: Labelled, **options: Any) -> Any:
        inside, outside = set(units[train.X.index]), set(units.drop(train.X.index))
        seen.append(inside & outside)
        return fit_model(algorithm, problem_type, params, train, **options)

    await World({"fit": spy}, FrameRows(frame, units)).run(**{**MEASURED, "include": ("ridge",)})
    assert seen == [set()] * 5


async def test_an_algorithm_that_cannot_be_fitted_is_reported_and_not_chosen() -> None:
    def broken(algorithm: str, problem_type: ProblemType, params: Any, train: Labelled, **options: Any) -> Any:
        if algorithm == "lightgbm":
            raise EstimationError("it diverged")
        return fit_model(algorithm, problem_type, params, train, **options)

    done = await World({"fit": broken}).run(**MEASURED)
    failed = next(one for one in done.benchmark if one.algorithm == "lightgbm")
    assert (failed.mean, failed.error) == (None, "it diverged")
    assert done.primary is not None
    assert done.primary.algorithm != "lightgbm"
    assert "benchmark of lightgbm: it diverged" in done.meta.warnings


async def test_what_there_is_no_time_for_is_left_unmeasured() -> None:
    import time

    def slow(algorithm: str, problem_type: ProblemType, params: Any, train: Labelled, **options: Any) -> Any:
        time.sleep(0.05)
        return fit_model(algorithm, problem_type, params, train, **options)

    done = await World({"fit": slow}, timeouts={"run_benchmarks": 60.0}).run(**MEASURED)
    assert all(one.error is None for one in done.benchmark)
    from src.agents.ml_foundation.model_selector.cross_validation import cross_validated, folds_of
    from src.agents.training_rows import SplitRows

    rows = SplitRows("train", problem(), None, "dataset")
    folds = folds_of(rows, DATA, ProblemType.BINARY, folds=3, max_rows=100, random_state=1)
    late = cross_validated(
        "ridge", ProblemType.BINARY, "roc_auc", folds, fit_model, random_state=1, deadline=time.monotonic() - 1
    )
    assert (late.mean, late.error) == (None, "no time was left for it")


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (problem(20), "too few to compare"),
        (problem().assign(accepted="yes"), "different values"),
        (problem().assign(accepted=["no"] + ["yes"] * 239), "a single training row"),
    ],
)
async def test_rows_that_allow_no_comparison_end_the_run(frame: pd.DataFrame, says: str) -> None:
    done = await World(rows=FrameRows(frame)).run(**MEASURED)
    assert done.error is not None
    assert says in done.error.message
    assert (done.primary, done.error.node) == (None, "run_benchmarks")


async def test_data_that_no_source_has_ends_the_run() -> None:
    done = await World().run(**{**MEASURED, "data": dataclasses.replace(DATA, dataset_id="table:other")})
    assert done.error is not None
    assert "no source of rows has 'table:other'" in done.error.message


async def test_benchmarks_without_data_are_said_to_be_skipped() -> None:
    done = await World().run(skip_benchmarks=False)
    assert "benchmarks were skipped: the request names no data" in done.meta.warnings
    assert done.baseline is not None
    assert "was not measured" in done.baseline.comparison


# The catalogue and the request.


def test_every_algorithm_has_a_profile_and_what_is_tuned_has_a_space() -> None:
    entries = catalogue(shipped_config())
    assert set(entries) == set(ALGORITHMS)
    assert {name for name, entry in entries.items() if not entry.search_space} == {"linear_dml", "causal_forest"}


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"linear_dml", "causal_forest"}))
def test_the_class_of_a_candidate_can_be_imported_and_takes_its_defaults(name: str) -> None:
    import importlib

    entry = catalogue(shipped_config())[name]
    candidate = entry.candidate(entry.problem_types[0], 0.5)
    module, _, kind = candidate.class_path.rpartition(".")
    made = getattr(importlib.import_module(module), kind)()
    taken = set(made.get_params()) | ({"alpha"} if name in ("ridge", "lasso") else set())
    assert set(candidate.default_params) <= taken


def test_a_request_is_read_from_json() -> None:
    read = request_from(
        {
            "experiment_id": "adoption",
            "problem_type": "regression",
            "qc_gate": {"passed": True, "score": 0.9, "layers": {"ge": "passed"}},
            "data": {"dataset_id": "d", "target": "y", "features": ["a"], "split_id": None},
            "exclude": ["ridge"],
        }
    )
    assert read.problem_type is ProblemType.REGRESSION
    assert read.exclude == ("ridge",)
    assert read.data is not None
    assert (read.data.features, read.qc_gate.passed) == (("a",), True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"experment_id": "x"}, "unknown key 'experment_id'"),
        ({"problem_type": "binry"}, "did you mean 'binary'"),
        ({"include": ["xgbost"]}, "did you mean 'xgboost'"),
        ({"include": "ridge"}, "include must be a list"),
        ({"include": ["ridge"], "exclude": ["ridge"]}, "both included and excluded"),
        ({"latency_budget_ms": 0}, "latency_budget_ms must be a number above 0"),
        ({"memory_gb": -1}, "memory_gb must be"),
        ({"experiment_id": " "}, "experiment_id must be"),
        ({"qc_gate": True}, "qc_gate must be an object"),
        ({"qc_gate": {"passed": True, "score": 0.9, "layers": {"ge": "fine"}}}, "there is no layer 'ge' 'fine'"),
        ({"data": {"dataset_id": "d", "target": "y", "features": [], "split_id": None}}, "data.features is empty"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    asked = {"experiment_id": "adoption", "problem_type": "binary", "qc_gate": OPEN}
    with pytest.raises(ContractViolation, match=says):
        request_from({**asked, **changes})


async def test_reservations_of_the_gate_go_along() -> None:
    gate = dataclasses.replace(OPEN, warnings=("ge: 1 rare value",))
    assert "gate: ge: 1 rare value" in (await World().run(request(qc_gate=gate))).meta.warnings
