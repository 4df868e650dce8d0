"""Which entities, source columns and fields may a table give to the feature store? Nothing of Feast is imported."""

from __future__ import annotations

from dataclasses import dataclass

from src.contracts.model import Dtype, Role, TableContract

EVENT_TIME = "event_timestamp"
CREATED_TIME = "created_timestamp"

# Feast's names of value types; JSON is no feature type.
VALUE_TYPES = {
    Dtype.STR: "String",
    Dtype.INT: "Int64",
    Dtype.FLOAT: "Float64",
    Dtype.BOOL: "Bool",
    Dtype.DATE: "UnixTimestamp",
    Dtype.TS: "UnixTimestamp",
    Dtype.LIST: "Array(String)",
}


@dataclass(frozen=True, slots=True)
class EntityDeclaration:
    """An entity and the source column it is joined by."""

    name: str
    join_key: str


@dataclass(frozen=True, slots=True)
class SourceColumnDeclaration:
    """Source column ``name``: one existing column, or ``parts`` joined by ``_``."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldDeclaration:
    """A feature and its Feast value type."""

    name: str
    value_type: str


@dataclass(frozen=True, slots=True)
class FeastDeclaration:
    """What a feature source of one table is made of; views pick their entities and fields from it."""

    table: str
    entities: tuple[EntityDeclaration, ...]
    source_columns: tuple[SourceColumnDeclaration, ...]
    fields: tuple[FieldDeclaration, ...]
    event_time: str
    created_time: str

    @property
    def join_keys(self) -> frozenset[str]:
        """Columns entities are joined by."""
        return frozenset(entity.join_key for entity in self.entities)


def build_feast(table: TableContract) -> FeastDeclaration | None:
    """What ``table`` may give to the feature store, or None when it gives nothing.

    Fields are the columns of role FEATURE that are not personal; outcome and personal columns
    never enter. Every source has an event time and a created time (the event time itself where
    the table does not say when a row became known).
    """
    source = table.feast
    if source is None:
        return None
    features = [
        column
        for column in table.columns
        if column.role is Role.FEATURE and not column.is_personal and column.dtype in VALUE_TYPES
    ]
    keys = tuple(SourceColumnDeclaration(entity.join_key.name, entity.join_key.parts) for entity in source.entities)
    return FeastDeclaration(
        table=table.name,
        entities=tuple(EntityDeclaration(entity.name, entity.join_key.name) for entity in source.entities),
        source_columns=(
            *keys,
            *(SourceColumnDeclaration(column.name, (column.name,)) for column in features),
            SourceColumnDeclaration(EVENT_TIME, (source.event_time,)),
            SourceColumnDeclaration(CREATED_TIME, (source.created_time,)),
        ),
        fields=tuple(FieldDeclaration(column.name, VALUE_TYPES[column.dtype]) for column in features),
        event_time=EVENT_TIME,
        created_time=CREATED_TIME,
    )
