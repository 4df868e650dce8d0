"""Refutation lets sound estimates pass, blocks broken ones, and gives the same verdict in every process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.refutation.gate import decide, score_of
from src.causal_engine.refutation.placebo import placebo_treatment
from src.causal_engine.refutation.refute import refute
from src.causal_engine.refutation.subject import Subject, same_estimator
from src.causal_engine.results import EffectEstimate, Gate, Interval, RefutationReport, RefutationTest
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, StudyInvalid, UnknownColumn

ROOT = Path(__file__).resolve().parents[3]


def confounded(n: int = 1_500, *, effect: float = 0.5, seed: int = 1, **roles: Any) -> Study:
    """Severity raises treatment and outcome; ``placebo_outcome`` shares severity but not the effect."""
    rng = np.random.default_rng(seed)
    severity, academic = rng.normal(size=n), (rng.random(n) < 0.3).astype(float)
    treatment = (rng.random(n) < 1 / (1 + np.exp(-0.5 * severity - academic + 0.3))).astype(float)
    outcome = effect * treatment + 0.8 * severity + 0.6 * academic + rng.normal(size=n)
    frame = pd.DataFrame({"t": treatment, "y": outcome, "severity": severity, "academic": academic})
    frame["placebo_outcome"] = 0.8 * severity + rng.normal(size=n)
    spec = CausalSpec("t", "y", confounders=("severity", "academic"), negative_controls=("placebo_outcome",))
    return prepare_study(frame, replace(spec, **roles))


def instrumented(n: int = 1_500) -> Study:
    rng = np.random.default_rng(2)
    z, hidden, x = rng.normal(size=(3, n))
    dose = z + hidden + 0.5 * x + rng.normal(size=n)
    frame = pd.DataFrame({"t": dose, "y": 0.6 * dose + 2 * hidden + x + rng.normal(size=n), "z": z, "x": x})
    return prepare_study(frame, CausalSpec("t", "y", confounders=("x",), instruments=("z",)))


def panel(*, adoption: bool = False) -> Study:
    rng = np.random.default_rng(3)
    units, periods = 100, 8
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    fixed = np.repeat(rng.normal(size=units), periods)
    dose = rng.poisson(np.exp(0.4 * fixed)).astype(float)
    if adoption:
        dose = ((unit < 50) & (month >= 4)).astype(float)
    outcome = 0.8 * dose + 2 * fixed + 0.3 * month + rng.normal(size=len(unit))
    frame = pd.DataFrame({"t": dose, "y": outcome, "u": unit, "m": month})
    return prepare_study(frame, CausalSpec("t", "y", unit_key="u", time_key="m"))


def mediated(n: int = 2_000) -> Study:
    rng = np.random.default_rng(4)
    hidden = rng.normal(size=n)
    dose = hidden + rng.normal(size=n)
    mediator = 0.7 * dose + rng.normal(size=n)
    frame = pd.DataFrame({"t": dose, "m": mediator, "y": 0.9 * mediator + 2 * hidden + rng.normal(size=n)})
    return prepare_study(frame, CausalSpec("t", "y", mediators=("m",)))


def report_on(study: Study, estimator: str, random_state: int = 7) -> RefutationReport:
    return refute(study, fit_estimator(estimator, study), random_state=random_state)


@pytest.mark.parametrize("estimator", ["ols", "lin", "ipw", "aipw", "linear_dml"])
def test_sound_adjustment_proceeds(estimator: str) -> None:
    report = report_on(confounded(), estimator)
    assert report.gate is Gate.PROCEED, report.reasons
    assert report.score == 1.0
    assert [test.name for test in report.tests] == [
        "placebo_treatment",
        "random_common_cause",
        "data_subset",
        "bootstrap",
        "sensitivity_e_value",
        "negative_control_outcome:placebo_outcome",
    ]
    assert all(test.applicable and test.passed and test.detail for test in report.tests)


@pytest.mark.parametrize(
    ("study", "estimator", "placebo_how"),
    [
        (confounded(randomized=True, confounders=()), "difference_in_means", "across rows"),
        (instrumented(), "iv_2sls", "instrument exchanged together"),
        (panel(), "twfe", "within each unit"),
        (panel(), "distributed_lag", "within each unit"),
        (panel(adoption=True), "did", "which units adopt"),
        (panel(adoption=True), "lagged_outcome", "which units adopt"),
        (mediated(), "front_door", "across rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_designs_are_refuted_their_own_way(study: Study, estimator: str, placebo_how: str) -> None:
    study = study.with_spec(negative_controls=())
    report = report_on(study, estimator)
    assert report.gate is Gate.PROCEED, report.reasons
    assert placebo_how in report.test("placebo_treatment").detail
    assert not report.test("sensitivity_e_value").applicable


@pytest.mark.parametrize("estimator", ["ols", "aipw"])
def test_null_effect_is_no_effect_and_not_blocked(estimator: str) -> None:
    report = report_on(confounded(effect=0.0, seed=3), estimator)
    assert report.gate is Gate.NO_EFFECT
    assert report.test("placebo_treatment").passed
    assert not report.test("sensitivity_e_value").applicable


def answering(value: float, std_error: float = 0.05, *, noise: float = 0.0) -> Any:
    """An estimator that does not look at the data (``noise`` makes it differ from call to call)."""
    rng = np.random.default_rng(0)

    def fit(study: Study) -> FittedEffect:
        centre = value + noise * rng.normal()
        ci = Interval(centre - 1.96 * std_error, centre + 1.96 * std_error)
        return FittedEffect(
            EffectEstimate("custom", Estimand.ATE, centre, std_error, "none", ci, 0.0, study.n, None, 0, ())
        )

    return fit


def with_interval(fitted: FittedEffect, factor: float) -> FittedEffect:
    estimate = fitted.estimate
    half = 0.5 * factor * (estimate.ci.upper - estimate.ci.lower)
    ci = Interval(estimate.value - half, estimate.value + half)
    return replace(fitted, estimate=replace(estimate, ci=ci, std_error=factor * estimate.std_error))


def test_estimator_that_always_says_the_same_is_blocked() -> None:
    study = confounded()
    broken = answering(0.5)
    report = refute(study, broken(study), random_state=1, refit=broken)
    assert not report.test("placebo_treatment").passed
    assert report.gate is Gate.BLOCK
    assert any("placebo" in reason for reason in report.reasons)


def test_estimator_that_reads_the_outcome_only_is_blocked() -> None:
    study = confounded()

    def outcome_mean(other: Study) -> FittedEffect:
        return answering(float(np.abs(other.y).mean()))(other)

    assert refute(study, outcome_mean(study), random_state=1, refit=outcome_mean).gate is Gate.BLOCK


@pytest.mark.parametrize("estimator", ["ipw", "aipw"])
def test_placebo_estimates_the_propensity_anew(estimator: str) -> None:
    study = confounded(400)
    fitted = fit_estimator(estimator, study)
    refit, spreads = same_estimator(fitted), []

    def watched(other: Study) -> FittedEffect:
        again = refit(other)
        assert again.nuisances is not None
        spreads.append(again.nuisances.propensity.std())
        return again

    placebo_treatment(Subject(study, fitted, watched, None), np.random.default_rng(1))
    assert fitted.nuisances is not None
    assert len(spreads) == 20
    assert np.mean(spreads) < 0.5 * fitted.nuisances.propensity.std()


@pytest.mark.parametrize("estimator", ["ols", "aipw"])
@pytest.mark.parametrize("factor", [0.25, 2.5])
def test_wrong_interval_fails_the_bootstrap(estimator: str, factor: float) -> None:
    study = confounded()
    fitted = fit_estimator(estimator, study)
    honest = refute(study, fitted, random_state=1).test("bootstrap")
    assert honest.passed
    assert honest.draws == 500
    assert not refute(study, with_interval(fitted, factor), random_state=1).test("bootstrap").passed


def test_interval_that_ignores_clusters_fails_the_bootstrap() -> None:
    study = confounded(300)
    repeated = study.frame.loc[np.repeat(np.arange(300), 10)].reset_index(drop=True)
    repeated["clinic"] = np.repeat(np.arange(300), 10)
    rows = study.with_frame(repeated)
    clustered = rows.with_spec(cluster_key="clinic")
    assert refute(clustered, fit_estimator("ols", clustered), random_state=1).test("bootstrap").passed
    assert not refute(clustered, fit_estimator("ols", rows), random_state=1).test("bootstrap").passed


def test_estimate_that_hangs_on_few_rows_fails_the_subset_test() -> None:
    study = confounded()
    fitted = with_interval(fit_estimator("ols", study), 0.1)
    report = refute(study, fitted, random_state=1)
    assert report.test("data_subset").passed is False
    assert report.test("data_subset").statistic == pytest.approx(0.15, abs=0.15)


def test_estimator_that_moves_with_an_irrelevant_covariate_fails() -> None:
    study = confounded()

    def counting(other: Study) -> FittedEffect:
        moved = 0.5 + 2.0 * (len(other.spec.confounders) - 2)
        return answering(moved if np.array_equal(other.t, study.t) else 0.0)(other)

    report = refute(study, counting(study), random_state=1, refit=counting)
    assert report.test("random_common_cause").passed is False


def test_small_effect_beside_a_strong_confounder_fails_the_e_value_test() -> None:
    weak = report_on(confounded(20_000, effect=0.06), "ols").test("sensitivity_e_value")
    strong = report_on(confounded(6_000, effect=2.0), "ols").test("sensitivity_e_value")
    assert (weak.passed, strong.passed) == (False, True)
    assert "severity" in weak.detail


def test_e_value_below_two_passes_when_it_would_take_a_rival_of_the_strongest_confounder() -> None:
    test = report_on(confounded(6_000, effect=0.4), "ols").test("sensitivity_e_value")
    assert test.statistic is not None
    assert test.statistic < 2.0
    assert test.passed
    assert "either is enough" in test.detail


def test_negative_control_that_reacts_caps_at_review() -> None:
    study = confounded(confounders=("academic",))
    report = report_on(study, "ols")
    assert report.test("negative_control_outcome:placebo_outcome").passed is False
    assert report.gate is Gate.REVIEW
    sound = report_on(confounded(), "ols")
    assert sound.test("negative_control_outcome:placebo_outcome").passed


def test_negative_control_must_be_an_analysable_column() -> None:
    study = confounded(negative_controls=())
    fitted = fit_estimator("ols", study)
    with pytest.raises(UnknownColumn, match="absent"):
        refute(study, fitted, random_state=1, negative_controls=("absent",))
    constant = study.with_frame(study.frame.assign(flat=1.0))
    with pytest.raises(StudyInvalid, match="constant"):
        refute(constant, fitted, random_state=1, negative_controls=("flat",))


def test_arms_named_by_value_survive_the_negative_control() -> None:
    frame = confounded().frame.assign(t=lambda data: np.where(data.t == 1, "email", "none"))
    spec = CausalSpec(
        "t",
        "y",
        confounders=("severity", "academic"),
        negative_controls=("placebo_outcome",),
        treated_value="email",
        control_value="none",
    )
    study = prepare_study(frame, spec)
    assert report_on(study, "ols").test("negative_control_outcome:placebo_outcome").passed


def test_refits_that_cannot_answer_are_counted_and_fail_the_test() -> None:
    study = confounded()

    def refusing(other: Study) -> FittedEffect:
        raise EstimationError("no answer today")

    report = refute(study, answering(0.5)(study), random_state=1, refit=refusing)
    assert report.gate is Gate.BLOCK
    assert "20 of 20 refits could not answer (no answer today)" in report.test("placebo_treatment").detail


def test_programming_errors_of_an_estimator_are_not_swallowed() -> None:
    study = confounded()

    def buggy(other: Study) -> FittedEffect:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        refute(study, answering(0.5)(study), random_state=1, refit=buggy)


def test_time_budget_stops_at_the_minimum_of_draws_and_says_how_many() -> None:
    study = confounded(negative_controls=())
    fitted = fit_estimator("aipw", study)
    report = refute(study, fitted, random_state=1, time_budget_s=0.0)
    assert report.test("placebo_treatment").draws == 10
    assert report.test("bootstrap").draws == 100
    assert report.gate is Gate.PROCEED


def test_same_seed_same_report_and_another_seed_other_draws() -> None:
    study = confounded()
    assert report_on(study, "ols") == report_on(study, "ols")
    other = report_on(study, "ols", random_state=8)
    assert other.test("bootstrap").statistic != report_on(study, "ols").test("bootstrap").statistic
    assert other.gate is Gate.PROCEED


PROGRAM = """
import json, sys
import pandas as pd
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.refutation.refute import refute
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import prepare_study
study = prepare_study(pd.read_parquet(sys.argv[1]), CausalSpec("t", "y", confounders=("severity", "academic")))
for name in ("ols", "aipw"):
    report = refute(study, fit_estimator(name, study), random_state=7)
    sys.stdout.write(json.dumps([report.gate, report.score, [test.statistic for test in report.tests]]) + chr(10))
