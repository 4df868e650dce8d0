"""Which Feast objects does this repository define? ``define`` makes them from the data contract's feature views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from src.contracts.feature_views import FEATURE_VIEWS, FeatureViewDeclaration

from .entities import make_entity
from .views import make_view


def define(make_source: Callable[[FeatureViewDeclaration], Any]) -> list[Any]:
    """Entities and feature views; ``make_source`` gives a view's data source, which the configuration decides."""
    joined = {view.entity: view.join_key for view in FEATURE_VIEWS}
    entities = {name: make_entity(declaration) for name, declaration in joined.items()}
    views = [make_view(view, entities[view.entity], make_source(view)) for view in FEATURE_VIEWS]
    return [*entities.values(), *views]
