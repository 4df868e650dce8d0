"""Is every answer that was given scored, once, and can the scores be read where the answer is?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from src.app import answer_evaluation
from src.app.answer_evaluation import evaluate_pending, evaluate_soon, scored_answer
from src.app.effects import answer_effect
from src.app.generated_data import register_synthetic
from src.app.interactions import answer_words, evidence_of, keep
from src.app.questions import EffectQuestion
from src.app.session import open_session
from src.app.user_feedback import Feedback, give_feedback
from src.domain.rubric import CRITERIA
from src.errors import ConfigError, RunNotFound
from src.llm.detection import detect_provider
from src.mlops.opik_connector import get_opik_connector, reset_opik_connector
from src.mlops.tracing.ids import uuid7
from src.rag.configuration import load_rag_config
from src.rag.evaluation_report import result_of
from src.rag.evaluator import RAGASEvaluator
from src.rag.heuristics.scoring import heuristic_scores
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.opening import Scored
from src.rag.samples import EvaluationSample
from src.rag.scores import EvaluationResult
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.opik import ScriptedOpik
from src.storage import interactions as stored_interactions
from src.storage.database import Database
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.traces import TraceRepository
from src.storage.user_signals import UserSignalRepository

HELD = "SELECT count(*) AS held FROM rag_interactions WHERE evaluation_claimed_at IS NOT NULL"
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


def configure(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change settings of the evaluation."""
    settings = load_rag_config()
    changed = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=changes)})
    monkeypatch.setattr(answer_evaluation, "load_rag_config", lambda: changed)


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


async def test_a_judge_that_cannot_be_had_holds_no_answer(database: Database) -> None:
    repository = InteractionRepository(database)
    await repository.add(interaction())
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        await evaluate_pending(provider="anthropic")
    assert len(await repository.claim(10)) == 1


async def test_a_judge_that_opens_too_slowly_holds_no_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    repository = InteractionRepository(database)
    await repository.add(given)

    @asynccontextmanager
    async def slow(*_: Any) -> AsyncIterator[None]:
        await asyncio.sleep(3600)
        yield

    monkeypatch.setattr(answer_evaluation, "open_scorer", slow)
    configure(monkeypatch, drain_seconds=1.0)
    assert not await evaluate_soon(given.trace_id)
    assert len(await repository.claim(10)) == 1


async def test_whoever_stops_scoring_gives_every_claim_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = InteractionRepository(database)
    for _ in range(5):
        await repository.add(interaction())
    configure(monkeypatch, max_concurrent=3)
    begun = asyncio.Event()

    async def for_ever(*_: Any) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return ""

    monkeypatch.setattr(answer_evaluation.AnswerScorer, "score", for_ever)
    stopped = asyncio.create_task(evaluate_pending(provider="none"))
    await begun.wait()
    assert await database.fetchrow(HELD) == {"held": 3}
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert await database.fetchrow(HELD) == {"held": 0}


async def test_as_many_answers_are_claimed_and_scored_at_a_time_as_configured(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = InteractionRepository(database)
    for _ in range(7):
        await repository.add(interaction())
    configure(monkeypatch, max_concurrent=3)
    under_way, most_under_way, most_claimed = 0, 0, 0

    async def score(self: answer_evaluation.AnswerScorer, one: Interaction, _: Any) -> str:
        nonlocal under_way, most_under_way, most_claimed
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        row = await database.fetchrow(HELD)
        assert row is not None
        most_claimed = max(most_claimed, row["held"])
        under_way -= 1
        await repository.evaluated(one)
        return one.interaction_id

    monkeypatch.setattr(answer_evaluation.AnswerScorer, "score", score)
    report = await evaluate_pending(provider="none")
    assert (len(report.scored), len(set(report.scored)), report.waiting) == (7, 7, 0)
    assert (most_under_way, most_claimed) == (3, 3)


async def test_a_rating_given_while_the_answer_is_scored_is_not_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)
    read = UserSignalRepository.rating_of

    async def rated_just_after(self: UserSignalRepository, interaction_id: str) -> int | None:
        found = await read(self, interaction_id)
        await give_feedback(given.trace_id, Feedback(rating=1))
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(UserSignalRepository, "rating_of", rated_just_after)
        first = await evaluate_pending(provider="none")
    assert (first.scored, first.failed, first.waiting) == ((), (), 1)
    assert (await scored_answer(given.trace_id)).evaluation is None
    assert (await evaluate_pending(provider="none")).scored == (given.interaction_id,)
    found = (await scored_answer(given.trace_id)).evaluation
    assert found is not None
    assert "low_user_rating" in found.details["rubric"]["overrides_applied"]


