"""Which feature views does the database know? The rows of ``ml_feast_feature_views``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.storage.database import Database, json_value


@dataclass(frozen=True, slots=True)
class FeatureViewRecord:
    """A registered view; ``schema`` maps features to their value types.

    ``source`` is a query, or a file and after ``#`` the hash of what makes its rows.
    """

    name: str
    entities: tuple[str, ...]
    ttl_seconds: int
    source: str
    schema: dict[str, str]


_UPSERT = """
INSERT INTO ml_feast_feature_views AS stored (name, entities, ttl_seconds, source, schema)
VALUES (%(name)s, %(entities)s, %(ttl_seconds)s, %(source)s, %(schema)s)
ON CONFLICT (name) DO UPDATE
SET entities = excluded.entities, ttl_seconds = excluded.ttl_seconds, source = excluded.source,
    schema = excluded.schema, updated_at = now()
WHERE (stored.entities, stored.ttl_seconds, stored.source, stored.schema)
    IS DISTINCT FROM (excluded.entities, excluded.ttl_seconds, excluded.source, excluded.schema)
"""


async def replace_feature_views(database: Database, views: Sequence[FeatureViewRecord]) -> None:
    """Make the table hold exactly ``views``; a row that says the same keeps its ``updated_at``."""
    async with database.transaction() as session:
        await session.execute(
            "DELETE FROM ml_feast_feature_views WHERE name <> ALL (%s)", [[view.name for view in views]]
        )
        for view in views:
            await session.execute(
                _UPSERT,
                {
                    "name": view.name,
                    "entities": json_value(list(view.entities)),
                    "ttl_seconds": view.ttl_seconds,
                    "source": view.source,
                    "schema": json_value(view.schema),
                },
            )
