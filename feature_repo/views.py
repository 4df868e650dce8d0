"""Which features belong together? One Feast feature view per declared one."""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, types
from feast.data_source import DataSource

from src.contracts.feature_views import FeatureViewDeclaration


def make_view(view: FeatureViewDeclaration, entity: Entity, source: DataSource) -> FeatureView:
    """The feature view of a declaration, its schema written out in full so that Feast infers nothing."""
    key = Field(name=view.join_key.join_key, dtype=types.String)
    features = [Field(name=field.name, dtype=_dtype(field.value_type)) for field in view.fields]
    return FeatureView(
        name=view.name,
        entities=[entity],
        ttl=timedelta(days=view.ttl_days),
        schema=[key, *features],
        source=source,
        description=view.description,
        online=True,
    )


def _dtype(name: str) -> types.FeastType:
    return types.Array(types.String) if name == "Array(String)" else getattr(types, name)
