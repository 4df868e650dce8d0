"""Which validations of a table were made, and what did they find?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import Json

TABLE = "ml_data_quality_reports"
_SCORES = ("completeness", "validity", "consistency", "timeliness", "uniqueness", "accuracy")
_NEWEST_FIRST = (OrderBy("run_at", True), OrderBy("created_at", True))


class QualityFinding(Protocol):
    """A validation's result; the document has the keys of ``DataQualityResult``, times as ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class QualityReport:
    """One stored report. ``overall_status`` is passed, warning, failed or skipped; rates and scores lie in [0, 1].

    A figure is None where there was nothing to measure it by; ``reason`` says why a validation was skipped.
    """

    id: str
    report_name: str
    suite_name: str
    table_name: str
    data_split: str | None
    brand: str | None
    region: str | None
    training_run_id: str | None
    overall_status: str
    expectations_evaluated: int
    expectations_passed: int
    expectations_failed: int
    success_rate: float | None
    failed_expectations: list[Json]
    completeness_score: float | None
    validity_score: float | None
    consistency_score: float | None
    timeliness_score: float | None
    uniqueness_score: float | None
    accuracy_score: float | None
    leakage_detected: bool
    validation_ms: float | None
    run_at: datetime
    rows_validated: int | None
    reason: str | None


class QualityReportRepository:
    """Writes and reads ``ml_data_quality_reports``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add(self, result: QualityFinding) -> None:
        """Store a result, whatever its status; storing it again changes nothing.

        Raises ContractViolation for an unknown training run, brand, region or split.
        """
        await self._gateway.upsert(TABLE, [_row(result.to_dict())], on_conflict=["id"])

    async def latest(
        self, table_name: str, *, data_split: str | None = None, training_run_id: str | None = None
    ) -> QualityReport | None:
        """The newest report on a table (of one split or training run, where given); None when there is none."""
        found = await self.history(table_name, data_split=data_split, training_run_id=training_run_id, limit=1)
        return found[0] if found else None

    async def history(
        self,
        table_name: str,
        *,
        data_split: str | None = None,
        training_run_id: str | None = None,
        limit: int = 50,
    ) -> list[QualityReport]:
        """Up to ``limit`` reports on a table (of one split or training run, where given), newest first."""
        given = {"table_name": table_name, "data_split": data_split, "training_run_id": training_run_id}
        where = [Where(column, value) for column, value in given.items() if value is not None]
        rows = await self._gateway.select(TABLE, where=where, order_by=_NEWEST_FIRST, limit=limit)
        return [_report(row) for row in rows]


def _row(document: Mapping[str, Any]) -> Row:
    counts, scores = document["expectations"], document["scores"]
    split = f" on {document['data_split']}" if document["data_split"] else ""
    same = (
        *("id", "suite_name", "table_name", "data_split", "brand", "region", "training_run_id"),
        *("success_rate", "failed_expectations", "leakage_detected", "validation_ms"),
        *("rows_validated", "reason"),
    )
    return {
        **{name: document[name] for name in same},
        "report_name": f"{document['suite_name']}{split}",
        "overall_status": str(document["overall_status"]),
        "expectations_evaluated": counts["evaluated"],
        "expectations_passed": counts["passed"],
        "expectations_failed": counts["failed"],
        **{f"{name}_score": scores[name] for name in _SCORES},
        "run_at": datetime.fromisoformat(document["run_at"]),
    }


def _report(row: Row) -> QualityReport:
    return QualityReport(**{field.name: row[field.name] for field in dataclasses.fields(QualityReport)})
