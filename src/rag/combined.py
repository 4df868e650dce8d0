"""How good was an answer by both kinds of score together, and how is that kept?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid5

from src.domain.rubric import CRITERIA, Criterion, RubricDecision, RubricEvaluation, RubricMethod
from src.mlops.opik_connector import OpikConnector
from src.mlops.scoring import (
    RAGAS_WEIGHTS,
    calculate_combined_score,
    determine_improvement_priority,
    determine_improvement_type,
    weighted_mean_of_present,
)
from src.rag.opik_integration import log_ragas_scores_to_opik, log_rubric_scores_to_opik
from src.rag.scores import METRICS, EvaluationResult, Method, Metric
from src.storage.evaluation_results import EvaluationRows
from src.storage.records import Json

COMBINED = "combined_score"
_IDS = UUID("6f0c2b0e-7a43-5a5e-9d0b-3c6a1c8f2e11")


@dataclass(frozen=True, slots=True)
class EvaluatedAnswer:
    """The answer that was scored. ``contexts`` are objects with ``text`` and, where known, ``chunk_id`` and ``score``.

    An answer that was given to somebody has an ``interaction_id``; one that was made for an evaluation has none.
    """

    query: str
    answer: str
    contexts: Sequence[Mapping[str, Any]] = ()
    component: str = "explainer"
    interaction_id: str | None = None
    trace_id: str | None = None
    ground_truth: str | None = None
    session_id: str | None = None
    cycle_id: str | None = None
    prompt_version: int | None = None
    brand: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class CombinedEvaluationResult:
    """RAGAS metrics (0–1, None where unmeasured), rubric criteria (1–5) and their combined score (0–1).

    ``ragas_aggregate`` and ``combined_score`` are weighted means of what was measured, as the database computes them.
    ``passed_thresholds`` and ``method`` are those of the RAGAS metrics; ``rubric_method`` says who judged by rubric.
    """

    run_id: str
    timestamp: datetime
    sample_id: str
    ragas: Mapping[Metric, float | None]
    ragas_aggregate: float | None
    rubric_scores: Mapping[Criterion, float | None]
    rubric_weighted: float | None
    rubric_decision: RubricDecision | None
    combined_score: float | None
    passed_thresholds: bool
    method: Method
    sample_count: int
    evaluation_time_seconds: float
    result: EvaluationResult = field(repr=False)
    rubric: RubricEvaluation | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        result: EvaluationResult,
        rubric: RubricEvaluation | None,
        *,
        run_id: str,
        timestamp: datetime,
        evaluation_time_seconds: float,
    ) -> Self:
        """Join the scores of one sample; ``timestamp`` is UTC."""
        ragas: dict[Metric, float | None] = {name: result.value(name) for name in METRICS}
        criteria = _criteria(rubric)
        return cls(
            run_id=run_id,
            timestamp=timestamp.astimezone(UTC),
            sample_id=result.sample_id,
            ragas=ragas,
            ragas_aggregate=weighted_mean_of_present(_named(ragas), RAGAS_WEIGHTS),
            rubric_scores=criteria,
            rubric_weighted=None if rubric is None else rubric.weighted,
            rubric_decision=None if rubric is None else rubric.decision,
            combined_score=calculate_combined_score(_named(ragas), _named(criteria)),
            passed_thresholds=result.passed_thresholds,
            method=result.method,
            sample_count=1,
            evaluation_time_seconds=evaluation_time_seconds,
            result=result,
            rubric=rubric,
        )

    @property
    def rubric_method(self) -> RubricMethod | None:
        """Who judged by the rubric."""
        return None if self.rubric is None else self.rubric.method

    @property
    def unmeasured(self) -> dict[str, str]:
        """Why each metric or criterion without a value has none."""
        scores, error = self.result.scores, self.result.error
        missing = {
            name: scores[name].reason if name in scores and scores[name].reason else error or "not measured"
            for name in METRICS
            if self.ragas[name] is None
        }
        without = {} if self.rubric is None else self.rubric.inapplicable
        return missing | {
            name: f"does not apply: {without[name]}" if name in without else "the rubric was not applied"
            for name in CRITERIA
            if self.rubric_scores[name] is None
        }

    @property
    def cost_dollars(self) -> float | None:
        """What the judges took, None where a price is not known."""
        costs = [self.result.cost.dollars, 0.0 if self.rubric is None else self.rubric.cost_dollars]
        return None if any(one is None for one in costs) else sum(one or 0.0 for one in costs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without text of the answer."""
        return {
            "run_id": self.run_id,
            "timestamp": self.timestamp.isoformat(),
            "sample_id": self.sample_id,
            "ragas": dict(self.ragas),
            "ragas_aggregate": self.ragas_aggregate,
            "rubric_scores": dict(self.rubric_scores),
            "rubric_weighted": self.rubric_weighted,
            "rubric_decision": None if self.rubric_decision is None else str(self.rubric_decision),
            "combined_score": self.combined_score,
            "passed_thresholds": self.passed_thresholds,
            "method": self.method,
            "rubric_method": self.rubric_method,
            "unmeasured": self.unmeasured,
            "sample_count": self.sample_count,
            "evaluation_time_seconds": self.evaluation_time_seconds,
        }

    def log_to_opik(self, connector: OpikConnector, trace_id: str) -> list[str]:
        """Give the answer's trace every measured score as feedback; returns the names given.

        Reasons name criterion and score only: what a judge wrote or quoted stays in the database.
        """
        names = log_ragas_scores_to_opik(trace_id, self.result, connector=connector)
        if self.rubric is not None:
            names += log_rubric_scores_to_opik(trace_id, self.rubric, connector=connector)
        if self.combined_score is not None:
            measured = sum(one is not None for one in self.ragas.values())
            reason = f"of {measured} metrics" + (" and the rubric" if self.rubric is not None else "")
            connector.log_feedback(trace_id, self.combined_score, COMBINED, reason, category=self.method)
            names.append(COMBINED)
        return names

    def to_rows(self, answer: EvaluatedAnswer) -> EvaluationRows:
        """The rows of ``learning_signals`` and ``evaluation_results``; the same answer has the same ids every time."""
        subject = answer.interaction_id or f"{self.run_id}/{self.sample_id}"
        signal_id = str(uuid5(_IDS, f"{subject}/{answer.component}"))
        return EvaluationRows(_signal(self, answer, signal_id), _result(self, answer, signal_id))


