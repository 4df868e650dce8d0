"""What explained a model's predictions?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.storage.gateway import OrderBy, Row, TableGateway, Where

TABLE = "ml_shap_analyses"


@dataclass(frozen=True, slots=True)
class ShapAnalysis:
    """One explanation. ``global_importance``, ``top_features`` and ``interactions`` are JSON as they were stored;
    ``narrative_source`` is llm or template."""

    id: str
    training_run_id: str | None
    model_uri: str
    explainer_type: str
    sample_size: int
    base_value: float | None
    global_importance: Any
    top_features: Any
    interactions: Any
    narrative: str | None
    narrative_source: str | None
    trace_id: str | None
    created_at: datetime


class ShapRepository:
    """Writes and reads ``ml_shap_analyses``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add(self, row: Mapping[str, Any]) -> str:
        """Store an explanation and return its id; keys are columns of the table, an unknown one is refused."""
        return str((await self._gateway.insert(TABLE, [row]))[0]["id"])

    async def latest(self, model_uri: str) -> ShapAnalysis | None:
        """The newest explanation of a model; None when there is none."""
        return await self._newest(Where("model_uri", model_uri))

    async def of_training(self, training_run_id: str) -> ShapAnalysis | None:
        """The newest explanation of what a training gave; None when there is none."""
        return await self._newest(Where("training_run_id", training_run_id))

    async def _newest(self, condition: Where) -> ShapAnalysis | None:
        rows = await self._gateway.select(TABLE, where=[condition], order_by=[OrderBy("created_at", True)], limit=1)
        return _analysis(rows[0]) if rows else None


def _analysis(row: Row) -> ShapAnalysis:
    return ShapAnalysis(**{field.name: row[field.name] for field in dataclasses.fields(ShapAnalysis)})
