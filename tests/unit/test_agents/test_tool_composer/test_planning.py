"""Is a question taken apart into what it asks for, and does each part get the tools that answer it?"""

from __future__ import annotations

from typing import Any

import pytest

from src.agents.tool_composer.dag import ordered
from src.agents.tool_composer.decomposing import decompose
from src.agents.tool_composer.names import read_names
from src.agents.tool_composer.plan_checks import check_arguments, checked_plan
from src.agents.tool_composer.planning import plan_by_rules
from src.agents.tool_composer.slots import fitted, settled, unsettled
from src.agents.tool_composer.state import ComposeContext, Plan, PlannedStep, SubQuestion
from src.agents.tool_composer.tools.registry import TOOLS, langchain_tools, tool_named
from src.domain.vocabulary import load_vocabulary
from src.errors import ContractViolation, DataUnavailable, QuestionNotUnderstood, UnknownColumn
from tests.unit.test_agents.test_tool_composer.parts import EFFECT, TODAY, tools

VOCABULARY = load_vocabulary()


def parts(query: str, **context: Any) -> tuple[SubQuestion, ...]:
    return decompose(query, ComposeContext(**context), VOCABULARY, TODAY).sub_questions


def plan(query: str, known: Any = TOOLS) -> Plan:
    found = parts(query)
    names = [read_names(one.text, VOCABULARY, TODAY) for one in found]
    whole = read_names(query, VOCABULARY, TODAY)
    return plan_by_rules(found, names, whole, tools=known, vocabulary=VOCABULARY)


def used(query: str) -> list[str]:
    return [step.tool for step in plan(query).steps]


@pytest.mark.parametrize(
    ("query", "intents"),
    [
        ("Compare the impact of rep calls by region AND predict next quarter", ["causal_effect", "prediction"]),
        ("Where are our HCP-targeting gaps?", ["performance_gap"]),
        ("Which segments respond best to rep visits?", ["segment_analysis"]),
        ("Design a test of the new trigger", ["experiment_design"]),
        ("Where should ten extra reps go?", ["resource_allocation"]),
        ("Is the churn model drifting?", ["drift_check"]),
        ("What if we added two rep calls per HCP and month?", ["what_if"]),
        ("How robust is the effect of rep calls on NRx of Kisqali?", ["robustness"]),
        ("What is the ROI of samples?", ["value"]),
        (
            "Which segments respond best to calls and how big a test would I need?",
            ["segment_analysis", "experiment_design"],
        ),
        ("effect of rep calls on NRx and the effect of samples on TRx", ["causal_effect", "causal_effect"]),
        ("What is the effect of emails and rep calls on NRx of Kisqali?", ["causal_effect"]),
    ],
)
def test_a_question_has_a_part_for_everything_it_asks_for(query: str, intents: list[str]) -> None:
    found = [one.intent for one in parts(query)]
    assert found == intents or (found[0] in ("causal_effect", "segment_analysis") and found[1:] == intents[1:])


