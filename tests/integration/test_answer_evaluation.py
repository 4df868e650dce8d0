"""Is every answer that was given scored, once, and can the scores be read where the answer is?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from src.app import answer_evaluation
from src.app.answer_evaluation import evaluate_pending, evaluate_soon, scored_answer
from src.app.effects import answer_effect
from src.app.generated_data import register_synthetic
from src.app.interactions import answer_words, evidence_of
from src.app.questions import EffectQuestion
from src.app.session import open_session
from src.domain.rubric import CRITERIA
from src.errors import RunNotFound
from src.llm.detection import detect_provider
from src.mlops.opik_connector import get_opik_connector, reset_opik_connector
from src.mlops.tracing.ids import uuid7
from src.rag.configuration import load_rag_config
from src.scripted_servers.opik import ScriptedOpik
from src.storage import interactions as stored_interactions
from src.storage.database import Database
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.traces import TraceRepository

GOOD = "Rep calls raised new prescriptions of Kisqali in the Northeast by 0.353 per call (0.308 to 0.398)."
CONTEXT = {"chunk_id": "c1", "score": 1.0, "text": f"{GOOD} The placebo refutation passed."}


def interaction(**changes: Any) -> Interaction:
    known = {
        "trace_id": str(uuid7()),
        "query": "Did rep calls raise new prescriptions of Kisqali in the Northeast?",
        "answer": f"{GOOD} [1]",
        "contexts": [CONTEXT],
        "citations": [{"marker": 1, "chunk_id": "c1"}],
        "agents": ["orchestrator"],
        "brand": "Kisqali",
    }
    return Interaction(**known | changes)


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> AsyncIterator[Database]:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("E2I_EVALUATION_RATE", "1")
    reset_opik_connector()
    async with Database.open(database_url) as opened:
        yield opened
    reset_opik_connector()


@pytest.fixture
def opik(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedOpik]:
    with ScriptedOpik() as server:
        monkeypatch.setenv("OPIK_ENABLED", "true")
        monkeypatch.setenv("OPIK_ENDPOINT", server.url)
        yield server


async def test_a_waiting_answer_is_scored_once_and_its_trace_carries_the_scores(database: Database) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)
    report = await evaluate_pending()
    assert (report.scored, report.failed, report.waiting) == ((given.interaction_id,), (), 0)
    assert (await evaluate_pending()).scored == ()
    assert await get_opik_connector().flush()
    feedback = {one.name: one.value for one in await TraceRepository(database).feedback(given.trace_id)}
    found = await scored_answer(given.trace_id)
    assert found.evaluation is not None
    assert feedback["faithfulness"] == found.evaluation.ragas["faithfulness"]
    assert feedback["combined_score"] == pytest.approx(found.evaluation.combined_score)
    assert feedback.keys() >= {f"rubric_{name}" for name in CRITERIA}
    assert (found.evaluation.method, found.evaluation.component) == ("heuristic", "orchestrator")
    assert found.interaction.evaluated_at is not None
    assert set(found.evaluation.unmeasured) == {"context_recall", "answer_correctness"}


async def test_scores_reach_opik_with_the_answers_own_trace(database: Database, opik: ScriptedOpik) -> None:
    connector = get_opik_connector()
    connector.use_database(lambda: database.dsn)
    async with connector.trace_agent("orchestrator", "rag_answer") as span:
        pass
    await InteractionRepository(database).add(interaction(trace_id=span.trace_id))
    with opik.down():
        await evaluate_pending()
    assert await connector.flush()
    scores = opik.scores(span.trace_id)
    assert scores.keys() >= {"faithfulness", "answer_relevancy", "context_precision", "rubric_weighted"}
    assert not any("Northeast" in str(score.get("reason")) for score in scores.values())


async def test_two_workers_share_the_answers_that_wait(database: Database) -> None:
    repository = InteractionRepository(database)
    for number in range(6):
        await repository.add(interaction(query=f"question {number}?"))
    first, second = await asyncio.gather(repository.claim(4), repository.claim(4))
    assert len({one.interaction_id for one in (*first, *second)}) == len(first) + len(second) == 6


async def test_a_claim_whose_worker_is_gone_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = InteractionRepository(database)
    await repository.add(interaction())
    assert len(await repository.claim(1)) == 1
    assert await repository.claim(1) == []
    monkeypatch.setattr(stored_interactions, "STALE", timedelta(0))
    assert len(await repository.claim(1)) == 1


async def test_an_answer_that_cannot_be_scored_stays_to_be_scored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)
    monkeypatch.setattr(answer_evaluation.EvaluationRepository, "store", _refuses)
    report = await evaluate_pending()
    assert report.scored == ()
    assert report.failed[0][0] == given.interaction_id
    assert "RunNotFound" in report.failed[0][1]
    monkeypatch.undo()
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    assert (await evaluate_pending()).scored == (given.interaction_id,)


async def _refuses(*_: Any) -> str:
    raise RunNotFound("away")


async def test_only_the_sampled_share_of_answers_is_scored_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)
    monkeypatch.setenv("E2I_EVALUATION_RATE", "0")
    assert not await evaluate_soon(given.trace_id)
    monkeypatch.setenv("E2I_EVALUATION_RATE", "1")
    assert await evaluate_soon(given.trace_id)
    assert (await scored_answer(given.trace_id)).evaluation is not None


async def test_scoring_that_takes_too_long_leaves_the_answer_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)

    async def for_ever(*_: Any) -> str:
        await asyncio.sleep(3600)
        return ""

    monkeypatch.setattr(answer_evaluation.AnswerScorer, "score", for_ever)
    settings = load_rag_config()
    hurried = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"drain_seconds": 1.0})})
    monkeypatch.setattr(answer_evaluation, "load_rag_config", lambda: hurried)
    assert not await evaluate_soon(given.trace_id)
    assert [one.trace_id for one in await InteractionRepository(database).claim(1)] == [given.trace_id]


async def test_an_answer_nobody_kept_is_no_reason_to_fail(database: Database) -> None:
    assert not await evaluate_soon(str(uuid7()))


async def test_the_same_answer_is_kept_once(database: Database) -> None:
    given = interaction()
    repository = InteractionRepository(database)
    await repository.add(given)
    await repository.add(replace(given, answer="another"))
    assert (await repository.find(given.trace_id)).answer == given.answer
    assert await repository.waiting() == 1


@pytest.mark.parametrize("reference", ["", "abc", "zzzzzz", "%%%%%%", "ffffffff"])
async def test_an_id_that_names_no_answer_is_one_clear_line(database: Database, reference: str) -> None:
    with pytest.raises(RunNotFound, match="id"):
        await InteractionRepository(database).find(reference)


async def test_a_causal_answer_is_kept_with_the_facts_it_rests_on(database: Database) -> None:
    async with open_session() as session:
        made = await register_synthetic(session.catalogue, "simple_linear", 600, 3)
        answer = await answer_effect(
            session,
            EffectQuestion(dataset=made.record.dataset_id, treatment="treatment", outcome="outcome", randomized=True),
        )
    assert answer.analysis is not None
    kept = await InteractionRepository(database).find(answer.run.run_id)
    assert kept.trace_id == answer.run.trace_id
    assert kept.answer == answer_words(answer.analysis)
    assert [one["text"] for one in kept.contexts] == evidence_of(answer.analysis)
    assert (kept.component, kept.citations) == ("causal_impact", [{"run_id": answer.run.run_id}])
    assert answer.analysis.primary is not None
    assert any(f"{answer.analysis.primary.value:.4g}" in one["text"] for one in kept.contexts)
    assert await evaluate_soon(answer.run.trace_id)
    assert (await scored_answer(answer.run.run_id)).evaluation is not None


def test_these_tests_reach_no_model() -> None:
    from src.llm.configuration import load_llm_config

    assert detect_provider(load_llm_config()) == "none"
