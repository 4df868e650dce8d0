"""Can the scores of an answer be read from its trace in the database and in Opik, whatever was away meanwhile?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from src.rag.opik_integration import PROJECT, OpikEvaluationTracer, log_ragas_scores_to_opik, log_rubric_scores_to_opik
from src.scripted_servers.opik import ScriptedOpik
from src.storage.database import Database
from src.storage.traces import TraceRepository
from tests.integration.observed import Observed
from tests.opik_contract import problem, sdk_types
from tests.unit.test_rag.evaluated import result, rubric

RAGAS = {"faithfulness": 0.8, "answer_relevancy": 0.9, "context_recall": 1.0}


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    sdk_types()
    with ScriptedOpik(validate=problem) as server:
        yield server


@pytest.fixture
async def observed(database_url: str, opik: ScriptedOpik, tmp_path: Path) -> AsyncIterator[Observed]:
    world = Observed(database_url, opik, tmp_path / "spool")
    yield world
    for connector in world.opened:
        await connector.shutdown(2)


async def stored(url: str, trace_id: str) -> dict[str, float]:
    async with Database.open(url) as database:
        return {one.name: one.value for one in (await TraceRepository(database).trace(trace_id)).feedback}


def mirrored(observed: Observed, trace_id: str) -> dict[str, float]:
    return {name: score["value"] for name, score in observed.opik.scores(trace_id).items()}


async def test_scores_given_after_the_answer_stand_on_its_trace_in_both_stores(observed: Observed) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "answer") as answer:
        pass
    assert await connector.flush()
    log_ragas_scores_to_opik(answer.trace_id, result(), connector=connector)
    log_rubric_scores_to_opik(answer.trace_id, rubric(), connector=connector)
    assert await connector.flush()
    assert await stored(observed.url, answer.trace_id) == mirrored(observed, answer.trace_id)
    assert mirrored(observed, answer.trace_id).items() >= RAGAS.items()
    assert mirrored(observed, answer.trace_id)["rubric_weighted"] == 0.75


async def test_scores_given_while_opik_is_down_arrive_when_it_is_back(observed: Observed) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "answer") as answer:
        pass
    assert await connector.flush()
    with observed.opik.down():
        log_ragas_scores_to_opik(answer.trace_id, result(), connector=connector)
        assert not await connector.flush(0.5)
        assert await stored(observed.url, answer.trace_id) == RAGAS
        assert mirrored(observed, answer.trace_id) == {}
    assert await connector.flush()
    assert mirrored(observed, answer.trace_id) == RAGAS


async def test_scores_left_behind_by_one_process_are_delivered_by_the_next(observed: Observed) -> None:
    first = observed.connect()
    async with first.trace_agent("explainer", "answer") as answer:
        pass
    assert await first.flush()
    with observed.opik.down():
        log_ragas_scores_to_opik(answer.trace_id, result(), connector=first)
        assert await first.accepted()
        await first.shutdown(0.2)
    second = observed.connect()
    assert await second.flush()
    assert mirrored(observed, answer.trace_id) == RAGAS


async def test_judging_again_shows_the_latest_scores_in_opik_and_keeps_both_in_the_database(
    observed: Observed,
) -> None:
    connector = observed.connect()
    async with connector.trace_agent("explainer", "answer") as answer:
        pass
    log_ragas_scores_to_opik(answer.trace_id, result(), connector=connector)
    assert await connector.flush()
    log_ragas_scores_to_opik(answer.trace_id, result(faithfulness=0.3), connector=connector)
    assert await connector.flush()
    assert mirrored(observed, answer.trace_id)["faithfulness"] == 0.3
    async with Database.open(observed.url) as database:
        given = (await TraceRepository(database).trace(answer.trace_id)).feedback
    assert [one.value for one in given if one.name == "faithfulness"] == [0.8, 0.3]


async def test_an_evaluation_is_shown_in_its_own_project_with_its_scores(observed: Observed) -> None:
    connector = observed.connect()
    tracer = OpikEvaluationTracer(connector=connector)
    async with tracer.trace_evaluation("run 1") as run, tracer.trace_sample_evaluation("s1", run, "why?") as sample:
        sample.log_ragas_scores(result())
    assert await connector.flush()
    spans = observed.mirrored(run.trace_id)
    assert {span["project_name"] for span in spans.values()} == {PROJECT}
    assert observed.opik.traces[run.trace_id]["project_name"] == PROJECT
    assert spans["sample_evaluation"]["parent_span_id"] == run.span_id
    scores = observed.opik.scores(sample.span_id, "spans")
    assert {name: score["value"] for name, score in scores.items()} == RAGAS
    assert {score["project_name"] for score in _sent_scores(observed.opik)} == {PROJECT}


def _sent_scores(opik: ScriptedOpik) -> list[dict[str, str]]:
    requests = opik.requests_to("/v1/private/spans/feedback-scores")
    return [score for request in requests for score in request.json["scores"]]