def test_more_than_six_parts_are_cut_and_said() -> None:
    query = (
        "What drives NRx? Where are gaps? Predict conversions. Is the model drifting? Design a pilot. "
        "Where should ten extra reps go? Which segments respond best?"
    )
    found = decompose(query, ComposeContext(), VOCABULARY, TODAY)
    assert len(found.sub_questions) == 6
    assert found.notes == ("the question has 7 parts; the first 6 are answered",)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("effect of rep calls on NRx of Humira", "(?i)'humira' is not a brand"),
        ("effect of rep calls on NRx except in the Midwest", "leaves something out"),
        ("effect of rep calls on NRx in March", "which year"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_read_is_refused(query: str, problem: str) -> None:
    with pytest.raises(QuestionNotUnderstood, match=problem):
        parts(query)


def test_a_part_keeps_its_own_names_and_takes_the_only_ones_named_elsewhere() -> None:
    first, second = parts("effect of rep calls on NRx of Kisqali in the South and where are gaps in the West?")
    assert (first.scope.values("brand"), first.scope.values("region")) == (("Kisqali",), ("south",))
    assert (second.scope.values("brand"), second.scope.values("region")) == (("Kisqali",), ("west",))


def test_what_is_compared_by_is_not_kept_to_one_value_named_elsewhere() -> None:
    first, second = parts("Which regions are behind target, and why did Kisqali NRx fall in the Midwest?")
    assert (first.scope.values("region"), second.scope.values("region")) == ((), ("midwest",))


def test_the_contexts_brand_holds_where_none_is_named() -> None:
    [one] = parts("Where are we behind target?", brand="Fabhalta", region="west")
    assert one.scope.values("brand") == ("Fabhalta",)
    [named] = parts("Where is Kisqali behind target?", brand="Fabhalta")
    assert named.scope.values("brand") == ("Kisqali",)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("Where are we behind target on TRx?", ["gap_calculator"]),
        (
            "Which specialties respond best to rep visits?",
            ["causal_effect_estimator", "cate_analyzer", "segment_ranker"],
        ),
        ("Design a test of the new trigger", ["power_calculator"]),
        ("Which HCPs will convert next quarter?", ["propensity_estimator"]),
        ("Who is at risk of declining?", ["risk_scorer"]),
        ("Where should ten extra reps go?", ["causal_effect_estimator", "roi_estimator", "segment_ranker"]),
        ("Is the churn model drifting?", ["psi_calculator", "distribution_comparator"]),
        ("What if we added two rep calls per HCP and month?", ["counterfactual_simulator"]),
        (
            "How robust is the effect of rep calls on NRx of Kisqali?",
            ["causal_effect_estimator", "refutation_runner", "sensitivity_analyzer"],
        ),
        ("What is the ROI of rep calls on NRx?", ["causal_effect_estimator", "roi_estimator"]),
        ("effect of rep calls and samples on NRx", ["causal_effect_estimator", "causal_effect_estimator"]),
    ],
)
def test_each_kind_of_question_gets_its_tools(query: str, wanted: list[str]) -> None:
    assert used(query) == wanted


def test_every_plan_of_the_rules_holds_against_the_tools_schemas() -> None:
    for query in (
        "Where should ten extra reps go?",
        "How robust is the effect of rep calls on NRx?",
        "Is the model drifting?",
    ):
        steps = plan(query).steps
        assert [one.tool for one in checked_plan(steps, TOOLS, {}, 6)] == [one.tool for one in steps]


def test_targeting_gaps_are_gaps_in_reach_and_others_are_kpis() -> None:
    [targeting], [kpis] = plan("Where are our HCP-targeting gaps?").steps, plan("Where is TRx behind target?").steps
    assert targeting.arguments["about"] == "hcp_targeting"
    assert (kpis.arguments["about"], kpis.arguments["kpis"]) == ("kpis", ["BU5"])


def test_what_was_not_named_is_assumed_aloud() -> None:
    found = plan("Compare impact by region and predict next quarter")
    assert any("no promotional activity was named" in one for one in found.assumptions)
    assert any("no outcome was named" in one for one in found.assumptions)
    assert plan("effect of rep calls on NRx").assumptions == ()


def test_the_same_call_is_planned_once() -> None:
    assert (
        used("Is the effect of rep calls on NRx robust? How sure is the effect of rep calls on NRx?").count(
            "refutation_runner"
        )
        == 1
    )


@pytest.mark.parametrize(
    "query",
    [
        "Which HCPs will stop writing Fabhalta next quarter?",
        "Which HCPs will discontinue Fabhalta?",
        "Who will quit prescribing Kisqali?",
    ],
)
def test_an_end_of_writing_is_a_decline_and_said_to_be_read_so(query: str) -> None:
    found = plan(query)
    assert [one.tool for one in found.steps] == ["risk_scorer"]
    assert any("no tool predicts a complete stop" in one for one in found.assumptions)


