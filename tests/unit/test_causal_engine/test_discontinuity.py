"""Regression discontinuity: against rdrobust, known truth, and the ways in which a cutoff can deceive."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.diagnostics.density import density_test
from src.causal_engine.diagnostics.discontinuity import discontinuity_report
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.identification import identify, make_graph
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import Conclusion, RefutationReport, Verdict
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import E2IError, EstimationError, StudyInvalid, TooFewRows, WeakInstrument

QUESTION = CausalSpec("t", "y", ("age",), running_variable="x", cutoff=0.0)


def simulate(n: int = 1500, seed: int = 1, *, effect: float = 1.0, fuzzy: bool = False) -> pd.DataFrame:
    """A curved outcome that jumps by ``effect`` where x reaches 0; an older and better-off right side."""
    rng = np.random.default_rng(seed)
    x = 2 * rng.beta(2, 4, n) - 1
    age = 50 + 5 * x + rng.normal(0, 5, n)
    above = x >= 0
    t = (rng.random(n) < np.where(above, 0.95, 0.1)) if fuzzy else above
    y = effect * t + 0.8 * x + 1.5 * x**2 + np.sin(2 * x) + rng.normal(0, 0.5, n)
    return pd.DataFrame({"t": t.astype(float), "y": y, "x": x, "age": age})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    spec = {
        "treatment": "t",
        "outcome": "y",
        "confounders": ("age",),
        "running_variable": "x",
        "cutoff": 0.0,
        **changes,
    }
    return prepare_study(frame, CausalSpec(**spec))  # type: ignore[arg-type]


def refuted(frame: pd.DataFrame, estimator: str = "rdd") -> RefutationReport:
    study = study_of(frame)
    return refute(study, fit_estimator(estimator, study), random_state=1)


def concluded(frame: pd.DataFrame, spec: CausalSpec = QUESTION) -> Conclusion:
    identification = identify(spec, list(frame.columns), None)
    outcome, held = estimate_effect(frame, spec, identification)
    report = None if held.fitted is None else refute(held.study, held.fitted, random_state=1)
    return conclude(Evidence(spec, identification, outcome, report))


def test_it_equals_rdrobust() -> None:
    """Values of rdrobust 2.1.1 (Python, defaults) on Lee's process, 1,000 rows."""
    rng = np.random.default_rng(0)
    x = 2 * rng.beta(2, 4, 1000) - 1
    left = 0.48 + 1.27 * x + 7.18 * x**2 + 20.21 * x**3 + 21.54 * x**4 + 7.33 * x**5
    right = 0.52 + 0.84 * x - 3 * x**2 + 7.99 * x**3 - 9.01 * x**4 + 3.56 * x**5
    y = np.where(x < 0, left, right) + 0.1295 * rng.normal(size=1000)
    study = study_of(pd.DataFrame({"t": (x >= 0).astype(float), "y": y, "x": x}), confounders=())
    estimate = fit_estimator("rdd", study).estimate
    assert estimate.diagnostic("bandwidth") == pytest.approx(0.15917385, rel=1e-4)
    assert estimate.diagnostic("bias_bandwidth") == pytest.approx(0.25155595, rel=1e-4)
    assert estimate.diagnostic("conventional") == pytest.approx(-0.0005426, abs=1e-5)
    assert estimate.value == pytest.approx(-0.01426724, abs=1e-5)
    assert estimate.std_error == pytest.approx(0.04360438, rel=1e-4)


@pytest.mark.parametrize("estimator", ["rdd", "fuzzy_rdd"])
def test_intervals_cover_the_jump_where_a_comparison_of_means_never_does(estimator: str) -> None:
    covered = naive = 0
    for seed in range(40):
        frame = simulate(1200, seed, fuzzy=estimator == "fuzzy_rdd")
        estimate = fit_estimator(estimator, study_of(frame)).estimate
        covered += estimate.ci.covers(1.0)
        means = frame.groupby("t").y.mean()
        naive += abs(means[1.0] - means[0.0] - 1.0) < 0.3
    assert estimate.estimand is Estimand.AT_CUTOFF
    assert covered >= 35
    assert naive == 0


def test_the_influence_adds_up_to_the_standard_error() -> None:
    fitted = fit_estimator("rdd", study_of(simulate()))
    assert fitted.influence is not None
    assert np.sqrt(fitted.influence @ fitted.influence) / len(fitted.influence) == pytest.approx(
        fitted.estimate.std_error, rel=1e-12
    )


def test_where_units_below_the_cutoff_are_treated_the_sign_is_that_of_the_treatment() -> None:
    frame = simulate()
    mirrored = frame.assign(t=1 - frame.t)
    estimate, other = (fit_estimator("rdd", study_of(one)).estimate for one in (frame, mirrored))
    assert other.value == pytest.approx(-estimate.value, rel=1e-12)
    assert other.diagnostic("conventional") == pytest.approx(-(estimate.diagnostic("conventional") or 0), rel=1e-12)


