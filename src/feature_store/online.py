"""What are the latest values of features for some entities, and how old are they?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from src.errors import ContractViolation, DataUnavailable
from src.feature_store.online_rows import OnlineRows
from src.feature_store.registered import ask_registered
from src.feature_store.requests import FeatureRef, entity_keys, views_of

if TYPE_CHECKING:
    import pandas as pd

# By registry: Feast's copy of it, and the views made of that copy.
_views: WeakKeyDictionary[Any, tuple[Any, dict[str, Any]]] = WeakKeyDictionary()
# SQLite binds a limited number of values to one statement.
ROWS_PER_READ = 5_000


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """One value per entity row and feature, rows in the order asked; None: the online store has none.

    ``event_times`` says, per view, when the values of each row were so (UTC, whole seconds; None
    where the store has no row).
    """

    keys: dict[str, list[str]]
    values: dict[str, list[Any]]
    event_times: dict[str, list[datetime | None]]

    def __len__(self) -> int:
        return len(next(iter(self.keys.values())))

    def to_dict(self) -> dict[str, list[Any]]:
        """Keys and features by column."""
        return {**self.keys, **self.values}

    def rows(self) -> list[dict[str, Any]]:
        """Keys and features by row."""
        columns = self.to_dict()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_df(self) -> pd.DataFrame:
        """Keys and features as a frame."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())


def read_online(
    store: Any,
    refs: Sequence[FeatureRef],
    entity_rows: Sequence[Mapping[str, Any]],
    *,
    full_names: bool,
    as_of: datetime | None,
) -> OnlineFeatures:
    """Read the online store; see ``FeastClient.get_online_features``."""
    names = {ref: ref.full_name if full_names else ref.feature for ref in refs}
    if len(set(names.values())) < len(refs):
        raise ContractViolation("two views have a feature of the same name; ask with full_feature_names=True")
    keys = entity_keys(views_of(refs), entity_rows)
    if as_of is not None:
        _check_as_of(store, refs, as_of)
    answer: dict[str, list[Any]] = {ref.full_name: [] for ref in refs}
    times: dict[str, list[datetime | None]] = {view.name: [] for view in views_of(refs)}
    for start in range(0, len(entity_rows), ROWS_PER_READ):
        _read(store, refs, {name: part[start : start + ROWS_PER_READ] for name, part in keys.items()}, answer, times)
    values = {
        names[ref]: _not_expired(answer[ref.full_name], times[ref.view.name], ref.view.ttl_days, as_of) for ref in refs
    }
    return OnlineFeatures(keys, values, times)


def _read(
    store: Any,
    refs: Sequence[FeatureRef],
    keys: dict[str, list[str]],
    answer: dict[str, list[Any]],
    times: dict[str, list[datetime | None]],
) -> None:
    """Append what is read for ``keys`` to ``answer`` (by feature) and ``times`` (by view)."""
    for view in views_of(refs):
        wanted = [ref for ref in refs if ref.view is view]
        registered = ask_registered(store, wanted, partial(_registered, store, wanted))
        with _missing_tables():
            found = OnlineRows(store, registered).values(keys, [ref.feature for ref in wanted])
        times[view.name] += [time for time, _ in found]
        for ref in wanted:
            answer[ref.full_name] += [values.get(ref.feature) for _, values in found]


def _registered(store: Any, refs: Sequence[FeatureRef]) -> Any:
    """The view of ``refs`` as Feast's copy of the registry has it. Raises KeyError for a feature it lacks.

    Feast makes its objects of that copy anew for every question, which takes longer than many a read; they are kept
    here for as long as it is the same copy.
    """
    registry, name = store.registry, refs[0].view.name
    registry._refresh_cached_registry_if_necessary()
    copy, made = _views.get(registry, (None, {}))
    if copy is not registry.cached_registry_proto:
        copy, made = registry.cached_registry_proto, {}
        _views[registry] = copy, made
    if name not in made:
        made[name] = registry.get_feature_view(name, store.project, allow_cache=True)
    there = {feature.name for feature in made[name].features}
    for ref in refs:
        if ref.feature not in there:
            raise KeyError(ref.feature)
    return made[name]


@contextmanager
def _missing_tables() -> Iterator[None]:
    """Raise DataUnavailable where the registry knows a view of which the online store has no table."""
    import psycopg

    try:
        yield
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable) as error:
        if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
            raise
        raise DataUnavailable(
            "the online store lacks a registered view, it was lost or exchanged: "
            "run 'e2i features apply', then 'e2i features materialize'"
        ) from error


def _check_as_of(store: Any, refs: Sequence[FeatureRef], as_of: datetime) -> None:
    for view in views_of(refs):
        found = ask_registered(store, refs, partial(store.get_feature_view, view.name))
        carried = max((end for _, end in found.materialization_intervals), default=as_of)
        if as_of < carried:
            raise ContractViolation(
                f"as_of {as_of.isoformat()}: the online store holds what was known of '{view.name}' at "
                f"{carried.isoformat()}; ask for historical features"
            )


def _not_expired(values: list[Any], times: list[datetime | None], ttl_days: int, as_of: datetime | None) -> list[Any]:
    if as_of is None:
        return values
    oldest = as_of - timedelta(days=ttl_days)
    pairs = zip(values, times, strict=True)
    return [value if time is not None and oldest <= time <= as_of else None for value, time in pairs]