def test_a_forecast_of_an_amount_is_said_not_to_be_made() -> None:
    assert any("no forecast of the amount" in one for one in plan("Predict TRx next quarter").assumptions)
    assert not any("forecast" in one for one in plan("Which HCPs will convert next quarter?").assumptions)


@pytest.mark.parametrize(
    ("query", "reference", "current"),
    [
        ("Is there drift of rep calls between 2023 and 2024?", "2023", "2024"),
        ("Did the distribution of NRx shift from Q1 2024 to Q2 2024?", "2024-q1", "2024-q2"),
        ("Is there drift of rep calls in March 2024 versus March 2023?", "2023-03", "2024-03"),
    ],
)
def test_drift_between_two_periods_judges_the_second_against_the_first(
    query: str, reference: str, current: str
) -> None:
    [part] = parts(query)
    for one in plan(query).steps:
        done = settled(one, part, TOOLS)
        assert (done.arguments["reference"], done.arguments["current"]) == (reference, current)
        assert (done.scope.start, done.scope.end) == (None, None)


def test_a_period_taken_from_another_part_is_said() -> None:
    found = decompose(
        "Is there drift of rep calls in 2024, and where are we behind target?", ComposeContext(), VOCABULARY, TODAY
    )
    assert any("'where are we behind target' was read for 2024-01 to 2024-12" in one for one in found.notes)


def test_returns_take_their_effect_from_the_estimate() -> None:
    query = "What is the ROI of rep calls on NRx if a call costs $150 and a script is worth $1,400?"
    effect, roi = plan(query).steps
    assert roi.depends_on == (effect.ordinal,)
    assert roi.arguments["effect"] == {"from": 0, "field": "effect"}
    assert (roi.arguments["unit_cost"], roi.arguments["value_per_outcome"]) == (150.0, 1400.0)


def test_a_part_without_a_tool_is_named_and_all_of_them_are_refused() -> None:
    found = plan("effect of rep calls on NRx, and is the platform healthy?")
    assert any("is the platform healthy" in one for one in found.assumptions)
    with pytest.raises(DataUnavailable, match="no tool answers"):
        plan("Is the platform healthy?")


def test_a_step_that_takes_a_period_has_it_as_argument_and_loses_it_when_kept() -> None:
    [part] = parts("Where are we behind target in 2025-02?")
    step = PlannedStep(0, "gap_calculator", {"level": "total"}, 0)
    done = settled(step, part, tools())
    assert (done.arguments["period"], done.scope.start) == ("2025-02", None)
    assert unsettled(done, part).arguments == {"level": "total"}


def step(ordinal: int, *needed: int, **arguments: Any) -> PlannedStep:
    return PlannedStep(ordinal, "causal_effect_estimator", arguments or EFFECT, 0, needed)


