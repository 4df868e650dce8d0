"""How does a portion of a view's source get into the online store through Feast, and what does the registry say?

All calls block; run them in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import DataUnavailable, UnknownFeature, nearest_names
from src.feature_store.portions import Portion, SourceIndex
from src.feature_store.rows_written import WriteTicket, ticketed
from src.feature_store.stores import exclusive
from src.storage.feature_jobs import TICK

Interval = tuple[datetime, datetime]


class RowsMissing(Exception):
    """Feast wrote another number of rows than the source has: the source changed meanwhile, or rows were lost."""


class ViewCarrier:
    """One registered feature view of a Feast store. The registry is always asked past Feast's cache."""

    def __init__(self, store: Any, name: str) -> None:
        self._store = store
        self.name = name

    def last_end(self) -> datetime | None:
        """Up to when the view was materialised by any process: the latest end of the registry's intervals, UTC."""
        ends = [end for _, end in _intervals(self._view())]
        return max(ends) if ends else None

    def index(self, start: datetime, end: datetime) -> SourceIndex:
        """Entities and times of the source's rows with events in [start, end]. Raises DataUnavailable (no file)."""
        view = self._view()
        source, keys = view.batch_source, [column.name for column in view.entity_columns]
        path = getattr(source, "path", "")
        if path and not Path(path).is_file():
            raise DataUnavailable(f"{path}: the rows of feature view '{self.name}' are not there")
        job = self._store._get_provider().offline_store.pull_all_from_table_or_query(
            config=self._store.config,
            data_source=source,
            join_key_columns=keys,
            feature_name_columns=[],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=start,
            end_date=end,
        )
        return SourceIndex.of(job.to_arrow(), keys, source.timestamp_field, source.created_timestamp_column or None)

    def source_changed_at(self) -> datetime | None:
        """When the view's file was last replaced or written, by the file system's clock; None: it has no file."""
        path = getattr(self._view().batch_source, "path", "")
        if not path or not Path(path).is_file():
            return None
        return datetime.fromtimestamp(Path(path).stat().st_ctime_ns / 1e9, UTC)

    def carry(self, portion: Portion, ticket: WriteTicket) -> None:
        """Write the rows of ``portion``. Raises RowsMissing, TicketClosed and whatever Feast and its stores raise."""
        if portion.read_from is None or portion.read_to is None:
            return
        provider = self._store._get_provider()
        with ticketed(provider.online_store, ticket):
            provider.materialize_single_feature_view(
                config=self._store.config,
                feature_view=self._view(),
                start_date=portion.read_from,
                end_date=portion.read_to,
                registry=self._store.registry,
                project=self._store.project,
                tqdm_builder=lambda length: None,
            )
        if ticket.rows != portion.rows:
            raise RowsMissing(f"{ticket.rows} rows were written where the source has {portion.rows}")

    def note(self, start: datetime, end: datetime) -> None:
        """Tell the registry that [start, end] was materialised."""
        with exclusive(Path(self._store.config.repo_path)):
            self._store.registry.apply_materialization(self._view(), self._store.project, start, end)

    def join_intervals(self) -> None:
        """Make one interval of those that adjoin: the registry would otherwise grow with every portion."""
        with exclusive(Path(self._store.config.repo_path)):
            view = self._view()
            joined = join(_intervals(view))
            if len(joined) < len(view.materialization_intervals):
                view.materialization_intervals = joined
                self._store.registry.apply_feature_view(view, self._store.project)

    def _view(self) -> Any:
        return self._store.registry.get_feature_view(self.name, self._store.project, allow_cache=False)


def registered_view(store: Any, name: str) -> Any:
    """The view as the registry has it now. Raises UnknownFeature with the nearest names."""
    views = {view.name: view for view in store.registry.list_feature_views(store.project, allow_cache=False)}
    if name not in views:
        advice = nearest_names(name, sorted(views)) if views else "none is: run 'e2i features apply' first"
        raise UnknownFeature(f"no feature view '{name}' is registered; {advice}")
    return views[name]


def registered_names(store: Any) -> list[str]:
    """Names of all registered views. Raises UnknownFeature when there is none."""
    names = sorted(view.name for view in store.registry.list_feature_views(store.project, allow_cache=False))
    if not names:
        raise UnknownFeature("no feature view is registered: run 'e2i features apply' first")
    return names


def join(intervals: Sequence[Interval]) -> list[Interval]:
    """The same times in as few intervals as possible; both ends belong to an interval."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1] + TICK:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _intervals(view: Any) -> list[Interval]:
    # Feast keeps UTC; a registry of another making may leave the zone out.
    return [(_utc(start), _utc(end)) for start, end in view.materialization_intervals]


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
