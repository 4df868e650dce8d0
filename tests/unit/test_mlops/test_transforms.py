"""Is everything a model sees learnt on training rows, complete, and the same after it was stored?"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from src.contracts.tables import TABLES
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.preparation.transforms import MOST_WORDS, fit_transforms, from_parameters
from tests.unit.test_mlops.modelling_frames import FEATURES, honest

TRAIN = pd.Series(["train"] * 4 + ["test"] * 2)


def small(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_numbers_are_filled_and_standardised_as_scikit_learn_does() -> None:
    made = honest(1, rows=500)
    train = (made.split == "train").to_numpy()
    oracle = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    for name in ("strong", "weak", "coded", "coarse"):
        values = made.frame[[name]].astype(float)
        due = oracle.fit(values[train]).transform(values)[:, 0]
        found = fit_transforms(made.frame, made.split, [name]).apply(made.frame)
        np.testing.assert_allclose(found[name], due, rtol=1e-12, atol=1e-12)
    shown = fit_transforms(made.frame, made.split, ["weak"]).apply(made.frame)["weak__missing"]
    assert shown.tolist() == made.frame["weak"].isna().astype(float).tolist()


def test_words_become_columns_as_scikit_learn_does() -> None:
    made = honest(2, rows=300)
    train = (made.split == "train").to_numpy()
    oracle = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(made.frame.loc[train, ["word"]])
    found = fit_transforms(made.frame, made.split, ["word"]).apply(made.frame)
    np.testing.assert_array_equal(found.to_numpy(), oracle.transform(made.frame[["word"]]))
    assert list(found) == [f"word={word}" for word in oracle.categories_[0]]


@pytest.mark.parametrize(
    ("values", "due"),
    [
        (
            ["a", "b", "b", None, "c", None],
            {"x=a": [1, 0, 0, 0, 0, 0], "x=b": [0, 1, 1, 1, 0, 1]},
        ),
        (
            [["a"], ["a", "b", "a"], [], None, ["c", "b"], None],
            {"x=a": [1, 1, 0, 0, 0, 0], "x=b": [0, 1, 0, 0, 1, 0]},
        ),
        (
            ["2024-01-03", "2024-01-01", None, "2024-01-01T12:00:00Z", "2024-02-01", None],
            {"x": [2, 0, 0.5, 0.5, 31, 0.5], "x__missing": [0, 0, 1, 0, 0, 1]},
        ),
        ([True, False, True, True, None, False], {"x": [0.577, -1.732, 0.577, 0.577, 0.577, -1.732]}),
        ([5, 5, 5, 5, 7, 5], {"x": [0, 0, 0, 0, 2, 0]}),
    ],
    ids=["words", "lists", "times", "flags", "constant"],
)
def test_each_kind_of_column_becomes_numbers_without_gaps(values: list[object], due: dict[str, list[float]]) -> None:
    frame = small(x=values).set_axis(list("uvwxyz"))
    if "2024-01-03" in values:
        frame["x"] = pd.to_datetime(frame["x"], utc=True, format="ISO8601")
    found = fit_transforms(frame, TRAIN, ["x"]).apply(frame)
    pd.testing.assert_frame_equal(
        found, pd.DataFrame(due, index=frame.index, dtype="float64"), check_exact=False, atol=1e-3
    )


@given(st.integers(0, 50), st.integers(0, 2**31))
@settings(max_examples=25)
def test_other_rows_change_nothing_that_was_learnt(state: int, salt: int) -> None:
    made = honest(state, rows=150)
    rng = np.random.default_rng(salt)
    spoiled = made.frame.copy()
    others = np.flatnonzero(made.split != "train")
    spoiled.iloc[others] = spoiled.iloc[rng.choice(others, len(others))].to_numpy()
    spoiled = spoiled.astype(made.frame.dtypes.to_dict())
    spoiled.loc[spoiled.index[others], ["strong", "coarse"]] = rng.standard_cauchy((len(others), 2)) * 1e6
    spoiled.loc[spoiled.index[others], "word"] = "unheard of"
    fitted = fit_transforms(spoiled, made.split, FEATURES)
    assert fitted == made.fitted
    train = made.split == "train"
    pd.testing.assert_frame_equal(fitted.apply(spoiled)[train], fitted.apply(made.frame)[train])


@pytest.mark.parametrize("state", range(5))
def test_stored_parameters_give_the_same_transforms_again(state: int) -> None:
    made = honest(state)
    fitted = fit_transforms(made.frame, made.split, FEATURES)
    stored = json.loads(json.dumps(fitted.parameters(), allow_nan=False))
    assert {row["computed_on_split"] for row in stored} == {"train"}
    again = from_parameters(reversed(stored))
    assert again == fitted
    pd.testing.assert_frame_equal(again.apply(made.frame), fitted.apply(made.frame), check_exact=True)
    assert not fitted.apply(made.frame).isna().any().any()


def test_only_the_most_frequent_words_have_columns() -> None:
    words = [f"w{number:03d}" for number in range(MOST_WORDS + 20) for _ in range(1 + (number < MOST_WORDS))]
    frame = small(x=words)
    found = fit_transforms(frame, pd.Series("train", index=frame.index), ["x"]).apply(frame)
    assert list(found) == [f"x=w{number:03d}" for number in range(MOST_WORDS)]


def test_types_come_from_the_contract_where_it_has_the_column() -> None:
    frame = small(decile=["1", "2", "3", "4", "5", "6"], mine=["1", "2", "3", "4", "5", "6"])
    fitted = fit_transforms(frame, TRAIN, ["decile", "mine"], TABLES["hcp_profiles"])
    assert [feature.transformation for feature in fitted.features] == ["median_impute_standardise", "one_hot"]


@pytest.mark.parametrize(
    ("frame", "features", "error", "says"),
    [
        (small(x=[1.0] * 6), ["y"], UnknownColumn, "feature 'y' is not in the data"),
        (small(x=[1.0] * 6), ["x", "x"], ContractViolation, "more than once"),
        (small(x=[None, None, None, None, 1.0, 2.0]), ["x"], DataUnavailable, "empty in every training row"),
        (small(x=[1.0, np.inf, 2.0, 3.0, 4.0, 5.0]), ["x"], ContractViolation, "1 infinite values"),
        (small(x=[{"a": 1}] * 6), ["x"], ContractViolation, "JSON objects"),
        (small(zip_code=["100"] * 6), ["zip_code"], ContractViolation, "personal"),
        (small(risk_score=["low"] * 6), ["risk_score"], ContractViolation, "4 values that cannot be read as float"),
        (
            pd.DataFrame([[1.0, 2.0]] * 6, columns=["x", "x"]),
            ["x"],
            ContractViolation,
            "there 2 times",
        ),
    ],
)
def test_what_cannot_be_transformed_is_told_in_a_line(
    frame: pd.DataFrame, features: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        fit_transforms(frame, TRAIN, features, TABLES["patient_journeys"])
    assert "\n" not in str(caught.value)


def test_no_training_rows_and_no_stored_rows_are_refused() -> None:
    with pytest.raises(DataUnavailable, match="no training row"):
        fit_transforms(small(x=[1.0]), pd.Series(["test"]), ["x"])
    with pytest.raises(ContractViolation, match="they must be as many"):
        fit_transforms(small(x=[1.0]), TRAIN, ["x"])
    with pytest.raises(ContractViolation, match="fit and store"):
        from_parameters([])
    with pytest.raises(ContractViolation, match="did you mean 'one_hot'"):
        from_parameters([{"feature_name": "x", "transformation": "onehot", "parameters": {"position": 0}, "n_rows": 1}])
