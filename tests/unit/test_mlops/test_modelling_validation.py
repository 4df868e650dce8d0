"""Are rows that no model should learn from refused in words, and targets coded without a surprise?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.modelling.imbalance import judge_imbalance
from src.mlops.modelling.targets import TargetCoding, fit_target
from src.mlops.modelling.validation import TrainingProblemKind, refuse_problems, training_problems

BINARY, MULTICLASS, REGRESSION = ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION
N = 200


def table(**changes: Any) -> pd.DataFrame:
    """Honest rows: words, whole numbers, counts with gaps, times and empty cells; ``changes`` put over them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, N),
            "visits": rng.poisson(300, N).astype(float),
            "income": rng.normal(5e4, 1e4, N),
            "pay": rng.permutation(rng.choice(90_000, N, replace=False)),
            "region": rng.choice(["north", "south"], N),
            "since": pd.date_range("2024-01-01", periods=N, tz="UTC"),
            "label": rng.choice(["a", "b", None], N),
            "target": rng.integers(0, 2, N),
        }
    )
    return frame.assign(**changes)


def problems(frame: pd.DataFrame, problem_type: ProblemType = BINARY, **options: Any) -> list[tuple[str, str | None]]:
    features = [name for name in frame.columns if name != "target"]
    found = training_problems(frame, target="target", features=features, problem_type=problem_type, **options)
    return [(problem.kind.value, problem.column) for problem in found]


def test_honest_rows_have_no_problem() -> None:
    assert problems(table()) == []
    refuse_problems(())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"income": np.nan}, ("empty_column", "income")),
        ({"region": None}, ("empty_column", "region")),
        ({"region": [f"HCP-{n:06d}" for n in range(N)]}, ("identifier", "region")),
        ({"region": [f"note {n % 120}" for n in range(N)]}, ("identifier", "region")),
        ({"age": np.arange(N) * 17 + 5}, ("identifier", "age")),
        ({"age": np.arange(N)[::-1]}, ("identifier", "age")),
        ({"age": np.random.default_rng(1).permutation(N) + 10_000}, ("identifier", "age")),
        ({"age": np.arange(N, dtype=float)}, ("identifier", "age")),
        ({"target": 1}, ("single_class", "target")),
        ({"target": None}, ("empty_target", "target")),
        ({"target": (np.arange(N) < 3).astype(int)}, ("rare_class", "target")),
    ],
)
def test_each_spoiled_column_is_named_with_what_is_wrong(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert problems(table(**changes)) == [expected]


def test_few_rows_are_a_problem_of_the_whole_table() -> None:
    assert ("too_few_rows", None) in problems(table().head(29))
    assert problems(table().head(30)) == []
    assert problems(table().head(30), min_rows=31) == [("too_few_rows", None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"income": np.arange(N) + 0.5},
        {"region": [f"place {n % 90}" for n in range(N)]},
        {"age": np.repeat(np.arange(N // 2), 2)},
    ],
)
def test_what_only_resembles_an_identifier_is_let_through(changes: dict[str, Any]) -> None:
    assert problems(table(**changes)) == []


def test_a_number_as_target_may_have_rare_values_but_must_vary() -> None:
    income = table()["income"].to_numpy()
    assert problems(table(target=income), REGRESSION) == []
    assert problems(table(target=7.0), REGRESSION) == [("single_class", "target")]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"income": np.nan, "age": np.arange(N)},
            DataUnavailable,
            "'age' numbers the rows .*; feature 'income' is empty",
        ),
        ({"age": np.arange(N)}, ContractViolation, "leave it out"),
        ({"target": 0}, DataUnavailable, "nothing to tell apart"),
    ],
)
def test_problems_are_raised_together_in_one_line(changes: dict[str, Any], error: type, said: str) -> None:
    frame = table(**changes)
    features = [name for name in frame.columns if name != "target"]
    found = training_problems(frame, target="target", features=features, problem_type=BINARY)
    with pytest.raises(error, match=said) as caught:
        refuse_problems(found)
    assert "\n" not in str(caught.value)
    assert all(isinstance(problem.kind, TrainingProblemKind) for problem in found)


