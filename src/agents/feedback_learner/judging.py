"""How is a judgement by the rubric stored beside the RAGAS scores an answer has already?"""

from __future__ import annotations

from datetime import datetime

from src.domain.improvement import LearningItem
from src.domain.rubric import RubricEvaluation
from src.rag.combined import CombinedEvaluationResult, EvaluatedAnswer
from src.rag.scores import METRICS, EvaluationResult, Metric, MetricScore
from src.storage.evaluation_results import EvaluationRows

NOT_NOW = "not measured when the answer was judged by the rubric"


def rows_of(item: LearningItem, judged: RubricEvaluation, cycle_id: str, at: datetime) -> EvaluationRows:
    """The rows of an answer's evaluation. Metrics that were not measured stay so."""
    combined = CombinedEvaluationResult.of(
        _ragas(item), judged, run_id=cycle_id, timestamp=at, evaluation_time_seconds=0.0
    )
    return combined.to_rows(
        EvaluatedAnswer(
            query=item.query,
            answer=item.answer,
            contexts=[{"text": text} for text in item.contexts],
            component=item.component,
            interaction_id=item.interaction_id,
            trace_id=item.trace_id,
            cycle_id=cycle_id,
            brand=item.brand,
        )
    )


def _ragas(item: LearningItem) -> EvaluationResult:
    values: dict[Metric, float | None] = {name: item.ragas.get(name) for name in METRICS}
    measured = [value for value in values.values() if value is not None]
    return EvaluationResult(
        sample_id=item.interaction_id,
        query=item.query,
        faithfulness=values["faithfulness"],
        answer_relevancy=values["answer_relevancy"],
        context_precision=values["context_precision"],
        context_recall=values["context_recall"],
        answer_correctness=values["answer_correctness"],
        overall_score=sum(measured) / len(measured) if measured else None,
        passed_thresholds=False,
        failed_metrics=(),
        method="heuristic",
        scores={name: MetricScore(value, "" if value is not None else NOT_NOW) for name, value in values.items()},
        error=None if measured else NOT_NOW,
    )
