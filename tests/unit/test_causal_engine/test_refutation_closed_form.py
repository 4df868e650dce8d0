"""Closed forms of linear estimators equal refits of the same estimator on the altered data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.refutation.linear_form import LinearForm, Products, linear_form
from src.causal_engine.refutation.permutation import Scheme, permuted_rows, permuted_treatment, scheme_of
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import FloatArray, Study, prepare_study

EXACT = 1e-8


def cross_section(estimand: Estimand = Estimand.ATE, *, clustered: bool = False, randomized: bool = False) -> Study:
    rng = np.random.default_rng(11)
    n = 600
    severity, z, hidden = rng.normal(size=(3, n))
    region = rng.choice(["north", "south", "west"], n)
    push = 0.6 * severity + 0.9 * z + 0.5 * hidden + 0.4 * (region == "north")
    treatment = (push + rng.logistic(size=n) > 0).astype(float)
    outcome = (0.5 + 0.3 * severity) * treatment + severity + hidden + (region == "west") + rng.normal(size=n)
    frame = pd.DataFrame({"t": treatment, "y": outcome, "severity": severity, "region": region, "z": z})
    frame["severity_twice"] = 2 * severity - 1
    frame.loc[::17, "severity"] = np.nan
    frame["clinic"] = np.arange(n) // 5
    spec = CausalSpec(
        "t",
        "y",
        confounders=("severity", "region", "severity_twice"),
        instruments=("z",),
        cluster_key="clinic" if clustered else None,
        estimand=estimand,
        randomized=randomized,
    )
    return prepare_study(frame, spec)


def panel(*, unbalanced: bool = False) -> Study:
    rng = np.random.default_rng(12)
    units, periods = 60, 7
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    fixed, moving = np.repeat(rng.normal(size=units), periods), rng.normal(size=len(unit))
    dose = rng.poisson(np.exp(0.3 * fixed + 0.2 * moving)).astype(float)
    outcome = 0.4 * dose + 2 * fixed + moving + 0.3 * month + rng.normal(size=len(unit))
    frame = pd.DataFrame({"t": dose, "y": outcome, "moving": moving, "u": unit, "m": month})
    if unbalanced:
        frame = frame[rng.random(len(frame)) < 0.85]
    return prepare_study(frame, CausalSpec("t", "y", confounders=("moving",), unit_key="u", time_key="m"))


CASES: dict[str, tuple[str, Callable[[], Study]]] = {
    "difference in means": ("difference_in_means", cross_section),
    "ols": ("ols", cross_section),
    "ols clustered": ("ols", lambda: cross_section(clustered=True)),
    "lin": ("lin", cross_section),
    "lin on the treated": ("lin", lambda: cross_section(Estimand.ATT)),
    "lin clustered": ("lin", lambda: cross_section(clustered=True)),
    "iv": ("iv_2sls", cross_section),
    "iv clustered": ("iv_2sls", lambda: cross_section(clustered=True)),
    "twfe": ("twfe", panel),
    "twfe unbalanced": ("twfe", lambda: panel(unbalanced=True)),
}
cases = pytest.mark.parametrize(("estimator", "make"), CASES.values(), ids=CASES.keys())


def form_of(study: Study, estimator: str) -> LinearForm:
    form = linear_form(study, fit_estimator(estimator, study).estimate)
    assert form is not None
    return form


def refitted(estimator: str, study: Study) -> float:
    return fit_estimator(estimator, study).estimate.value


def with_treatment(study: Study, treatment: FloatArray) -> Study:
    return study.with_frame(study.frame.assign(t=treatment))


@cases
def test_form_reproduces_the_estimate(estimator: str, make: Callable[[], Study]) -> None:
    study = make()
    assert form_of(study, estimator).value() == pytest.approx(refitted(estimator, study), rel=EXACT)


@cases
def test_form_under_another_treatment_equals_a_refit(estimator: str, make: Callable[[], Study]) -> None:
    study = make()
    form, rng = form_of(study, estimator), np.random.default_rng(0)
    scheme = scheme_of(study, estimator)
    for _ in range(3):
        order = permuted_rows(study, scheme, rng)
        altered = with_treatment(study, study.t[order])
        if estimator == "iv_2sls":
            altered = altered.with_frame(altered.frame.assign(z=study.frame["z"].to_numpy()[order]))
            assert form.with_permutation(order) == pytest.approx(refitted(estimator, altered), rel=EXACT)
        else:
            closed = form.with_treatment(study.t[order][None])[0]
            assert closed == pytest.approx(refitted(estimator, altered), rel=EXACT, abs=EXACT)


@cases
def test_form_with_one_more_control_equals_a_refit(estimator: str, make: Callable[[], Study]) -> None:
    study = make()
    causes = np.random.default_rng(1).normal(size=(3, study.n))
    closed = form_of(study, estimator).with_cause(causes)
    if estimator == "difference_in_means":
        return
    for cause, effect in zip(causes, closed, strict=True):
        widened = study.with_frame(study.frame.assign(cause=cause))
        widened = widened.with_spec(confounders=(*study.spec.confounders, "cause"))
        assert effect == pytest.approx(refitted(estimator, widened), rel=EXACT)


@cases
def test_form_on_a_resample_equals_a_refit(estimator: str, make: Callable[[], Study]) -> None:
    study = make()
    form, rng = form_of(study, estimator), np.random.default_rng(2)
    codes = np.arange(study.n) if study.clusters is None else study.clusters
    for _ in range(3):
        drawn = rng.integers(0, form.n_units, form.n_units)
        rows = [np.flatnonzero(codes == unit) for unit in drawn]
        frame = study.frame.iloc[np.concatenate(rows)].reset_index(drop=True)
        key = study.spec.cluster_key or study.spec.unit_key
        if key:
            frame[key] = np.repeat(np.arange(len(drawn)), [len(part) for part in rows])
        closed = form.resampled(np.bincount(drawn, minlength=form.n_units).astype(float)[None])[0]
        assert closed == pytest.approx(refitted(estimator, study.with_frame(frame)), rel=EXACT)


@cases
def test_form_on_a_subset_equals_a_refit(estimator: str, make: Callable[[], Study]) -> None:
    study = make()
    form = form_of(study, estimator)
    kept = np.random.default_rng(3).random(form.n_units) < 0.8
    rows = kept if study.clusters is None else kept[study.clusters]
    subset = study.with_frame(study.frame.loc[rows].reset_index(drop=True))
    closed = form.resampled(kept.astype(float)[None])[0]
    assert closed == pytest.approx(refitted(estimator, subset), rel=EXACT)


def test_level_that_vanishes_from_a_resample_is_harmless() -> None:
    study = cross_section()
    weights = (study.frame["region"] != "north").to_numpy(dtype=float)[None]
    subset = study.with_frame(study.frame.loc[weights[0] > 0].reset_index(drop=True))
    for estimator in ("ols", "lin"):
        closed = form_of(study, estimator).resampled(weights)[0]
        assert closed == pytest.approx(refitted(estimator, subset), rel=1e-6)


def test_trimmed_estimates_have_no_closed_form() -> None:
    study = cross_section().with_spec(trim=True)
    assert linear_form(study, fit_estimator("ols", study).estimate) is None


def test_form_that_does_not_reproduce_the_estimate_is_not_used() -> None:
    from dataclasses import replace

    study = cross_section()
    estimate = fit_estimator("ols", study).estimate
    assert linear_form(study, replace(estimate, value=estimate.value + estimate.std_error)) is None


def test_treatment_is_exchanged_within_units_of_a_panel() -> None:
    study = panel(unbalanced=True)
    assert scheme_of(study, "twfe") is Scheme.WITHIN_UNITS
    moved = permuted_treatment(study, Scheme.WITHIN_UNITS, np.random.default_rng(0))
    assert not np.array_equal(moved, study.t)
    frame = pd.DataFrame({"u": study.frame["u"], "before": study.t, "after": moved})
    for _, part in frame.groupby("u"):
        assert sorted(part.before) == sorted(part.after)


def test_treatment_of_whole_clusters_is_exchanged_between_clusters() -> None:
    study = cross_section(clustered=True)
    assert scheme_of(study, "ols") is Scheme.ROWS
    whole = with_treatment(study, (study.frame["clinic"] % 2).to_numpy(dtype=float))
    assert scheme_of(whole, "ols") is Scheme.CLUSTERS
    moved = permuted_treatment(whole, Scheme.CLUSTERS, np.random.default_rng(0))
    assert (pd.Series(moved).groupby(whole.frame["clinic"]).nunique() == 1).all()
    assert moved.sum() == whole.t.sum()


def test_adopters_are_redrawn_and_keep_their_date() -> None:
    unit, month = np.repeat(np.arange(80), 4), np.tile(np.arange(4), 80)
    treatment = ((unit < 40) & (month >= 2)).astype(float)
    frame = pd.DataFrame({"t": treatment, "y": np.random.default_rng(0).normal(size=320), "u": unit, "m": month})
    study = prepare_study(frame, CausalSpec("t", "y", unit_key="u", time_key="m"))
    moved = permuted_treatment(study, scheme_of(study, "did"), np.random.default_rng(1))
    assert (moved[month < 2] == 0).all()
    adopters = set(unit[moved == 1])
    assert len(adopters) == 40
    assert adopters != set(range(40))


@pytest.mark.parametrize("rows_per_group", [2, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_products_of_groups_are_those_of_their_rows(rows_per_group: int, weighted: bool) -> None:
    rng = np.random.default_rng(4)
    groups = rng.permutation(np.repeat(np.arange(15), rows_per_group))
    columns, rows = rng.normal(size=(len(groups), 4)), rng.integers(0, 2, len(groups)).astype(float)
    draws = rng.integers(0, 3, (5, 15)).astype(float)
    found = Products(columns, groups, rows if weighted else None).grams(draws)
    for gram, times in zip(found, draws, strict=True):
        share = times[groups] * (rows if weighted else 1.0)
        np.testing.assert_allclose(gram, (columns * share[:, None]).T @ columns, atol=1e-12)


@pytest.mark.parametrize("unbalanced", [False, True])
def test_every_order_within_a_unit_is_as_likely(unbalanced: bool) -> None:
    study = panel(unbalanced=unbalanced)
    units, rng = study.frame["u"].to_numpy(), np.random.default_rng(0)
    first = np.flatnonzero(units == units[0])
    taken = [permuted_rows(study, Scheme.WITHIN_UNITS, rng)[first[0]] for _ in range(700)]
    counts = [taken.count(row) for row in first]
    assert sum(counts) == 700
    expected = 700 / len(first)
    assert max(abs(count - expected) for count in counts) < 5 * np.sqrt(expected)
