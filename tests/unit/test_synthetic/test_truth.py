"""The stored truth is the mean of the simulated potential outcomes on the emitted scale."""

import numpy as np
import pytest

from src.synthetic import PROCESS_NAMES, generate
from src.synthetic.streams import CHUNK_ROWS

PROCESSES = [name for name in PROCESS_NAMES if name != "panel"]
CONSTANT_EFFECTS = {
    "simple_linear": 0.40,
    "confounded": 0.25,
    "time_series": 0.30,
    "selection_bias": 0.35,
    "instrument_available": 0.30,
    "positivity_violation": 0.30,
    "unobserved_confounder": 0.20,
    "collider_trap": 0.25,
    "null_effect": 0.0,
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("outcome", ["continuous", "binary"])
def test_ate_is_the_mean_difference_of_the_two_worlds(process: str, outcome: str) -> None:
    made = generate(process, 4_000, 2, outcome=outcome)
    difference = made.side["y1"] - made.side["y0"]
    assert made.truth.ate == pytest.approx(difference.mean(), abs=1e-9)
    segments = made.truth.cate.values()
    assert sum(segment.effect * segment.share for segment in segments) == pytest.approx(made.truth.ate, abs=1e-9)
    assert sum(segment.n for segment in segments) == 4_000


@pytest.mark.parametrize("process", [name for name in PROCESSES if name != "time_series"])
@pytest.mark.parametrize("outcome", ["continuous", "binary"])
def test_observed_outcome_is_the_world_of_the_treatment_received(process: str, outcome: str) -> None:
    made = generate(process, 3_000, 4, outcome=outcome)
    treated = made.frame["treatment"] == 1
    expected = np.where(treated, made.side["y1"], made.side["y0"])
    np.testing.assert_array_equal(made.frame["outcome"], expected)
    difference = made.side["y1"] - made.side["y0"]
    assert made.truth.att == pytest.approx(difference[treated].mean(), abs=1e-9)
    assert made.truth.atc == pytest.approx(difference[~treated].mean(), abs=1e-9)
    naive = made.frame["outcome"][treated].mean() - made.frame["outcome"][~treated].mean()
    assert made.truth.naive_estimate == pytest.approx(naive, abs=1e-9)


def test_the_lagged_outcome_is_the_world_of_the_engagement_two_months_earlier() -> None:
    made = generate("time_series", 4_000, 4)
    earlier = made.frame.groupby("unit_id")["treatment"].shift(2)
    known = earlier.notna()
    expected = np.where(earlier == 1, made.side["y1"], made.side["y0"])
    np.testing.assert_array_equal(made.frame["outcome"][known], expected[known])
    assert made.truth.true_lag_periods == 2


@pytest.mark.parametrize(("process", "effect"), CONSTANT_EFFECTS.items())
def test_constant_effects_are_the_published_ones(process: str, effect: float) -> None:
    truth = generate(process, 1_000, 9).truth
    assert truth.ate == pytest.approx(effect, abs=1e-9)
    assert truth.att == pytest.approx(effect, abs=1e-9)


def test_heterogeneous_ate_is_the_realised_mix_of_the_segments() -> None:
    made = generate("heterogeneous", 20_000, 9)
    effects = {name: segment.effect for name, segment in made.truth.cate.items()}
    assert effects == pytest.approx({"low": 0.15, "mid": 0.30, "high": 0.50}, abs=1e-9)
    severity = made.frame["severity"]
    mix = 0.15 * (severity < 4).mean() + 0.30 * severity.between(4, 7).mean() + 0.50 * (severity > 7).mean()
    assert made.truth.ate == pytest.approx(mix, abs=1e-9)
    assert made.truth.att > made.truth.ate > made.truth.atc
    assert (made.frame["severity_segment"] == "high").equals(severity > 7)


@pytest.mark.parametrize("process", PROCESSES)
def test_binary_truth_is_a_risk_difference_of_zero_one_outcomes(process: str) -> None:
    made = generate(process, 50_000, 6, outcome="binary")
    assert set(made.frame["outcome"].unique()) == {0, 1}
    assert made.truth.outcome_kind == "binary"
    realised = (made.side["y1"] - made.side["y0"]).to_numpy()
    error = realised.std() / np.sqrt(len(realised))
    assert made.side["true_cate"].mean() == pytest.approx(made.truth.ate, abs=4 * error + 1e-12)
    assert 0.25 < made.frame["outcome"].mean() < 0.75


@pytest.mark.parametrize("process", ["heterogeneous", "instrument_available"])
def test_sums_over_chunks_equal_sums_over_rows(process: str) -> None:
    made = generate(process, CHUNK_ROWS + 20_000, 8, outcome="binary")
    assert made.truth.ate == pytest.approx((made.side["y1"] - made.side["y0"]).mean(), abs=1e-9)


def test_an_instrument_with_a_constant_effect_has_late_equal_ate() -> None:
    truth = generate("instrument_available", 5_000, 3).truth
    assert truth.instrument is not None
    assert truth.instrument.late == pytest.approx(truth.ate, abs=1e-9)
    assert truth.instrument.first_stage_effect == pytest.approx(0.4, abs=0.03)


def test_truth_names_what_an_analysis_must_know() -> None:
    truths = {process: generate(process, 500, 1).truth for process in PROCESSES}
    assert [name for name, truth in truths.items() if not truth.identifiable] == ["unobserved_confounder"]
    assert truths["unobserved_confounder"].unobserved == ("u",)
    assert truths["collider_trap"].colliders == ("engagement_score",)
    assert truths["confounded"].adjustment_set == ("severity", "academic")


@pytest.mark.parametrize("n_rows", [1, 2, 39, 41])
def test_a_handful_of_rows_has_a_truth_too(n_rows: int) -> None:
    for process in PROCESSES:
        made = generate(process, n_rows, 1)
        assert made.truth.n_rows == len(made.frame) == n_rows
