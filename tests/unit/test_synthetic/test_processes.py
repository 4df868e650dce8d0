"""Each process sets its trap: ten-line estimators recover the truth or miss it exactly as intended."""

import numpy as np
import pytest

from src.synthetic import declared, generate
from tests.unit.test_synthetic.regressions import ols, shift, two_stage, within

CONFOUNDERS = ["severity", "academic"]
N = 40_000
STATE = 12


@pytest.mark.parametrize("process", ["simple_linear", "confounded", "selection_bias", "collider_trap", "null_effect"])
def test_adjusting_for_the_measured_causes_recovers_the_effect(process: str) -> None:
    made = generate(process, N, STATE)
    estimate, error = ols(made.frame, ["treatment", *CONFOUNDERS])
    assert abs(estimate - made.truth.ate) < 2.6 * error
    assert error < 0.02


@pytest.mark.parametrize(
    ("process", "bias"),
    [("confounded", 0.44), ("selection_bias", 0.86), ("null_effect", 0.44), ("heterogeneous", 0.46)],
)
def test_the_naive_contrast_is_too_high(process: str, bias: float) -> None:
    made = generate(process, N, STATE)
    assert made.truth.naive_estimate - made.truth.ate == pytest.approx(bias, abs=0.06)


def test_nothing_is_confounded_when_a_coin_decides() -> None:
    made = generate("simple_linear", N, STATE)
    assert made.truth.naive_estimate == pytest.approx(made.truth.ate, abs=0.04)
    assert made.frame["treatment"].mean() == pytest.approx(0.5, abs=0.01)


def test_the_effect_of_each_severity_segment_is_recovered_within_it() -> None:
    made = generate("heterogeneous", N, STATE)
    for segment, truth in made.truth.cate.items():
        rows = made.frame[made.frame["severity_segment"] == segment]
        estimate, error = ols(rows, ["treatment", *CONFOUNDERS])
        assert abs(estimate - truth.effect) < min(2.6 * error, 0.10)


def test_adjusting_for_the_collider_turns_the_effect_around() -> None:
    made = generate("collider_trap", N, STATE)
    wrong, error = ols(made.frame, ["treatment", *CONFOUNDERS, "engagement_score"])
    assert wrong + 3 * error < made.truth.ate / 2


@pytest.mark.parametrize("outcome", ["continuous", "binary"])
def test_the_lottery_recovers_what_regression_misses(outcome: str) -> None:
    made = generate("instrument_available", N, STATE, outcome=outcome)
    biased, ols_error = ols(made.frame, ["treatment", *CONFOUNDERS])
    assert biased - made.truth.ate > 8 * ols_error
    estimate, error, _ = two_stage(made.frame, "rep_capacity_lottery")
    assert abs(estimate - made.truth.instrument.late) < 2.6 * error


@pytest.mark.parametrize("random_state", range(5))
def test_the_first_stage_is_strong_in_two_thousand_rows(random_state: int) -> None:
    frame = generate("instrument_available", 2_000, random_state).frame
    assert two_stage(frame, "rep_capacity_lottery")[2] > 100


@pytest.mark.parametrize("n_rows", [2_000, 40_000])
def test_a_hidden_cause_leaves_the_adjusted_estimate_biased(n_rows: int) -> None:
    made = generate("unobserved_confounder", n_rows, STATE)
    estimate, error = ols(made.frame, ["treatment", *CONFOUNDERS])
    assert estimate - made.truth.ate > 1.96 * error
    assert set(made.frame.columns) == {"unit_id", "treatment", "outcome", *CONFOUNDERS}


def test_severity_is_at_least_as_strong_a_confounder_as_the_hidden_cause() -> None:
    frame = generate("unobserved_confounder", N, STATE).frame
    with_severity, _ = ols(frame, ["treatment", *CONFOUNDERS])
    without_severity, _ = ols(frame, ["treatment", "academic"])
    assert without_severity - with_severity > with_severity - 0.20


def test_a_fifth_of_the_rows_has_no_comparison() -> None:
    made = generate("positivity_violation", N, STATE)
    severe, mild = made.frame["severity"] > 7.5, made.frame["severity"] < 2.5
    assert made.frame["treatment"][severe].mean() < 0.02
    assert made.frame["treatment"][mild].mean() > 0.98
    assert (severe | mild).mean() == pytest.approx(0.21, abs=0.01)
    assert made.truth.overlap.min_propensity < 0.001
    assert made.truth.overlap.share_outside_05_95 > 0.2
    assert generate("confounded", N, STATE).truth.overlap.share_outside_05_95 < 0.01


def test_the_lag_profile_is_found_and_a_model_without_lag_is_wrong() -> None:
    made = generate("time_series", N, STATE)
    frame = made.frame.assign(**{f"lag{k}": shift(made.frame, "treatment", k, "unit_id") for k in range(6)})
    effects, errors = within(frame, "outcome", [f"lag{k}" for k in range(6)], "unit_id")
    expected = np.array([0.0, 0.0, 0.30, 0.30 * 0.85, 0.30 * 0.85**2, 0.0])
    assert (np.abs(effects - expected) < 2.8 * errors).all()
    unlagged, error = within(frame, "outcome", ["lag0"], "unit_id")
    assert unlagged[0] + 3 * error[0] < made.truth.ate


def test_engagement_persists_and_outcomes_have_a_season() -> None:
    frame = generate("time_series", N, STATE).frame
    previous = shift(frame, "treatment", 1, "unit_id")
    assert frame["treatment"][previous == 1].mean() - frame["treatment"][previous == 0].mean() > 0.2
    months = frame["month"].map(lambda day: day.month)
    monthly = frame["outcome"].groupby(months).mean()
    assert monthly.max() - monthly.min() > 0.6
    assert frame["month"].map(lambda day: day.day).eq(1).all()


def test_binary_effects_are_recovered_within_strata() -> None:
    made = generate("confounded", 100_000, STATE, outcome="binary")
    frame = made.frame.assign(stratum=made.frame["severity"].round(0) * 10 + made.frame["academic"])
    cells = frame.groupby(["stratum", "treatment"])["outcome"].mean().unstack()
    weights = frame["stratum"].value_counts(normalize=True)
    standardised = ((cells[1] - cells[0]) * weights).sum()
    assert standardised == pytest.approx(made.truth.ate, abs=0.012)


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ("simple_linear", {"randomized": True}),
        ("confounded", {"confounders": CONFOUNDERS}),
        ("heterogeneous", {"effect_modifiers": ["severity_segment"]}),
        ("time_series", {"unit_key": "unit_id", "time_key": "month", "lag": 2}),
        ("instrument_available", {"instruments": ["rep_capacity_lottery"]}),
        ("collider_trap", {"post_treatment": ["engagement_score"]}),
    ],
)
def test_declared_knowledge_names_roles_and_only_those_that_apply(process: str, expected: dict[str, object]) -> None:
    made = generate(process, 100, 1)
    told = declared(made.spec)
    assert expected.items() <= told.items()
    assert told["treatment"] == "treatment"
    assert all(told.values())
    nodes = {node for edge in told["graph"]["edges"] for node in edge}
    assert nodes - set(told["graph"]["latent"]) <= set(made.frame.columns)
