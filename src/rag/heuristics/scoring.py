"""What are the five metrics of an answer when there is no model to judge it?

Pure functions of the texts: no model, no network, a few milliseconds; a few seconds at most, as what would take
longer is not compared. What cannot be measured is None with the reason, never 0. Faithfulness is calibrated against
people; the others are not, and say so.
"""

from __future__ import annotations

from collections.abc import Callable

from src.rag.heuristics.correctness import answer_correctness
from src.rag.heuristics.faithfulness import faithfulness
from src.rag.heuristics.precision import context_precision
from src.rag.heuristics.recall import context_recall
from src.rag.heuristics.relevancy import answer_relevancy
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, Metric, MetricScore, unmeasured

MAX_CHARACTERS = 300_000


def heuristic_scores(sample: EvaluationSample) -> dict[Metric, MetricScore]:
    """All five metrics of a sample, in the order of METRICS. Deterministic; raises nothing for any text."""
    if problem := _not_text(sample):
        return dict.fromkeys(METRICS, unmeasured(problem))
    measures: dict[Metric, Callable[[EvaluationSample], MetricScore]] = {
        "faithfulness": _faithfulness,
        "answer_relevancy": _relevancy,
        "context_precision": _precision,
        "context_recall": _recall,
        "answer_correctness": _correctness,
    }
    return {metric: measures[metric](sample) for metric in METRICS}


def _not_text(sample: EvaluationSample) -> str | None:
    """What in the sample is no text, or too long to be read; the contexts may be any sequence of texts."""
    parts: list[tuple[str, object]] = [("query", sample.query)]
    parts += [("answer", sample.answer or ""), ("ground truth", sample.ground_truth or "")]
    parts += [(f"context {place}", text) for place, text in enumerate(sample.scored_contexts, 1)]
    for name, text in parts:
        if not isinstance(text, str):
            return f"the {name} is no text"
    length = sum(len(text) for _, text in parts if isinstance(text, str))
    return f"{length:,} characters, more than {MAX_CHARACTERS:,}" if length > MAX_CHARACTERS else None


def _faithfulness(sample: EvaluationSample) -> MetricScore:
    if sample.answer is None:
        return unmeasured("there is no answer")
    return faithfulness(sample.answer, sample.scored_contexts, sample.query)


def _relevancy(sample: EvaluationSample) -> MetricScore:
    if sample.answer is None:
        return unmeasured("there is no answer")
    return answer_relevancy(sample.query, sample.answer, sample.scored_contexts)


def _precision(sample: EvaluationSample) -> MetricScore:
    return context_precision(sample.query, sample.scored_contexts, sample.ground_truth)


def _recall(sample: EvaluationSample) -> MetricScore:
    if not sample.ground_truth:
        return unmeasured("there is no ground truth")
    return context_recall(sample.ground_truth, sample.scored_contexts)


def _correctness(sample: EvaluationSample) -> MetricScore:
    if sample.answer is None:
        return unmeasured("there is no answer")
    if not sample.ground_truth:
        return unmeasured("there is no ground truth")
    return answer_correctness(sample.answer, sample.ground_truth)
