"""What did people say of an answer: ratings, corrections, thumbs?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.storage.database import Database, Row, json_value

KINDS = ("rating", "correction", "thumbs_up", "thumbs_down")
_STORE = """
INSERT INTO learning_signals
    (signal_id, session_id, interaction_id, trace_id, component, signal_type, signal_value, signal_details,
     applies_to_type, applies_to_id, brand, is_training_example)
VALUES (%(signal_id)s, %(session_id)s, %(interaction_id)s, %(trace_id)s, %(component)s, %(signal_type)s,
        %(signal_value)s, %(signal_details)s, 'interaction', %(applies_to_id)s, %(brand)s,
        %(is_training_example)s)
ON CONFLICT (signal_id) DO UPDATE SET
    signal_type = excluded.signal_type, signal_value = excluded.signal_value,
    signal_details = excluded.signal_details, created_at = now(), processed_at = NULL
"""
_GIVEN = """
SELECT signal.signal_id, signal.signal_type, signal.signal_value, signal.signal_details, signal.created_at,
       signal.trace_id, signal.component, answered.run_id, answered.query
FROM learning_signals AS signal JOIN rag_interactions AS answered USING (interaction_id)
WHERE signal.signal_type = ANY(%(kinds)s::signal_type[])
ORDER BY signal.created_at DESC, signal.signal_id LIMIT %(limit)s
"""
_RATING = """
SELECT signal_value FROM learning_signals
WHERE interaction_id = %s AND signal_type = 'rating' ORDER BY created_at DESC LIMIT 1
"""


class UserSignalRepository:
    """Writes and reads the rows of ``learning_signals`` that people give."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def give(
        self,
        interaction: Mapping[str, Any],
        kind: str,
        *,
        value: float | None,
        details: Mapping[str, Any],
        is_training_example: bool = False,
    ) -> str:
        """Store one signal about an answer and return its id; given again it replaces the earlier one.

        ``interaction`` holds interaction_id, trace_id, session_id, component and brand. A thumb up replaces one down.
        """
        slot = "thumbs" if kind.startswith("thumbs") else kind
        signal_id = str(uuid5(NAMESPACE_URL, f"signal/{interaction['interaction_id']}/{slot}"))
        await self._database.execute(
            _STORE,
            dict(interaction)
            | {
                "signal_id": signal_id,
                "applies_to_id": str(interaction["interaction_id"]),
                "signal_type": kind,
                "signal_value": value,
                "signal_details": json_value(dict(details)),
                "is_training_example": is_training_example,
            },
        )
        return signal_id

    async def rating_of(self, interaction_id: str) -> int | None:
        """The rating (1–5) somebody gave an answer."""
        row = await self._database.fetchrow(_RATING, (interaction_id,))
        return None if row is None or row["signal_value"] is None else round(float(row["signal_value"]))

    async def recent(self, limit: int) -> list[Row]:
        """What people said, newest first, with the question it was about."""
        return await self._database.fetch(_GIVEN, {"kinds": list(KINDS), "limit": limit})
