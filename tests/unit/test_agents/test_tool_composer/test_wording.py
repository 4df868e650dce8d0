"""Can every number of an answer be traced to a figure, an argument or a statement of a step?"""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.agents.tool_composer.state import Plan, PlannedStep, Scope, StepResult, SubQuestion, ToolOutput
from src.agents.tool_composer.wording import Material, by_template, confidence_of, founded, known_numbers
from src.domain.figures import unfounded_numbers
from src.domain.findings import Figure, Statement, StatementKind
from tests.unit.test_agents.test_tool_composer.parts import EFFECT

FINITE = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-3)
WORDS = st.text(string.ascii_lowercase + " ", min_size=3, max_size=30).filter(lambda text: text.strip())


@st.composite
def outputs(draw: st.DrawFn, ordinal: int) -> ToolOutput:
    """An output whose summary states its figure, another number, or none."""
    evidence = f"step:c/{ordinal}"
    values = draw(st.lists(FINITE, min_size=1, max_size=3))
    figures = tuple(Figure(f"figure {n}", one, "scripts", evidence, one - 1, one + 1) for n, one in enumerate(values))
    stated = draw(st.one_of(st.sampled_from(values), FINITE))
    summary = f"{draw(WORDS)} {stated:.3g} scripts"
    kinds = st.sampled_from(list(StatementKind))
    statements = tuple(
        Statement(draw(kinds), f"{draw(WORDS)} {draw(FINITE):.3g}", (evidence,)) for _ in range(draw(st.integers(0, 3)))
    )
    return ToolOutput(summary, figures, statements, n_rows=draw(st.integers(1, 10_000)))


@st.composite
def materials(draw: st.DrawFn) -> Material:
    n = draw(st.integers(1, 4))
    failed = draw(st.sets(st.integers(1, n), max_size=n - 1))
    planned = tuple(PlannedStep(i, "causal_effect_estimator", EFFECT, i % 2, scope=Scope()) for i in range(n))
    steps = []
    for i in range(n):
        if i in failed:
            steps.append(StepResult(i, "causal_effect_estimator", EFFECT, "failed", None, "EstimationError", "no rows"))
        else:
            output = founded(draw(outputs(i)), EFFECT, ())
            steps.append(StepResult(i, "causal_effect_estimator", EFFECT, "success", output))
    parts = (SubQuestion("effect of calls", "causal_effect"), SubQuestion("effect of samples", "causal_effect"))
    plan = Plan(planned, "deterministic", None, tuple(draw(st.lists(WORDS, max_size=2))))
    return Material("two effects", parts, plan, tuple(steps))


@settings(max_examples=40)
@given(materials())
def test_every_number_of_the_answer_is_a_figure_or_stands_in_a_statement_with_its_evidence(material: Material) -> None:
    told = by_template(material)
    known = [one for _, output in material.done for one in known_numbers(output)]
    texts = [one.text for _, output in material.done for one in output.statements if one.evidence]
    assert unfounded_numbers(told.answer, known, texts) == ()
    assert unfounded_numbers(told.headline, known, texts) == ()


@settings(max_examples=40)
@given(materials())
def test_every_caveat_and_every_failure_stands_in_the_answer(material: Material) -> None:
    told = by_template(material)
    for text in told.caveats:
        assert text.strip() in told.answer
    failed = [step for step in material.steps if step.status != "success"]
    assert told.answer.count("gave no result") == len(failed) == len(material.failures)


@settings(max_examples=40)
@given(materials())
def test_confidence_lies_between_0_and_1_and_falls_with_what_failed(material: Material) -> None:
    sure = confidence_of(material)
    assert sure is not None
    assert 0 < sure <= 0.9
    assert sure <= 0.9 * len(material.done) / len(material.steps) + 0.05


def output(summary: str, *, rows: tuple[dict[str, object], ...] = ()) -> ToolOutput:
    figure = Figure("effect", 0.214, "scripts", "step:c/0", 0.12, 0.31)
    return ToolOutput(
        summary, (figure,), (Statement(StatementKind.CAVEAT, "7 are left out", ("step:c/0",)),), rows, 480
    )


