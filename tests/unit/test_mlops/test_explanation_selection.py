"""Features are left out for the reason that holds, on training rows only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.explanation.measures import (
    mutual_information,
    quantile_codes,
    read_features,
    target_codes,
    variances,
)
from src.mlops.explanation.selection import Selection, SelectionRules, inflation_factors, select_features

RULES = SelectionRules()


def frame(n: int = 300) -> pd.DataFrame:
    """Two independent numbers that tell of the target, and a word."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=n), rng.normal(size=n)
    return pd.DataFrame(
        {"a": a, "b": b, "word": rng.choice(["x", "y", "z"], n), "target": (a + 0.5 * b > 0).astype(int)}
    )


def chosen(data: pd.DataFrame, rules: SelectionRules = RULES, **options: Any) -> Selection:
    features = [name for name in data.columns if name != "target"]
    codes, _ = target_codes(data["target"], is_number=False)
    return select_features(read_features(data, features), codes, rules, **options)


def test_independent_features_that_vary_all_stay() -> None:
    found = chosen(frame())
    assert found == Selection(("a", "b", "word"))


CORRUPTIONS: dict[str, tuple[Any, str]] = {
    "constant": (lambda data: 7.0, "variance"),
    "constant word": (lambda data: "same", "variance"),
    "empty": (lambda data: np.nan, "variance"),
    "nearly constant": (lambda data: np.where(np.arange(len(data)) == 3, 1.0, 0.0), "variance"),
    "copy": (lambda data: data["a"], "correlation"),
    "monotone copy": (lambda data: np.exp(-data["a"]), "correlation"),
    "sum of two": (lambda data: data["a"] + data["b"], "vif"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_one_spoiled_feature_leaves_for_its_own_reason_only(name: str) -> None:
    make, reason = CORRUPTIONS[name]
    rules = SelectionRules(min_variance=0.005)
    found = chosen(frame().assign(spoiled=make(frame())), rules)
    left_out = {why: set(getattr(found, why)) for why in ("variance", "correlation", "vif", "stability")}
    assert {why for why, names in left_out.items() if names} == {reason}
    assert len(left_out[reason]) == 1
    assert len(found.selected) == 3


def test_of_two_correlated_features_the_one_that_tells_more_of_the_target_stays() -> None:
    data = frame()
    blurred = data["a"] + np.random.default_rng(1).normal(scale=0.2, size=len(data))
    found = chosen(data.assign(first=blurred)[["first", "a", "b", "target"]])
    assert found.selected == ("a", "b")
    assert found.correlation["first"] == pytest.approx(data["a"].corr(blurred, method="spearman"))


@pytest.mark.parametrize(("limit", "stays"), [(0.98, True), (0.9, False)])
def test_the_correlation_limit_decides(limit: float, stays: bool) -> None:
    data = frame()
    near = data["a"] + np.random.default_rng(2).normal(scale=0.28, size=len(data))
    found = chosen(data.assign(near=near), SelectionRules(max_correlation=limit, max_vif=1e9))
    assert ({"a", "near"} <= set(found.selected)) is stays


def test_variance_inflation_equals_that_of_statsmodels() -> None:
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    x[:, 3] = x[:, 0] + x[:, 1] + 0.5 * rng.normal(size=200)
    with_constant = np.column_stack([np.ones(200), x])
    expected = [variance_inflation_factor(with_constant, j + 1) for j in range(4)]
    assert inflation_factors(x).tolist() == pytest.approx(expected)


def test_a_column_that_others_determine_is_inflated_without_limit() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert inflation_factors(np.column_stack([x, x.sum(axis=1)])).tolist() == [math.inf] * 3
    assert inflation_factors(np.column_stack([x[:, 0], np.ones(50)])).tolist() == [1.0, 1.0]


def test_an_unstable_feature_is_left_out_and_the_same_seed_says_the_same() -> None:
    data = frame().assign(noise=np.random.default_rng(9).normal(size=300))
    rules = SelectionRules(min_stability=0.6)
    found = chosen(data, rules, random_state=1)
    assert set(found.selected) == {"a", "b"}
    assert set(found.stability) == {"noise", "word"}
    assert all(0 <= share < 0.6 for share in found.stability.values())
    assert found == chosen(data, rules, random_state=1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=4, max_size=80))
def test_mutual_information_is_that_of_scikit_learn_less_its_bias(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import mutual_info_score

    x, y = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    freedom = (len(set(x.tolist())) - 1) * (len(set(y.tolist())) - 1)
    expected = max(0.0, mutual_info_score(x, y) - freedom / (2 * len(x))) if freedom else 0.0
    value, p = mutual_information(x, y)
    assert value == pytest.approx(expected, abs=1e-12)
    assert 0 <= p <= 1


def test_independence_is_rejected_where_scipy_rejects_it() -> None:
    from scipy.stats import chi2_contingency

    data = frame()
    x, y = quantile_codes(data["a"].to_numpy()), data["target"].to_numpy()
    expected = chi2_contingency(pd.crosstab(x, y), correction=False, lambda_="log-likelihood")
    assert mutual_information(x, y)[1] == pytest.approx(expected.pvalue)


def test_variance_is_of_values_between_0_and_1_and_of_words_the_chance_to_differ() -> None:
    data = pd.DataFrame({"n": [0.0, 50.0, 100.0, np.nan], "w": ["x", "x", "y", None]})
    found = variances(read_features(data, ("n", "w")))
    assert found["n"] == pytest.approx(np.var([0.0, 0.5, 1.0, 0.5]))
    assert found["w"] == pytest.approx(1 - (0.5**2 + 0.25**2 + 0.25**2))


def test_few_different_values_keep_their_own_code_and_many_fall_into_tenths() -> None:
    assert quantile_codes(np.array([5.0, 1.0, 5.0])).tolist() == [1, 0, 1]
    assert np.bincount(quantile_codes(np.arange(100.0))).tolist() == [10] * 10


def test_times_and_lists_can_be_judged_too() -> None:
    data = pd.DataFrame({"at": pd.date_range("2024-01-01", periods=4, tz="UTC"), "topics": [["u"], ["u"], ["v"], None]})
    values = read_features(data, ("at", "topics"))
    assert np.diff(values.numbers["at"]).tolist() == [1.0, 1.0, 1.0]
    assert values.words["topics"].nunique() == 3


def test_an_unknown_feature_is_named() -> None:
    with pytest.raises(UnknownColumn, match="'absent'"):
        read_features(frame(), ("absent",))


def test_a_target_that_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(DataUnavailable, match="empty in every training row"):
        target_codes(pd.Series([None, None], name="t", dtype=object), is_number=False)
    with pytest.raises(ContractViolation, match="same value"):
        target_codes(pd.Series([1, 1], name="t"), is_number=False)


def test_rows_without_a_target_are_named_and_left_out() -> None:
    codes, there = target_codes(pd.Series([1.5, None, 2.5], name="t"), is_number=True)
    assert codes.tolist() == [0, 1]
    assert there.tolist() == [True, False, True]
