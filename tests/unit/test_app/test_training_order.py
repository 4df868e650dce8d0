"""What a model order means for the rows at hand, and which orders are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.app.training_order import TrainingOrder, checked, columns_of, criteria_from, where_from
from src.contracts.tables import get_table
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, E2IError, UnknownColumn
from tests.unit.test_contracts.frames import clean_frame

N = 60


def frame(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    plain = {"x": rng.normal(size=N), "word": rng.choice(["a", "b"], N), "y": np.arange(N) % 2}
    return pd.DataFrame(plain | columns)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (np.arange(N) % 2, ProblemType.BINARY),
        ([True, False] * (N // 2), ProblemType.BINARY),
        (["yes", "no"] * (N // 2), ProblemType.BINARY),
        (np.arange(N) % 3, ProblemType.MULTICLASS),
        (["a", "b", "c"] * (N // 3), ProblemType.MULTICLASS),
        (np.arange(N) * 0.5, ProblemType.REGRESSION),
        (np.arange(N), ProblemType.REGRESSION),
    ],
)
def test_the_problem_is_told_by_the_targets_values(target: Any, kind: ProblemType) -> None:
    assert columns_of(TrainingOrder("y"), frame(y=target), None).problem is kind


def test_a_target_of_many_words_must_be_explained() -> None:
    with pytest.raises(ContractViolation, match="--problem"):
        columns_of(TrainingOrder("y"), frame(y=[f"w{i}" for i in range(N)]), None)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([f"id{i}" for i in range(N)], "name rows"),
        (np.arange(N), "name rows"),
        ([1.5] * N, "the same in every row"),
        ([None] * N, "empty"),
        ([{"a": 1}] * N, "no feature"),
        (pd.date_range("2024-01-01", periods=N, tz="UTC"), "which row it is"),
    ],
)
def test_all_leaves_out_what_tells_nothing_and_says_why(column: Any, why: str) -> None:
    found = columns_of(TrainingOrder("y"), frame(odd=column), None)
    assert found.features == ("x", "word")
    assert why in found.left_out["odd"]


def test_a_named_feature_is_kept_whatever_it_is() -> None:
    order = TrainingOrder("y", features=("odd", "hcp_profile:decile"))
    assert columns_of(order, frame(odd=np.arange(N)), None).features == ("odd", "hcp_profile:decile")


def test_all_of_a_contract_table_are_its_features_and_dimensions() -> None:
    table = get_table("triggers")
    rows = clean_frame("triggers", N).assign(lead_time_days=range(N), confidence_score=np.linspace(0, 1, N))
    found = columns_of(TrainingOrder("false_positive_flag", brand="Kisqali"), rows, table)
    assert {"confidence_score", "lead_time_days"} <= set(found.features)
    assert found.time == "trigger_timestamp"
    outcomes = {"acceptance_status", "action_taken", "outcome_value", "patient_id", "trigger_id", "brand"}
    assert not outcomes & set(found.features)


@pytest.mark.parametrize("changes", [{"target": "z"}, {"features": ("z",)}, {"unit": "z"}, {"time": "z"}])
def test_a_column_that_is_not_there_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(UnknownColumn, match="'z' is not in the data"):
        columns_of(TrainingOrder(**({"target": "y"} | changes)), frame(), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"problem": "binry"}, "binary"),
        ({"trials": -1}, "--trials"),
        ({"trials": 10_001}, "at most 10000"),
        ({"workers": 0}, "--workers"),
        ({"random_state": -1}, "--seed"),
        ({"random_state": 2**31}, "--seed"),
        ({"metric": "roc_acu"}, "roc_auc"),
        ({"criteria": {"roc_acu": 0.7}}, "--criteria.*roc_auc"),
        ({"experiment": "a/b"}, "--experiment 'a/b'"),
        ({"experiment": " "}, "--experiment"),
        ({"experiment": "e" * 245}, "--experiment|1 to 200"),
        ({"algorithm": "lightgmb"}, "lightgbm"),
        ({"resume": "study", "trials": 0}, "--no-tune"),
        ({"timeout_s": 0.0}, "--timeout"),
        ({"features": ("y",)}, "leave it out"),
        ({"days": ("2024-13-01", None)}, "--from"),
        ({"days": (None, "soon")}, "--to"),
        ({"brand": "Kisqly"}, "Kisqali"),
        ({"region": "north"}, "northeast"),
    ],
)
def test_an_order_that_cannot_be_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(E2IError, match=words):
        checked(TrainingOrder("y", **changes))


@pytest.mark.parametrize(
    ("changes", "target", "words"),
    [
        ({}, [1] * N, "one value"),
        ({"problem": "regression"}, [2.5] * N, "one value"),
        ({}, [None] * N, "empty"),
        ({"problem": "binary"}, np.arange(N) % 3, "3 different values"),
        ({"problem": "multiclass"}, np.arange(N) * 0.5, "60 different values"),
        ({"problem": "regression"}, ["a", "b"] * (N // 2), "cannot be read as"),
        ({"positive": "yse"}, ["yes", "no"] * (N // 2), "yes"),
        ({"positive": "a"}, ["a", "b", "c"] * (N // 3), "3 different values"),
        ({"positive": "1", "problem": "multiclass"}, np.arange(N) % 3, "--positive"),
        ({"metric": "rmse"}, np.arange(N) % 2, "--metric: a binary model"),
        ({"metric": "f1"}, np.arange(N) % 2, "threshold"),
        ({"criteria": {"roc_auc": 0.7}}, np.arange(N) * 0.5, "--criteria: a regression model"),
        ({"time": "word"}, np.arange(N) % 2, "--time 'word' holds no times"),
        ({"time": "x"}, np.arange(N) % 2, "--time 'x' holds no times"),
    ],
)
def test_words_that_do_not_fit_the_rows_are_refused(changes: dict[str, Any], target: Any, words: str) -> None:
    with pytest.raises(E2IError, match=words):
        columns_of(checked(TrainingOrder("y", **changes)), frame(y=target), None)


def test_times_written_as_text_are_times() -> None:
    days = [f"2024-01-{1 + i % 28:02d}" for i in range(N)]
    assert columns_of(TrainingOrder("y", time="seen"), frame(seen=days), None).time == "seen"


def test_a_model_that_is_not_tuned_may_be_judged_by_a_metric_at_a_threshold() -> None:
    assert columns_of(checked(TrainingOrder("y", metric="f1", trials=0)), frame(), None).problem is ProblemType.BINARY


def test_brand_and_region_are_read_in_any_case() -> None:
    order = checked(TrainingOrder("y", brand="kisqali", region="NORTHEAST"))
    assert (order.brand, order.region) == ("Kisqali", "northeast")


def test_criteria_are_bounds_by_metric() -> None:
    assert criteria_from(["roc_auc=.7", "f1 = 0.5"]) == {"roc_auc": 0.7, "f1": 0.5}
    with pytest.raises(ContractViolation, match="not like"):
        criteria_from(["roc_auc"])
    with pytest.raises(ContractViolation, match="no bound"):
        criteria_from(["roc_auc=nan"])


def test_data_is_a_table_a_file_or_a_dataset(tmp_path: Path) -> None:
    assert where_from("predictions") == (None, "table:ml_predictions")
    assert where_from("table:triggers") == (None, "table:triggers")
    assert where_from("no_such.csv") == (Path("no_such.csv"), None)
    assert where_from("ds_0123") == (None, "ds_0123")
