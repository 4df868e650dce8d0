"""Do the scores of an evaluator reach the trace of the answer, and do they join with those of the rubric?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

import pytest

from src.domain.rubric import CRITERIA, RubricContext, RubricEvaluation
from src.rag.evaluation import DEFAULT_THRESHOLDS, EvaluationConfig, EvaluationSample, RAGASEvaluator
from src.rag.evaluation_datasets import get_adversarial_dataset
from src.rag.opik_integration import OpikEvaluationTracer
from src.rag.scores import METRICS, Metric, MetricScore, unmeasured
from tests.unit.test_rag.evaluated import rubric

SAMPLE = EvaluationSample("q", "t", ("c",), "a", ("found",), {"component": "narrator", "expertise": "executive"})


def scores(sample: EvaluationSample) -> dict[Metric, MetricScore]:
    return dict.fromkeys(METRICS, MetricScore(0.9, "fine")) | {"context_recall": unmeasured("no truth")}


class Recorded(OpikEvaluationTracer):
    """Notes what is given to which trace."""

    def __init__(self) -> None:
        super().__init__(enabled=False)
        self.given: list[tuple[str, dict[str, float], str]] = []

    def give(
        self, scores: Mapping[str, tuple[float, str]], *, trace_id: str, category: str, **_: object
    ) -> dict[str, float]:
        values = {name: value for name, (value, _) in scores.items()}
        self.given.append((trace_id, values, category))
        return values


class Judge:
    """A rubric that judges everything alike and notes what it saw."""

    def __init__(self) -> None:
        self.seen: list[RubricContext] = []

    async def evaluate(self, context: RubricContext) -> RubricEvaluation:
        self.seen.append(context)
        return rubric(3.0)


def evaluator(tracer: OpikEvaluationTracer | None = None) -> RAGASEvaluator:
    return RAGASEvaluator(EvaluationConfig(), "none", False, heuristic=scores, tracer=tracer)


async def test_scores_go_to_the_trace_of_the_answer_and_unmeasured_ones_nowhere() -> None:
    tracer, trace_id = Recorded(), str(uuid4())
    await evaluator(tracer).evaluate_sample(replace(SAMPLE, metadata={"trace_id": trace_id}))
    ((given_to, values, category),) = tracer.given
    assert (given_to, category) == (trace_id, "heuristic")
    assert values == dict.fromkeys(["faithfulness", "answer_relevancy", "context_precision", "answer_correctness"], 0.9)


async def test_the_rubric_sees_the_answer_its_contexts_and_whom_it_is_for() -> None:
    judge = Judge()
    combined = await evaluator().evaluate_with_rubric(SAMPLE, judge, "run")
    assert judge.seen == [RubricContext("q", "a", ("found",), (), "executive", "narrator")]
    assert combined.run_id == "run"
    assert combined.ragas["faithfulness"] == 0.9
    assert combined.ragas["context_recall"] is None
    assert combined.rubric_scores == dict.fromkeys(CRITERIA, 3.0)
    assert combined.combined_score == pytest.approx(0.4 * 0.9 + 0.6 * 0.5)


async def test_without_an_answer_there_is_nothing_for_the_rubric() -> None:
    judge = Judge()
    combined = await evaluator().evaluate_with_rubric(replace(SAMPLE, answer=None), judge)
    assert not judge.seen
    assert combined.rubric_weighted is None


def test_while_tracing_is_off_no_score_is_given_to_any_trace() -> None:
    off = RAGASEvaluator(EvaluationConfig(), "none", enable_opik_tracing=False, heuristic=scores)
    assert off.log_rubric_scores(rubric(), str(uuid4())) == []


async def test_a_heuristic_that_breaks_is_the_samples_error() -> None:
    def broken(sample: EvaluationSample) -> dict[Metric, MetricScore]:
        raise ZeroDivisionError("Mabel Quince")

    result = await RAGASEvaluator(EvaluationConfig(), "none", False, heuristic=broken).evaluate_sample(SAMPLE)
    assert result.error is not None
    assert result.error.startswith("ZeroDivisionError at test_evaluator.py:")
    assert (result.overall_score, result.passed_thresholds) == (None, False)
    assert "Quince" not in repr(result)


async def test_the_own_heuristic_lets_no_adversarial_item_pass() -> None:
    judged = RAGASEvaluator(EvaluationConfig(), "none", enable_opik_tracing=False)
    items = get_adversarial_dataset()
    results = await judged.evaluate_batch(items, "adversarial")
    assert not any(one.passed_thresholds for one in results)
    for item, result in zip(items, results, strict=True):
        affected = result.value(item.metadata["affected_metric"])
        assert affected is None or affected < DEFAULT_THRESHOLDS[item.metadata["affected_metric"]], item.query
