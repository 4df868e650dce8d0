"""risk_scorer and propensity_estimator: what can be told ahead is, what cannot is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from src.agents.tool_composer.tools.grouping import grouping_columns
from src.agents.tool_composer.tools.history import features_at, history_of
from src.agents.tool_composer.tools.outlook import cohorts, outlook_of, ridge_logistic
from src.agents.tool_composer.tools.risk_scorer import RiskScorerArguments, decline
from src.domain.findings import StatementKind
from src.errors import DataUnavailable, StudyInvalid, TooFewRows
from tests.unit.test_agents.test_tool_composer.descriptive_rows import (
    figure,
    inputs_of,
    months,
    panel,
    row,
    run,
    texts,
)


def adopters(hazard: dict[str, float], *, units: int = 240, n_months: int = 24, seed: int = 0) -> pd.DataFrame:
    """Prescribers who begin to write with a monthly hazard by region, and then write twice a month."""
    rng = np.random.default_rng(seed)
    regions = np.array(sorted(hazard))[np.arange(units) % len(hazard)]
    start = rng.geometric([hazard[name] for name in regions])
    unit, month = np.repeat(np.arange(units), n_months), np.tile(np.arange(n_months), units)
    return pd.DataFrame(
        {
            "hcp_id": [f"hcp_{number:06d}" for number in unit],
            "month": np.tile(months(n_months), units),
            "region": regions[unit],
            "rep_calls": rng.poisson(2.0, size=len(unit)),
            "nrx": 2 * (month + 1 >= start[unit]),
        }
    )


def decliners(region: str = "west", *, units: int = 240, n_months: int = 24, seed: int = 0) -> pd.DataFrame:
    """Prescribers who lose nearly everything two months after their calls stop; half of one region, few elsewhere."""
    rng = np.random.default_rng(seed)
    frame = panel(units=units, n_months=n_months, seed=seed)
    unit, month = np.repeat(np.arange(units), n_months), np.tile(np.arange(n_months), units)
    chance = np.where(frame["region"].to_numpy()[::n_months] == region, 0.06, 0.01)
    stop = rng.geometric(chance)[unit]
    gone = (month >= stop + 2) & (month < stop + 8)
    return frame.assign(
        rep_calls=np.where((month >= stop) & (month < stop + 6), 0, frame["rep_calls"] + 1),
        nrx=np.where(gone, 0, frame["nrx"] + 4),
    )


def test_the_ridge_logistic_regression_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = (rng.random(400) < 1 / (1 + np.exp(-x @ [1.0, -0.5, 0.0] + 1))).astype(float)
    found, _ = ridge_logistic(np.column_stack([np.ones(400), x]), y)
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=1_000).fit(x, y)
    assert found == pytest.approx(np.r_[expected.intercept_, expected.coef_[0]], abs=1e-4)


def test_separated_classes_still_give_finite_coefficients() -> None:
    x = np.linspace(-1, 1, 100)
    found, _ = ridge_logistic(np.column_stack([np.ones(100), x]), (x > 0).astype(float))
    assert np.isfinite(found).all()


def test_a_planted_risk_is_told_and_its_region_stands_out() -> None:
    output = run("risk_scorer", decliners(), drop=0.5)
    assert figure(output, "AUC on later months").lower > 0.6
    assert output.rows[0]["group"] == "west"
    warning = next(one for one in output.statements if one.kind is StatementKind.WARNING)
    assert "region west stands out" in warning.text


def test_moving_the_risk_to_another_region_moves_the_answer() -> None:
    outputs = [run("risk_scorer", decliners(region), drop=0.5, by=["region"]) for region in ("west", "south")]
    assert [output.rows[0]["group"] for output in outputs] == ["west", "south"]


def test_more_prescriptions_for_all_change_no_risk() -> None:
    frame = decliners()
    few, many = (run("risk_scorer", rows, drop=0.5) for rows in (frame, frame.assign(nrx=10 * frame["nrx"])))
    for name in ("expected rate", "AUC on later months", "expected rate: region west"):
        assert figure(many, name).value == pytest.approx(figure(few, name).value, rel=1e-6)


def test_a_smaller_drop_is_a_more_frequent_decline() -> None:
    rates = [figure(run("risk_scorer", decliners(), drop=drop), "expected rate").value for drop in (0.2, 0.5)]
    assert rates[0] > rates[1]


def test_what_cannot_be_told_ahead_is_said_and_nothing_is_ranked() -> None:
    ranked = 0
    for seed in range(20):
        frame = adopters(dict.fromkeys(("east", "south", "west"), 0.06), units=150, seed=seed)
        output = run("propensity_estimator", frame)
        if output.rows:
            ranked += 1
            continue
        assert "cannot be told from these rows" in output.summary
        assert not any(one.name.startswith("expected rate") for one in output.figures)
        assert figure(output, "rate on later months").value > 0
    assert ranked <= 2


def test_a_first_prescription_is_expected_where_the_hazard_is_high() -> None:
    output = run("propensity_estimator", adopters({"east": 0.02, "south": 0.02, "west": 0.06}, units=1500))
    assert "first NRx" in output.summary
    assert output.rows[0]["group"] == "west"
    assert any(one.kind is StatementKind.OPPORTUNITY and "west" in one.text for one in output.statements)


def test_only_those_without_a_prescription_can_have_their_first() -> None:
    frame = adopters({"east": 0.02, "south": 0.02, "west": 0.06}, units=480)
    output = run("propensity_estimator", frame)
    never = frame.groupby("hcp_id")["nrx"].sum() == 0
    assert figure(output, "prescribers without NRx so far now").value == never.sum()
    assert "at risk" not in output.summary


def test_where_all_write_already_converting_is_reaching_a_level_and_that_is_said() -> None:
    frame = panel(units=200, n_months=24).assign(nrx=lambda rows: rows["nrx"] + 1)
    output = run("propensity_estimator", frame)
    level = figure(output, "level to reach").value
    assert level > 1
    assert "there is no first one to predict" in texts(output)
    named = run("propensity_estimator", frame, level=level)
    assert figure(named, "expected rate").value == figure(output, "expected rate").value
    assert "there is no first one to predict" not in texts(named)


def test_no_later_month_is_read_by_the_features() -> None:
    frame = decliners()
    history = history_of(inputs_of(frame), "nrx", (), ("region",))
    later = frame["month"] > months(24)[14]
    changed = frame.assign(
        nrx=frame["nrx"].mask(later, 1_000), rep_calls=frame["rep_calls"].mask(later, 77), score=frame["score"]
    )
    other = history_of(inputs_of(changed), "nrx", (), ("region",))
    pd.testing.assert_frame_equal(features_at(history, "nrx", 14, 6), features_at(other, "nrx", 14, 6))
    assert not features_at(history, "nrx", 15, 6).equals(features_at(other, "nrx", 15, 6))


def test_outcomes_in_training_end_before_those_in_the_test_begin() -> None:
    from src.agents.tool_composer.tools.outlook import _origins

    history = history_of(inputs_of(panel(n_months=24)), "nrx", (), ())
    event = decline(RiskScorerArguments(horizon=3, lookback=6))
    origins = _origins(history, event)
    assert np.diff(origins).tolist() == [3] * (len(origins) - 1)
    assert (min(origins), max(origins)) == (5, 20)


def test_the_rate_that_comes_lies_in_the_interval_that_was_told() -> None:
    covered, told = 0, 0
    for seed in range(30):
        frame = panel(units=120, n_months=27, seed=seed)
        known = frame[frame["month"].isin(months(24))]
        arguments = RiskScorerArguments(drop=0.3)
        by = grouping_columns(known, (), ("region",))
        outlook = outlook_of(history_of(inputs_of(known), "nrx", (), by), decline(arguments), 1)
        _, lower, upper = outlook.rate(np.ones(len(outlook.probability), dtype=np.bool_))
        whole = history_of(inputs_of(frame), "nrx", (), by)
        came = cohorts(whole, decline(arguments), [23]).happened.mean()
        told += 1
        covered += lower <= came <= upper
    assert told == 30
    assert covered >= 26


def test_groups_too_small_are_hidden_with_a_second_one() -> None:
    frame = decliners()
    number = frame["hcp_id"].str[4:].astype(int)
    output = run("risk_scorer", frame.assign(clinic=np.where(number < 8, "tiny", np.where(number < 60, "a", "b"))),
                 drop=0.5, by=["clinic"])  # fmt: skip
    assert row(output, group="tiny")["expected_rate"] is None
    assert sum(one["suppressed"] is not None for one in output.rows) == 2
    assert not any("tiny" in one.name for one in output.figures)
    assert "tiny" not in texts(output)


def test_a_share_above_the_threshold_is_told_only_for_enough_prescribers() -> None:
    frame = decliners()
    shown, untold = (run("risk_scorer", frame, drop=0.5, threshold=threshold) for threshold in (0.1, 0.99))
    assert 0 < figure(shown, "share at or above the threshold").value < 1
    assert all(one.name != "share at or above the threshold" or one.value == 0 for one in untold.figures)


def test_named_features_are_the_only_ones_used() -> None:
    frame = decliners()
    history = history_of(inputs_of(frame), "nrx", ("rep_calls",), ("region",))
    assert set(history.values) == {"nrx", "rep_calls"}
    assert list(history.profile.columns) == ["region"]


@pytest.mark.parametrize("tool", ["risk_scorer", "propensity_estimator"])
@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        (panel(n_months=8), TooFewRows, "these rows have 8"),
        (pd.concat([panel(), panel()]), StudyInvalid, "several rows for one month"),
        (panel().drop(columns="hcp_id"), DataUnavailable, "single prescribers over time"),
        (panel(units=12, n_months=24).assign(nrx=5), TooFewRows, "fewer than"),
    ],
    ids=["short", "twice", "no prescribers", "nothing happens"],
)
def test_what_cannot_be_predicted_is_refused(tool: str, frame: pd.DataFrame, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run(tool, frame, declared={} if "hcp_id" not in frame else {"unit_key": "hcp_id", "time_key": "month"})


def test_prescribers_with_gaps_in_their_months_are_left_out_and_the_others_predicted() -> None:
    frame = decliners()
    gaps = frame[(frame["hcp_id"] > "hcp_000019") | (frame["month"] != months(24)[22])]
    whole, with_gaps = (run("risk_scorer", rows, drop=0.5) for rows in (frame, gaps))
    name = "prescribers at risk now"
    assert figure(whole, name).value - figure(with_gaps, name).value == pytest.approx(20, abs=3)


def test_a_past_case_needs_all_months_of_its_outcome() -> None:
    frame = panel(n_months=24)
    event = decline(RiskScorerArguments(horizon=3, lookback=6))
    without = frame[(frame["hcp_id"] != "hcp_000007") | (frame["month"] != months(24)[12])]
    whole, fewer = (cohorts(history_of(inputs_of(rows), "nrx", (), ()), event, [11]) for rows in (frame, without))
    assert set(whole.unit) - set(fewer.unit) == {7}


def test_periods_that_swing_as_a_whole_widen_the_interval() -> None:
    swing = np.random.default_rng(4).permutation([0.4, 1.0, 1.6] * 4).repeat(3)
    frame = panel(units=200, n_months=36)
    frame = frame.assign(nrx=np.round((frame["nrx"] + 4) * np.tile(swing, 200)))
    arguments = RiskScorerArguments(drop=0.3)
    outlook = outlook_of(history_of(inputs_of(frame), "nrx", ("rep_calls",), ("region",)), decline(arguments), 1)
    everybody = np.ones(len(outlook.probability), dtype=np.bool_)
    _, lower, upper = outlook.rate(everybody)
    _, calm_lower, calm_upper = dataclasses.replace(outlook, shift=0.0).rate(everybody)
    assert outlook.shift > 0.1
    assert upper - lower > 1.5 * (calm_upper - calm_lower)