async def test_a_worker_whose_claim_was_taken_over_changes_nothing(database: Database) -> None:
    repository = InteractionRepository(database)
    await repository.add(interaction())
    (mine,) = await repository.claim(1)
    await repository.reopen(mine.interaction_id)
    (theirs,) = await repository.claim(1)
    assert not await repository.holds(mine)
    await repository.evaluated(mine)
    await repository.release([mine])
    assert await repository.holds(theirs)
    assert await repository.waiting() == 1
    await repository.evaluated(theirs)
    assert await repository.waiting() == 0


async def test_answers_outside_the_sample_are_scored_on_demand_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, rated = interaction(), interaction()
    monkeypatch.setenv("E2I_EVALUATION_RATE", "0")
    for one in (first, rated):
        assert await keep(database, one)
        assert not await evaluate_soon(one.trace_id)
    monkeypatch.setenv("E2I_EVALUATION_RATE", "1")
    assert (await evaluate_pending(provider="none")).scored == ()
    await give_feedback(rated.trace_id, Feedback(rating=4))
    assert (await evaluate_pending(provider="none")).scored == (rated.interaction_id,)
    assert (await evaluate_pending(provider="none", unsampled=True)).scored == (first.interaction_id,)


async def test_the_rubric_spends_from_the_budget_of_the_evaluation(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = interaction()
    await InteractionRepository(database).add(given)
    limits = EvaluationConfig(max_dollars=1e-9)
    monkeypatch.setattr(answer_evaluation, "EvaluationConfig", lambda: limits)

    async def measured(*_: Any) -> EvaluationResult:
        return without_model(given)

    monkeypatch.setattr(RAGASEvaluator, "scored", measured)
    with ScriptedAnthropic() as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        report = await evaluate_pending(provider="anthropic")
        assert server.requests == []
    assert (report.scored, report.failed) == ((given.interaction_id,), ())
    found = (await scored_answer(given.trace_id)).evaluation
    assert found is not None
    assert found.rubric_method == "heuristic"
    assert "BudgetExhausted" in found.details["rubric"]["notes"][0]


def without_model(given: Interaction) -> EvaluationResult:
    sample = EvaluationSample(given.query, answer=given.answer, retrieved_contexts=(str(CONTEXT["text"]),))
    return result_of(sample, Scored(heuristic_scores(sample)), "heuristic", {}, duration_ms=1.0)


DECLINED = "The documents do not answer this: no document speaks of 2024."
QUOTED = "Kisqali TRx rose 8.4 % to 12,340 in Q2 2025."


async def test_a_fact_quoted_with_its_source_needs_no_change(database: Database) -> None:
    contexts = [CONTEXT | {"text": QUOTED}]
    given = interaction(query="What was the TRx of Kisqali in Q2 2025?", answer=f"{QUOTED} [1]", contexts=contexts)
    await InteractionRepository(database).add(given)
    await evaluate_pending(provider="none")
    found = (await scored_answer(given.trace_id)).evaluation
    assert found is not None
    assert (found.rubric_decision, found.rubric["causal_validity"]) == ("ACCEPTABLE", None)
    assert "does not apply" in found.unmeasured["causal_validity"]
    assert found.improvement_priority not in ("critical", "high")


@pytest.mark.parametrize("contexts", [[], [CONTEXT | {"text": "The sales office in Dover moved house in spring."}]])
async def test_declining_without_a_document_about_it_is_no_fault(
    database: Database, contexts: list[dict[str, Any]]
) -> None:
    given = interaction(
        query="What was the TRx of Kisqali in 2024?", answer=DECLINED, declined="2024", contexts=contexts, citations=[]
    )
    await InteractionRepository(database).add(given)
    assert (await evaluate_pending(provider="none")).failed == ()
    found = (await scored_answer(given.trace_id)).evaluation
    assert found is not None
    assert (found.rubric_decision, found.ragas["answer_relevancy"]) == ("ACCEPTABLE", None)
    assert "rightly is not known" in found.unmeasured["answer_relevancy"]
    assert found.improvement_priority not in ("critical", "high")


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
    configure(monkeypatch, drain_seconds=1.0)
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