@pytest.mark.parametrize(
    "summary",
    [
        "The effect is 0.21 (95 % interval 0.12 to 0.31).",
        "480 rows show it.",
        "With 80 % power.",
        "7 are left out.",
        "Ten reps go there, by the question.",
        "The South has 12.5.",
        "No number.",
    ],
)
def test_a_summary_of_known_numbers_stands(summary: str) -> None:
    given_output = output(summary, rows=({"region": "south", "value": 12.5},))
    assert founded(given_output, {"power": 0.8}, ("where should ten reps go",)) == given_output


@pytest.mark.parametrize("summary", ["The effect is 0.25.", "It rose by 12 %.", "It doubled.", "4 of 5 agree."])
def test_a_summary_with_another_number_is_replaced_by_the_figures(summary: str) -> None:
    assert (
        founded(output(summary), {}, ()).summary
        == "The figures are: effect 0.214 scripts (95 % interval 0.12 to 0.31)."
    )


@pytest.mark.parametrize(("word", "sure"), [("high", 0.9), ("moderate", 0.7), ("low", 0.4), ("unheard of", 0.9)])
def test_a_step_counts_with_the_confidence_of_its_verdict(word: str, sure: float) -> None:
    step = StepResult(0, "causal_effect_estimator", EFFECT, "success", output("x", rows=({"confidence": word},)))
    plan = Plan((PlannedStep(0, "causal_effect_estimator", EFFECT, 0),), "deterministic")
    assert confidence_of(Material("?", (SubQuestion("?", "causal_effect"),), plan, (step,))) == sure


def told_step(ordinal: int, tool: str, text: str, *, lower: float, confidence: str = "", **inputs: str) -> StepResult:
    figure = Figure("effect", 0.21, "scripts", f"step:c/{ordinal}", lower, 0.31)
    return StepResult(ordinal, tool, inputs, "success", ToolOutput(text, (figure,), confidence=confidence))


def two_parts(*steps: StepResult, intents: tuple[str, str] = ("causal_effect", "value")) -> Material:
    planned = tuple(PlannedStep(one.ordinal, one.tool, one.inputs, min(one.ordinal, 1)) for one in steps)
    return Material("?", tuple(SubQuestion("?", one) for one in intents), Plan(planned, "deterministic"), steps)


CALLS = told_step(0, "causal_effect_estimator", "Calls raise.", lower=0.12, treatment="rep_calls", outcome="nrx")
SAMPLES = told_step(1, "causal_effect_estimator", "Samples do not.", lower=-0.1, treatment="samples", outcome="nrx")
RETURNS = told_step(2, "roi_estimator", "Samples do not pay.", lower=0.1, treatment="samples", outcome="nrx")


def test_every_steps_conclusion_is_a_finding_on_its_own_evidence() -> None:
    found = by_template(two_parts(CALLS, SAMPLES, RETURNS)).statements
    assert [(one.text, one.evidence) for one in found if one.kind is StatementKind.FINDING] == [
        ("Calls raise.", ("step:c/0",)),
        ("Samples do not.", ("step:c/1",)),
        ("Samples do not pay.", ("step:c/2",)),
    ]


def test_the_headline_answers_every_part_with_the_tool_that_was_asked_for() -> None:
    assert by_template(two_parts(CALLS, SAMPLES, RETURNS)).headline == (
        "Calls raise. Samples do not pay. Samples do not."
    )


def test_figures_of_one_name_about_different_things_say_what_they_are_about() -> None:
    names = [one.name for one in by_template(two_parts(CALLS, SAMPLES)).figures]
    assert names == ["rep calls on nrx: effect", "samples on nrx: effect"]
    assert [one.name for one in by_template(two_parts(SAMPLES)).figures] == ["effect"]


def test_beside_tools_without_a_verdict_an_effect_is_as_sure_as_alone() -> None:
    effect = told_step(0, "causal_effect_estimator", "x", lower=0.1, confidence="moderate")
    others = [told_step(n, "roi_estimator", "y", lower=0.1) for n in (1, 2)]
    assert confidence_of(two_parts(effect, *others)) == confidence_of(two_parts(effect)) == 0.7


def test_an_interval_across_0_is_not_told_with_high_confidence() -> None:
    assert confidence_of(two_parts(CALLS)) == 0.9
    assert confidence_of(two_parts(SAMPLES)) == 0.4
