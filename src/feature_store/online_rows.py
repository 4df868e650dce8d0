"""What does the online store hold of a view, and how is it written there through Feast, whichever store it is?

Among a view's values lies a mark: an entity of a name that no real one has, without values, whose event time says
up to when the view was written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

MARK = "__e2i_materialized__"
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # Redis gives it for an entity that it does not have
# Kinds of values that need no conversion; Feast's own is several times slower.
_PLAIN = frozenset({"string_val", "int32_val", "int64_val", "double_val", "float_val", "bool_val"})

Row = tuple[Any, dict[str, Any], datetime, datetime | None]  # entity key, values, event time, created time


class OnlineRows:
    """The values of one view in a Feast store's online store. All calls block."""

    def __init__(self, store: Any, view: Any) -> None:
        self._config = store.config
        self._online = store._get_provider().online_store
        self._view = view
        self._features = [feature.name for feature in view.features]

    def of_batch(self, batch: Any) -> list[Row]:
        """Rows of an Arrow batch as Feast writes them."""
        from feast.utils import _convert_arrow_to_proto

        keys = {column.name: column.dtype.to_value_type() for column in self._view.entity_columns}
        rows: list[Row] = _convert_arrow_to_proto(batch, self._view, keys)
        return rows

    def values(
        self, keys: Mapping[str, list[str]], features: list[str]
    ) -> list[tuple[datetime | None, dict[str, Any]]]:
        """Event time (UTC, whole seconds) and values of each entity; (None, {}) where the store has no row.

        ``keys``: the join keys by column; others than the view's are ignored. Read past Feast's own request, which
        takes about as long again to put its answer together.
        """
        names = [column.name for column in self._view.entity_columns]
        asked = [self._key(names, values) for values in zip(*(keys[name] for name in names), strict=True)]
        found = self._online.online_read(self._config, self._view, asked, features)
        return [
            (None, {})
            if time is None or stored is None or _seconds(time) <= _NEVER
            else (_seconds(time), {name: _plain(stored[name]) for name in features if name in stored})
            for time, stored in found
        ]

    def write(self, rows: list[Row]) -> None:
        """Write rows; a later one of an entity replaces an earlier one."""
        if rows:
            self._online.online_write_batch(self._config, self._view, rows, lambda _: None)

    def not_there(self, rows: list[Row]) -> list[Row]:
        """Those rows whose values or times are not what the store has."""
        found = self._online.online_read(self._config, self._view, [row[0] for row in rows], self._features)
        return [row for row, there in zip(rows, found, strict=True) if not self._is_same(row, there)]

    def mark(self, end: datetime) -> None:
        """Say that the view was written up to ``end``."""
        from feast.protos.feast.types.Value_pb2 import Value

        self.write([(self._mark_key(), {name: Value() for name in self._features}, end, end)])

    def marked_end(self) -> datetime | None:
        """What the mark says (UTC, in SQLite whole seconds); None where there is no mark, or no place for one."""
        if not self._has_place():
            return None
        try:
            ((time, _),) = self._online.online_read(self._config, self._view, [self._mark_key()], self._features)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None
        return None if time is None or time <= _NEVER else time.astimezone(UTC)

    def make_place(self) -> None:
        """Make the view's table, for stores that have tables."""
        self._update(keep=[self._view])

    def remove(self) -> None:
        """Remove all values of the view, mark and all."""
        self._update(delete=[self._view])

    def _has_place(self) -> bool:
        """Whether the view's table is there, for PostgreSQL: Feast loses a pooled connection with every error."""
        if self._config.online_store.type != "postgres":
            return True
        from feast.infra.online_stores.postgres_online_store.postgres import _table_id

        with self._online._get_conn(self._config, autocommit=True) as connection:
            name = f'"{_table_id(self._config.project, self._view)}"'
            return bool(connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()[0])

    def _update(self, *, keep: list[Any] | None = None, delete: list[Any] | None = None) -> None:
        self._online.update(
            config=self._config,
            tables_to_delete=delete or [],
            tables_to_keep=keep or [],
            entities_to_delete=[],
            entities_to_keep=[],
            partial=True,
        )

    def _mark_key(self) -> Any:
        names = [column.name for column in self._view.entity_columns]
        return self._key(names, [MARK] * len(names))

    def _key(self, names: list[str], values: Sequence[str]) -> Any:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        return EntityKey(join_keys=names, entity_values=[Value(string_val=value) for value in values])

    def _is_same(self, row: Row, there: tuple[datetime | None, dict[str, Any] | None]) -> bool:
        _, values, event, _ = row
        time, stored = there
        if time is None or stored is None or _seconds(time) != _seconds(event):
            return False
        # Compared as bytes: a NaN is not equal to itself.
        return all(name in stored and _bytes(stored[name]) == _bytes(values[name]) for name in self._features)


def _seconds(time: datetime) -> datetime:
    # Feast hands over UTC without saying so.
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return aware.replace(microsecond=0)


def _plain(value: Any) -> Any:
    """A stored value as Python has it; None where it is empty."""
    kind = value.WhichOneof("val")
    if kind in _PLAIN:
        return getattr(value, kind)
    from feast.type_map import feast_value_type_to_python_type

    return feast_value_type_to_python_type(value)


def _bytes(value: Any) -> bytes:
    serialized: bytes = value.SerializeToString(deterministic=True)
    return serialized
