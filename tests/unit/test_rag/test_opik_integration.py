"""Do evaluations appear in the traces, and do scores reach the answer that was judged?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from src.domain.rubric import CRITERIA
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import Kind, MemorySink
from src.rag.opik_integration import (
    PROJECT,
    UNMEASURED,
    OpikEvaluationTracer,
    log_ragas_scores_to_opik,
    log_rubric_scores_to_opik,
    report_experiment,
)
from src.rag.samples import EvaluationSample
from src.rag.scores import Aggregate, EvaluationReport
from tests.traces import memory_connector
from tests.unit.test_rag.evaluated import result, rubric

pytestmark = pytest.mark.unit


@pytest.fixture
async def traced() -> AsyncIterator[tuple[OpikConnector, MemorySink]]:
    connector, sink = memory_connector()
    yield connector, sink
    await connector.shutdown(2)


async def spans(connector: OpikConnector, sink: MemorySink) -> dict[str, dict[str, Any]]:
    assert await connector.flush()
    assert find_orphans(sink.spans) == []
    return {span["operation_type"]: span for span in sink.spans}


async def feedback(connector: OpikConnector, sink: MemorySink) -> dict[str, dict[str, Any]]:
    assert await connector.flush()
    return {one["name"]: one for one in sink.of(Kind.FEEDBACK)}


async def test_a_sample_is_a_child_of_its_run_in_a_project_of_its_own(
    traced: tuple[OpikConnector, MemorySink],
) -> None:
    tracer = OpikEvaluationTracer(connector=traced[0])
    async with tracer.trace_evaluation("run 7", {"dataset": "default"}) as run:
        run.set_sample_count(10)
        async with tracer.trace_sample_evaluation("s1", run, "did rep calls help?") as sample:
            pass
    kept = await spans(*traced)
    root, child = kept["rag_evaluation"], kept["sample_evaluation"]
    assert (root["parent_span_id"], child["parent_span_id"]) == (None, root["span_id"])
    assert root["trace_id"] == child["trace_id"] == run.trace_id == sample.trace_id
    assert root["attributes"]["sample_count"] == 10
    assert (root["attributes"]["run_id"], root["attributes"]["dataset"]) == ("run 7", "default")
    assert child["attributes"]["input"] == {"query": "did rep calls help?"}
    assert {span["attributes"]["opik.project_name"] for span in kept.values()} == {PROJECT}


async def test_samples_evaluated_together_stay_children_of_the_run(traced: tuple[OpikConnector, MemorySink]) -> None:
    tracer = OpikEvaluationTracer("another", connector=traced[0])

    async def evaluate(sample_id: str, run: Any) -> None:
        async with tracer.trace_sample_evaluation(sample_id, run):
            await asyncio.sleep(0)

    async with tracer.trace_evaluation("run") as run:
        await asyncio.gather(*(evaluate(f"s{number}", run) for number in range(8)))
    await spans(*traced)
    samples = [span for span in traced[1].spans if span["operation_type"] == "sample_evaluation"]
    assert {span["attributes"]["sample_id"] for span in samples} == {f"s{number}" for number in range(8)}
    assert {span["parent_span_id"] for span in samples} == {run.span_id}
    assert {span["attributes"]["opik.project_name"] for span in samples} == {"another"}


async def test_scores_go_to_the_trace_of_the_answer_under_their_stable_names(
    traced: tuple[OpikConnector, MemorySink],
) -> None:
    tracer, answer = OpikEvaluationTracer(connector=traced[0]), str(uuid7())
    async with tracer.trace_evaluation("run") as run, tracer.trace_sample_evaluation("s1", run) as sample:
        names = sample.log_ragas_scores(result(), answer_trace_id=answer)
    given = await feedback(*traced)
    assert names == list(given) == ["faithfulness", "answer_relevancy", "context_recall"]
    assert {one["trace_id"] for one in given.values()} == {answer}
    assert (given["faithfulness"]["value"], given["faithfulness"]["category"]) == (0.8, "ragas")
    assert given["faithfulness"]["reason"] == "faithfulness: 4 of 5"
    kept = await spans(*traced)
    assert kept["sample_evaluation"]["attributes"][UNMEASURED] == {
        "context_precision": "the judge refused",
        "answer_correctness": "the judge refused",
    }
    assert sample.to_dict()["scores"] == {"faithfulness": 0.8, "answer_relevancy": 0.9, "context_recall": 1.0}


async def test_an_answer_without_a_trace_is_scored_on_the_evaluations_own_span(
    traced: tuple[OpikConnector, MemorySink],
) -> None:
    tracer = OpikEvaluationTracer(connector=traced[0])
    async with tracer.trace_evaluation("run") as run, tracer.trace_sample_evaluation("s1", run) as sample:
        sample.log_rubric_scores(rubric())
    given = await feedback(*traced)
    assert {(one["trace_id"], one["span_id"], one["project"]) for one in given.values()} == {
        (run.trace_id, sample.span_id, PROJECT)
    }


async def test_rubric_scores_lie_between_0_and_1_and_quote_nothing(traced: tuple[OpikConnector, MemorySink]) -> None:
    names = log_rubric_scores_to_opik(str(uuid7()), rubric(4.0), connector=traced[0])
    given = await feedback(*traced)
    assert set(names) == set(given) == {"rubric_weighted", *(f"rubric_{name}" for name in CRITERIA)}
    assert {one["value"] for one in given.values()} == {0.75}
    assert "ACCEPTABLE" in given["rubric_weighted"]["reason"]
    assert not any("Mabel" in one["reason"] or "confounders" in one["reason"] for one in given.values())


async def test_no_number_is_given_for_what_is_none(traced: tuple[OpikConnector, MemorySink]) -> None:
    answer = str(uuid7())
    log_ragas_scores_to_opik(answer, result(faithfulness=None, context_recall=None), connector=traced[0])
    assert set(await feedback(*traced)) == {"answer_relevancy"}


async def test_the_bodys_own_exception_comes_out_unchanged_and_stands_on_the_span(
    traced: tuple[OpikConnector, MemorySink],
) -> None:
    tracer, error = OpikEvaluationTracer(connector=traced[0]), KeyError("ground_truth")
    with pytest.raises(KeyError) as raised:
        async with tracer.trace_evaluation("run") as run, tracer.trace_sample_evaluation("s1", run):
            raise error
    assert raised.value is error
    assert traced[0].circuit_breaker.metrics.failed == 0
    kept = await spans(*traced)
    assert (kept["sample_evaluation"]["status"], kept["sample_evaluation"]["error_type"]) == ("error", "KeyError")


async def test_switched_off_it_records_nothing_and_the_body_runs(traced: tuple[OpikConnector, MemorySink]) -> None:
    tracer = OpikEvaluationTracer(enabled=False, connector=traced[0])
    async with tracer.trace_evaluation("run") as run, tracer.trace_sample_evaluation("s1", run) as sample:
        assert sample.log_ragas_scores(result(), answer_trace_id=str(uuid7())) == []
        run.set_sample_count(3)
    assert await spans(*traced) == {}
    assert await feedback(*traced) == {}
    assert run.to_dict()["sample_count"] == 3


def test_a_report_becomes_an_experiment_over_a_dataset_with_its_version() -> None:
    samples = [EvaluationSample("q1", "truth", ("context",), metadata={"brand": "Kisqali", "secret": "no"})]
    report = EvaluationReport(
        run_id=str(uuid7()),
        timestamp=datetime(2026, 3, 4, tzinfo=UTC),
        dataset_name="default",
        dataset_hash="f" * 64,
        total_samples=1,
        passed_samples=0,
        failed_samples=1,
        unmeasured_samples=1,
        aggregates={
            "faithfulness": Aggregate(0.8, 1, 1, None, 0.8, 0.8),
            "context_recall": Aggregate(None, 0, 1, None, 0.0, 1.0),
        },
        thresholds={"faithfulness": 0.8},
        all_thresholds_passed=False,
        methods={"heuristic": 1},
        results=(),
        evaluation_time_seconds=0.1,
        pipeline_called=True,
    )
    made = report_experiment(report, samples, traces={samples[0].sample_id: "trace"})
    assert made.dataset_name == "default@ffffffffffff"
    assert made.scores == {"faithfulness": 0.8}
    assert made.metadata["coverage"] == {"faithfulness": 1.0, "context_recall": 0.0}
    assert (made.samples[0].trace_id, made.samples[0].data["brand"]) == ("trace", "Kisqali")
    assert "secret" not in made.samples[0].data
