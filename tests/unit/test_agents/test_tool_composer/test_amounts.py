"""Are the amounts of a question read with their sign and meaning, and refused where they cannot be?"""

from __future__ import annotations

from typing import Any

import pytest

from src.agents.tool_composer.changes import change_of
from src.agents.tool_composer.designs import design_of
from src.agents.tool_composer.prices import calls_per_rep_of, extra_of, prices_of
from src.errors import QuestionNotUnderstood
from tests.unit.test_agents.test_tool_composer.test_planning import plan, used

CALLS = ("rep calls", "rep call", "calls", "call", "visits")
OTHERS = ("samples", "sample", "nrx", "prescriptions")


def share(value: float, of: str = "rep_calls") -> dict[str, Any]:
    return {"share": value, "of": of}


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("simulate a decline of rep calls by 20%", share(-0.2)),
        ("what if rep calls fell by one?", -1.0),
        ("what if rep calls declined by 2", -2.0),
        ("what if we withdrew two rep calls", -2.0),
        ("what if we took away two rep calls", -2.0),
        ("what if rep calls changed by -1", -1.0),
        ("-1 call per month", -1.0),
        ("what if rep calls were 30% down", share(-0.3)),
        ("what would a 30 percent cut in calls do to nrx?", share(-0.3)),
        ("10% more calls in the second half of 2024", share(0.1)),
        ("what if calls increased by half", share(0.5)),
        ("what if calls were cut by half", share(-0.5)),
        ("what if we halved calls", share(-0.5)),
        ("what if we doubled calls", share(1.0)),
        ("what if we stopped calls", share(-1.0)),
        ("what if calls went from 4 to 6 per month", 2.0),
        ("what if calls went from 4 calls to 1", -3.0),
        ("hcps with less than 3 samples got 2 more calls", 2.0),
        ("what if we added two rep calls per hcp and month", 2.0),
        ("what if we added two rep calls in 2024", 2.0),
        ("what if we made 3 fewer calls", -3.0),
        ("what if we made two calls fewer", -2.0),
        ("what if calls rose 12.5% over the next 3 months", share(0.125)),
        ("what if calls fell by 10% and samples rose by 5%", share(-0.1)),
        ("what if nrx fell by 20% and we made one more call", 1.0),
        ("what if decile 8 hcps got one more call", 1.0),
        ("what if we sent more", None),
        ("what if we made calls in the second half of 2024", None),
    ],
)
def test_a_change_has_the_direction_that_its_verb_or_the_word_beside_it_says(words: str, change: Any) -> None:
    found = change_of(words, "rep_calls", CALLS, OTHERS)
    assert found == (pytest.approx(change) if change is not None else None)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("what if we made 5 calls", "without saying whether it is more or less"),
        ("what if no more than 2 calls were made", "a bound"),
        ("what if hcps got fewer than 2 calls", "a bound"),
        ("raise calls to 5", "a level"),
        ("what if we made 2-3 more calls", "a range"),
        ("what if calls increased 2 fold", "a multiple"),
        ("what if calls did not fall by 20%", "denies"),
        ("what if we added two fewer calls", "both more and less"),
        ("what if we cut -20% of calls", "negative amount"),
        ("what if calls rose by 10% or by 20%", "more than one change"),
    ],
)
def test_a_change_that_is_not_said_plainly_is_refused(words: str, problem: str) -> None:
    with pytest.raises(QuestionNotUnderstood, match=problem):
        change_of(words, "rep_calls", CALLS, OTHERS)


def test_a_what_if_without_an_amount_is_asked_back_and_never_computed_as_one_more() -> None:
    with pytest.raises(QuestionNotUnderstood, match="names no amount by which rep calls change"):
        plan("What if we changed rep calls?")
    found = plan("What is the effect of rep calls on NRx? What if we made 5 rep calls?")
    assert [one.tool for one in found.steps] == ["causal_effect_estimator"]
    assert any("without saying whether it is more or less" in one for one in found.assumptions)


def test_each_treatment_of_a_what_if_gets_its_own_amount() -> None:
    found = plan("What if rep calls fell by 10% and samples rose by two?")
    assert {one.arguments["treatment"]: one.arguments["change"] for one in found.steps} == {
        "rep_calls": share(-0.1),
        "samples": 2.0,
    }


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("design a test with 90% power to detect a 10% uplift", {"power": 0.9, "relative_effect": 0.1}),
        ("80% power minimum effect of 0.5", {"power": 0.8, "minimum_effect": 0.5}),
        ("a test of 8 weeks and 200 hcps", {"months": 2, "participants": 200}),
        ("a test that finds an uplift of 0.2", {"minimum_effect": 0.2}),
        ("an uplift of 20 %", {"relative_effect": 0.2}),
        ("power of 0.9, alpha of 1%, a lift of 5%", {"power": 0.9, "alpha": 0.01, "relative_effect": 0.05}),
        ("95% confidence, 5% uplift", {"alpha": 0.05, "relative_effect": 0.05}),
        ("a 50/50 split, 8% lift, 3 months", {"share_treated": 0.5, "relative_effect": 0.08, "months": 3}),
        ("a test on the last 12 months", {}),
        ("a test of the new trigger in 2025-03", {}),
    ],
)
def test_power_error_rate_length_and_size_are_no_effect(words: str, arguments: dict[str, float]) -> None:
    assert design_of(words).arguments == pytest.approx(arguments)


