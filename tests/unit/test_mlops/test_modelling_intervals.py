"""Do intervals cover what they should, and are parts of the rows and curves told only where there is enough to tell?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from src.domain.modelling import ProblemType
from src.errors import ContractViolation
from src.mlops.modelling.curves import MOST_POINTS, CurvePoints, curves
from src.mlops.modelling.intervals import bootstrap_intervals
from src.mlops.modelling.metrics import METRICS, evaluate
from src.mlops.modelling.segments import EMPTY, by_segment, fairness_gap
from tests.unit.test_mlops.labelled_rows import scored

BINARY, MULTICLASS, REGRESSION = ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION


def judged(problem_type: ProblemType, n: int = 240) -> tuple[Any, Any]:
    rng = np.random.default_rng(2)
    if problem_type is BINARY:
        return scored(n)
    if problem_type is REGRESSION:
        y = rng.normal(size=n)
        return y, y + 0.5 * rng.normal(size=n)
    y = rng.integers(0, 3, n)
    raw = np.exp(rng.normal(size=(n, 3)) + np.eye(3)[y])
    return y, raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("problem_type", list(METRICS))
def test_intervals_are_the_quantiles_of_metrics_of_real_resamples(problem_type: ProblemType) -> None:
    y, scores = judged(problem_type)
    found = bootstrap_intervals(problem_type, y, scores, n=1000)
    rng = np.random.default_rng(99)
    resamples = [rng.integers(0, len(y), len(y)) for _ in range(1000)]
    values = pd.DataFrame([evaluate(problem_type, y[rows], scores[rows]) for rows in resamples])
    point = evaluate(problem_type, y, scores)
    assert set(found) == set(point)
    for name, (low, high) in found.items():
        spread = values[name].std()
        assert low == pytest.approx(values[name].quantile(0.025), abs=0.5 * spread), name
        assert high == pytest.approx(values[name].quantile(0.975), abs=0.5 * spread), name
        assert high - low > 2 * spread


def test_ninety_five_per_cent_of_intervals_cover_the_true_auc() -> None:
    from math import sqrt

    from scipy.stats import norm

    truth = norm.cdf(1.0 / sqrt(2))
    covered = 0
    for random_state in range(200):
        rng = np.random.default_rng(random_state)
        y = rng.permutation(np.repeat([0, 1], [90, 60]))
        p = norm.cdf(y + rng.normal(size=150) - 0.5)
        both = np.column_stack([1 - p, p])
        low, high = bootstrap_intervals(BINARY, y, both, n=200, random_state=random_state, metrics=["roc_auc"])[
            "roc_auc"
        ]
        covered += low <= truth <= high
    assert 0.9 <= covered / 200 <= 0.99


def test_the_same_random_state_gives_the_same_intervals_whatever_is_asked_beside() -> None:
    y, scores = scored(150)
    alone = bootstrap_intervals(BINARY, y, scores, n=100, metrics=["pr_auc"])
    assert alone["pr_auc"] == bootstrap_intervals(BINARY, y, scores, n=100)["pr_auc"]
    assert alone != bootstrap_intervals(BINARY, y, scores, n=100, metrics=["pr_auc"], random_state=1)


def test_a_rare_class_is_in_every_resample() -> None:
    y = np.repeat([0, 1], [300, 3])
    p = np.linspace(0.01, 0.9, 303)
    found = bootstrap_intervals(BINARY, y, np.column_stack([1 - p, p]), n=300)
    assert {"roc_auc", "pr_auc", "recall"} <= set(found)


def test_a_metric_that_too_few_resamples_define_has_no_interval() -> None:
    y, scores = scored(60)
    highest = float(np.sort(scores[:, 1])[-1])
    # One single row is predicted positive: a third of the resamples do not have it.
    found = bootstrap_intervals(BINARY, y, scores, highest, n=300)
    assert "precision" in evaluate(BINARY, y, scores, highest)
    assert "precision" not in found
    assert "roc_auc" in found


def test_rows_of_one_unit_count_as_one_draw() -> None:
    y, scores = scored(80)
    five_times = np.repeat(np.arange(80), 5)
    as_rows = bootstrap_intervals(BINARY, y[five_times], scores[five_times], n=400, metrics=["brier_score"])
    as_units = bootstrap_intervals(
        BINARY, y[five_times], scores[five_times], n=400, metrics=["brier_score"], units=pd.Series(five_times)
    )
    once = bootstrap_intervals(BINARY, y, scores, n=400, metrics=["brier_score"])
    width = {name: np.ptp(found["brier_score"]) for name, found in (("rows", as_rows), ("units", as_units))}
    assert width["units"] == pytest.approx(np.ptp(once["brier_score"]), rel=0.1)
    assert width["rows"] < 0.6 * width["units"]


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NaT])
def test_rows_whose_unit_is_not_known_are_drawn_one_by_one(empty: Any) -> None:
    y, scores = scored(120)
    named = pd.Series([f"p{number:03}" for number in range(120)], dtype=object)
    unknown = named.where(named.index < 30, empty)
    apart, found = (bootstrap_intervals(BINARY, y, scores, n=100, units=units) for units in (named, unknown))
    assert found == apart


def test_a_unit_called_nan_is_one_unit() -> None:
    y, scores = scored(60)
    units = np.array([f"p{number}" for number in range(19)] + ["nan"] * 41, dtype=object)
    wish: dict[str, Any] = {"n": 200, "metrics": ["brier_score"]}
    together = bootstrap_intervals(BINARY, y, scores, units=units, **wish)["brier_score"]
    units[19:] = [f"q{number}" for number in range(41)]
    assert np.ptp(together) > 1.2 * np.ptp(bootstrap_intervals(BINARY, y, scores, units=units, **wish)["brier_score"])


@pytest.mark.parametrize("grouped", [True, False])
def test_fewer_than_twenty_units_have_no_intervals(grouped: bool) -> None:
    for n, told in ((19, False), (20, True)):
        y, scores = scored(200 if grouped else n)
        units = np.arange(200) % n if grouped else None
        assert bool(bootstrap_intervals(BINARY, y, scores, n=50, units=units)) is told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": ["rmse"]}, "no metric 'rmse'"),
        ({"units": [1, 2]}, "as many"),
        ({"n": 0}, "at least one resample"),
        ({"level": 95.0}, "level between 0 and 1"),
    ],
)
def test_wrong_wishes_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractViolation, match=said):
        bootstrap_intervals(BINARY, *scored(30), **options)


@pytest.fixture(scope="module")
def parts() -> pd.DataFrame:
    """Of 400 rows: three brands (one with few rows, some empty) and a region that is always the same."""
    brand = np.repeat(["Fabhalta", "Kisqali", "rare", None], [200, 130, 10, 60])
    return pd.DataFrame({"brand": brand, "region": "south"})


def test_segments_have_the_metrics_of_their_own_rows(parts: pd.DataFrame) -> None:
    y, scores = scored(400)
    found = by_segment(BINARY, y, scores, parts, 0.4)
    assert [(one.column, one.value, one.n) for one in found] == [
        ("brand", EMPTY, 60),
        ("brand", "Fabhalta", 200),
        ("brand", "Kisqali", 130),
        ("region", "south", 400),
    ]
    assert found[1].metrics == evaluate(BINARY, y[:200], scores[:200], 0.4)


def test_a_segment_with_few_rows_of_one_class_is_left_out(parts: pd.DataFrame) -> None:
    y, scores = scored(400)
    y[:200] = 0
    y[:9] = 1
    assert "Fabhalta" not in {one.value for one in by_segment(BINARY, y, scores, parts)}
    assert "Fabhalta" in {one.value for one in by_segment(BINARY, y, scores, parts, min_per_class=9)}


def test_the_fairness_gap_is_the_largest_difference_in_recall(parts: pd.DataFrame) -> None:
    y, scores = scored(400)
    found = by_segment(BINARY, y, scores, parts, 0.5)
    recalls = [
        sk.recall_score(y[rows], scores[rows, 1] >= 0.5) for rows in (slice(200), slice(200, 330), slice(340, 400))
    ]
    assert fairness_gap(found) == pytest.approx({"brand": max(recalls) - min(recalls)})
    assert fairness_gap(by_segment(REGRESSION, y * 1.0, scores[:, 1], parts)) == {}
    assert fairness_gap(by_segment(REGRESSION, y * 1.0, scores[:, 1], parts), "mae")["brand"] > 0


def test_segments_of_other_rows_are_refused(parts: pd.DataFrame) -> None:
    with pytest.raises(ContractViolation, match="as many"):
        by_segment(BINARY, *scored(399), parts)


def test_curves_pass_through_the_points_of_scikit_learn() -> None:
    y, scores = scored(150, decimals=2)
    found = curves(BINARY, y, scores)
    false_alarms, hits, _ = sk.roc_curve(y, scores[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(found.roc, np.column_stack([false_alarms, hits]))
    precision, recall, _ = sk.precision_recall_curve(y, scores[:, 1])
    np.testing.assert_allclose(found.pr, np.column_stack([recall, precision])[-2::-1])
    from sklearn.calibration import calibration_curve

    share, mean = calibration_curve(y, scores[:, 1], n_bins=10)
    np.testing.assert_allclose([(p, s) for p, s, _ in found.calibration], np.column_stack([mean, share]))
    assert sum(n for *_, n in found.calibration) == 150


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    found = curves(BINARY, *scored(3000))
    assert len(found.roc) <= MOST_POINTS
    assert len(found.pr) <= MOST_POINTS
    assert (found.roc[0], found.roc[-1], found.pr[-1][0]) == ((0, 0), (1, 1), 1)


@pytest.mark.parametrize("problem_type", [MULTICLASS, REGRESSION])
def test_other_problems_have_no_curves(problem_type: ProblemType) -> None:
    assert curves(problem_type, *judged(problem_type)) == CurvePoints()


def test_one_class_has_a_calibration_plot_but_no_roc() -> None:
    y, scores = scored(30)
    found = curves(BINARY, y * 0, scores)
    assert (found.roc, found.pr) == ((), ())
    assert found.calibration
