"""Does the baseline describe each split rightly, and nobody in particular?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from src.contracts.tables import TABLES
from src.errors import ContractViolation, UnknownColumn
from src.mlops.preparation.baseline import compute_baseline
from tests.unit.test_mlops.modelling_frames import FEATURES, honest

TRAIN = "train"


def described(values: list[object], target: list[object] | None = None, **options: object) -> object:
    frame = pd.DataFrame({"x": values, "y": target or [0.0, 1.0] * (len(values) // 2)})
    split = pd.Series(TRAIN, index=frame.index)
    return compute_baseline(frame, split, features=["x"], target="y", **options).of(TRAIN)  # type: ignore[arg-type]


def test_a_binary_target_has_a_rate_in_each_split() -> None:
    made = honest(0, target="binary", rows=1_000)
    baseline = compute_baseline(made.frame, made.split, features=[], target="target")
    for found in baseline.splits:
        rows = made.frame[made.split == found.split]
        assert (found.rows, found.target.rate) == (len(rows), pytest.approx(rows["target"].mean()))
        assert (found.target.lower, found.target.upper) == pytest.approx(
            proportion_confint(rows["target"].sum(), len(rows), method="wilson")
        )


def test_a_numeric_target_has_a_mean_with_its_t_interval() -> None:
    made = honest(2, target="number", rows=300)
    found = compute_baseline(made.frame, made.split, features=[], target="target").of("validation").target
    values = made.frame.loc[made.split == "validation", "target"]
    due = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (found.rate, found.lower, found.upper) == pytest.approx((values.mean(), *due))


def test_the_higher_of_two_values_is_the_same_in_every_split() -> None:
    frame = pd.DataFrame({"y": ["no"] * 20 + ["yes"] * 20})
    split = pd.Series(["train"] * 20 + ["test"] * 20)
    baseline = compute_baseline(frame, split, features=[], target="y")
    assert [baseline.of(name).target.rate for name in ("train", "validation", "test")] == [0.0, None, 1.0]


def test_numbers_have_moments_and_quantiles_and_a_missing_share() -> None:
    values = np.random.default_rng(1).gamma(2, 3, 400)
    values[:100] = np.nan
    found = described(list(values)).features[0]  # type: ignore[attr-defined]
    known = values[100:]
    assert (found.missing, found.mean, found.sd) == pytest.approx((0.25, known.mean(), known.std(ddof=1)))
    assert list(found.quantiles.values()) == pytest.approx(list(np.quantile(known, [0.05, 0.25, 0.5, 0.75, 0.95])))


@pytest.mark.parametrize("n", [1, 10, 11])
def test_fewer_than_eleven_values_are_not_described(n: int) -> None:
    found = described([float(number) for number in range(n)] + [None] * (20 - n)).features[0]  # type: ignore[attr-defined]
    assert (found.mean is None) == (n < 11)
    assert bool(found.quantiles) == (n >= 11)


@pytest.mark.parametrize("values", [[1.5, 2.0, 3.0, 4.0], [0.0, 1.0], ["no", "yes"], ["no", "yes", "perhaps"]])
@pytest.mark.parametrize("n", [1, 10, 11])
def test_the_target_of_fewer_than_eleven_rows_is_not_told(values: list[Any], n: int) -> None:
    drawn = [values[number % len(values)] for number in range(100)]
    split = pd.Series(["holdout"] * n + ["train"] * (100 - n))
    found = compute_baseline(pd.DataFrame({"y": drawn}), split, features=[], target="y").of("holdout").target
    assert found.n == n
    told = [value for value in (found.rate, found.lower, found.upper) if value is not None]
    assert len(told) == (3 if n == 11 and found.kind != "category" else 0)
    assert found.shares == {}


@pytest.mark.parametrize(
    ("counts", "shown", "hidden"),
    [
        ({"a": 20, "b": 11}, {"a": 20, "b": 11}, 0),
        ({"a": 30, "b": 20, "c": 10}, {"a": 30}, 2),
        ({"a": 30, "b": 7, "c": 6}, {"a": 30}, 2),
        ({"a": 10, "b": 10}, {}, 2),
    ],
)
def test_small_groups_are_hidden_and_cannot_be_worked_out(
    counts: dict[str, int], shown: dict[str, int], hidden: int
) -> None:
    values = [word for word, n in counts.items() for _ in range(n)]
    found = described(values, [0.0, *[1.0] * (len(values) - 1)]).features[0]  # type: ignore[attr-defined]
    assert (found.top, found.hidden) == (shown, hidden)
    rest = sum(counts.values()) - sum(found.top.values())
    assert rest == 0 or rest >= 11


def test_a_personal_column_shows_how_much_is_missing_and_no_value() -> None:
    frame = pd.DataFrame({"zip_code": ["100"] * 40 + [None] * 10, "risk_score": [0.0, 1.0] * 25})
    found = compute_baseline(
        frame,
        pd.Series(TRAIN, index=frame.index),
        features=["zip_code"],
        target="risk_score",
        table=TABLES["patient_journeys"],
    )
    assert found.of(TRAIN).features[0].missing == pytest.approx(0.2)
    assert "100" not in json.dumps(found.to_dict())


@pytest.mark.parametrize("target", ["binary", "rare", "number", "classes"])
def test_a_baseline_is_json(target: str) -> None:
    made = honest(5, target=target)
    document = compute_baseline(made.frame, made.split, features=FEATURES, target="target").to_dict()
    assert json.loads(json.dumps(document, allow_nan=False))["splits"][0]["split"] == "train"
    assert len(document["splits"][0]["features"]) == len(FEATURES)


def test_wrong_arguments_are_told() -> None:
    made = honest(5, rows=100)
    with pytest.raises(UnknownColumn, match="did you mean 'strong'"):
        compute_baseline(made.frame, made.split, features=["stron"], target="target")
    with pytest.raises(ContractViolation, match="they must be as many"):
        compute_baseline(made.frame, made.split[:3], features=[], target="target")
    with pytest.raises(ContractViolation, match="holds lists"):
        compute_baseline(made.frame, made.split, features=[], target="topics")
