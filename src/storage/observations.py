"""Where do agent activities and the trail of estimates go?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.storage.gateway import Row, TableGateway


class ObservationRepository:
    """Writes what agents did and what they estimated."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add_activity(self, activity: Mapping[str, Any]) -> None:
        """Store one ``agent_activities`` row; the same activity again keeps one."""
        await self._gateway.upsert("agent_activities", [activity], on_conflict=["activity_id"])

    async def add_evaluations(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Store one ``estimator_evaluations`` row per estimator tried, failures included."""
        return await self._gateway.insert("estimator_evaluations", rows)

    async def add_validations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store one ``causal_validations`` row per refutation test."""
        await self._gateway.insert("causal_validations", rows)
