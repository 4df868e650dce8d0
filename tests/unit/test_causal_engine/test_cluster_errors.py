"""Errors in few clusters against the dense formulas; errors clustered in two ways against inclusion and exclusion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.clusters import FEW_CLUSTERS
from src.causal_engine.estimators.curve import specification_curve
from src.causal_engine.estimators.inference import cluster_sums, fit_linear
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, StudyInvalid, TooFewRows


def territories(groups: int = 10, seed: int = 0) -> pd.DataFrame:
    """Rows of unequal territories; three of them treated as a whole; the effect is .5."""
    rng = np.random.default_rng(seed)
    territory = np.repeat(np.arange(groups), rng.integers(10, 40, groups))
    n = len(territory)
    treated = rng.permutation(np.arange(groups) < 3)[territory] * 1.0
    size = rng.normal(size=n)
    scripts = 1 + 0.5 * treated + size + 0.6 * rng.normal(size=groups)[territory] + rng.normal(size=n)
    quarter = rng.integers(0, 12, n)
    columns = {"called": treated, "scripts": scripts, "size": size, "territory": territory, "quarter": quarter}
    return pd.DataFrame(columns)


def regions(groups: int = 10, seed: int = 0) -> pd.DataFrame:
    """A panel whose treatment and shocks move by region, the shocks for good; the effect is .5."""
    rng = np.random.default_rng(seed)
    units, periods = 60, 6
    region = np.arange(units) % groups
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    shock = np.cumsum(rng.normal(0, 0.5, (groups, periods)), axis=1)[region].ravel()
    calls = rng.normal(size=(groups, periods))[region].ravel() + 0.3 * rng.normal(size=len(unit))
    scripts = rng.normal(size=units)[unit] + 0.5 * calls + shock + rng.normal(size=len(unit))
    return pd.DataFrame({"hcp": unit, "month": month, "called": calls, "scripts": scripts, "territory": region[unit]})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "called", "outcome": "scripts", "cluster_key": "territory", **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


def dense_cr2(design: np.ndarray, y: np.ndarray, clusters: np.ndarray, position: int) -> tuple[float, float]:
    """CR2 error and Satterthwaite degrees of freedom by n × n matrices."""
    bread = np.linalg.pinv(design.T @ design)
    maker = np.eye(len(y)) - design @ bread @ design.T
    residual, columns, score = maker @ y, [], 0.0
    for cluster in np.unique(clusters):
        rows = clusters == cluster
        values, vectors = np.linalg.eigh(maker[np.ix_(rows, rows)])
        root = vectors @ np.diag(np.where(values > 1e-9, 1 / np.sqrt(np.maximum(values, 1e-9)), 0)) @ vectors.T
        weight = root @ design[rows] @ bread[:, position]
        score += float(weight @ residual[rows]) ** 2
        columns.append(maker[:, rows] @ weight)
    products = np.column_stack(columns).T @ np.column_stack(columns)
    return np.sqrt(score), np.trace(products) ** 2 / (products**2).sum()


def test_ols_in_few_clusters_has_the_bias_reduced_error_and_its_degrees_of_freedom() -> None:
    from scipy import stats

    frame = territories()
    design = np.column_stack([np.ones(len(frame)), frame.called, frame["size"]])
    std_error, df = dense_cr2(design, frame.scripts.to_numpy(), frame.territory.to_numpy(), 1)
    study = study_of(frame, confounders=("size",), randomized=True)
    estimate = fit_estimator("ols", study).estimate
    assert estimate.se_method == "cluster-robust CR2, 10 clusters, Satterthwaite"
    assert estimate.std_error == pytest.approx(std_error, rel=1e-8)
    reach = stats.t.ppf(0.975, df) * std_error
    assert (estimate.ci.upper - estimate.ci.lower) / 2 == pytest.approx(reach, rel=1e-8)
    assert df < 9


@pytest.mark.parametrize(("name", "lag"), [("twfe", 0), ("distributed_lag", 1)])
def test_panel_estimators_in_few_clusters_count_period_effects_that_cut_across_them(name: str, lag: int) -> None:
    frame = regions()
    if lag:
        for k in range(4):
            frame[f"lag{k}"] = frame.groupby("hcp").called.shift(k)
    else:
        frame["lag0"] = frame.called
    used = frame.dropna()
    terms = [column for column in frame if column.startswith("lag")]
    dummies = [pd.get_dummies(used[key], dtype=float).to_numpy() for key in ("hcp", "month")]
    design = np.column_stack([used[terms], *dummies])
    estimate = fit_estimator(name, study_of(frame, unit_key="hcp", time_key="month", lag=lag)).estimate
    std_error, _ = dense_cr2(design, used.scripts.to_numpy(), used.territory.to_numpy(), lag)
    assert "CR2, 10 clusters" in estimate.se_method
    assert estimate.std_error == pytest.approx(std_error, rel=1e-6)


def test_did_in_few_clusters_of_units_uses_them_too() -> None:
    rng = np.random.default_rng(1)
    unit, month = np.repeat(np.arange(80), 4), np.tile(np.arange(4), 80)
    called = ((unit % 2 == 1) & (month >= 2)) * 1.0
    scripts = called + rng.normal(size=80)[unit] + rng.normal(size=len(unit))
    frame = pd.DataFrame(
        {"hcp": unit, "month": month, "called": called, "scripts": scripts, "territory": unit // 2 % 10}
    )
    estimate = fit_estimator("did", study_of(frame, unit_key="hcp", time_key="month")).estimate
    assert "CR2, 10 clusters" in estimate.se_method


def test_with_forty_clusters_the_error_is_the_ordinary_one() -> None:
    study = study_of(in_clusters(FEW_CLUSTERS, FEW_CLUSTERS // 2), confounders=("size",), randomized=True)
    design = np.column_stack([np.ones(study.n), study.t, study.x])
    estimate = fit_estimator("ols", study).estimate
    assert estimate.se_method == "cluster-robust CR1"
    ordinary = fit_linear(study.y, design, study.clusters).uncertainty(1).std_error
    assert estimate.std_error == pytest.approx(ordinary)


def test_intervals_of_few_clusters_cover_where_ordinary_ones_fall_short() -> None:
    covered = []
    for seed in range(40):
        study = study_of(territories(8, seed), confounders=("size",), randomized=True)
        covered.append(fit_estimator("ols", study).estimate.ci.covers(0.5))
    assert np.mean(covered) >= 0.88


def test_two_way_errors_add_both_ways_and_take_out_what_they_share() -> None:
    frame = territories(45, seed=3)
    study = study_of(frame, confounders=("size",), second_cluster_key="quarter", randomized=True)
    design = np.column_stack([np.ones(study.n), study.t, study.x])
    fit = fit_linear(study.y, design, study.clusters)
    scores = design * fit.residuals[:, None] @ np.linalg.inv(design.T @ design)
    parts = []
    for keys in (["territory"], ["quarter"], ["territory", "quarter"]):
        codes = frame.groupby(keys).ngroup().to_numpy()
        groups = len(np.unique(codes))
        parts.append(groups / (groups - 1) * (cluster_sums(scores[:, 1], codes) ** 2).sum())
    expected = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    estimate = fit_estimator("ols", study).estimate
    assert estimate.se_method == "cluster-robust by territory and quarter"
    assert estimate.std_error == pytest.approx(np.sqrt(expected), rel=1e-8)


def test_the_second_way_is_seen_by_an_effect_common_to_its_rows() -> None:
    frame = territories(60, seed=4)
    rng = np.random.default_rng(1)
    frame["called"] = (rng.random(12) < 0.5)[frame.quarter] * 1.0
    frame["scripts"] += rng.normal(0, 2, 12)[frame.quarter]
    one = fit_estimator("ols", study_of(frame, randomized=True)).estimate
    two = fit_estimator("ols", study_of(frame, second_cluster_key="quarter", randomized=True)).estimate
    assert two.value == one.value
    assert two.std_error > 2 * one.std_error


def test_every_estimate_of_the_curve_has_two_way_errors() -> None:
    frame = territories(60, seed=5).assign(called=lambda rows: np.arange(len(rows)) % 2)
    study = study_of(frame, confounders=("size",), second_cluster_key="quarter")
    estimates, failures = specification_curve(study, Design.OBSERVATIONAL, control_sets=[("all", ("size",))])
    assert estimates
    assert {estimate.se_method for estimate in estimates} == {"cluster-robust by territory and quarter"}
    assert failures == ()


def test_two_way_errors_are_refused_where_they_would_mislead() -> None:
    frame = territories(45).assign(quarter=lambda rows: rows.quarter % 4)
    with pytest.raises(TooFewRows, match="4 clusters"):
        fit_estimator("ols", study_of(frame, second_cluster_key="quarter", randomized=True))
    with pytest.raises(EstimationError, match="does not vary enough|single value|determine"):
        fit_estimator("ols", study_of(frame.assign(size=frame.called), confounders=("size",), randomized=True))


def in_clusters(groups: int, treated: int, seed: int = 0) -> pd.DataFrame:
    """Twenty rows a cluster, whole clusters treated, shocks shared within them; the effect is .5."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(groups), 20)
    arm = np.isin(cluster, rng.permutation(groups)[:treated]) * 1.0
    scripts = 0.5 * arm + rng.normal(size=groups)[cluster] + rng.normal(size=len(cluster))
    return pd.DataFrame({"called": arm, "scripts": scripts, "territory": cluster, "size": rng.normal(size=len(arm))})


