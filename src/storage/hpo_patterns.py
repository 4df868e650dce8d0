"""Which hyperparameters worked before, how alike were their problems, and did they help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.storage.gateway import Op, OrderBy, Row, TableGateway, Where

TABLE = "ml_hpo_patterns"


class HPOPatternRepository:
    """Writes and reads ``ml_hpo_patterns``; similarity and running means are computed in the database."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add(self, row: Mapping[str, Any]) -> None:
        """Store a pattern; keys are columns of the table. Storing it again under its id changes that row."""
        await self._gateway.upsert(TABLE, [row], on_conflict=["pattern_id"])

    async def similar(
        self, problem: Mapping[str, Any], *, min_similarity: float, limit: int
    ) -> list[tuple[Row, float]]:
        """Rows with their similarity (0–1), most alike first; ``problem`` holds what the function asks for:
        algorithm_name, problem_type, metric, n_samples, n_features, class_balance, target_scale, feature_types and
        search_space."""
        arguments = {**problem, "min_similarity": min_similarity, "max_patterns": limit}
        found = await self._gateway.call("find_similar_hpo_patterns", arguments)
        rows = await self._gateway.select(
            TABLE, where=[Where("pattern_id", [row["pattern_id"] for row in found], Op.IN)]
        )
        by_id = {row["pattern_id"]: row for row in rows}
        # A pattern deleted between the two statements is no longer known.
        return [(by_id[row["pattern_id"]], row["similarity"]) for row in found if row["pattern_id"] in by_id]

    async def record_usage(self, pattern_id: str, improvement: float) -> float:
        """Count one use and return the mean improvement over all. Raises ContractViolation for an unknown id."""
        usage = {"id": pattern_id, "improvement": improvement}
        return float(await self._gateway.call("record_hpo_warmstart_usage", usage))

    async def patterns(self) -> list[Row]:
        """All patterns, oldest first."""
        return await self._gateway.select(TABLE, order_by=[OrderBy("created_at"), OrderBy("pattern_id")])

    async def delete(self, pattern_ids: Sequence[str]) -> int:
        """Delete patterns and return how many there were."""
        return await self._gateway.delete(TABLE, where=[Where("pattern_id", list(pattern_ids), Op.IN)])