"""


def test_another_process_gives_the_same_verdict_bit_for_bit(tmp_path: Path) -> None:
    study = confounded(500, negative_controls=())
    study.frame.to_parquet(tmp_path / "data.parquet")
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data.parquet")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONHASHSEED": "12345", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
    ).stdout
    for line, estimator in zip(answer.splitlines(), ("ols", "aipw"), strict=True):
        report = report_on(study, estimator)
        here = [report.gate, report.score, [test.statistic for test in report.tests]]
        assert json.loads(line) == json.loads(json.dumps(here))


def test_verdict_does_not_depend_on_units() -> None:
    study = confounded()
    scaled = study.with_frame(study.frame.assign(y=study.frame["y"] * 1000 + 5))
    for estimator in ("ols", "aipw"):
        first, second = report_on(study, estimator), report_on(scaled, estimator)
        assert (first.gate, first.score) == (second.gate, second.score)


def outcome_of(name: str, weight: float, critical: bool, passed: bool | None) -> RefutationTest:
    return RefutationTest(name, critical, weight, passed is not None, passed, None, None, "detail")


def table_with(failing: Iterable[str] = (), inapplicable: Iterable[str] = ()) -> list[RefutationTest]:
    table = [
        ("placebo_treatment", 0.25, True),
        ("random_common_cause", 0.25, True),
        ("data_subset", 0.15, False),
        ("bootstrap", 0.15, False),
        ("sensitivity_e_value", 0.20, True),
        ("negative_control_outcome:a", 0.0, True),
        ("negative_control_outcome:b", 0.0, True),
    ]
    return [
        outcome_of(name, weight, critical, None if name in set(inapplicable) else name not in set(failing))
        for name, weight, critical in table
    ]


@pytest.mark.parametrize(
    ("failing", "inapplicable", "score", "gate"),
    [
        ((), (), 1.0, Gate.PROCEED),
        (("data_subset",), (), 0.85, Gate.PROCEED),
        (("data_subset", "bootstrap"), (), 0.70, Gate.PROCEED),
        (("placebo_treatment",), (), 0.75, Gate.BLOCK),
        (("random_common_cause",), (), 0.75, Gate.REVIEW),
        (("sensitivity_e_value",), (), 0.80, Gate.REVIEW),
        (("sensitivity_e_value", "data_subset"), (), 0.65, Gate.REVIEW),
        (("sensitivity_e_value", "random_common_cause"), (), 0.55, Gate.BLOCK),
        (("random_common_cause", "data_subset", "bootstrap"), (), 0.45, Gate.BLOCK),
        (("data_subset", "bootstrap"), ("sensitivity_e_value",), 0.625, Gate.REVIEW),
        (("negative_control_outcome:a",), (), 1.0, Gate.REVIEW),
        (("negative_control_outcome:a", "negative_control_outcome:b"), (), 1.0, Gate.REVIEW),
        (("negative_control_outcome:a", "sensitivity_e_value"), (), 0.80, Gate.BLOCK),
    ],
)
def test_gate_follows_the_table(
    failing: tuple[str, ...], inapplicable: tuple[str, ...], score: float, gate: Gate
) -> None:
    tests = table_with(failing, inapplicable)
    estimate = answering(0.5)(confounded(200)).estimate
    assert score_of(tests) == pytest.approx(score)
    found, reasons = decide(tests, estimate)
    assert found is gate
    assert all(any(name in reason for reason in reasons) for name in failing)


def test_interval_over_zero_is_no_effect_unless_the_placebo_failed() -> None:
    estimate = answering(0.01)(confounded(200)).estimate
    assert decide(table_with(["sensitivity_e_value", "random_common_cause"]), estimate)[0] is Gate.NO_EFFECT
    assert decide(table_with(["placebo_treatment"]), estimate)[0] is Gate.BLOCK


def test_twenty_thousand_rows_take_half_a_second() -> None:
    study = confounded(20_000, negative_controls=())
    fitted = fit_estimator("ols", study)
    started = time.process_time()
    refute(study, fitted, random_state=1)
    assert time.process_time() - started < 1.0
