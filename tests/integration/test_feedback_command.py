"""`e2i feedback`, `e2i evaluate` and answers from documents, as a user calls them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from src.mlops.tracing.ids import uuid7
from src.storage.database import Database
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.traces import TraceRepository
from tests.e2e.command_line import Finished, SameProcess

TRACE = str(uuid7())


@pytest.fixture
def e2i(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> SameProcess:
    """The commands on a database with one answer."""
    given = Interaction(
        trace_id=TRACE,
        query="What is planned for Kisqali?",
        answer="Two more calls a month are planned for Kisqali. [1]",
        contexts=[{"chunk_id": "c1", "score": 1.0, "text": "Two more calls a month are planned for Kisqali."}],
        citations=[{"marker": 1, "chunk_id": "c1"}],
        agents=["orchestrator"],
    )

    async def fill() -> None:
        async with Database.open(database_url) as database:
            await InteractionRepository(database).add(given)

    asyncio.run(fill())
    monkeypatch.setenv("E2I_EMBEDDINGS", "none")
    return SameProcess(tmp_path / "var", database_url)


def scores(url: str) -> dict[str, float]:
    async def read() -> dict[str, float]:
        async with Database.open(url) as database:
            return {one.name: one.value for one in await TraceRepository(database).feedback(TRACE)}

    return asyncio.run(read())


def test_a_rating_and_a_correction_are_kept_and_the_trace_is_scored(e2i: SameProcess) -> None:
    done = e2i("feedback", TRACE[:13], "--rating", "2", "--correct", "Three more calls.", "--json")
    assert (done.code, set(done.document["signals"])) == (0, {"rating", "correction"})
    assert scores(e2i.dsn) == {"user_rating": 0.25}
    listed = e2i("feedback", "--list", "--json").document
    assert {(one["kind"], one["value"], one["text"]) for one in listed} == {
        ("rating", 2.0, ""),
        ("correction", None, "Three more calls."),
    }


def test_said_again_it_replaces_what_was_said_before(e2i: SameProcess) -> None:
    assert e2i("feedback", TRACE, "--rating", "2", "--thumbs", "down").code == 0
    assert e2i("feedback", TRACE, "--rating", "5", "--thumbs", "up").code == 0
    listed = e2i("feedback", "--list", "--json").document
    assert {(one["kind"], one["value"]) for one in listed} == {("rating", 5.0), ("thumbs_up", 1.0)}


def test_what_was_said_last_is_listed_first(e2i: SameProcess) -> None:
    for said in (("--rating", "2"), ("--thumbs", "up"), ("--rating", "3")):
        assert e2i("feedback", TRACE, *said).code == 0
    assert [one["kind"] for one in e2i("feedback", "--list", "--json").document] == ["rating", "thumbs_up"]


def test_a_question_that_looks_like_markup_is_printed_as_it_is(e2i: SameProcess) -> None:
    query = "What is planned for [/bold] of [red]?"

    async def rename() -> None:
        async with Database.open(e2i.dsn) as database:
            await database.execute("UPDATE rag_interactions SET query = %s", (query,))

    asyncio.run(rename())
    done = e2i("feedback", TRACE, "--rating", "4")
    assert done.code == 0
    assert query in " ".join(done.out.split())
    assert "[/bold]" in e2i("feedback", "--list").out


def test_an_answer_stays_to_be_scored_when_the_judge_cannot_be_had(e2i: SameProcess) -> None:
    refused = e2i("evaluate", "pending", "--provider", "anthropic")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert len(e2i("evaluate", "pending", "--json").document["scored"]) == 1


def test_answers_outside_the_sample_are_scored_with_all(e2i: SameProcess) -> None:
    async def leave_out() -> None:
        async with Database.open(e2i.dsn) as database:
            await database.execute("UPDATE rag_interactions SET sampled = false")

    asyncio.run(leave_out())
    assert e2i("evaluate", "pending", "--json").document == {"scored": [], "failed": [], "waiting": 0}
    assert len(e2i("evaluate", "pending", "--all", "--json").document["scored"]) == 1


def test_a_rated_answer_is_scored_again_and_a_low_rating_demands_a_suggestion(e2i: SameProcess) -> None:
    assert e2i("evaluate", "show", TRACE).code == 1
    assert e2i("evaluate", "pending", "--json").document["waiting"] == 0
    before = e2i("evaluate", "show", TRACE, "--json").document
    assert before["user_rating"] is None
    assert e2i("feedback", TRACE, "--rating", "1").code == 0
    again = e2i("evaluate", "pending", "--json").document
    assert (len(again["scored"]), again["waiting"]) == (1, 0)
    after = e2i("evaluate", "show", TRACE, "--json").document
    assert after["user_rating"] == 1
    applied = after["evaluation"]["details"]["rubric"]["overrides_applied"]
    assert len(applied) == len(before["evaluation"]["details"]["rubric"]["overrides_applied"]) + 1
    assert "faithfulness" in e2i("evaluate", "show", TRACE).out


WRONG = [
    pytest.param((), "e2i feedback RUN", id="no answer"),
    pytest.param((TRACE,), "--rating 1..5", id="nothing said"),
    pytest.param((TRACE, "--rating", "6"), "from 1 (wrong) to 5", id="off the scale"),
    pytest.param((TRACE, "--thumbs", "sideways"), "up or down", id="no thumb"),
    pytest.param((TRACE, "--correct", " "), "is empty", id="empty"),
    pytest.param((TRACE, "--correct", "ask ana.lima@example.org"), "e-mail address", id="names a person"),
    pytest.param(("ffffffff", "--rating", "3"), "no run has the id", id="unknown"),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG)
def test_what_cannot_be_kept_is_one_line_and_nothing_is_written(
    e2i: SameProcess, arguments: tuple[str, ...], line: str
) -> None:
    done = e2i("feedback", *arguments)
    assert (done.code, done.out) == (2, "")
    assert line in done.err
    assert done.err.count("\n") == 1
    assert "ana.lima" not in done.err
    assert e2i("feedback", "--list", "--json").document == []
    assert scores(e2i.dsn) == {}


async def _questions(url: str) -> dict[str, str]:
    """The questions that are kept, declined ones among them, by the id of their answer."""
    async with Database.open(url) as database:
        rows = await database.fetch("SELECT interaction_id::text AS id, query FROM rag_interactions")
        return {row["id"]: row["query"] for row in rows}


def ask(e2i: SameProcess, question: str) -> Finished:
    return e2i("ask", question, "--json")


def test_what_is_no_causal_question_is_answered_from_the_documents_or_declined(
    e2i: SameProcess, tmp_path: Path
) -> None:
    refused = ask(e2i, "What is an E-value?")
    assert refused.code == 2
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "values.md").write_text(
        "# E-value\n\nAn E-value is the least strength an unmeasured confounder needs to explain an effect away.\n"
    )
    assert e2i("corpus", "add", str(notes)).code == 0
    answer = ask(e2i, "What is an E-value?").document
    assert answer["declined"] is None
    assert answer["findings"][0]["headline"].startswith("An E-value is the least strength")
    unanswered = ask(e2i, "Which territories lead Remibrutinib sales?")
    assert unanswered.code == 1
    assert unanswered.document["findings"][0]["reason"] == "no document was found for this question"
    assert "no document was found for this question" in unanswered.document["answer"]
    waiting = e2i("evaluate", "pending", "--all", "--json").document
    kept = asyncio.run(_questions(e2i.dsn))
    assert sorted(kept.values()) == [
        "What is an E-value?",
        "What is an E-value?",
        "What is planned for Kisqali?",
        "Which territories lead Remibrutinib sales?",
    ]
    assert sorted(waiting["scored"]) == sorted(kept)
    shown = e2i("evaluate", "show", answer["trace_id"], "--json").document
    assert shown["evaluation"]["ragas"]["faithfulness"] > 0.8


def test_a_criterion_that_does_not_apply_is_shown_with_the_reason(e2i: SameProcess) -> None:
    assert e2i("evaluate", "pending").code == 0
    shown = " ".join(e2i("evaluate", "show", TRACE).out.split())
    assert "causal validity not measured does not apply" in shown


@pytest.fixture
def adoption(e2i: SameProcess, tmp_path: Path) -> SameProcess:
    """The commands with one document on what drives adoption."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "fabhalta.md").write_text(
        "# Fabhalta\n\nAdoption of Fabhalta was driven by peer recommendations in 2025.\n"
    )
    assert e2i("corpus", "add", str(notes)).code == 0
    return e2i