@pytest.mark.parametrize("name", ["difference_in_means", "ols"])
@pytest.mark.parametrize("groups", [12, 60])
def test_three_treated_clusters_are_few_however_many_are_not(name: str, groups: int) -> None:
    covered = 0
    for seed in range(30):
        study = study_of(in_clusters(groups, 3, seed), confounders=("size",), randomized=True)
        estimate = fit_estimator(name, study).estimate
        assert estimate.se_method == f"cluster-robust CR2, {groups} clusters, Satterthwaite"
        covered += estimate.ci.covers(0.5)
    assert covered >= 26


@pytest.mark.parametrize("name", ["difference_in_means", "ols", "lin", "aipw"])
@pytest.mark.parametrize(("treated", "arm"), [(1, "treated"), (44, "untreated")])
def test_an_arm_that_is_one_cluster_is_refused(name: str, treated: int, arm: str) -> None:
    frame = in_clusters(45, treated)
    frame = pd.concat([frame, frame], ignore_index=True)
    with pytest.raises(TooFewRows, match=f"all {arm} rows lie in one cluster of 'territory'"):
        fit_estimator(name, study_of(frame, confounders=("size",), randomized=True))


@pytest.mark.parametrize("role", ["cluster_key", "second_cluster_key"])
def test_rows_without_a_cluster_are_refused_and_never_put_into_another(role: str) -> None:
    frame = in_clusters(12, 6).assign(quarter=lambda d: (np.arange(len(d)) % 8).astype(float))
    column = "territory" if role == "cluster_key" else "quarter"
    frame[column] = frame[column].where(frame[column] > 0)
    with pytest.raises(StudyInvalid, match=f"cluster column '{column}' is missing in"):
        study_of(frame, second_cluster_key="quarter", randomized=True)


def test_a_second_way_that_one_change_per_unit_cannot_see_is_refused() -> None:
    frame = regions().assign(
        called=lambda d: ((d.hcp < 30) & (d.month >= 3)) * 1.0, area=lambda d: d.hcp % 7, season=lambda d: d.month % 6
    )
    panel = {"unit_key": "hcp", "time_key": "month", "cluster_key": None}
    with pytest.raises(StudyInvalid, match="'season' changes within it"):
        fit_estimator("did", study_of(frame, second_cluster_key="season", **panel))
    assert fit_estimator("did", study_of(frame, second_cluster_key="area", **panel)).estimate.std_error > 0


def test_exact_inference_is_never_given_an_approximate_second_way() -> None:
    frame = in_clusters(12, 6).assign(quarter=lambda d: np.arange(len(d)) % 8)
    with pytest.raises(EstimationError, match="exact follows the one way"):
        fit_estimator("exact", study_of(frame, second_cluster_key="quarter", randomized=True, estimator="exact"))
