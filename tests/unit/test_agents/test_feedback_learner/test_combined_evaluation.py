"""Do both kinds of score join to one result, and is it stored as it is, once for each answer?"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.domain.rubric import CRITERIA, RubricEvaluation
from src.errors import ContractViolation
from src.mlops.scoring import RAGAS_WEIGHTS, calculate_combined_score, weighted_mean_of_present
from src.mlops.tracing.records import Kind
from src.rag.combined import CombinedEvaluationResult, EvaluatedAnswer
from src.rag.scores import METRICS, Cost, EvaluationResult, Metric, MetricScore, unmeasured
from src.storage.evaluation_results import EvaluationRepository
from src.storage.gateway import TableGateway, Where
from tests.traces import memory_connector
from tests.unit.test_agents.test_feedback_learner.parts import QUOTE, by, config, context
from tests.unit.test_agents.test_feedback_learner.rubric_pairs import SOUND

pytestmark = pytest.mark.integration

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
MEASURED: dict[Metric, float | None] = {
    "faithfulness": 0.9, "answer_relevancy": 0.8, "context_precision": 0.7, "context_recall": None,
    "answer_correctness": None,
}  # fmt: skip
CONTEXTS = ({"chunk_id": "c-1", "score": 0.031, "text": "Calls raised TRx."}, {"text": "A run's statement."})


def ragas(values: dict[Metric, float | None] | None = None, **changes: Any) -> EvaluationResult:
    given_values = MEASURED if values is None else values
    scores = {
        name: unmeasured("there is no ground truth") if value is None else MetricScore(value, f"{name} was read")
        for name, value in given_values.items()
    }
    measured = [value for value in given_values.values() if value is not None]
    fields: dict[str, Any] = {
        "sample_id": "s1", "query": "What do calls do?", **given_values, "passed_thresholds": False,
        "overall_score": sum(measured) / len(measured) if measured else None, "failed_metrics": ("context_recall",),
        "method": "heuristic", "scores": scores, "cost": Cost(dollars=0.002),
    }  # fmt: skip
    return EvaluationResult(**(fields | changes))


async def judged(scores: float | dict[str, float] = 4.5, **changes: Any) -> RubricEvaluation:
    return await by(scores).evaluate(context(**changes))


def combined(
    rubric: RubricEvaluation | None, result: EvaluationResult | None = None, at: datetime = AT, run_id: str = "r1"
) -> CombinedEvaluationResult:
    return CombinedEvaluationResult.of(
        ragas() if result is None else result, rubric, run_id=run_id, timestamp=at, evaluation_time_seconds=0.25
    )


async def interaction(gateway: TableGateway, trace_id: str = "trace-1") -> str:
    (row,) = await gateway.insert("rag_interactions", [{"trace_id": trace_id, "query": "q", "answer": SOUND}])
    return str(row["interaction_id"])


def answered(interaction_id: str | None = None, **changes: Any) -> EvaluatedAnswer:
    return EvaluatedAnswer(
        **({"query": "What do calls do?", "answer": SOUND, "contexts": CONTEXTS, "trace_id": "trace-1"} | changes),
        interaction_id=interaction_id,
    )


async def test_the_combined_score_is_that_of_the_shared_formula() -> None:
    found = combined(await judged({**dict.fromkeys(CRITERIA, 4.0), "actionability": 2.0}))
    assert found.ragas_aggregate == weighted_mean_of_present(MEASURED, RAGAS_WEIGHTS)  # type: ignore[arg-type]
    assert found.combined_score == calculate_combined_score(found.ragas, found.rubric_scores)  # type: ignore[arg-type]
    assert found.rubric_weighted == pytest.approx(3.5)
    assert found.combined_score == pytest.approx(0.4 * found.ragas_aggregate + 0.6 * 0.625)


@given(st.fixed_dictionaries({name: st.none() | st.floats(0, 1) for name in METRICS}))
def test_without_the_rubric_the_metrics_alone_count(values: dict[Metric, float | None]) -> None:
    found = combined(None, ragas(values))
    assert found.combined_score == found.ragas_aggregate
    assert (found.rubric_decision, found.rubric_weighted, found.rubric_method) == (None, None, None)
    assert set(found.rubric_scores.values()) == {None}
    measured = sum(value is not None for value in values.values())
    assert len(found.unmeasured) == len(METRICS) - measured + len(CRITERIA)


async def test_without_any_metric_the_rubric_alone_counts() -> None:
    found = combined(await judged(4.0), ragas(dict.fromkeys(METRICS)))
    assert found.ragas_aggregate is None
    assert found.combined_score == pytest.approx(0.75)


async def test_the_dictionary_is_json_without_the_answer() -> None:
    found = combined(await judged()).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert {"run_id", "timestamp", "sample_id", "ragas", "rubric_scores", "combined_score", "method"} <= set(found)
    assert found["ragas"]["context_recall"] is None
    assert found["unmeasured"]["context_recall"] == "there is no ground truth"
    assert QUOTE not in json.dumps(found)


async def test_the_cost_is_that_of_both_judges_and_unknown_when_one_is() -> None:
    rubric = await judged()
    assert combined(rubric).cost_dollars is None, "the scripted judge's model has no price"
    ruled = await RubricEvaluator(config()).evaluate(context())
    assert combined(ruled).cost_dollars == pytest.approx(0.002)


async def test_the_rows_equal_the_object(repository: EvaluationRepository, gateway: TableGateway) -> None:
    found = combined(await judged({**dict.fromkeys(CRITERIA, 4.0), "actionability": 1.5}))
    owner = await interaction(gateway)
    rows = found.to_rows(answered(owner, brand="Kisqali", region="northeast", prompt_version=3))
    assert await repository.store(rows) == rows.signal["signal_id"]
    (signal,) = await gateway.select("learning_signals")
    (result,) = await gateway.select("evaluation_results")
    assert {name: signal[name] for name in rows.signal} == rows.signal
    assert {name: result[name] for name in rows.result} == rows.result
    assert (signal["combined_score"], signal["rubric_decision"]) == (found.combined_score, "SUGGESTION")
    assert signal["rubric_total"] == 17.5
    assert (signal["signal_value"], signal["retrieved_chunks"]) == (found.combined_score, ["c-1"])
    assert result["unmeasured"] == found.unmeasured
    assert result["context_recall"] is None
    assert signal["signal_details"]["rubric"]["criteria"]["actionability"]["evidence_quote"] == QUOTE


async def test_an_evaluation_is_read_back_by_interaction_and_trace(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    found = combined(await judged(2.5))
    owner = await interaction(gateway)
    await repository.store(found.to_rows(answered(owner)))
    read = await repository.of_interaction(owner)
    assert read is not None
    assert (read.ragas, read.rubric) == (found.ragas, found.rubric_scores)
    assert (read.rubric_weighted, read.rubric_decision) == (found.rubric_weighted, "AUTO_UPDATE")
    assert (read.combined_score, read.evaluated_at) == (found.combined_score, AT)
    assert (read.improvement_type, read.improvement_priority) == ("prompt", "high")
    assert (read.method, read.rubric_method, read.rubric_model) == ("heuristic", "llm", "scripted-judge")
    assert read.weaknesses == CRITERIA
    assert await repository.of_trace("trace-1") == [read]
    assert await repository.of_interaction(owner, "orchestrator") is None
    assert await repository.of_trace("another") == []


async def test_a_second_scoring_takes_the_place_of_the_first(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owner = await interaction(gateway)
    first = await repository.store(combined(await judged(2.0)).to_rows(answered(owner)))
    later = combined(await judged(5.0), at=AT + timedelta(hours=1), run_id="r2")
    assert await repository.store(later.to_rows(answered(owner))) == first
    (read,) = await repository.of_trace("trace-1")
    assert (read.rubric_weighted, read.evaluated_at) == (5.0, AT + timedelta(hours=1))
    assert len(await gateway.select("evaluation_results")) == 1


async def test_a_second_scoring_is_new_to_whoever_processes_signals(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    first, second = [await interaction(gateway, f"trace-{n}") for n in range(2)]
    signal_id = await repository.store(combined(await judged(2.0)).to_rows(answered(first)))
    await repository.store(combined(await judged(4.0)).to_rows(answered(second)))
    (before,) = await gateway.select("learning_signals", where=[Where("signal_id", signal_id)])
    await gateway.update("learning_signals", {"processed_at": datetime.now(UTC)}, where=[Where("signal_id", signal_id)])
    await repository.store(combined(await judged(3.0)).to_rows(answered(first)))
    (after,) = await gateway.select("learning_signals", where=[Where("signal_id", signal_id)])
    assert after["processed_at"] is None
    assert after["created_at"] > before["created_at"]
    assert [one.interaction_id for one in await repository.recent("explainer")] == [first, second]


async def test_criteria_that_do_not_apply_are_stored_as_such(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owner = await interaction(gateway)
    rubric = await RubricEvaluator(config(provider="none")).evaluate(context(causal=False))
    found = combined(rubric)
    await repository.store(found.to_rows(answered(owner)))
    (signal,) = await gateway.select("learning_signals")
    assert (signal["rubric_total"], signal["rubric_weighted"]) == (None, found.rubric_weighted)
    assert signal["combined_score"] == found.combined_score
    read = await repository.of_interaction(owner)
    assert read is not None
    assert read.rubric["actionability"] is None
    assert read.unmeasured["actionability"].startswith("does not apply")


async def test_a_signal_that_another_writer_made_is_the_one_that_is_updated(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owner = await interaction(gateway)
    (made,) = await gateway.insert(
        "learning_signals", [{"interaction_id": owner, "component": "explainer", "signal_type": "evaluation"}]
    )
    assert await repository.store(combined(await judged()).to_rows(answered(owner))) == made["signal_id"]
    assert len(await gateway.select("learning_signals")) == 1


async def test_scorings_at_the_same_time_leave_one_evaluation(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owner = await interaction(gateway)
    rows = [combined(await judged(score)).to_rows(answered(owner)) for score in (1.0, 2.0, 3.0, 4.0)]
    assert len(set(await asyncio.gather(*(repository.store(one) for one in rows)))) == 1
    assert len(await gateway.select("evaluation_results")) == 1


async def test_each_component_has_its_own_evaluation(repository: EvaluationRepository, gateway: TableGateway) -> None:
    owner = await interaction(gateway)
    for component in ("explainer", "orchestrator"):
        await repository.store(combined(await judged()).to_rows(answered(owner, component=component)))
    assert len(await repository.of_trace("trace-1")) == 2


async def test_answers_without_an_interaction_are_told_apart_by_run_and_sample(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    for run_id in ("r1", "r1", "r2"):
        await repository.store(combined(await judged(), run_id=run_id).to_rows(answered()))
    assert len(await gateway.select("learning_signals")) == 2


async def test_an_unknown_interaction_is_refused_and_nothing_is_left(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(ContractViolation):
        await repository.store(combined(await judged()).to_rows(answered(unknown)))
    assert await gateway.select("learning_signals") == []


async def test_a_result_that_is_refused_leaves_no_signal(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    rows = combined(await judged()).to_rows(answered(await interaction(gateway)))
    rows.result["faithfulness"] = 1.5
    with pytest.raises(ContractViolation):
        await repository.store(rows)
    assert await gateway.select("learning_signals") == []


async def test_the_last_weaknesses_of_a_component_are_newest_first_without_the_answer_itself(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owners = [await interaction(gateway, f"trace-{n}") for n in range(3)]
    weak = ({"actionability": 2.0}, {"evidence_chain": 2.5}, {})
    for owner, change in zip(owners, weak, strict=True):
        rubric = await judged({**dict.fromkeys(CRITERIA, 4.0), **change})
        await repository.store(combined(rubric).to_rows(answered(owner)))
    assert await repository.recent_weaknesses("explainer") == ((), ("evidence_chain",), ("actionability",))
    assert await repository.recent_weaknesses("explainer", 1, other_than=owners[2]) == (("evidence_chain",),)
    assert await repository.recent_weaknesses("orchestrator") == ()
    assert len(await repository.recent("explainer", 2)) == 2


async def test_an_evaluation_without_the_rubric_is_stored_too(
    repository: EvaluationRepository, gateway: TableGateway
) -> None:
    owner = await interaction(gateway)
    await repository.store(combined(None).to_rows(answered(owner)))
    read = await repository.of_interaction(owner)
    assert read is not None
    assert (read.rubric_decision, read.rubric_method, read.weaknesses) == (None, None, ())
    assert read.unmeasured["actionability"] == "the rubric was not applied"


async def test_opik_is_given_scores_and_no_words_of_the_judge() -> None:
    connector, sink = memory_connector()
    quoted = await judged(4.0)
    names = combined(quoted).log_to_opik(connector, "0192f1aa00007000a000000000000001")
    assert await connector.flush()
    await connector.shutdown()
    given_scores = {score["name"]: score for score in sink.of(Kind.FEEDBACK)}
    assert set(names) == set(given_scores)
    assert {"faithfulness", "rubric_actionability", "rubric_weighted", "combined_score"} <= set(names)
    assert "context_recall" not in names
    assert given_scores["rubric_actionability"]["value"] == pytest.approx(0.75)
    told = " ".join(score["reason"] or "" for score in given_scores.values())
    assert QUOTE not in told
    assert "about actionability" not in told
