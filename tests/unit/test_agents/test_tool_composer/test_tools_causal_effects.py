"""Tools that estimate an effect, test it, and simulate with it: planted effects and the market's own truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.domain.findings import StatementKind
from src.errors import ContractViolation, EstimationError
from tests.unit.test_agents.test_tool_composer.causal_rows import (
    DECLARED,
    covers,
    figure,
    market,
    planted,
    run,
    run_on_market,
    texts,
    value,
)

QUESTION = {"treatment": "visits", "outcome": "scripts"}


def permuted_within_units(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """The same visits of the same prescribers in other months."""
    mixed = frame.sample(frac=1, random_state=seed).sort_values("prescriber_id", kind="stable")
    return frame.assign(visits=mixed["visits"].to_numpy())


def before_the_outcome(frame: pd.DataFrame) -> pd.DataFrame:
    """Visits that follow what was prescribed the month before."""
    last = frame.groupby("prescriber_id")["scripts"].shift(1).fillna(frame["scripts"])
    return frame.assign(visits=np.round(frame["visits"] + 2 * (last - last.min())))


# The effect


@pytest.mark.parametrize("effect", [0.5, -0.4, 2.0])
def test_a_planted_effect_lies_in_its_interval_and_is_supported(effect: float) -> None:
    output = run("causal_effect_estimator", planted(effect), **QUESTION)
    assert covers(figure(output, "effect"), effect)
    assert "support a causal effect of visits on scripts" in output.summary
    assert output.rows[0]["verdict"] == "causal effect supported"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_an_effect_none_is_claimed(seed: int) -> None:
    output = run("causal_effect_estimator", planted(0.0, seed=seed), **QUESTION)
    assert covers(figure(output, "effect"), 0.0)
    assert output.rows[0]["verdict"] != "causal effect supported"


def test_exchanging_the_treatment_over_time_takes_the_effect_away() -> None:
    output = run("causal_effect_estimator", permuted_within_units(planted(0.5)), **QUESTION)
    assert covers(figure(output, "effect"), 0.0)
    assert value(output, "unadjusted_difference") > 0.5  # prescribers who get more visits still prescribe more


def test_a_treatment_that_follows_the_outcome_is_association_only() -> None:
    output = run("causal_effect_estimator", before_the_outcome(planted(0.0)), **QUESTION)
    assert output.rows[0]["verdict"] == "association only"
    assert {"effect", "association"} & {one.name for one in output.figures} == {"association"}
    assert not any(
        one.kind is StatementKind.RECOMMENDATION and one.text.startswith("Plan") for one in output.statements
    )


@pytest.mark.parametrize(
    ("treatment", "brand"), [("rep_calls", None), ("rep_calls", "Kisqali"), ("trigger_delivered", None)]
)
def test_the_effect_of_the_market_lies_in_its_interval(treatment: str, brand: str | None) -> None:
    truth = market().truth.effect(treatment, "nrx", brand)
    output = run_on_market("causal_effect_estimator", brand, treatment=treatment, outcome="nrx")
    assert covers(figure(output, "effect"), truth.effect)


def test_the_declared_lag_is_used_and_another_one_can_be_asked_for() -> None:
    truth = market().truth.effect("email_opens", "nrx")
    declared, at_once = (
        run_on_market("causal_effect_estimator", treatment="email_opens", outcome="nrx", lag=lag) for lag in (None, 0)
    )
    assert covers(figure(declared, "effect"), truth.effect)
    assert declared.rows[0]["estimator"] == "distributed_lag"
    assert value(at_once, "effect") < value(declared, "effect")


def test_what_is_declared_for_a_brand_holds_for_its_rows_only() -> None:
    pooled = run_on_market("causal_effect_estimator", treatment="samples", outcome="nrx")
    assert pooled.rows[0]["verdict"] == "not identified"
    assert "effect" not in {one.name for one in pooled.figures}
    kisqali = run_on_market("causal_effect_estimator", "Kisqali", treatment="samples", outcome="nrx")
    assert covers(figure(kisqali, "effect"), market().truth.effect("samples", "nrx", "Kisqali").effect)


def test_another_script_count_is_answered_from_the_same_declaration() -> None:
    truth = market().truth.effect("rep_calls", "trx")
    output = run_on_market("causal_effect_estimator", treatment="rep_calls", outcome="trx")
    assert covers(figure(output, "effect"), truth.effect)
    assert "causal graph" in texts(output)


def test_an_estimator_is_used_under_its_name_and_an_unknown_one_refused() -> None:
    output = run("causal_effect_estimator", planted(), **QUESTION, estimator="distributed_lag")
    assert output.rows[0]["estimator"] == "distributed_lag"
    with pytest.raises(EstimationError, match="did you mean 'twfe'"):
        run("causal_effect_estimator", planted(), **QUESTION, estimator="twef")


def test_what_nothing_is_declared_about_rests_on_the_panel_alone() -> None:
    output = run("causal_effect_estimator", planted(), treatment="weather", outcome="scripts")
    assert covers(figure(output, "effect"), 0.0)
    assert "causal graph" not in texts(output)


# Refutation


def test_a_sound_estimate_passes_and_says_how_often() -> None:
    output = run("refutation_runner", planted(0.5), **QUESTION)
    assert value(output, "tests_passed") == value(output, "tests_run") == 4
    assert "stands up to the tests" in output.summary
    assert {row["test"] for row in output.rows} >= {"placebo_treatment", "bootstrap", "data_subset"}


def test_a_negative_control_that_moves_is_a_failed_test() -> None:
    told = DECLARED["questions"]["visits"]
    declared = {**DECLARED, "questions": {"visits": {**told, "negative_controls": ["weather"]}}}
    frame = planted(0.5)
    quiet = run("refutation_runner", frame, declared, **QUESTION)
    moved = run("refutation_runner", frame.assign(weather=frame["weather"] + frame["visits"]), declared, **QUESTION)
    assert value(quiet, "tests_passed") == value(quiet, "tests_run") == 5
    assert value(moved, "tests_passed") == 4
    assert any(one.kind is StatementKind.WARNING and "weather" in one.text for one in moved.statements)


def test_the_same_rows_give_the_same_report() -> None:
    assert run("refutation_runner", planted(), **QUESTION) == run("refutation_runner", planted(), **QUESTION)


# Sensitivity


def test_a_larger_effect_takes_a_stronger_hidden_cause() -> None:
    weak, strong = (run("sensitivity_analyzer", planted(effect), **QUESTION) for effect in (0.2, 0.8))
    for name in ("e_value", "e_value_limit", "robustness_value", "robustness_value_limit"):
        assert value(weak, name) < value(strong, name)


def test_nothing_is_there_to_explain_away_without_an_effect() -> None:
    output = run("sensitivity_analyzer", planted(0.0), **QUESTION)
    assert value(output, "e_value_limit") == 1
    assert "covers no effect" in output.summary


def test_a_measured_common_cause_is_the_yardstick() -> None:
    frame = planted(0.5)
    frame = frame.assign(visits=frame["visits"] + frame["weather"], scripts=frame["scripts"] + frame["weather"])
    edges = [["weather", "visits"], ["weather", "scripts"], ["visits", "scripts"]]
    told = {"treatment": "visits", "outcome": "scripts", "graph": {"edges": edges}}
    output = run("sensitivity_analyzer", frame, {**DECLARED, "questions": {"visits": told}}, **QUESTION)
    assert {row["covariate"] for row in output.rows} == {"weather"}
    assert covers(figure(output, "effect"), 0.5)
    assert any(one.kind is StatementKind.WOULD_CHANGE for one in output.statements)


def test_a_lottery_does_not_rest_on_measured_causes() -> None:
    output = run_on_market("sensitivity_analyzer", treatment="trigger_delivered", outcome="nrx")
    assert "by its design" in output.summary
    assert "robustness_value" not in {one.name for one in output.figures}


# Simulation


def test_twice_the_change_is_twice_the_difference_within_what_was_seen() -> None:
    one, half = (run("counterfactual_simulator", planted(), **QUESTION, change=change) for change in (1, 0.5))
    per_visit = value(one, "effect")
    for output in (one, half):
        moved = value(output, "treatment_change")
        assert value(output, "outcome_change") == pytest.approx(per_visit * moved)
        assert value(output, "total_change") == pytest.approx(80 * per_visit * moved)
    assert value(one, "treatment_change") == pytest.approx(1, abs=0.05)
    assert value(half, "treatment_change") == pytest.approx(0.5, abs=0.03)


def test_fewer_visits_cannot_go_below_none() -> None:
    frame = planted()
    output = run("counterfactual_simulator", frame, **QUESTION, change=-1)
    assert value(output, "treatment_change") == pytest.approx(-(frame["visits"] > 0).mean())
    assert value(output, "held_back") == pytest.approx((frame["visits"] == 0).mean())
    assert value(output, "outcome_change") < 0
    assert any("leave what was observed" in one.text for one in output.statements)


@pytest.mark.parametrize("change", [30, -30])
def test_a_change_beyond_experience_is_refused(change: float) -> None:
    with pytest.raises(EstimationError, match="hardly ever moves by more than"):
        run("counterfactual_simulator", planted(), **QUESTION, change=change)


def test_a_change_that_most_rows_cannot_make_is_refused() -> None:
    with pytest.raises(EstimationError, match="mean change is only"):
        run("counterfactual_simulator", planted(), **QUESTION, change=-5)


def test_an_association_is_not_simulated() -> None:
    with pytest.raises(EstimationError, match="association only"):
        run("counterfactual_simulator", before_the_outcome(planted(0.0)), **QUESTION, change=1)


def test_without_an_effect_no_change_is_promised() -> None:
    output = run("counterfactual_simulator", planted(0.0), **QUESTION, change=1)
    assert "no change is to be counted on" in output.summary
    assert covers(figure(output, "outcome_change"), 0.0)
    assert not any(one.kind is StatementKind.RECOMMENDATION for one in output.statements)


def test_everybody_or_nobody_is_treated_in_a_lottery() -> None:
    panel = market().panel
    assert panel is not None
    share = panel["trigger_delivered"].mean()
    all_treated, none_treated = (
        run_on_market("counterfactual_simulator", treatment="trigger_delivered", outcome="nrx", change=change)
        for change in (1, -1)
    )
    assert value(all_treated, "treatment_change") == pytest.approx(1 - share)
    assert value(none_treated, "treatment_change") == pytest.approx(-share)
    assert "for every HCP and month" in all_treated.summary
    with pytest.raises(ContractViolation, match="treats everybody"):
        run_on_market("counterfactual_simulator", treatment="trigger_delivered", outcome="nrx", change=0.5)


def test_diminishing_returns_are_told() -> None:
    frame = planted(0.0)
    bent = frame.assign(scripts=frame["scripts"] + 3 * np.sqrt(frame["visits"]))
    for rows, told in ((bent, True), (planted(0.5), False)):
        output = run("counterfactual_simulator", rows, **QUESTION, change=1)
        assert any("do less than the first ones" in one.text for one in output.statements) is told


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(ContractViolation, match="other than 0"):
        run("counterfactual_simulator", planted(), **QUESTION, change=0)