def test_a_feature_or_target_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownColumn, match="incme"):
        training_problems(table(), target="target", features=["incme"], problem_type=BINARY)
    with pytest.raises(UnknownColumn, match="targt"):
        training_problems(table(), target="targt", features=["age"], problem_type=BINARY)


@pytest.mark.parametrize(
    ("values", "positive", "classes"),
    [
        ([0, 1, 0], None, (0, 1)),
        ([True, False], None, (0, 1)),
        ([1.0, 0.0, np.nan], None, (0, 1)),
        (["yes", "no", None], None, ("no", "yes")),
        (["yes", "no"], "no", ("yes", "no")),
        ([1, 2], "1", (2, 1)),
        ([True, False], "False", (1, 0)),
        ([True, False, None], "TRUE", (0, 1)),
        (pd.array([True, False], dtype="boolean"), "false", (1, 0)),
        ([True, False], "0", (1, 0)),
        (["True", "False"], "True", ("False", "True")),
        ([0.5, 1.5], None, (0.5, 1.5)),
        (pd.Categorical(["b", "a"]), "a", ("b", "a")),
    ],
)
def test_two_classes_are_coded_in_order_with_the_positive_one_last(
    values: Any, positive: str | None, classes: tuple[Any, ...]
) -> None:
    given = pd.Series(values)
    coding = fit_target(given, BINARY, positive)
    assert coding.classes == classes
    codes = coding.encode(given.dropna())
    assert codes.dtype == np.int64
    assert [classes[code] for code in codes] == [classes[classes.index(value)] for value in given.dropna().tolist()]
    assert list(codes.index) == list(given.dropna().index)


def test_numbers_stay_numbers() -> None:
    values = pd.Series([3, 1, 2], index=[7, 8, 9])
    encoded = fit_target(values, REGRESSION).encode(values)
    assert encoded.equals(values.astype("float64"))


@pytest.mark.parametrize(
    ("values", "problem_type", "positive", "error", "said"),
    [
        ([1, 1], BINARY, None, DataUnavailable, "1 different values"),
        ([1, 2, 3], BINARY, None, ContractViolation, "a binary one has 2"),
        (["a", "b"], BINARY, "aa", ContractViolation, "did you mean 'a'|there is"),
        (list(range(60)), MULTICLASS, None, ContractViolation, r"\(regression\)"),
        (["a", "b"], REGRESSION, None, ContractViolation, "cannot be read"),
    ],
)
def test_targets_that_are_not_those_of_the_problem_are_refused(
    values: Any, problem_type: ProblemType, positive: str | None, error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        fit_target(pd.Series(values), problem_type, positive)


def test_values_that_no_training_row_had_and_empty_ones_are_refused() -> None:
    coding = TargetCoding(MULTICLASS, ("a", "b"))
    with pytest.raises(
        ContractViolation, match="1 rows with a value that no training row has; training rows have: a, b"
    ):
        coding.encode(pd.Series(["a", "c"]))
    with pytest.raises(ContractViolation, match="empty in 1 rows"):
        coding.encode(pd.Series(["a", None]))


@pytest.mark.parametrize(
    ("counts", "balance", "said"),
    [
        ([500, 10], True, r"2.0% of 510 training rows \(50.0:1\): each class weighs the same"),
        ([80, 20], False, "20.0% of 100"),
        ([81, 19], True, "19.0%"),
        ([34, 33, 33], False, "rows weigh the same"),
        ([45, 45, 10], True, "10.0%"),
        ([20] * 10, False, "10.0%"),
    ],
)
def test_imbalance_is_judged_by_the_rarest_class_and_stated(counts: list[int], balance: bool, said: str) -> None:
    import re

    judged = judge_imbalance(np.repeat(range(len(counts)), counts), len(counts))
    assert judged.balance is balance
    assert re.search(said, judged.note)
    assert judged.ratio == max(counts) / min(counts)


def test_a_class_without_rows_cannot_be_judged() -> None:
    with pytest.raises(DataUnavailable, match="class 1 of 3"):
        judge_imbalance([0, 2, 2], 3)