def test_a_fuzzy_estimate_at_a_sharp_switch_is_the_sharp_one() -> None:
    study = study_of(simulate())
    sharp, fuzzy = (fit_estimator(name, study).estimate for name in ("rdd", "fuzzy_rdd"))
    assert fuzzy.value == pytest.approx(sharp.value, rel=1e-9)
    assert fuzzy.std_error == pytest.approx(sharp.std_error, rel=1e-9)


@pytest.mark.parametrize("estimator", ["rdd", "fuzzy_rdd"])
def test_units_of_outcome_and_running_variable_do_not_matter(estimator: str) -> None:
    frame = simulate(fuzzy=estimator == "fuzzy_rdd")
    plain = fit_estimator(estimator, study_of(frame)).estimate
    scaled = fit_estimator(estimator, study_of(frame.assign(y=1000 * frame.y, x=0.001 * frame.x))).estimate
    assert scaled.value == pytest.approx(1000 * plain.value, rel=1e-8)
    assert scaled.std_error == pytest.approx(1000 * plain.std_error, rel=1e-8)
    assert scaled.diagnostic("bandwidth") == pytest.approx(0.001 * (plain.diagnostic("bandwidth") or 0), rel=1e-8)


def test_shocks_shared_by_a_cluster_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    frame = simulate().assign(school=lambda d: rng.integers(0, 60, len(d)))
    frame["y"] += rng.normal(0, 1.0, 60)[frame.school]
    rows, clustered = (fit_estimator("rdd", study_of(frame, cluster_key=key)).estimate for key in (None, "school"))
    assert clustered.se_method.endswith("clustered")
    assert clustered.value == pytest.approx(rows.value, rel=1e-12)


@pytest.mark.parametrize(
    ("frame", "estimator", "error", "said"),
    [
        (simulate(fuzzy=True), "rdd", EstimationError, "use fuzzy_rdd"),
        (
            simulate().assign(t=lambda d: (np.arange(len(d)) % 2).astype(float)),
            "fuzzy_rdd",
            WeakInstrument,
            "hardly jumps",
        ),
        (simulate(150, fuzzy=True), "fuzzy_rdd", TooFewRows, "needs 30 on each side"),
        (simulate().assign(x=lambda d: np.round(4 * d.x) / 4), "rdd", StudyInvalid, "distinct values"),
    ],
    ids=["not sharp", "no jump in treatment", "few rows", "few distinct values"],
)
def test_what_no_curve_can_answer_is_refused(
    frame: pd.DataFrame, estimator: str, error: type[E2IError], said: str
) -> None:
    with pytest.raises(error, match=said):
        fit_estimator(estimator, study_of(frame))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cutoff": None}, "name also --cutoff"),
        ({"running_variable": None}, "name also --running-variable"),
        ({"cutoff": 99.0}, "all rows of 'x' lie on one side"),
        ({"running_variable": "y"}, "also the treatment or the outcome"),
        ({"running_variable": "name"}, "not numeric"),
    ],
)
def test_a_cutoff_that_cuts_nothing_is_refused_in_one_line(changes: dict[str, object], said: str) -> None:
    frame = simulate(200).assign(name="a")
    with pytest.raises(StudyInvalid, match=said):
        study_of(frame, **changes)


@pytest.mark.parametrize("draw", ["normal", "uniform", "exponential"])
def test_a_smooth_density_is_left_alone_and_a_heap_beside_the_cutoff_is_not(draw: str) -> None:
    alarms = found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = {"normal": rng.normal(0.3, 1, 1500), "uniform": rng.uniform(-1, 1, 1500)}.get(
            draw, rng.exponential(1, 1500) - 0.7
        )
        heaped = np.where((x < 0) & (x > -0.15) & (rng.random(1500) < 0.7), -x, x)
        smooth, piled = density_test(x), density_test(heaped)
        assert smooth is not None
        assert piled is not None
        alarms += smooth.p_value < 0.05
        found += piled.p_value < 0.01
    assert alarms <= 7
    assert found >= 36


def test_too_few_units_beside_the_cutoff_give_no_density_test() -> None:
    assert density_test(np.concatenate([np.linspace(-3, -2.9, 50), np.linspace(0.0, 1.0, 50)])) is None


@cache
def clean() -> RefutationReport:
    return refuted(simulate(3000, 5))


