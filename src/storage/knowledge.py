"""What was learnt from changes that were tried, and has something alike failed before?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from src.domain.improvement import Lesson
from src.errors import ContractViolation
from src.storage.database import Database, Row, Session
from src.storage.json_columns import json_column

LessonType = Literal["success", "failure", "constraint"]
_COLUMNS = (
    "knowledge_id, lesson_type, title, description, knowledge_json, embedding_model, embedding::text AS embedding"
)
_ADDED = """
INSERT INTO experiment_knowledge_store
    (source_type, source_id, lesson_type, title, description, knowledge_json, applicable_brands, applicable_contexts,
     embedding_model, embedding, confidence_level, validated)
VALUES
    (%(source_type)s, %(source_id)s, %(lesson_type)s, %(title)s, %(description)s, %(knowledge)s, %(brands)s::text[],
     %(contexts)s::text[], %(model)s, %(embedding)s::vector, %(confidence)s, %(validated)s)
ON CONFLICT ON CONSTRAINT experiment_knowledge_store_source_unique DO NOTHING
"""
_OF_SOURCE = f"""
SELECT {_COLUMNS} FROM experiment_knowledge_store
WHERE source_type = %(source_type)s AND source_id = %(source_id)s AND lesson_type = %(lesson_type)s
"""
# A CASE, because conditions are tested in no certain order and vectors of two lengths cannot be compared.
_SIMILAR = f"""
SELECT * FROM (
    SELECT {_COLUMNS}, created_at,
           CASE WHEN vector_dims(embedding) = %(dims)s THEN 1 - (embedding <=> %(vector)s::vector) END AS similarity
    FROM experiment_knowledge_store
    WHERE is_active AND embedding_model = %(model)s AND applicable_contexts @> ARRAY[%(component)s]
        AND (%(lesson_type)s::text IS NULL OR lesson_type = %(lesson_type)s)
) AS known
WHERE similarity >= %(least)s ORDER BY similarity DESC, created_at DESC, knowledge_id LIMIT %(limit)s
"""
_OF_CHANGE = f"""
SELECT {_COLUMNS} FROM experiment_knowledge_store
WHERE is_active AND knowledge_json ->> 'change_sha256' = %(sha256)s
    AND (%(component)s::text IS NULL OR applicable_contexts @> ARRAY[%(component)s])
ORDER BY created_at DESC, knowledge_id
"""
_ACTIVE = f"""
SELECT {_COLUMNS} FROM experiment_knowledge_store
WHERE is_active AND (%(component)s::text IS NULL OR applicable_contexts @> ARRAY[%(component)s])
    AND (%(lesson_type)s::text IS NULL OR lesson_type = %(lesson_type)s)
ORDER BY created_at DESC, knowledge_id LIMIT %(limit)s
"""
_OUTCOME = """
UPDATE experiment_knowledge_store SET
    success_rate = (coalesce(success_rate, 0) * times_measured + %(success)s::integer) / (times_measured + 1),
    times_measured = times_measured + 1, validated = true
WHERE knowledge_id::text = %(knowledge_id)s RETURNING success_rate
"""


class KnowledgeRepository:
    """Writes and reads ``experiment_knowledge_store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        *,
        source_type: str,
        source_id: str,
        lesson_type: LessonType,
        title: str,
        description: str,
        component: str,
        change_sha256: str | None = None,
        embedding: Sequence[float] | None = None,
        embedding_model: str | None = None,
        details: Mapping[str, Any] | None = None,
        brands: Sequence[str] = (),
        confidence: float | None = None,
        validated: bool = False,
        session: Session | None = None,
    ) -> Lesson:
        """Store a lesson, once for each source and kind: the second time the first one is returned.

        ``embedding`` is of the change, with the name of the model that made it; both or neither. ``confidence`` is in
        0–1. Raises ValueError for details that are not JSON and psycopg.IntegrityError for values out of range.
        """
        values = {
            "source_type": source_type,
            "source_id": source_id,
            "lesson_type": lesson_type,
            "title": title,
            "description": description,
            "knowledge": json_column(
                {"component": component, "change_sha256": change_sha256, "details": dict(details or {})}
            ),
            "brands": list(brands),
            "contexts": [component],
            "model": embedding_model,
            "embedding": None if embedding is None else _vector(embedding),
            "confidence": confidence,
            "validated": validated,
        }
        run = session or self._database
        await run.execute(_ADDED, values)
        row = await run.fetchrow(_OF_SOURCE, values)
        assert row is not None
        return _lesson(row)

    async def similar(
        self,
        embedding: Sequence[float],
        model: str,
        component: str,
        *,
        lesson_type: LessonType | None = None,
        min_similarity: float = 0.0,
        limit: int = 10,
    ) -> tuple[tuple[Lesson, float], ...]:
        """Active lessons of a component with their cosine similarity to a change, most alike first.

        Only vectors of the same model and length are compared.
        """
        values = {"vector": _vector(embedding), "dims": len(embedding), "model": model, "component": component}
        values |= {"lesson_type": lesson_type, "least": min_similarity, "limit": limit}
        rows = await self._database.fetch(_SIMILAR, values)
        return tuple((_lesson(row), float(row["similarity"])) for row in rows)

    async def of_change(self, sha256: str, component: str | None = None) -> tuple[Lesson, ...]:
        """Active lessons about the very same change, newest first."""
        rows = await self._database.fetch(_OF_CHANGE, {"sha256": sha256, "component": component})
        return tuple(_lesson(row) for row in rows)

    async def active(
        self, component: str | None = None, limit: int = 20, *, lesson_type: LessonType | None = None
    ) -> tuple[Lesson, ...]:
        """Active lessons of a component, or of all, newest first."""
        values = {"component": component, "lesson_type": lesson_type, "limit": limit}
        return tuple(_lesson(row) for row in await self._database.fetch(_ACTIVE, values))

    async def applied(self, knowledge_ids: Sequence[str], *, session: Session | None = None) -> None:
        """Count one use of each lesson."""
        await (session or self._database).execute(
            "UPDATE experiment_knowledge_store SET times_applied = times_applied + 1"
            " WHERE knowledge_id = ANY(%s::uuid[])",
            (list(knowledge_ids),),
        )

    async def outcome(self, knowledge_id: str, *, success: bool, session: Session | None = None) -> float:
        """Count what came of a change that used a lesson; returns the share of successes over all outcomes.

        Raises ContractViolation for an unknown lesson.
        """
        row = await (session or self._database).fetchrow(_OUTCOME, {"knowledge_id": knowledge_id, "success": success})
        if row is None:
            raise ContractViolation(f"there is no lesson {knowledge_id}")
        return float(row["success_rate"])


def _vector(values: Sequence[float]) -> str:
    return f"[{','.join(repr(float(one)) for one in values)}]"


def _lesson(row: Row) -> Lesson:
    known = row["knowledge_json"]
    text = row["embedding"]
    return Lesson(
        knowledge_id=row["knowledge_id"],
        lesson_type=row["lesson_type"],
        title=row["title"],
        description=row["description"],
        component=known["component"],
        change_sha256=known["change_sha256"],
        embedding=None if text is None else tuple(float(one) for one in text.strip("[]").split(",")),
        embedding_model=row["embedding_model"],
        details=known["details"],
    )
