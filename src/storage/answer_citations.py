"""Which documents do answers rest on that people or a model's judgement found good, and which did people name?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.storage.database import Database, Row

DocumentKey = tuple[str, str]
"""Source type and source id."""

_CHUNK = re.compile(r"(?:chunk:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:#\d+)?")
# A judgement counts where a model read the answer: rules see the words of it, not whether it is right.
_ANSWERS = """
SELECT * FROM (
  SELECT answered.interaction_id, answered.query, answered.citations, answered.created_at,
         answered.declined IS NOT NULL AS declined,
         (SELECT round(signal.signal_value) FROM learning_signals AS signal
          WHERE signal.interaction_id = answered.interaction_id AND signal.signal_type = 'rating'
          ORDER BY signal.created_at DESC LIMIT 1) AS rating,
         (SELECT signal.signal_type = 'thumbs_up' FROM learning_signals AS signal
          WHERE signal.interaction_id = answered.interaction_id AND signal.signal_type IN ('thumbs_up', 'thumbs_down')
          ORDER BY signal.created_at DESC LIMIT 1) AS thumbs_up,
         (SELECT signal.combined_score FROM learning_signals AS signal
          JOIN evaluation_results AS result ON result.learning_signal_id = signal.signal_id
          WHERE signal.interaction_id = answered.interaction_id AND signal.signal_type = 'evaluation'
            AND (result.method = 'ragas' OR result.rubric_method = 'llm')
          ORDER BY result.created_at DESC LIMIT 1) AS judged,
         ARRAY(SELECT signal.signal_details ->> 'correction' FROM learning_signals AS signal
               WHERE signal.interaction_id = answered.interaction_id AND signal.signal_type = 'correction'
                 AND signal.signal_details ->> 'correction' IS NOT NULL ORDER BY signal.created_at) AS corrections
  FROM rag_interactions AS answered WHERE answered.query <> ''
) AS answers
WHERE rating IS NOT NULL OR thumbs_up IS NOT NULL OR judged IS NOT NULL OR cardinality(corrections) > 0
ORDER BY created_at DESC, interaction_id LIMIT %s
"""
_DOCUMENTS = """
SELECT c.chunk_id, d.source_type, d.source_id FROM rag_chunks AS c JOIN rag_documents AS d USING (document_id)
WHERE c.chunk_id = ANY(%s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class AnswerQuality:
    """An answer about which somebody, or a judge that is a model, said something. ``rating`` is 1–5, ``judged`` the
    combined score in 0–1; None where there is none. ``cited`` are the documents that are still there."""

    interaction_id: str
    query: str
    created_at: datetime
    cited: tuple[DocumentKey, ...]
    declined: bool
    rating: int | None
    thumbs_up: bool | None
    judged: float | None
    corrections: tuple[str, ...]


class AnswerCitationRepository:
    """Reads ``rag_interactions`` with what was said of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answers(self, limit: int) -> list[AnswerQuality]:
        """The newest ones with a rating, a thumb, a model's judgement or a correction."""
        rows = await self._database.fetch(_ANSWERS, [limit])
        chunks = {chunk for row in rows for chunk in _chunks(row["citations"])}
        found = await self._database.fetch(_DOCUMENTS, [[*chunks]])
        keys = {str(row["chunk_id"]): (row["source_type"], row["source_id"]) for row in found}
        return [_answer(row, keys) for row in rows]


def _answer(row: Row, keys: Mapping[str, DocumentKey]) -> AnswerQuality:
    cited = (keys[chunk] for chunk in _chunks(row["citations"]) if chunk in keys)
    return AnswerQuality(
        interaction_id=str(row["interaction_id"]),
        query=row["query"],
        created_at=row["created_at"],
        cited=tuple(dict.fromkeys(cited)),
        declined=row["declined"],
        rating=None if row["rating"] is None else int(row["rating"]),
        thumbs_up=row["thumbs_up"],
        judged=None if row["judged"] is None else float(row["judged"]),
        corrections=tuple(row["corrections"]),
    )


def _chunks(citations: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Ids of the chunks that an answer cites; figures and runs that it cites have none."""
    named = (str(one.get("chunk_id") or one.get("evidence_id") or "") for one in citations or ())
    return [match[1] for match in map(_CHUNK.fullmatch, named) if match is not None]
