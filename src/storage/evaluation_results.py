"""How was an answer evaluated, and what did its component's last evaluations say?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.contracts.values import json_text
from src.storage.gateway import Op, OrderBy, Row, TableGateway, Where
from src.storage.records import Json

SIGNALS, RESULTS = "learning_signals", "evaluation_results"
RAGAS_COLUMNS = ("faithfulness", "answer_relevancy", "context_precision", "context_recall", "answer_correctness")
RUBRIC_COLUMNS = (
    *("causal_validity", "actionability", "evidence_chain", "regulatory_awareness", "uncertainty_communication"),
)


@dataclass(frozen=True, slots=True)
class EvaluationRows:
    """A row of ``learning_signals`` (type evaluation) and one of ``evaluation_results``, as JSON values."""

    signal: Json
    result: Json


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """One evaluation as read back. RAGAS metrics lie in 0–1, criteria in 1–5; None was not measured.

    ``details`` hold reasons, quotes, overrides and notes. ``combined_score`` and what it calls for come from the
    database's own functions.
    """

    signal_id: str
    interaction_id: str | None
    trace_id: str | None
    component: str
    query: str
    response: str
    contexts: list[Any]
    ragas: Mapping[str, float | None]
    ragas_aggregate: float | None
    rubric: Mapping[str, float | None]
    rubric_weighted: float | None
    rubric_decision: str | None
    combined_score: float | None
    improvement_type: str | None
    improvement_priority: str | None
    method: str
    rubric_method: str | None
    model: str | None
    rubric_model: str | None
    unmeasured: Mapping[str, str]
    details: Json
    cost_dollars: float | None
    duration_ms: float | None
    evaluated_at: datetime

    @property
    def weaknesses(self) -> tuple[str, ...]:
        """Criteria that were weak."""
        return tuple(self.details.get("rubric", {}).get("weaknesses", ()))


@dataclass(frozen=True, slots=True)
class JudgedTwice:
    """The criteria that apply to one answer as a model judged them and as the rules read them."""

    judge: Mapping[str, float]
    rules: Mapping[str, float]
    model: str | None
    at: datetime


class EvaluationRepository:
    """Writes and reads ``learning_signals`` of type evaluation and their ``evaluation_results``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def store(self, rows: EvaluationRows) -> str:
        """Store an evaluation in one transaction and return its signal's id.

        An interaction has one evaluation for each component: the second one takes the place of the first. Raises
        ContractViolation for an unknown interaction or a value out of range.
        """
        arguments = {"signal": _plain(rows.signal), "result": _plain(rows.result)}
        return str(await self._gateway.call("store_evaluation", arguments))

    async def of_interaction(self, interaction_id: str, component: str | None = None) -> StoredEvaluation | None:
        """The evaluation of an interaction (by one component, where given), None before there is one."""
        where = [Where("interaction_id", interaction_id), *([Where("component", component)] if component else [])]
        return next(iter(await self._read(where, 1)), None)

    async def of_trace(self, trace_id: str) -> list[StoredEvaluation]:
        """Evaluations of the answers of a trace, newest first."""
        return await self._read([Where("trace_id", trace_id)], None)

    async def recent(self, component: str, limit: int = 10) -> list[StoredEvaluation]:
        """The last evaluations of a component's answers, newest first."""
        return await self._read([Where("component", component)], limit)

    async def recent_weaknesses(
        self, component: str, limit: int = 10, *, other_than: str | None = None
    ) -> tuple[tuple[str, ...], ...]:
        """Weak criteria of a component's last evaluations, newest first, without that of interaction ``other_than``."""
        found = await self.recent(component, limit + 1 if other_than else limit)
        return tuple(one.weaknesses for one in found if other_than is None or one.interaction_id != other_than)[:limit]

    async def judged(self, rubric_version: int, limit: int, *, oldest: bool = False) -> list[JudgedTwice]:
        """Evaluations that a model judged by a version of the rubric and the rules read too; newest or oldest first."""
        rows = await self._gateway.select(
            RESULTS,
            columns=[*RUBRIC_COLUMNS, "rubric_heuristic", "rubric_model", "created_at"],
            where=[Where("rubric_method", "llm"), Where("rubric_version", rubric_version)],
            order_by=[OrderBy("created_at", not oldest), OrderBy("evaluation_id", not oldest)],
            limit=limit,
        )
        return [
            JudgedTwice(
                {name: row[name] for name in RUBRIC_COLUMNS if row[name] is not None},
                row["rubric_heuristic"],
                row["rubric_model"],
                row["created_at"],
            )
            for row in rows
            if row["rubric_heuristic"]
        ]

    async def _read(self, where: list[Where], limit: int | None) -> list[StoredEvaluation]:
        signals = await self._gateway.select(
            SIGNALS,
            where=[Where("signal_type", "evaluation"), *where],
            order_by=[OrderBy("created_at", True), OrderBy("signal_id", True)],
            limit=limit,
        )
        if not signals:
            return []
        ids = [signal["signal_id"] for signal in signals]
        results = await self._gateway.select(RESULTS, where=[Where("learning_signal_id", ids, Op.IN)])
        by_signal = {row["learning_signal_id"]: row for row in results}
        return [_stored(one, by_signal[one["signal_id"]]) for one in signals if one["signal_id"] in by_signal]


def _plain(row: Json) -> Json:
    """The row as JSON carries it: times as ISO 8601, ids as text. Raises ValueError for NaN."""
    plain: Json = json.loads(
        json_text({name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()})
    )
    return plain


def _stored(signal: Row, result: Row) -> StoredEvaluation:
    return StoredEvaluation(
        **{name: signal[name] for name in ("signal_id", "interaction_id", "trace_id", "component")},
        **{name: signal[name] for name in ("rubric_weighted", "rubric_decision", "combined_score")},
        **{name: signal[name] for name in ("improvement_type", "improvement_priority")},
        **{name: result[name] for name in ("query", "response", "ragas_aggregate", "method", "rubric_method")},
        **{name: result[name] for name in ("rubric_model", "unmeasured", "cost_dollars", "duration_ms")},
        contexts=result["retrieved_contexts"],
        ragas={name: result[name] for name in RAGAS_COLUMNS},
        rubric={name: result[name] for name in RUBRIC_COLUMNS},
        model=result["evaluation_model"],
        details=signal["signal_details"],
        evaluated_at=result["created_at"],
    )
