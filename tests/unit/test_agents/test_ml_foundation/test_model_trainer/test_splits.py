"""Which splits may a model be trained and judged on?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from src.agents.ml_foundation.model_trainer.splits import (
    fingerprint,
    lacking_classes,
    overlaps,
    repeated,
    too_few,
    unknown_classes,
)
from src.agents.training_rows import SplitRows
from src.domain.modelling import ProblemType
from src.mlops.modelling.targets import TargetCoding


def split(name: str, index: Any, units: Any = None, **columns: Any) -> SplitRows:
    frame = pd.DataFrame({"x": range(len(list(index))), **columns}, index=list(index))
    return SplitRows(name, frame, None if units is None else pd.Series(units, frame.index), "dataset")  # type: ignore[arg-type]


def parts(*splits: SplitRows) -> Mapping[str, SplitRows]:
    return {one.split: one for one in splits}


def test_rows_in_two_splits_are_told() -> None:
    (said,) = overlaps(parts(split("train", range(10)), split("validation", range(8, 12)), split("test", [20])))
    assert said.startswith("the train and validation splits share 2 rows")


def test_units_in_two_splits_are_told_where_rows_have_units() -> None:
    mixed = parts(split("train", [0, 1], ["a", "b"]), split("validation", [2, 3], ["b", "c"]))
    (said,) = overlaps(mixed)
    assert "share 1 units that must stay together" in said
    apart = parts(split("train", [0, 1], ["a", None]), split("validation", [2, 3], ["c", None]))
    assert list(overlaps(apart)) == []
    assert list(overlaps(parts(split("train", [0, 1], ["a", "b"]), split("validation", [2, 3])))) == []


def test_a_row_that_is_twice_in_a_split_is_told() -> None:
    (said,) = repeated(parts(split("train", [1, 1, 2, 2, 3])))
    assert said == "the train split holds 2 rows more than once"


@pytest.mark.parametrize(("counts", "told"), [({"validation": 10, "test": 10}, 0), ({"validation": 9, "test": 0}, 2)])
def test_splits_with_hardly_any_rows_are_told(counts: dict[str, int], told: int) -> None:
    assert len(list(too_few(counts))) == told


@pytest.mark.parametrize(("codes", "told"), [([0, 1, 2, 1], 0), ([0, 2, 0], 1)])
def test_a_class_that_a_split_lacks_is_told(codes: list[int], told: int) -> None:
    said = list(lacking_classes("validation", pd.Series(codes), 3, "stage"))
    assert len(said) == told
    assert all(line.startswith("the validation split lacks 1 of the 3 classes of 'stage'") for line in said)


def test_classes_that_no_training_row_has_are_counted_and_not_named() -> None:
    coding = TargetCoding(ProblemType.MULTICLASS, ("a", "b"))
    (said,) = unknown_classes("test", pd.Series(["a", "Jane", "Jane", None]), coding, "stage")
    assert said.startswith("the test split has 2 rows with a value of 'stage' that no training row has")
    assert "Jane" not in said
    assert list(unknown_classes("test", pd.Series(["a", "b"]), coding, "stage")) == []
    assert list(unknown_classes("test", pd.Series([1.5]), TargetCoding(ProblemType.REGRESSION), "cost")) == []


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ([1, 0, 3], [1.0, 0.0, 3.0]),
        ([True, False, True], [1, 0, 1]),
        ([0.0, 1.5, None], [-0.0, 1.5, None]),
        (pd.array([1, None, 3], dtype="Int64"), [1.0, None, 3.0]),
    ],
)
def test_numbers_have_the_fingerprint_of_their_value(one: Any, same: Any) -> None:
    assert fingerprint(parts(split("train", range(3), y=one))) == fingerprint(parts(split("train", range(3), y=same)))


@pytest.mark.parametrize(
    ("one", "other"), [([2**60, 1, 2], [2**60 + 1, 1, 2]), (["1", "2", "3"], [1, 2, 3]), ([1, 2, 3], [1, 3, 2])]
)
def test_other_values_have_another_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(parts(split("train", range(3), y=one))) != fingerprint(parts(split("train", range(3), y=other)))


def test_the_fingerprint_is_that_of_the_values_not_of_their_types() -> None:
    first = parts(split("train", range(3), y=[1.0, None, 3.0], word=["a", None, "c"]))
    assert fingerprint(first) == fingerprint(parts(split("train", range(3), y=[1.0, None, 3.0], word=["a", None, "c"])))
    for other in (
        split("train", range(3), y=[1.0, None, 3.5], word=["a", None, "c"]),
        split("train", range(1, 4), y=[1.0, None, 3.0], word=["a", None, "c"]),
        split("train", range(3), z=[1.0, None, 3.0], word=["a", None, "c"]),
        split("validation", range(3), y=[1.0, None, 3.0], word=["a", None, "c"]),
    ):
        assert fingerprint(first) != fingerprint(parts(other))
