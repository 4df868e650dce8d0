"""Derived columns are decided on training rows and computed row by row."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from src.errors import UnknownColumn
from src.mlops.explanation.generation import GeneratedColumn, GenerationRules, generate_columns, with_columns

ALL = GenerationRules(interactions=True, ratios=True, polynomials=True, logarithms=True, top_k=3)
FEATURES = ("a", "cost", "flag", "word")


def training(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    a = rng.normal(size=n)
    return pd.DataFrame(
        {"a": a, "cost": np.exp(rng.normal(size=n)), "flag": (a > 0).astype(int), "word": rng.choice(["x", "y"], n)}
    )


def target(frame: pd.DataFrame) -> np.ndarray:
    return (frame["a"] > 0.2).to_numpy().astype(np.int64)


def names(rules: GenerationRules, frame: pd.DataFrame | None = None) -> set[str]:
    data = training() if frame is None else frame
    return {column.name for column in generate_columns(data, target(data), FEATURES, rules)}


RECIPES = {
    "interactions": {"a_times_cost", "a_times_flag", "cost_times_flag"},
    "ratios": {"a_per_cost", "cost_per_a", "flag_per_a", "flag_per_cost"},
    "polynomials": {"a_squared", "cost_squared"},
    "logarithms": {"log_cost"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_makes_its_own_columns_and_only_when_it_is_asked_for(recipe: str) -> None:
    assert names(GenerationRules(top_k=3)) == set()
    assert names(dataclasses.replace(GenerationRules(top_k=3), **{recipe: True})) == RECIPES[recipe]


def test_only_the_numbers_that_tell_most_of_the_target_are_used() -> None:
    assert names(dataclasses.replace(ALL, top_k=1)) == {"a_squared"}
    assert names(dataclasses.replace(ALL, top_k=0)) == set()


@pytest.mark.parametrize(
    ("column", "frame", "expected"),
    [
        (GeneratedColumn("p", "product", ("x", "y")), {"x": [2.0, None], "y": [3.0, 1.0]}, [6.0, math.nan]),
        (GeneratedColumn("r", "ratio", ("x", "y")), {"x": [1.0, 1.0], "y": [4.0, 0.0]}, [0.25, math.nan]),
        (GeneratedColumn("s", "square", ("x",)), {"x": [-3.0, 0.5]}, [9.0, 0.25]),
        (GeneratedColumn("l", "logarithm", ("x",)), {"x": [math.e, -1.0]}, [1.0, math.nan]),
    ],
)
def test_a_column_is_computed_row_by_row_and_empty_where_it_is_not_defined(
    column: GeneratedColumn, frame: dict[str, list[float]], expected: list[float]
) -> None:
    assert column.compute(pd.DataFrame(frame)).tolist() == pytest.approx(expected, nan_ok=True)


def test_a_row_gets_the_same_values_whatever_rows_come_with_it() -> None:
    frame = training()
    columns = generate_columns(frame, target(frame), FEATURES, ALL)
    whole, part = with_columns(frame, columns), with_columns(frame.iloc[[17]], columns)
    pd.testing.assert_frame_equal(whole.iloc[[17]], part)
    assert list(whole.columns[: len(frame.columns)]) == list(frame.columns)


def test_a_denominator_that_is_0_in_some_training_row_makes_no_ratio() -> None:
    frame = training()
    frame.loc[4, "cost"] = 0.0
    assert {"a_per_cost", "log_cost"} & names(ALL, frame) == set()


def test_a_name_that_is_taken_is_not_generated_again() -> None:
    frame = training().assign(a_squared=1.0)
    assert "a_squared" not in names(ALL, frame)


def test_words_are_no_numbers_to_derive_from() -> None:
    frame = training()
    assert generate_columns(frame, target(frame), ("word",), ALL) == ()


def test_an_absent_source_is_named() -> None:
    with pytest.raises(UnknownColumn, match="'gone'"):
        GeneratedColumn("p", "square", ("gone",)).compute(training())
