"""What are features about? One Feast entity per declared one, joined by a text key."""

from __future__ import annotations

from feast import Entity, ValueType

from src.contracts.feast_declarations import EntityDeclaration

DESCRIPTIONS = {
    "hcp": "healthcare professional",
    "patient": "patient, by pseudonym",
    "territory": "sales territory",
    "brand": "brand",
    "trigger": "alert to a field representative",
    "hcp_brand": "healthcare professional and brand, joined by _",
    "patient_brand": "patient and brand, joined by _",
}


def make_entity(declaration: EntityDeclaration) -> Entity:
    """The entity of a declaration."""
    return Entity(
        name=declaration.name,
        join_keys=[declaration.join_key],
        value_type=ValueType.STRING,
        description=DESCRIPTIONS[declaration.name],
    )
