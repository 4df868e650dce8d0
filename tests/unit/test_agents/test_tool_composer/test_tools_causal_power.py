"""Planning a test: textbook sizes on independent values, and sizes that keep their promise on clustered ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_ind
from statsmodels.stats.power import TTestIndPower

from src.causal_engine.experiment.trial_size import Design, detectable, power_of, spread_over, units_needed
from src.errors import ContractViolation, TooFewRows
from tests.unit.test_agents.test_tool_composer.causal_rows import DECLARED, figure, planted, run, texts, value

USUAL = Design(alpha=0.05, power=0.8, share_treated=0.5)


def independent(units: int = 400, periods: int = 12, spread: float = 2.0, seed: int = 0) -> pd.DataFrame:
    """Units without anything of their own: every value is independent."""
    rng = np.random.default_rng(seed)
    unit, month = np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units)
    return pd.DataFrame(
        {
            "prescriber_id": [f"person_{number:03d}" for number in unit],
            "month": month,
            "territory_id": unit % 40,
            "scripts": 10 + spread * rng.normal(size=len(unit)),
        }
    )


@pytest.mark.parametrize("months", [1, 4])
def test_independent_values_need_the_textbook_number(months: int) -> None:
    output = run("power_calculator", independent(), outcome="scripts", minimum_effect=0.5, months=months)
    per_arm = 2 * (norm.ppf(0.975) + norm.ppf(0.8)) ** 2 * (4.0 / months) / 0.5**2
    assert value(output, "units_needed") == pytest.approx(2 * per_arm, rel=0.08)
    needed = figure(output, "units_needed")
    assert needed.lower is not None
    assert needed.upper is not None
    assert needed.lower < 2 * per_arm < needed.upper


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0])
def test_sizes_equal_those_of_statsmodels(effect: float, share: float) -> None:
    ratio = (1 - share) / share
    treated = TTestIndPower().solve_power(effect_size=effect, alpha=0.05, power=0.8, ratio=ratio)
    needed = units_needed(1.0, effect, Design(0.05, 0.8, share))
    assert needed == pytest.approx(treated / share, abs=4)
    power = TTestIndPower().power(effect, nobs1=share * needed, alpha=0.05, ratio=ratio)
    assert power_of(1.0, effect, needed, Design(0.05, 0.8, share)) == pytest.approx(power, abs=1e-6)


def test_half_the_effect_takes_four_times_the_units() -> None:
    large, small = (
        run("power_calculator", planted(), outcome="scripts", minimum_effect=effect) for effect in (0.2, 0.1)
    )
    assert value(small, "units_needed") / value(large, "units_needed") == pytest.approx(4, rel=0.1)


def test_what_is_detectable_is_found_with_the_promised_power() -> None:
    output = run("power_calculator", independent(120), outcome="scripts", months=3)
    difference, rng, found = value(output, "minimum_detectable_effect"), np.random.default_rng(5), []
    for seed in range(300):
        frame = independent(120, 3, seed=1000 + seed)
        means = frame.groupby("prescriber_id")["scripts"].mean().to_numpy()
        treated = rng.permutation(120) < 60
        found.append(ttest_ind(means[treated] + difference, means[~treated]).pvalue < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_a_shared_territory_makes_territories_less_alike_and_the_test_larger() -> None:
    frame = independent()
    shared = np.random.default_rng(3).normal(size=40)[frame["territory_id"]]
    arguments = {"outcome": "scripts", "minimum_effect": 0.5, "unit": "territory_id", "adjust_for_baseline": False}
    apart, alike = (
        run("power_calculator", rows, **arguments) for rows in (frame, frame.assign(scripts=frame["scripts"] + shared))
    )
    assert value(apart, "icc") < 0.05
    assert value(alike, "icc") > 0.4
    assert value(alike, "design_effect") == pytest.approx(1 + 9 * value(alike, "icc"))
    assert value(alike, "units_needed") > 3 * value(apart, "units_needed")


def test_the_months_before_the_test_help_where_units_keep_their_level() -> None:
    frame = independent()
    levels = 3 * np.random.default_rng(4).normal(size=400)[np.repeat(np.arange(400), 12)]
    lasting = frame.assign(scripts=frame["scripts"] + levels)
    gains = []
    for rows in (frame, lasting):
        with_them, without = (
            value(
                run(
                    "power_calculator",
                    rows,
                    outcome="scripts",
                    minimum_effect=0.5,
                    months=4,
                    adjust_for_baseline=adjust,
                ),
                "units_needed",
            )
            for adjust in (True, False)
        )
        gains.append(with_them / without)
    assert gains[0] == pytest.approx(1, abs=0.05)
    assert gains[1] < 0.3


def test_longer_tests_need_fewer_units_and_the_table_says_so() -> None:
    output = run("power_calculator", planted(), outcome="scripts", minimum_effect=0.3)
    needed = [row["units_needed"] for row in output.rows]
    assert [row["periods"] for row in output.rows] == [1, 2, 3, 6]
    assert needed == sorted(needed, reverse=True)


def test_too_few_units_are_told_before_anyone_plans() -> None:
    output = run("power_calculator", planted(), outcome="scripts", minimum_effect=0.05)
    assert "too few prescribers" in texts(output)
    assert value(output, "power_with_all_units") < 0.8
    enough = run("power_calculator", planted(), outcome="scripts", minimum_effect=3.0)
    assert "The test is possible" in texts(enough)
    assert value(enough, "power_with_all_units") > 0.8


def test_months_are_told_in_weeks_too() -> None:
    output = run("power_calculator", planted(), outcome="scripts", months=6)
    assert value(output, "weeks") == 26
    assert "6 months (26 weeks)" in output.summary


def test_a_share_of_the_mean_is_the_same_as_its_size() -> None:
    frame = planted()
    share = run("power_calculator", frame, outcome="scripts", relative_effect=0.1)
    size = run("power_calculator", frame, outcome="scripts", minimum_effect=0.1 * frame["scripts"].mean())
    assert value(share, "units_needed") == value(size, "units_needed")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"minimum_effect": 1, "relative_effect": 0.1}, ContractViolation, "once"),
        ({"months": 60}, TooFewRows, "cannot be planned on 16"),
        ({"unit": "region"}, TooFewRows, "fewer than 11 regions"),
        ({"outcome": "region"}, ContractViolation, "no number"),
        ({"unit": "teritory_id"}, ContractViolation, "did you mean 'territory_id'"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run("power_calculator", planted(), **{"outcome": "scripts", **changes})


def test_rows_without_a_time_are_one_period() -> None:
    frame = planted().drop_duplicates("prescriber_id").drop(columns="month")
    declared = {key: column for key, column in DECLARED.items() if key == "unit_key"}
    output = run("power_calculator", frame, declared, outcome="scripts", minimum_effect=1.0)
    assert value(output, "length") == 1
    assert value(output, "std_between_units") == pytest.approx(frame["scripts"].std(ddof=1))


def test_entering_later_does_not_pass_for_a_difference_between_units() -> None:
    values = np.arange(12.0)  # only the calendar moves
    period = np.tile(np.arange(6), 2)
    spread = spread_over(np.tile(values[:6], 2), np.repeat([0, 1], 6), np.repeat([0, 1], 6), period, 3)
    assert spread.variance == pytest.approx(0, abs=1e-20)
    assert detectable(1.0, 100, USUAL) > detectable(1.0, 400, USUAL)
