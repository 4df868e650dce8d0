"""What does the feature repository define, and in what does the registry differ from it?"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from src.contracts.feature_views import FeatureViewDeclaration
from src.errors import ConfigError
from src.feature_store.configuration import FeastConfig
from src.feature_store.library import load_feast

EVENT_COLUMN = "event_timestamp"
CREATED_COLUMN = "created_timestamp"
_DEFINITION = "definition"


@dataclass(frozen=True, slots=True)
class Changes:
    """Names, by what applying did to them."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplySummary:
    """What ``apply`` did; ``rows`` is the number of rows of each view's source (Parquet sources only).

    ``left_out`` is the number of rows that have a key but no time, by view, where there are any; without
    a database nobody knows.
    """

    views: Changes
    entities: Changes
    rows: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredView:
    """A feature view as the registry has it; ``definition`` is the ``definition_of`` its file's rows."""

    name: str
    entities: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    ttl_seconds: int
    source: str
    description: str
    definition: str

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names without their types."""
        return tuple(name for name, _ in self.features)

    @property
    def origin(self) -> str:
        """The source, and for a file what its rows are made by."""
        return f"{self.source}#{self.definition}" if self.definition else self.source

    @property
    def carried(self) -> tuple[object, ...]:
        """All that decides which values the online store gets."""
        return self.entities, self.features, self.origin


@dataclass(frozen=True, slots=True)
class RegisteredEntity:
    """An entity as the registry has it."""

    name: str
    join_key: str
    description: str


def parquet_path(folder: Path, view: str) -> Path:
    """Where the rows of a view are exported to."""
    return folder / f"{view}.parquet"


def definition_of(view: FeatureViewDeclaration) -> str:
    """Hash of the query and the types that make a view's rows: another one, and rows made before are out of date."""
    types = [(field.name, field.value_type) for field in view.fields]
    return hashlib.sha256(f"{view.query()}\n{types}".encode()).hexdigest()


def load_objects(config: FeastConfig) -> list[Any]:
    """The entities and views that ``repo_path`` defines, on sources of the configured kind.

    The folder is a package with ``define(make_source)``, whose views have their schema written out.
    Raises ConfigError when it is not.
    """
    module = _load_package(config.repository())
    define = getattr(module, "define", None)
    if not callable(define):
        raise ConfigError(f"feast.repo_path: {module.__file__} has no function 'define(make_source)'")
    objects: list[Any] = define(lambda view: make_source(config, view))
    return objects


def make_source(config: FeastConfig, view: FeatureViewDeclaration) -> Any:
    """The data source of a view: its Parquet file, or its query where history is read from PostgreSQL."""
    feast = load_feast()
    times = {"timestamp_field": EVENT_COLUMN, "created_timestamp_column": CREATED_COLUMN}
    if config.offline_store.type == "postgres":
        from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

        return PostgreSQLSource(name=view.name, query=view.query(), **times)
    path = parquet_path(config.offline_store.folder, view.name)
    return feast.FileSource(name=view.name, path=str(path), tags={_DEFINITION: definition_of(view)}, **times)


def apply_objects(store: Any, objects: list[Any]) -> tuple[Changes, Changes]:
    """Make the registry hold exactly ``objects``, and say which views and entities that changed.

    A view of which other values are to be carried than before counts as never materialised.
    """
    views, entities = _views(store), _entities(store)
    for item in objects:
        if hasattr(item, "batch_source") and item.name in views and _differs(item, views[item.name]):
            _forget_intervals(item)
    wanted = {(type(item), item.name) for item in objects}
    there = [*store.list_feature_views(), *store.list_entities()]
    gone = [item for item in there if (type(item), item.name) not in wanted]
    store.apply(objects, objects_to_delete=gone, partial=False)
    return _changes(views, _views(store)), _changes(entities, _entities(store))


def registered_views(store: Any) -> list[RegisteredView]:
    """The views of the registry, as it is now, by name."""
    return sorted((_registered(view) for view in store.list_feature_views()), key=lambda view: view.name)


def registered_entities(store: Any) -> list[RegisteredEntity]:
    """The entities of the registry, as it is now, by name."""
    found = [RegisteredEntity(item.name, item.join_key, item.description) for item in store.list_entities()]
    return sorted(found, key=lambda entity: entity.name)


def _registered(view: Any) -> RegisteredView:
    source = view.batch_source
    return RegisteredView(
        name=view.name,
        entities=tuple(view.entities),
        features=tuple((feature.name, str(feature.dtype)) for feature in view.features),
        ttl_seconds=int(view.ttl.total_seconds()),
        source=getattr(source, "path", "") or source.get_table_query_string(),
        description=view.description,
        definition=source.tags.get(_DEFINITION, ""),
    )


def _differs(view: Any, registered: RegisteredView) -> bool:
    return _registered(view).carried != registered.carried


def _forget_intervals(view: Any) -> None:
    # The registry asks a view to take over the intervals of the one it replaces, in one transaction with the rest.
    view.update_materialization_intervals = lambda _: None


def _views(store: Any) -> dict[str, RegisteredView]:
    return {view.name: view for view in registered_views(store)}


def _entities(store: Any) -> dict[str, RegisteredEntity]:
    return {entity.name: entity for entity in registered_entities(store)}


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Changes:
    return Changes(
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and old[name] != new[name]),
        unchanged=tuple(name for name in new if name in old and old[name] == new[name]),
        removed=tuple(name for name in old if name not in new),
    )


def _load_package(folder: Path) -> ModuleType:
    """Import ``folder`` under a name of its own; a second repository in the process does not meet the first."""
    name = f"_feature_repository_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    file = folder / "__init__.py"
    if not file.is_file():
        raise ConfigError(f"feast.repo_path: {folder} has no __init__.py that defines the features")
    load_feast()
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
