"""How does a portion of a view's source get into the online store through Feast, and how far has the view come?

Two things say how far: the registry's intervals, and a mark that lies among the view's values in the online store.
The mark is lost with the values, and stays behind where another store takes their place. All calls block; run
them in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import DataUnavailable, UnknownFeature, nearest_names
from src.feature_store.online_rows import OnlineRows
from src.feature_store.portions import EARLIEST, Reading, SourceIndex
from src.feature_store.rows_written import SLICE_ROWS, WriteTicket
from src.feature_store.stores import exclusive
from src.storage.feature_jobs import TICK

Interval = tuple[datetime, datetime]


class RowsMissing(Exception):
    """The source does not have the rows that it had a moment ago."""


class ViewCarrier:
    """One registered feature view of a Feast store. The registry is always asked past Feast's cache."""

    def __init__(self, store: Any, name: str) -> None:
        self._store = store
        self.name = name

    def registered_end(self) -> datetime | None:
        """The latest end of the registry's intervals, UTC: up to when some process materialised the view."""
        ends = [end for _, end in self._intervals()]
        return max(ends) if ends else None

    def marked_end(self) -> datetime | None:
        """Up to when the online store itself says it was written; None: it has no values of this view."""
        return self._online().marked_end()

    def last_end(self) -> datetime | None:
        """Up to when the online store has values of the view, by the registry and by the store."""
        return earlier(self.registered_end(), self.marked_end())

    def complete_until(self) -> datetime | None:
        """Up to when nothing is missing in the online store since ``EARLIEST``; None: a full run is needed."""
        ends = [end for start, end in join(self._intervals()) if start <= EARLIEST]
        return earlier(ends[0], self.marked_end()) if ends else None

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether [start, end] was materialised and is still in the online store."""
        noted = any(first <= start and end <= last for first, last in join(self._intervals()))
        return noted and earlier(end, self.marked_end()) == end

    def index(self, start: datetime, end: datetime) -> SourceIndex:
        """Entities and times of the source's rows with events in [start, end]. Raises DataUnavailable (no file)."""
        view = self._view()
        return _index(view, self._pull(view, start, end, []))

    def source_sha256(self) -> str:
        """Hash of the rows that the source has now. Raises DataUnavailable (no file)."""
        view = self._view()
        file = _file(view)
        if file is None:
            return hashlib.sha256(self._content(view).encode()).hexdigest()
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def source_changed_at(self) -> int | None:
        """When the view's file was last replaced or written, by the file system's clock; None: it has no file."""
        file = _file(self._view())
        return None if file is None else file.stat().st_ctime_ns

    def carry(self, names: Any, reading: Reading, until: datetime, ticket: WriteTicket) -> int:
        """Write the rows of the entities ``names`` as they are known at ``until``; how many there were to write.

        Raises RowsMissing, TicketClosed and whatever Feast and its stores raise.
        """
        view = self._view()
        online, written = OnlineRows(self._store, view), 0
        table = self._pull(view, reading.first, reading.last, [feature.name for feature in view.features])
        chosen = _index(view, table).latest(names, until)
        if len(chosen) != len(names):
            raise RowsMissing(f"the source has {len(chosen)} rows of {len(names)} entities: it changed meanwhile")
        for batch in table.take(chosen).combine_chunks().to_batches(max_chunksize=SLICE_ROWS):
            rows = online.of_batch(batch)
            if reading.may_be_there:
                rows = online.not_there(rows)
            ticket.check()
            online.write(rows)
            written += len(rows)
        return written

    def note(self, start: datetime, end: datetime) -> None:
        """Tell the online store, then the registry, that [start, end] was materialised."""
        online = self._online()
        marked = online.marked_end()
        online.mark(end if marked is None else max(marked, end))
        with exclusive(Path(self._store.config.repo_path)):
            self._store.registry.apply_materialization(self._view(), self._store.project, start, end)

    def join_intervals(self) -> None:
        """Make one interval of those that adjoin: the registry would otherwise grow with every portion."""
        with exclusive(Path(self._store.config.repo_path)):
            view = self._view()
            joined = join(_intervals(view))
            if len(joined) < len(view.materialization_intervals):
                self._set_intervals(view, joined)

    def prepare_store(self) -> None:
        """Make the view's place in the online store where it is missing; what went with it counts no more."""
        if self.marked_end() is None:
            self._forget()
            self._online().make_place()

    def clear(self) -> None:
        """Remove all values of the view from the online store, and what the registry knows of them."""
        self._forget()
        self._online().remove()
        self._online().make_place()

    def _forget(self) -> None:
        with exclusive(Path(self._store.config.repo_path)):
            view = self._view()
            if view.materialization_intervals:
                self._set_intervals(view, [])

    def _set_intervals(self, view: Any, intervals: list[Interval]) -> None:
        view.materialization_intervals = intervals
        # The registry would have it take over the intervals that are there.
        view.update_materialization_intervals = lambda _: None
        self._store.registry.apply_feature_view(view, self._store.project)

    def _pull(self, view: Any, start: datetime, end: datetime, features: list[str]) -> Any:
        _file(view)
        source = view.batch_source
        job = self._store._get_provider().offline_store.pull_all_from_table_or_query(
            config=self._store.config,
            data_source=source,
            join_key_columns=_keys(view),
            feature_name_columns=features,
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=start,
            end_date=end,
        )
        return job.to_arrow()

    def _content(self, view: Any) -> str:
        """Number of rows of a query and the sum of their hashes, which does not depend on their order."""
        from feast.infra.utils.postgres.connection_utils import _get_conn

        query = view.batch_source.get_table_query_string()
        with _get_conn(self._store.config.offline_store) as connection:
            found = connection.execute(
                f"SELECT count(*), sum(hashtextextended(q::text, 0)::numeric) FROM {query} AS q"
            ).fetchone()
        return str(found)

    def _intervals(self) -> list[Interval]:
        return _intervals(self._view())

    def _online(self) -> OnlineRows:
        return OnlineRows(self._store, self._view())

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


def earlier(noted: datetime | None, marked: datetime | None) -> datetime | None:
    """Up to when both the record and the online store say that values are there; None: one of them says nothing."""
    if noted is None or marked is None:
        return None
    # SQLite keeps whole seconds.
    return noted if marked >= noted.replace(microsecond=0) else marked


def _index(view: Any, table: Any) -> SourceIndex:
    source = view.batch_source
    return SourceIndex.of(table, _keys(view), source.timestamp_field, source.created_timestamp_column or None)


def _keys(view: Any) -> list[str]:
    return [column.name for column in view.entity_columns]


def _file(view: Any) -> Path | None:
    """The file of a source that has one. Raises DataUnavailable where it is not there."""
    path = getattr(view.batch_source, "path", "")
    if not path:
        return None
    if not Path(path).is_file():
        raise DataUnavailable(f"{path}: the rows of feature view '{view.name}' are not there")
    return Path(path)


def _intervals(view: Any) -> list[Interval]:
    # Feast keeps UTC; a registry of another making may leave the zone out.
    return [(_utc(start), _utc(end)) for start, end in view.materialization_intervals]


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
