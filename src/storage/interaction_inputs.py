"""What was a component given for an answer, so that it can be given the same once more?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.storage.database import Database
from src.storage.json_columns import json_column

_KEPT = """
INSERT INTO interaction_inputs (interaction_id, component, inputs) VALUES (%s, %s, %s)
ON CONFLICT (interaction_id, component) DO NOTHING
"""
_FORGOTTEN = """
DELETE FROM interaction_inputs WHERE interaction_id IN (
    SELECT interaction_id FROM rag_interactions WHERE session_id::text = %s
)
"""


class InteractionInputs:
    """Writes and reads ``interaction_inputs``; they go with the answer's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, interaction_id: str, component: str, inputs: Mapping[str, Any]) -> None:
        """Store what a component was given for an answer that is stored; kept once, the first stays.

        Raises ValueError for what JSON cannot hold and psycopg.IntegrityError for an answer that is not stored.
        """
        await self._database.execute(_KEPT, (interaction_id, component, json_column(inputs)))

    async def get(self, interaction_id: str, component: str) -> Mapping[str, Any] | None:
        """What a component was given, None where nothing was kept."""
        row = await self._database.fetchrow(
            "SELECT inputs FROM interaction_inputs WHERE interaction_id = %s AND component = %s",
            (interaction_id, component),
        )
        return None if row is None else dict(row["inputs"])

    async def forget(self, session_id: str) -> int:
        """Delete what was kept for the answers of a session; returns how many."""
        return await self._database.execute(_FORGOTTEN, (session_id,))
