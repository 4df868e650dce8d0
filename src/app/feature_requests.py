"""Which features of which entities does a command ask for? Text in, checked names out; Feast is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from src.contracts.feature_views import FEATURE_VIEWS, FeatureViewDeclaration, get_feature_view
from src.contracts.tables import TABLES
from src.errors import ContractViolation
from src.feature_store.requests import entity_keys, parse_refs, views_of


def feature_references(views: Sequence[str], features: Sequence[str]) -> tuple[str, ...]:
    """``view:feature`` for all features of ``views`` and for ``features`` (comma-separated texts), each once.

    Raises UnknownFeature with the nearest names, and ContractViolation when nothing is named.
    """
    whole = [f"{view.name}:{feature}" for view in map(get_feature_view, views) for feature in view.features]
    single = [reference.strip() for text in features for reference in text.split(",") if reference.strip()]
    if not whole and not single:
        raise ContractViolation("name what to read: --view VIEW or --features VIEW:FEATURE")
    return tuple(ref.feast_name for ref in parse_refs(list(dict.fromkeys([*whole, *single]))))


def entity_rows(pairs: Sequence[str], references: Sequence[str]) -> list[dict[str, str]]:
    """Entities from ``key=value`` texts; a key that comes again begins the next entity.

    A composite key may be given by its parts. Raises ContractViolation for a pair that is none, a key that
    the features do not have, and an entity without one of the keys.
    """
    views = views_of(parse_refs(references))
    rows: list[dict[str, str]] = []
    for pair in pairs:
        key, sign, value = (part.strip() for part in pair.partition("="))
        if not (key and sign and value):
            raise ContractViolation(f"'{pair}' is not KEY=VALUE; give an entity as, for example, hcp_id=HCP-1")
        if not rows or key in rows[-1]:
            rows.append({})
        rows[-1][key] = value
    if not rows:
        raise ContractViolation(f"name an entity: --entity {views[0].join_key.join_key}=VALUE")
    entity_keys(views, rows)
    return rows


def moment_from(text: str, option: str) -> datetime:
    """A UTC time from ISO 8601; a date is its midnight, a time without zone is UTC. Raises ContractViolation."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ContractViolation(f"{option} '{text[:60]}' is not a date or time like 2026-03-01T08:00") from error


def declared_views() -> list[dict[str, Any]]:
    """Every view: entity, keys, table, features with types and how long a value counts."""
    return [
        {
            "name": view.name,
            "description": view.description,
            "entity": view.entity,
            "join_key": view.join_key.join_key,
            "key_parts": list(key_parts(view)),
            "table": view.table,
            "ttl_days": view.ttl_days,
            "features": {field.name: field.value_type for field in view.fields},
        }
        for view in FEATURE_VIEWS
    ]


def key_parts(view: FeatureViewDeclaration) -> tuple[str, ...]:
    """The columns that make a view's join key; one where the key is a column itself."""
    source = TABLES[view.table].feast
    assert source is not None
    return next(entity.join_key.parts for entity in source.entities if entity.name == view.entity)
