"""Register the feature views behind the required features, and see how fresh they are."""

from __future__ import annotations

from collections.abc import Iterable

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import ABOUT_VIEW, is_blocked
from src.agents.ml_foundation.data_preparer.services import PLACE, FeatureStore, services_of
from src.agents.ml_foundation.data_preparer.state import FeastSummary, PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.contracts.feature_views import FEATURE_VIEWS
from src.errors import UnknownFeature
from src.feature_store.results import FeatureFreshness
from src.resilience.outcomes import Unavailable


@traced_node(PLACE, "register_features_in_feast")
async def register_features_in_feast(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Views that serve a required feature. Data that is blocked already registers nothing; ages are read anyway."""
    store = services_of(runtime.context).features
    views = serving_views(state["loaded"].table, state["request"].scope.required_features)
    if not views:
        return {"feast": FeastSummary()}
    if store is None:
        return _without_store(views, "there is no feature store")
    return await _registered(store, views, register=not is_blocked(state))


def serving_views(table: str, features: Iterable[str]) -> tuple[str, ...]:
    """Feature views over ``table`` that hold one of ``features``."""
    wanted = set(features)
    return tuple(view.name for view in FEATURE_VIEWS if view.table == table and wanted & set(view.features))


async def _registered(store: FeatureStore, views: tuple[str, ...], *, register: bool) -> PrepareUpdate:
    applied = await store.apply() if register else None
    if isinstance(applied, Unavailable):
        return _without_store(views, applied.reason)
    ages = {view: await _age(store, view) for view in views}
    for age in ages.values():
        if isinstance(age, Unavailable):
            return _without_store(views, age.reason)
    known = {view: age for view, age in ages.items() if isinstance(age, FeatureFreshness)}
    return {
        "feast": FeastSummary(views if register else (), tuple(known.values())),
        "not_ready": tuple(line for view in views if (line := stale(view, known.get(view)))),
    }


async def _age(store: FeatureStore, view: str) -> FeatureFreshness | Unavailable | None:
    """None for a view that nobody registered yet, as on a new installation whose data is blocked."""
    try:
        return await store.get_feature_freshness(view)
    except UnknownFeature:
        return None


def stale(view: str, age: FeatureFreshness | None) -> str | None:
    """Why the values of ``view`` may not be used, or None when they may."""
    if age is None:
        return f"{ABOUT_VIEW} {view}: its freshness is not known"
    return None if age.is_fresh else f"{ABOUT_VIEW} {view} is {age.status}: {age.message}"


def _without_store(views: tuple[str, ...], reason: str) -> PrepareUpdate:
    return {
        "feast": FeastSummary(),
        "degraded": (f"feature store: {reason}",),
        "not_ready": tuple(f"{ABOUT_VIEW} {view}: its freshness is not known ({reason})" for view in views),
    }
