"""What do the RAGAS metrics say of an answer, in words that a model can learn from?"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypedDict

from src.mlops.scoring import RAGAS_WEIGHTS, weighted_mean_of_present
from src.optimization.gepa.bridge import LoopThread
from src.optimization.gepa.component import NotJudged
from src.optimization.gepa.library import score_with_feedback
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, EvaluationResult, Metric

LOW = 0.8
MEANING: Mapping[Metric, str] = {
    "faithfulness": "statements of the answer are not supported by what it was given",
    "answer_relevancy": "the answer does not address what was asked, or addresses more than that",
    "context_precision": "what it was given is mostly beside the question",
    "context_recall": "what it was given does not hold what the right answer needs",
    "answer_correctness": "the answer differs from the right one",
}
OF_THE_ANSWER: tuple[Metric, ...] = ("faithfulness", "answer_relevancy", "answer_correctness")
"""The metrics that a wording can change; the others are of retrieval."""


class Evaluator(Protocol):
    """The part of ``RAGASEvaluator`` that is used."""

    async def evaluate_sample(self, sample: EvaluationSample, run_id: str | None = None) -> EvaluationResult:
        """Score one sample."""
        ...


class RagasFeedback(TypedDict):
    """``score`` in 0–1, what was wrong in words, and the metrics; None is not measured."""

    score: float
    feedback: str
    metrics: dict[str, float | None]


class RAGASFeedbackProvider:
    """Scores answers by the RAGAS evaluator. Raises NotJudged where no model judged: nothing stands in for it."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def evaluate(
        self, query: str, answer: str, contexts: Sequence[str] = (), ground_truth: str | None = None
    ) -> RagasFeedback:
        """Score one answer on what it was given."""
        sample = EvaluationSample(query, ground_truth, answer=answer, retrieved_contexts=tuple(contexts))
        result = await self._evaluator.evaluate_sample(sample)
        if result.method != "ragas":
            raise NotJudged("no model judges by RAGAS, and its heuristic is nothing to optimise against")
        metrics: dict[str, float | None] = {name: result.value(name) for name in METRICS}
        measured: dict[str, float | None] = {name: metrics[name] for name in OF_THE_ANSWER}
        score = weighted_mean_of_present(measured, RAGAS_WEIGHTS)
        if score is None:
            raise NotJudged(f"RAGAS measured nothing of the answer: {result.error or _reasons(result)}")
        return RagasFeedback(score=score, feedback=in_words(result), metrics=metrics)


def in_words(result: EvaluationResult) -> str:
    """Which metrics are low, what that means, and why the judge said so."""
    told = []
    for name in OF_THE_ANSWER:
        value = result.value(name)
        if value is None or value >= LOW:
            continue
        reason = result.scores[name].reason if name in result.scores else ""
        told.append(f"{name} {value:.2f} of 1: {MEANING[name]}" + (f" ({reason})" if reason else ""))
    return "; ".join(told) + "." if told else "Every RAGAS metric of the answer is good."


def create_ragas_metric(
    provider: RAGASFeedbackProvider,
    *,
    wait: Callable[[Coroutine[Any, Any, RagasFeedback]], RagasFeedback] | None = None,
) -> Callable[..., Any]:
    """The provider as a synchronous metric of five arguments, as GEPA calls it.

    It reads ``question`` (or ``query``) and ``ground_truth`` of the example, ``answer`` and ``contexts`` of the
    prediction. ``wait`` runs the evaluator's coroutine; by default on one loop of the metric's own, in its thread.
    """
    waiting = wait or LoopThread("ragas-metric")

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        question = gold.get("question", None) or gold.get("query", None) or ""
        contexts = pred.get("contexts", None) or gold.get("contexts", None) or ()
        judged = waiting(
            provider.evaluate(
                str(question), str(pred.get("answer", "") or ""), contexts, gold.get("ground_truth", None)
            )
        )
        return score_with_feedback(judged["score"], judged["feedback"])

    return metric


def _reasons(result: EvaluationResult) -> str:
    return "; ".join(f"{name}: {one.reason}" for name, one in result.scores.items() if not one.measured) or "no metric"