def test_steps_come_after_what_they_need() -> None:
    assert [one.ordinal for one in ordered([step(0, 2), step(1), step(2, 1), step(3)])] == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([step(0, 1), step(1, 0)], "in a circle"),
        ([step(0, 0)], "in a circle"),
        ([step(0, 1), step(1, 2), step(2, 0)], "in a circle: "),
        ([step(0, 7)], "needs step 7"),
        ([step(0), step(0)], "same ordinal"),
        ([step(0, outcome="nrx", treatment={"from": 0, "field": "effect"})], "in a circle"),
    ],
)
def test_an_order_that_is_none_is_refused(steps: list[PlannedStep], problem: str) -> None:
    with pytest.raises(ContractViolation, match=problem):
        ordered(steps)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tool": "causal_effects_estimator"}, "did you mean 'causal_effect_estimator'"),
        ({"arguments": {"treatment": "rep_calls"}}, "outcome: Field required"),
        ({"arguments": EFFECT | {"tretment": "x"}}, "no argument 'tretment'"),
        ({"arguments": EFFECT | {"lag": "soon"}}, "lag"),
        ({"arguments": EFFECT | {"lagg": {"from": 1, "field": "effect"}}}, "no argument 'lagg'"),
        ({"arguments": EFFECT | {"treatment": "rep_cals"}}, "did you mean 'rep_calls'"),
        ({"sub_question": 4}, "part 4"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_by_name(changes: dict[str, Any], problem: str) -> None:
    given = {"ordinal": 0, "tool": "causal_effect_estimator", "arguments": EFFECT, "sub_question": 0} | changes
    with pytest.raises(ContractViolation, match=problem):
        checked_plan([PlannedStep(**given), step(1)], tools(), {"panel": ("rep_calls", "nrx")}, 1)


def test_an_unknown_column_is_an_unknown_column() -> None:
    with pytest.raises(UnknownColumn):
        checked_plan([step(0, treatment="visits", outcome="nrx")], tools(), {"panel": ("rep_calls", "nrx")}, 1)


def test_too_many_steps_and_none_are_refused() -> None:
    with pytest.raises(ContractViolation, match="at most"):
        checked_plan([step(number) for number in range(17)], tools(), {}, 1)
    with pytest.raises(ContractViolation, match="no steps"):
        checked_plan([], tools(), {}, 1)


def test_a_figure_yet_to_come_counts_as_a_right_number_and_other_mistakes_do_not() -> None:
    roi = tools()["roi_estimator"]
    assert check_arguments(roi, {"effect": {"from": 0, "field": "effect"}}) == "panel"
    with pytest.raises(ContractViolation):
        check_arguments(roi, {"effect": {"from": 0, "field": "effect"}, "effect_lower": "low"})


def test_what_a_checked_step_depends_on_is_complete() -> None:
    roi = PlannedStep(1, "roi_estimator", {"effect": {"from": 0, "field": "effect"}}, 0)
    assert checked_plan([step(0), roi], tools(), {}, 1)[1].depends_on == (0,)


def test_there_are_thirteen_tools_each_described_for_a_planner() -> None:
    assert len(TOOLS) == 13
    for tool in TOOLS.values():
        assert len(tool.description) > 20
        assert all(field.description for name, field in tool.arguments.model_fields.items()), tool.name
    with pytest.raises(ContractViolation, match="did you mean 'gap_calculator'"):
        tool_named("gap_calculater")


async def test_tools_for_a_planner_have_schemas_and_compute_only_where_told_how() -> None:
    asked: list[Any] = []

    async def run(name: str, arguments: Any) -> str:
        asked.append((name, arguments))
        return "done"

    offered = {one.name: one for one in langchain_tools(run=run)}
    assert set(offered) == set(TOOLS)
    schema = offered["causal_effect_estimator"].args_schema.model_json_schema()  # type: ignore[union-attr]
    assert {"treatment", "outcome"} <= set(schema["properties"])
    assert await offered["causal_effect_estimator"].ainvoke(EFFECT) == "done"
    assert asked[0][0] == "causal_effect_estimator"
    assert EFFECT.items() <= asked[0][1].items()
    refused = {one.name: one for one in langchain_tools()}["causal_effect_estimator"]
    with pytest.raises(ContractViolation, match="rows of a composition"):
        await refused.ainvoke(EFFECT)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"horizon": 60}, "horizon 60 is outside what propensity_estimator takes"),
        ({"horizon": 0}, "horizon 0 is outside"),
        ({"outcome": "nrx", "horizon": -3}, "horizon -3 is outside"),
    ],
)
def test_an_amount_out_of_range_is_refused_and_never_left_out(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionNotUnderstood, match=said):
        fitted(tool_named("propensity_estimator"), wanted)


def test_a_value_that_a_tool_does_not_have_is_left_to_others() -> None:
    assert fitted(tool_named("propensity_estimator"), {"outcome": "nrx", "change": 2.0}) == {"outcome": "nrx"}