def test_amounts_of_a_test_that_are_not_used_are_named() -> None:
    assert design_of("a pilot of 8 weeks with 42 frogs").notes == [
        "8 weeks were taken as 2 months: rows are monthly",
        "not used for the size of the test: 42; no argument of it was recognised",
    ]


@pytest.mark.parametrize(
    "words", ["90% power for a 10% or 20% uplift", "a 5% uplift, a difference of 0.5", "power of 120%"]
)
def test_a_test_whose_effect_or_power_is_not_one_number_is_refused(words: str) -> None:
    with pytest.raises(QuestionNotUnderstood, match="name one|name another"):
        design_of(words)


def test_a_question_about_a_test_reaches_the_tool_with_its_amounts() -> None:
    [step] = plan("Design a test of rep calls on NRx with 90% power to detect a 10% uplift over 8 weeks").steps
    assert step.tool == "power_calculator"
    assert {name: step.arguments[name] for name in ("power", "relative_effect", "months")} == {
        "power": 0.9,
        "relative_effect": 0.1,
        "months": 2,
    }


@pytest.mark.parametrize(
    ("words", "cost"),
    [
        ("a call costs $200", ("call", 200.0, "USD")),
        ("a call costs 150", ("call", 150.0, None)),
        ("at a cost of 200 per call", ("call", 200.0, None)),
        ("calls at $200 each", ("call", 200.0, "USD")),
        ("samples for 20 euros", ("sample", 20.0, "EUR")),
        ("a speaker program costs $1.4k", ("program", 1400.0, "USD")),
        ("calls at 2024 levels", None),
        ("calls cost 2024", None),
        ("calls cost 20% more", None),
        ("an effect of 0.2 per call", None),
    ],
)
def test_money_has_a_currency_or_is_said_per_unit(words: str, cost: tuple[str, float, str | None] | None) -> None:
    found, _ = prices_of(words)
    assert [(one.noun, one.amount, one.currency) for one in found] == ([] if cost is None else [cost])


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("where should ten extra reps go", (10.0, True)),
        ("1,500 calls", (1500.0, False)),
        ("an extra call", (1.0, False)),
        ("another rep", (1.0, True)),
        ("a call costs $200", None),
        ("one call costs $200", None),
        ("2024 calls", None),
        ("each rep makes 80 calls", None),
        ("reps", None),
    ],
)
def test_only_what_is_to_be_placed_is_an_extra(words: str, extra: tuple[float, bool] | None) -> None:
    found = extra_of(words)
    assert (None if found is None else (found.count, found.people)) == extra


def test_calls_per_rep_are_read() -> None:
    assert (calls_per_rep_of("each rep makes 80 calls"), calls_per_rep_of("80 calls per rep")) == (80.0, 80.0)
    assert calls_per_rep_of("calls at 2024 calls") is None


def roi(query: str, treatment: str = "rep_calls") -> dict[str, Any]:
    [step] = [
        one for one in plan(query).steps if one.tool == "roi_estimator" and one.arguments["treatment"] == treatment
    ]
    return dict(step.arguments)


def test_people_are_not_counted_as_calls() -> None:
    query = "Where should ten extra reps go?"
    assert "extra_units" not in roi(query)
    assert any("'ten extra reps' are people" in one for one in plan(query).assumptions)
    told = roi("Where should ten extra reps go if each rep makes 80 calls?")
    assert (told["extra_units"], told["treatment_per_extra"]) == (10.0, 80.0)


def test_a_price_is_that_of_its_own_activity_and_currency() -> None:
    query = "What is the ROI of rep calls and samples on NRx if a call costs €150 and a script is worth €1,400?"
    calls, samples = roi(query), roi(query, "samples")
    assert (calls["unit_cost"], calls["value_per_outcome"], calls["currency"]) == (150.0, 1400.0, "EUR")
    assert ("unit_cost" in samples, samples["value_per_outcome"]) == (False, 1400.0)


def test_both_ends_of_a_moved_budget_are_valued() -> None:
    assert used("Should we move budget from email to rep calls?").count("roi_estimator") == 2


def test_two_currencies_are_refused() -> None:
    with pytest.raises(QuestionNotUnderstood, match="two currencies"):
        plan("What is the ROI of rep calls on NRx if a call costs $150 and a script is worth €1,400?")