def _heaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Units just below walk over the line, all that they are coming with them."""
    rng = np.random.default_rng(1)
    cross = (frame.x < 0) & (frame.x > -0.08) & (rng.random(len(frame)) < 0.8)
    x = frame.x.where(~cross, -frame.x)
    return frame.assign(x=x, t=(x >= 0).astype(float))


def _donut(frame: pd.DataFrame) -> pd.DataFrame:
    near = frame.x.between(0, 0.012)
    return frame.assign(y=frame.y + 4.0 * near)


CORRUPTIONS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "density_continuity": _heaped,
    "covariate_continuity": lambda frame: frame.assign(age=frame.age + 6.0 * frame.t),
    "placebo_cutoffs": lambda frame: frame.assign(y=frame.y + 3.0 * (frame.x >= frame.x[frame.x < 0].median())),
    "donut": _donut,
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_refutation_fires_on_its_corruption_and_is_silent_without(name: str) -> None:
    assert clean().test(name).passed is True
    assert refuted(CORRUPTIONS[name](simulate(3000, 5))).test(name).passed is False


def test_a_clean_cutoff_supports_an_effect_and_a_manipulated_one_does_not() -> None:
    honest, manipulated = concluded(simulate(3000, 5)), concluded(_heaped(simulate(3000, 5)))
    assert honest.verdict is Verdict.SUPPORTED
    assert any("farther from it the effect may be another" in line for line in honest.limitations)
    assert manipulated.verdict is Verdict.ASSOCIATION_ONLY
    assert "density" in manipulated.reasons[0]


def test_no_jump_is_no_detectable_effect() -> None:
    assert concluded(simulate(3000, 6, effect=0.0)).verdict in (Verdict.NO_DETECTABLE_EFFECT, Verdict.UNDERPOWERED)


def test_a_switch_at_a_value_is_refused_as_a_comparison_and_offered_as_a_cutoff() -> None:
    frame = simulate(400).assign(score=lambda d: np.round(100 * d.x + 65.4, 1))
    frame["t"] = (frame.score >= 65).astype(float)
    asked = CausalSpec("t", "y", ("score", "age"))
    identification = identify(asked, list(frame.columns), None)
    outcome, _ = estimate_effect(frame, asked, identification, specifications=False)
    refusal = conclude(Evidence(asked, identification, outcome))
    assert refusal.verdict is Verdict.NOT_IDENTIFIED
    assert "--running-variable score --cutoff 65 " in refusal.headline
    offered = CausalSpec("t", "y", ("age",), running_variable="score", cutoff=65.0)
    assert not concluded(frame, offered).headline.startswith("These data cannot say")


def test_a_graph_in_which_the_treatment_moves_the_running_variable_allows_no_cutoff() -> None:
    frame = simulate(200)
    moved = make_graph([("t", "x"), ("t", "y"), ("age", "t"), ("age", "y")])
    fixed = make_graph([("x", "t"), ("t", "y"), ("u", "x"), ("u", "y")], latent=["u"])
    assert identify(QUESTION, list(frame.columns), fixed).design is Design.DISCONTINUITY
    refused = identify(QUESTION, list(frame.columns), moved)
    assert refused.design is not Design.DISCONTINUITY
    assert any("no cutoff design" in reason for reason in refused.reasons)


def test_the_picture_shows_no_small_group_and_no_interval_across_the_cutoff() -> None:
    study = study_of(simulate(300))
    report = discontinuity_report(study, fit_estimator("rdd", study).estimate)
    assert report.bins
    assert all(one.n >= 11 for one in report.bins)
    assert all(one.share_treated in (0.0, 1.0) for one in report.bins)


def rounded(steps: int, seed: int, n: int = 800) -> pd.DataFrame:
    """A straight line without noise in its slope, its running variable in whole steps; the jump is 1."""
    rng = np.random.default_rng(seed)
    x = np.round((2 * rng.beta(2, 3, n) - 1) * steps) / steps
    t = (x >= 0).astype(float)
    return pd.DataFrame({"t": t, "y": t + x + rng.normal(0, 0.5, n), "x": x})


@pytest.mark.parametrize("steps", [12, 20])
def test_few_distinct_values_of_the_running_variable_neither_narrow_the_interval_nor_look_like_a_heap(
    steps: int,
) -> None:
    covered, alarms = 0, 0
    for seed in range(20):
        study = study_of(rounded(steps, seed), confounders=())
        covered += fit_estimator("rdd", study).estimate.ci.covers(1.0)
        found = density_test(study.frame.x.to_numpy())
        alarms += found is not None and found.p_value < 0.01
    assert covered >= 17
    assert alarms <= 1


def test_few_distinct_values_are_told() -> None:
    spec = CausalSpec("t", "y", running_variable="x", cutoff=0.0)
    frame = rounded(12, 1)
    identification = identify(spec, list(frame.columns), None)
    coarse, _ = estimate_effect(frame, spec, identification)
    fine, _ = estimate_effect(simulate(), spec, identification)
    assert any("different values on one side of the cutoff" in one for one in coarse.warnings)
    assert not any("different values" in one for one in fine.warnings)


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("estimator", ["rdd", "fuzzy_rdd"])
def test_a_cutoff_beside_the_one_where_treatment_switches_is_refused_and_corrected(
    estimator: str, upwards: bool
) -> None:
    frame = simulate(800)
    frame["x"] = np.round(20 * frame.x)
    frame["t"] = ((frame.x > 3) == upwards).astype(float)
    with pytest.raises(StudyInvalid, match=r"switches for everybody at x = 4, not at 3 .* --cutoff 4"):
        fit_estimator(estimator, study_of(frame, cutoff=3.0))
    assert fit_estimator("rdd", study_of(frame, cutoff=4.0)).estimate.estimand is Estimand.AT_CUTOFF
