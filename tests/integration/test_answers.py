"""Answers on generated data through the whole application, held against the stored truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.agents.causal_impact.agent import CausalImpactAgent
from src.app.asking import Clarification, answer_question, read_question
from src.app.effects import Answer, answer_effect, load_answer, rerun_answer, resume_answers
from src.app.generated_data import PANEL_NAME, read_truth, register_panel, register_synthetic
from src.app.questions import EffectQuestion
from src.app.session import Session, open_session
from src.causal_engine.results import Verdict
from src.causal_engine.spec import Estimand
from src.errors import DatabaseUnavailable
from src.mlops.tracing.ids import uuid7
from src.synthetic.panel.knowledge import PANEL_QUESTIONS, PanelQuestion

ROWS, STATE = 3_000, 11


@pytest.fixture
async def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> AsyncIterator[Session]:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with open_session() as opened:
        yield opened


async def answer_on(
    session: Session, process: str, *, rows: int = ROWS, **question: Any
) -> tuple[Answer, dict[str, Any]]:
    made = await register_synthetic(session.catalogue, process, rows, STATE)
    answer = await answer_effect(session, EffectQuestion(dataset=made.record.dataset_id, **question))
    return answer, read_truth(made.record)


def verdict(answer: Answer) -> Verdict:
    return Verdict(str(answer.run.verdict))


def covers(answer: Answer, value: float) -> bool:
    assert answer.analysis is not None
    assert answer.analysis.primary is not None
    return answer.analysis.primary.ci.covers(value)


@pytest.mark.parametrize(
    ("process", "rows"),
    [
        ("simple_linear", ROWS),
        ("confounded", ROWS),
        ("heterogeneous", ROWS),
        ("selection_bias", ROWS),
        ("instrument_available", 12_000),
        ("collider_trap", ROWS),
    ],
)
async def test_an_identifiable_effect_is_supported_and_covers_the_truth(
    session: Session, process: str, rows: int
) -> None:
    answer, truth = await answer_on(session, process, rows=rows)
    assert verdict(answer) is Verdict.SUPPORTED
    assert covers(answer, truth["ate"])


async def test_a_delayed_effect_is_found_at_its_lag(session: Session) -> None:
    answer, truth = await answer_on(session, "time_series")
    assert verdict(answer) is Verdict.SUPPORTED
    assert covers(answer, truth["ate"])
    assert answer.analysis is not None
    assert answer.analysis.primary is not None
    assert answer.analysis.primary.estimand is Estimand.LAG


async def test_no_effect_is_not_claimed(session: Session) -> None:
    answer, _ = await answer_on(session, "null_effect")
    assert verdict(answer) is Verdict.NO_DETECTABLE_EFFECT
    assert covers(answer, 0.0)


async def test_without_overlap_there_is_no_number(session: Session) -> None:
    answer, _ = await answer_on(session, "positivity_violation")
    assert verdict(answer) is Verdict.NOT_IDENTIFIED
    assert answer.analysis is not None
    assert answer.analysis.overlap is not None
    assert not answer.analysis.overlap.adequate
    trimmed, _ = await answer_on(session, "positivity_violation", trim=True)
    assert trimmed.analysis is not None
    assert trimmed.analysis.primary is not None
    assert trimmed.analysis.primary.estimand is Estimand.ATE_TRIMMED


async def test_a_declared_hidden_confounder_is_refused_even_when_other_columns_are_named(session: Session) -> None:
    for confounders in ((), ("severity", "academic")):
        answer, _ = await answer_on(session, "unobserved_confounder", confounders=confounders)
        assert verdict(answer) is Verdict.NOT_IDENTIFIED


async def test_an_undeclared_hidden_confounder_is_never_a_confident_effect(session: Session, tmp_path: Path) -> None:
    made = await register_synthetic(session.catalogue, "unobserved_confounder", ROWS, STATE)
    loaded = await session.catalogue.load(made.record)
    path = tmp_path / "no_graph.csv"
    loaded.frame.to_csv(path, index=False)
    question = EffectQuestion(data=path, treatment="treatment", outcome="outcome", confounders=("severity", "academic"))
    answer = await answer_effect(session, question)
    assert answer.analysis is not None
    conclusion = answer.analysis.conclusion
    assert verdict(answer) is not Verdict.SUPPORTED or conclusion.confidence == "low"
    assert any("hidden" in line or "confounder" in line for line in (*conclusion.warnings, *conclusion.reasons))


async def test_adjusting_for_the_collider_only_is_refused_with_its_role(session: Session) -> None:
    answer, truth = await answer_on(session, "collider_trap", confounders=("engagement_score",))
    assert answer.analysis is not None
    assert "engagement_score" in {node.name for node in answer.analysis.identification.excluded}
    assert answer.analysis.primary is None or covers(answer, truth["ate"])


async def test_a_measured_common_cause_left_out_is_association_only(session: Session, tmp_path: Path) -> None:
    made = await register_synthetic(session.catalogue, "confounded", ROWS, STATE)
    path = tmp_path / "confounded.csv"
    (await session.catalogue.load(made.record)).frame.to_csv(path, index=False)
    question = EffectQuestion(data=path, treatment="treatment", outcome="outcome", confounders=("academic",))
    answer = await answer_effect(session, question)
    assert verdict(answer) is Verdict.ASSOCIATION_ONLY
    assert answer.analysis is not None
    assert [finding.column for finding in answer.analysis.confounding] == ["severity"]


@pytest.mark.parametrize("question", PANEL_QUESTIONS, ids=lambda question: question.kind)
async def test_the_panel_questions_are_answered_as_the_truth_says(session: Session, question: PanelQuestion) -> None:
    made = await register_panel(session.catalogue, session.database, 1_500, 42)
    understood = read_question(question.text)
    assert not isinstance(understood, Clarification)
    answer = await answer_question(session, question.text, understood, dataset=PANEL_NAME)
    wanted = (question.treatment, question.outcome, question.brand, question.region)
    truth = next(
        effect["effect"]
        for effect in read_truth(made.record)["effects"]
        if (effect["treatment"], effect["outcome"], effect["brand"], effect["region"]) == wanted
    )
    expected = {
        "exists": Verdict.SUPPORTED,
        "absent": Verdict.NO_DETECTABLE_EFFECT,
        "not_identified": Verdict.NOT_IDENTIFIED,
        "randomized": Verdict.SUPPORTED,
    }
    assert verdict(answer) is expected[question.kind]
    if question.kind != "not_identified":
        assert covers(answer, truth)


async def test_an_answer_leaves_its_whole_trail(session: Session) -> None:
    answer, _ = await answer_on(session, "confounded")
    trace = {"trace": answer.run.trace_id}
    assert await session.tracer.flush()
    spans = await session.database.fetch("SELECT * FROM ml_observability_spans WHERE trace_id = %(trace)s", trace)
    assert {span["operation_type"] for span in spans} >= {"run", "graph_builder", "estimation", "interpretation"}
    assert {span["agent_name"] for span in spans} == {"causal_impact"}
    activities = await session.database.fetch("SELECT * FROM agent_activities WHERE trace_id = %(trace)s", trace)
    assert [activity["status"] for activity in activities] == ["completed"]
    assert answer.analysis is not None
    assert answer.analysis.primary is not None
    selected = await session.database.fetchrow("SELECT * FROM estimator_evaluations WHERE selected")
    assert selected is not None
    assert selected["ate"] == answer.analysis.primary.value
    validations = await session.database.fetch("SELECT * FROM causal_validations")
    assert answer.analysis.refutation is not None
    assert {row["test_name"] for row in validations} == {test.name for test in answer.analysis.refutation.tests}


async def test_a_stored_answer_comes_back_equal_and_repeats_bit_for_bit(session: Session) -> None:
    answer, _ = await answer_on(session, "confounded")
    assert await load_answer(session, answer.run.run_id) == answer
    comparison = await rerun_answer(session, answer.run.run_id)
    assert comparison.identical
    assert comparison.differences == ()


async def test_a_run_that_another_process_works_on_is_not_claimed(session: Session) -> None:
    async with session.claim("one-run") as mine, session.claim("one-run") as theirs:
        assert mine
        assert not theirs


async def test_a_column_said_to_come_after_the_treatment_is_not_adjusted_for(session: Session, tmp_path: Path) -> None:
    made = await register_synthetic(session.catalogue, "collider_trap", ROWS, STATE)
    path = tmp_path / "collider.csv"
    (await session.catalogue.load(made.record)).frame.to_csv(path, index=False)
    named = {"data": path, "treatment": "treatment", "outcome": "outcome", "post_treatment": ("engagement_score",)}
    question = EffectQuestion(confounders=("severity", "academic", "engagement_score"), **named)
    answer = await answer_effect(session, question)
    assert answer.analysis is not None
    assert answer.analysis.primary is not None
    assert "engagement_score" not in answer.analysis.primary.adjusted_for
    assert covers(answer, read_truth(made.record)["ate"])


async def test_an_interrupted_run_of_other_code_is_given_up_not_finished(session: Session) -> None:
    answer, _ = await answer_on(session, "confounded")
    interrupted = replace(
        answer.run, run_id=str(uuid7()), code_version="0.0.0+src.other", status="running", ended_at=None,
        verdict=None, analysis=None,
    )  # fmt: skip
    await session.runs.start(interrupted)
    assert await resume_answers(session, None) == []
    given_up = await session.runs.get(interrupted.run_id)
    assert (given_up.status, given_up.error_type) == ("failed", "Interrupted")


@pytest.mark.parametrize(
    ("error", "status"), [(DatabaseUnavailable("gone"), "running"), (RuntimeError("a defect"), "failed")]
)
async def test_an_outage_leaves_a_run_to_resume_and_a_defect_ends_it(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    async def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(CausalImpactAgent, "run", broken)
    with pytest.raises(type(error)):
        await answer_on(session, "confounded")
    assert [run.status for run in await session.runs.recent()] == [status]
