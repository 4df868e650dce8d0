"""What are the features of an entity, now or at a time in the past? The one way to the feature store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.contracts.feature_views import FEATURE_VIEWS, FeatureViewDeclaration, get_feature_view
from src.domain.alerts import AlertSender
from src.errors import ContractViolation
from src.feature_store.configuration import FeastConfig, load_feast_config
from src.feature_store.freshness import FreshnessReader
from src.feature_store.history import describe_history, join_history, parquet_table, query_parquet, statistics_query
from src.feature_store.library import FeastMissing, degrading
from src.feature_store.materialization import Materializer, OnProgress
from src.feature_store.online import OnlineFeatures, read_online
from src.feature_store.repository import (
    ApplySummary,
    Changes,
    RegisteredEntity,
    RegisteredView,
    apply_objects,
    load_objects,
    parquet_path,
    registered_entities,
    registered_views,
)
from src.feature_store.requests import parse_refs, views_of
from src.feature_store.results import FeatureFreshness, FeatureStatistics, MaterializationResult
from src.feature_store.sources import ExportedSources, FeatureSources, QueriedSources, StoredSources, rows_left_out
from src.feature_store.stores import close_store, exclusive, open_store
from src.storage.feature_jobs import FeatureJobs, SentAlerts

if TYPE_CHECKING:
    import pandas as pd

    from src.storage.database import Database

__all__ = ["FeastClient", "FeastMissing", "get_feast_client"]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class FeastClient:
    """Feast on the configured stores; safe for concurrent awaits and threads.

    ``database`` holds the tables that features come from; without one, Parquet files that are
    already there are read (``sources`` replaces both). Every method answers ``Unavailable`` where
    Feast is not installed, or a store's server cannot be reached.
    """

    def __init__(
        self,
        config: FeastConfig | Path | None = None,
        *,
        database: Database | None = None,
        sources: FeatureSources | None = None,
        alerts: AlertSender | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.config = config if isinstance(config, FeastConfig) else _load(config)
        self.database = database
        self.alerts = alerts
        self.clock = clock
        self._sources = sources or self._default_sources()
        self._store: Any = None
        self._writing_store: Any = None
        self._opening = threading.Lock()

    def _default_sources(self) -> FeatureSources:
        if self.config.offline_store.type == "postgres":
            return QueriedSources()
        folder = self.config.offline_store.folder
        return ExportedSources(self.database, folder) if self.database is not None else StoredSources(folder)

    def store(self) -> Any:
        """The ``feast.FeatureStore``, opened on first use (blocks for seconds). Raises FeastMissing, ConfigError."""
        with self._opening:
            if self._store is None:
                self._store = open_store(self.config, self.database.dsn if self.database is not None else None)
            return self._store

    def _store_to_write(self) -> Any:
        """A store of its own: what a materialisation has not committed yet is not read."""
        with self._opening:
            if self._writing_store is None:
                self._writing_store = open_store(self.config, self.database.dsn if self.database is not None else None)
            return self._writing_store

    def view(self, name: str) -> FeatureViewDeclaration:
        """The declaration of a view; raises UnknownFeature with the nearest names."""
        return get_feature_view(name)

    async def ensure_sources(self, views: Sequence[FeatureViewDeclaration]) -> dict[str, int]:
        """Bring the rows that Feast reads up to date with the tables; rows of each view's source."""
        return await self._sources.ensure(views)

    @degrading
    async def initialize(self) -> None:
        """Open the stores now rather than at the first question."""
        await self._opened()

    @degrading
    async def apply(self) -> ApplySummary:
        """Register what the repository defines, and bring the sources up to date.

        Views and entities that the repository no longer has are removed, with their online values.
        What was materialised stays, but a view whose query or features are new counts as never materialised.
        Raises ConfigError, DataUnavailable, DatabaseUnavailable.
        """
        store = await self._opened()
        objects = await asyncio.to_thread(load_objects, self.config)
        names = {getattr(item, "name", "") for item in objects}
        declared = [view for view in FEATURE_VIEWS if view.name in names]
        rows = await self.ensure_sources(declared)
        left_out = await rows_left_out(self.database, declared) if self.database is not None else {}
        views, entities = await asyncio.to_thread(self._apply, store, objects)
        if self.database is not None:
            await _record(self.database, await asyncio.to_thread(registered_views, store))
        return ApplySummary(views, entities, rows, left_out)

    def _apply(self, store: Any, objects: list[Any]) -> tuple[Changes, Changes]:
        with exclusive(self.config.offline_store.folder):
            return apply_objects(store, objects)

    @degrading
    async def get_online_features(
        self,
        entity_rows: Sequence[Mapping[str, Any]],
        feature_refs: Sequence[str],
        full_feature_names: bool = True,
        *,
        as_of: datetime | None = None,
    ) -> OnlineFeatures:
        """The latest materialised values of ``view:feature`` references, one per row of keys.

        Keys are join keys; a composite one may be given by its parts. Features are called
        ``view__feature``, or ``feature`` without ``full_feature_names``. With ``as_of`` (UTC) a value
        older than its view's time to live is None, as it is in history; without, a value is given whatever
        its age. The store has one value per entity and not when it became known, so ``as_of`` must not
        be earlier than the end of the view's last materialisation. Raises UnknownFeature, ContractViolation,
        DataUnavailable (the views are not applied, the online store was lost).
        """
        refs = parse_refs(feature_refs)
        if as_of is not None and as_of.tzinfo is None:
            raise ContractViolation("as_of has no time zone")
        store = await self._opened()
        return await asyncio.to_thread(
            read_online, store, refs, entity_rows, full_names=full_feature_names, as_of=as_of
        )

    @degrading
    async def get_historical_features(self, entity_df: pd.DataFrame, feature_refs: Sequence[str]) -> pd.DataFrame:
        """``entity_df`` with a column ``view__feature`` for each reference: the value known at ``event_timestamp``.

        That is the latest event not after the row's time and not older than the view's time to
        live, as it was recorded by then: neither later events nor later corrections show. Order,
        index, duplicates and other columns stay as they are; a row with an empty key has no values.
        Numbers that are missing are NaN or <NA>. Raises UnknownFeature and ContractViolation:
        unknown names, no rows, missing keys, times without a time zone.
        """
        refs = parse_refs(feature_refs)
        store = await self._opened()
        await self.ensure_sources(views_of(refs))
        return await asyncio.to_thread(join_history, store, refs, entity_df)

    @degrading
    async def get_feature_statistics(self, view: str) -> tuple[FeatureStatistics, ...]:
        """Each feature of a view over its whole history. Raises UnknownFeature."""
        declared = self.view(view)
        await self._opened()
        await self.ensure_sources([declared])
        if self.config.offline_store.type == "file":
            table = parquet_table(parquet_path(self.config.offline_store.folder, view))
            rows = await asyncio.to_thread(query_parquet, statistics_query(declared, table))
        else:
            rows = await self._query_postgres(statistics_query(declared, f"({declared.query()})"))
        return describe_history(declared, rows)

    async def _query_postgres(self, query: str) -> list[dict[str, Any]]:
        from src.storage.database import Database

        if self.database is not None and not self.config.offline_store.dsn:
            return await self.database.fetch(query)
        async with Database.open(self.config.offline_store.dsn, max_size=1) as database:
            return await database.fetch(query)

    @degrading
    async def materialize(
        self,
        start: datetime,
        end: datetime,
        views: Sequence[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
        from_scratch: bool = False,
    ) -> MaterializationResult:
        """Carry events in [start, end] into the online store; see ``Materializer.materialize``."""
        return await self._materializer().materialize(
            start, end, views, on_progress=on_progress, from_scratch=from_scratch
        )

    @degrading
    async def materialize_incremental(
        self,
        end: datetime | None = None,
        views: Sequence[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
    ) -> MaterializationResult:
        """Carry over what is new since the last time; see ``Materializer.materialize_incremental``."""
        return await self._materializer().materialize_incremental(end, views, on_progress=on_progress)

    @degrading
    async def get_feature_freshness(self, view: str) -> FeatureFreshness:
        """How old a view's online values are; see ``FreshnessReader``."""
        return await self._freshness().get_feature_freshness(view)

    @degrading
    async def get_all_freshness(self) -> dict[str, FeatureFreshness]:
        """How old the online values of every applied view are."""
        return await self._freshness().get_all_freshness()

    def _materializer(self) -> Materializer:
        jobs = FeatureJobs(self.database) if self.database is not None else None
        return Materializer(
            self._store_to_write,
            self.config,
            jobs=jobs,
            clock=self.clock,
            prepare=lambda name: self.ensure_sources([self.view(name)]),
        )

    def _freshness(self) -> FreshnessReader:
        database = self.database
        return FreshnessReader(
            self.store,
            self.config,
            jobs=FeatureJobs(database) if database is not None else None,
            clock=self.clock,
            alerts=self.alerts,
            sent=SentAlerts(database) if database is not None else None,
        )

    @degrading
    async def list_feature_views(self) -> list[RegisteredView]:
        """The applied views, by name."""
        return await asyncio.to_thread(registered_views, await self._opened())

    @degrading
    async def list_entities(self) -> list[RegisteredEntity]:
        """The applied entities, by name."""
        return await asyncio.to_thread(registered_entities, await self._opened())

    async def close(self) -> None:
        """Release connections; a later call opens them again."""
        await asyncio.to_thread(self.close_stores)

    def close_stores(self) -> None:
        """What ``close`` does, where nothing can be awaited."""
        with self._opening:
            stores = [store for store in (self._store, self._writing_store) if store is not None]
            self._store = self._writing_store = None
        for store in stores:
            close_store(store)

    async def _opened(self) -> Any:
        return self._store or await asyncio.to_thread(self.store)


_client: FeastClient | None = None
_choosing = threading.Lock()


def get_feast_client(*, database: Database | None = None) -> FeastClient:
    """The client of this process, on the shipped configuration.

    Another ``database`` makes another client and closes the earlier one, whose calls must have ended.
    """
    global _client
    with _choosing:
        if _client is not None and database is not None and database is not _client.database:
            _client.close_stores()
            _client = None
        if _client is None:
            _client = FeastClient(database=database)
        return _client


def _load(file: Path | None) -> FeastConfig:
    return load_feast_config() if file is None else load_feast_config(file)


async def _record(database: Database, views: Sequence[RegisteredView]) -> None:
    from src.storage.feature_registry import FeatureViewRecord, replace_feature_views

    records = [FeatureViewRecord(v.name, v.entities, v.ttl_seconds, v.origin, dict(v.features)) for v in views]
    await replace_feature_views(database, records)