def _signal(combined: CombinedEvaluationResult, answer: EvaluatedAnswer, signal_id: str) -> Json:
    rubric = combined.rubric
    scores = None if rubric is None else dict(combined.rubric_scores)
    return {
        "signal_id": signal_id,
        "signal_type": "evaluation",
        **{name: getattr(answer, name) for name in ("interaction_id", "trace_id", "session_id", "cycle_id")},
        **{name: getattr(answer, name) for name in ("component", "prompt_version", "brand", "region")},
        "signal_value": combined.combined_score,
        "signal_details": _details(combined),
        "ragas_scores": dict(combined.ragas),
        "ragas_weighted": combined.ragas_aggregate,
        "rubric_scores": scores,
        "rubric_total": _total(combined.rubric_scores),
        "rubric_weighted": combined.rubric_weighted,
        "rubric_decision": None if rubric is None else str(rubric.decision),
        "combined_score": combined.combined_score,
        "improvement_type": determine_improvement_type(combined.ragas_aggregate, combined.rubric_weighted),
        "improvement_priority": determine_improvement_priority(combined.combined_score),
        "retrieved_chunks": [one["chunk_id"] for one in answer.contexts if "chunk_id" in one],
        "retrieval_scores": {
            one["chunk_id"]: one["score"]
            for one in answer.contexts
            if "chunk_id" in one and one.get("score") is not None
        },
    }


def _details(combined: CombinedEvaluationResult) -> Json:
    found: Json = {
        "run_id": combined.run_id,
        "sample_id": combined.sample_id,
        "passed_thresholds": combined.passed_thresholds,
        "ragas": {
            "reasons": {name: one.reason for name, one in combined.result.scores.items()},
            "failed_metrics": list(combined.result.failed_metrics),
            "error": combined.result.error,
        },
    }
    if (rubric := combined.rubric) is not None:
        found["rubric"] = {
            "criteria": {
                name: {"reasoning": one.reasoning, "evidence_quote": one.evidence_quote}
                for name, one in rubric.scores.items()
            },
            "overrides_applied": list(rubric.overrides_applied),
            "weaknesses": list(rubric.weaknesses),
            "suggestion": rubric.suggestion,
            "notes": list(rubric.notes),
            **rubric.metadata,
        }
    return found


def _result(combined: CombinedEvaluationResult, answer: EvaluatedAnswer, signal_id: str) -> Json:
    rubric = combined.rubric
    version = rubric.metadata.get("rubric_version") if rubric is not None else None
    return {
        "evaluation_id": str(uuid5(_IDS, signal_id)),
        "learning_signal_id": signal_id,
        "cycle_id": answer.cycle_id,
        "query": answer.query,
        "response": answer.answer,
        "ground_truth": answer.ground_truth,
        "retrieved_contexts": [dict(one) for one in answer.contexts],
        "context_count": len(answer.contexts),
        **_named(combined.ragas),
        "ragas_aggregate": combined.ragas_aggregate,
        **_named(combined.rubric_scores),
        "rubric_aggregate": combined.rubric_weighted,
        "method": combined.method,
        "evaluation_model": combined.result.model,
        "duration_ms": combined.evaluation_time_seconds * 1000,
        "created_at": combined.timestamp,
        "unmeasured": combined.unmeasured,
        "rubric_method": combined.rubric_method,
        "rubric_decision": None if rubric is None else str(rubric.decision),
        "rubric_version": None if version is None else int(version),
        "rubric_model": None if rubric is None else rubric.model,
        "rubric_heuristic": None if rubric is None else dict(rubric.heuristic_scores) or None,
        "cost_dollars": combined.cost_dollars,
    }


def _criteria(rubric: RubricEvaluation | None) -> dict[Criterion, float | None]:
    scores = {} if rubric is None else rubric.scores
    return {name: scores[name].score if name in scores else None for name in CRITERIA}


def _total(scores: Mapping[Criterion, float | None]) -> float | None:
    """Of all five criteria, or none."""
    known = [one for one in scores.values() if one is not None]
    return sum(known) if len(known) == len(CRITERIA) else None


def _named(scores: Mapping[Any, float | None]) -> dict[str, float | None]:
    return {str(name): value for name, value in scores.items()}
