"""Feature rows of one view whose latest value per entity is known, and what the online store really holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from src.feature_store.configuration import FeastConfig
from src.feature_store.feast_client import FeastClient
from src.feature_store.online_rows import MARK
from src.feature_store.sources import StoredSources, source_schema

VIEW = "trigger_effectiveness"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
NOW = datetime(2026, 4, 5, 12, tzinfo=UTC)  # after every row
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class FeatureRow:
    """A value of an entity; ``created`` None: known when it happened."""

    event: datetime
    key: str
    value: float
    created: datetime | None = None

    @property
    def known(self) -> datetime:
        """When the row was told."""
        return self.created or self.event


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class NoWait:
    """A sleep that only notes how long it was asked for."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)


def random_rows(count: int, entities: int, *, seed: int = 1, over: timedelta = 60 * DAY) -> list[FeatureRow]:
    """Rows of random entities at random times after BEGIN."""
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, int(over.total_seconds()), count)
    keys, values = rng.integers(0, entities, count), rng.random(count)
    return [
        FeatureRow(BEGIN + timedelta(seconds=int(second)), f"T{key:07d}", float(value))
        for second, key, value in zip(seconds, keys, values, strict=True)
    ]


def latest_values(rows: Iterable[FeatureRow], until: datetime) -> dict[str, float]:
    """What the online store should hold: the latest value of every entity, the one told last where times agree."""
    ordered = sorted((row for row in rows if row.event <= until), key=lambda row: (row.event, row.known))
    return {row.key: row.value for row in ordered}


def write_source(folder: Path, rows: Iterable[FeatureRow]) -> None:
    """Replace the Parquet file of VIEW."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    pq.write_table(_table(list(rows)), partial)
    partial.replace(folder / f"{VIEW}.parquet")


def _table(rows: list[FeatureRow]) -> Any:
    import pyarrow as pa

    from src.contracts.feature_views import get_feature_view

    view = get_feature_view(VIEW)
    columns = {
        view.join_key.join_key: [row.key for row in rows],
        "confidence_score": [row.value for row in rows],
        "lead_time_days": [7] * len(rows),
        "event_timestamp": [row.event for row in rows],
        "created_timestamp": [row.known for row in rows],
    }
    return pa.table(columns, schema=source_schema(view))


def feature_config(folder: Path, **settings: Mapping[str, Any]) -> FeastConfig:
    """Embedded stores in ``folder``, a repository of VIEW alone, no waiting between attempts."""
    repository = folder / "repository"
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "__init__.py").write_text(
        "import feature_repo\n\n\ndef define(make_source):\n"
        f"    return [item for item in feature_repo.define(make_source) if item.name in ('trigger', '{VIEW}')]\n"
    )
    materialization = {"retry_delay_seconds": 0, **settings.pop("materialization", {})}
    return FeastConfig.model_validate(
        {"repo_path": repository, "offline_store": {"path": folder}, "materialization": materialization, **settings}
    )


def feature_client(config: FeastConfig, **parts: Any) -> FeastClient:
    """A client that reads the Parquet files that are there."""
    return FeastClient(config, sources=StoredSources(config.offline_store.folder), **parts)


def online_content(folder: Path) -> dict[str, float]:
    """Every value in the embedded online store but the mark, read without Feast's client."""
    from feast.infra.key_encoding_utils import deserialize_entity_key
    from feast.protos.feast.types.Value_pb2 import Value

    with closing(sqlite3.connect(folder / "online.db")) as connection:
        rows = connection.execute(
            f"SELECT entity_key, value FROM e2i_{VIEW} WHERE feature_name = 'confidence_score'"
        ).fetchall()
    content = {}
    for key, value in rows:
        entity = deserialize_entity_key(key, entity_key_serialization_version=3).entity_values[0].string_val
        content[entity] = Value.FromString(value).double_val
    assert len(content) == len(rows)
    content.pop(MARK, None)
    return content


async def applied(folder: Path, rows: list[FeatureRow], **settings: Any) -> Any:
    """A client without database whose view is registered and has ``rows``."""
    write_source(folder, rows)
    client = feature_client(feature_config(folder, **settings), clock=Clock(NOW))
    await client.apply()
    return client


class FailingWrites:
    """Makes the next ``times`` writes of an online store fail, or run ``before`` each."""

    def __init__(self, store: Any, *, times: int = 0, before: Callable[[], None] = lambda: None) -> None:
        online = store._get_provider().online_store
        self._write, self._before, self.left, self.calls = online.online_write_batch, before, times, 0
        online.online_write_batch = self

    def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        self._before()
        if self.left:
            self.left -= 1
            raise sqlite3.OperationalError("database is locked, key 'T0000001'")
        self._write(*arguments)
