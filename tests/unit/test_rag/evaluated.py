"""An answer's scores, as judges give them."""

from __future__ import annotations

from typing import Any

from src.domain.rubric import CRITERIA, CriterionScore, RubricDecision, RubricEvaluation
from src.rag.scores import EvaluationResult, MetricScore, unmeasured


def result(**values: float | None) -> EvaluationResult:
    given = {"faithfulness": 0.8, "answer_relevancy": 0.9, "context_precision": None, "context_recall": 1.0}
    given |= {"answer_correctness": None, **values}
    scores: Any = {
        name: unmeasured("the judge refused") if value is None else MetricScore(value, f"{name}: 4 of 5")
        for name, value in given.items()
    }
    return EvaluationResult(
        sample_id="s1",
        query="did rep calls help?",
        **given,
        overall_score=0.9,
        passed_thresholds=False,
        failed_metrics=("context_precision",),
        method="ragas",
        scores=scores,
    )


def rubric(score: float = 4.0) -> RubricEvaluation:
    quoted = CriterionScore(score, "names the confounders", "Dr. Mabel Quince said so")
    return RubricEvaluation(
        scores=dict.fromkeys(CRITERIA, quoted),
        weighted=score,
        decision=RubricDecision.ACCEPTABLE,
        overrides_applied=(),
        weaknesses=(),
        suggestion="",
        method="llm",
    )
