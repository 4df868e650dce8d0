"""Does the registry have what is asked for, also where another process registered it a moment ago?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from src.errors import DataUnavailable
from src.feature_store.requests import FeatureRef, views_of

T = TypeVar("T")


def ask_registered(store: Any, refs: Sequence[FeatureRef], ask: Callable[[], T]) -> T:
    """The answer of ``ask``; Feast's copy of the registry is renewed once where it lacks what is asked for.

    Raises DataUnavailable when the registry lacks it too.
    """
    from feast.errors import FeatureViewNotFoundException

    try:
        return ask()
    except (FeatureViewNotFoundException, KeyError):  # Feast says KeyError for a feature
        store.refresh_registry()
        _check_registered(store, refs)
    return ask()


def _check_registered(store: Any, refs: Sequence[FeatureRef]) -> None:
    registered = {view.name: {feature.name for feature in view.features} for view in store.list_feature_views()}
    for view in views_of(refs):
        if view.name not in registered:
            raise DataUnavailable(f"feature view '{view.name}' is not registered: run 'e2i features apply'")
    for ref in refs:
        if ref.feature not in registered[ref.view.name]:
            raise DataUnavailable(f"feature '{ref.feast_name}' is not registered: run 'e2i features apply'")