async def _kept(url: str, trace_id: str) -> Interaction:
    async with Database.open(url) as database:
        return await InteractionRepository(database).find(trace_id)


def test_where_there_are_no_data_documents_answer_and_the_missing_estimate_is_named(adoption: SameProcess) -> None:
    done = adoption("ask", "What drives the adoption of Fabhalta?", "--for", "executive", "--json")
    assert done.code == 0
    (finding,) = done.document["findings"]
    assert "peer recommendations" in finding["headline"]
    assert "causal_impact" in " ".join(done.document["meta"]["degraded"])
    kept = asyncio.run(_kept(adoption.dsn, done.document["trace_id"]))
    assert kept.user_expertise == "executive"


def test_where_neither_data_nor_documents_answer_both_are_named(adoption: SameProcess) -> None:
    done = ask(adoption, "What drives the adoption of Kisqali?")
    assert done.code == 1
    assert "hcp_month_panel" in done.document["answer"]
    assert done.document["confidence"] is None or done.document["confidence"] < 0.5


def test_an_unclear_question_is_asked_back(adoption: SameProcess) -> None:
    done = ask(adoption, "Is it working for Kisqali?")
    assert done.code == 1
    assert done.document["clarification"]
    assert done.document["options"]


def test_a_question_for_clinical_advice_is_declined_and_never_asked_back(adoption: SameProcess) -> None:
    done = ask(adoption, "Should I prescribe Fabhalta to my patient?")
    assert done.code == 1
    assert "clinical advice" in done.document["answer"]


def test_no_person_named_in_a_question_is_kept_or_shown(adoption: SameProcess) -> None:
    done = ask(adoption, "Did Dr. Ana Lima (ana.lima@example.org, PAT-00123) name the adoption of Fabhalta in 2025?")
    kept = asyncio.run(_kept(adoption.dsn, done.document["trace_id"]))
    for private in ("lima", "example.org", "00123"):
        assert private not in f"{kept.query} {kept.answer} {kept.declined}".lower()
        assert private not in done.out.lower()
    assert "Fabhalta" in kept.query


def test_an_unknown_reader_is_one_line(e2i: SameProcess) -> None:
    done = e2i("ask", "What is an E-value?", "--for", "everybody")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "executive, analyst, data_scientist" in done.err


def test_an_unknown_judge_is_one_line(e2i: SameProcess) -> None:
    done = e2i("evaluate", "pending", "--provider", "oracle")
    assert done.code == 2
    assert "there is no judge 'oracle'" in done.err
