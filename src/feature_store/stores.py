"""Which stores does Feast work with, said in Feast's own settings, and how is it opened on them and closed?"""

from __future__ import annotations

import calendar
import fcntl
import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from src.errors import ConfigError, DataUnavailable
from src.feature_store.configuration import FeastConfig
from src.feature_store.library import load_feast
from src.feature_store.offline import OneQueryAtATime
from src.storage.connection_parts import postgres_parts

Settings = dict[str, Any]

# Online reads use a copy of the registry; what another process applies shows after this time at the latest.
REGISTRY_AGE_S = 60

# Without limits a host that drops packets would be waited for without end.
_REDIS_PATIENCE = {"socket_connect_timeout": "2", "socket_timeout": "5"}


def online_settings(config: FeastConfig) -> Settings:
    """Feast's settings of the online store; raises ConfigError for an address that is none."""
    store = config.online_store
    if store.kind == "redis":
        # Else a corrected value is dropped: it has the event time of the first one. Writers come one at a time.
        return {
            "type": "redis",
            "connection_string": redis_connection(store.connection_string),
            "skip_dedup": True,
        }
    if store.kind == "postgres":
        parts = postgres_parts(store.connection_string, "feast.online_store.connection_string")
        # One connection for all threads would mix their transactions.
        return {"type": "postgres", "conn_type": "pool", "min_conn": 1, "max_conn": 4, **parts}
    return {"type": "sqlite", "path": store.connection_string or str(config.offline_store.folder / "online.db")}


def offline_settings(config: FeastConfig, database_dsn: str | None) -> Settings:
    """Feast's settings of the offline store; ``postgres`` without ``dsn`` reads the database in use."""
    if config.offline_store.type == "file":
        return {"type": "duckdb"}
    dsn = config.offline_store.dsn or database_dsn
    if not dsn:
        raise ConfigError("feast.offline_store: type postgres needs a dsn where no database is in use")
    return {"type": "postgres", **postgres_parts(dsn, "feast.offline_store.dsn")}


def registry_settings(config: FeastConfig) -> Settings:
    """Feast's settings of its SQL registry."""
    path = config.registry.url or f"sqlite:///{config.offline_store.folder / 'registry.db'}"
    return {"registry_type": "sql", "path": path, "cache_ttl_seconds": REGISTRY_AGE_S}


def redis_connection(address: str) -> str:
    """Feast's form (``host:port,key=value``) of a ``redis://`` or ``rediss://`` URL; that form itself is kept.

    Raises ConfigError, without the address: it may hold a password.
    """
    if "://" not in address:
        return address
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port or 6379
    except ValueError:
        host, port = None, 0
    if not host or url.scheme not in ("redis", "rediss"):
        raise ConfigError("feast.online_store.connection_string is not a Redis address (redis://host:port/0)")
    options: Settings = {"db": url.path.strip("/") or "0"} | _REDIS_PATIENCE | dict(parse_qsl(url.query))
    for name, value in (("username", url.username), ("password", url.password)):
        if value:
            options[name] = unquote(value)
    if url.scheme == "rediss":
        options["ssl"] = "true"
    if any("," in str(value) for value in options.values()):
        raise ConfigError("feast.online_store.connection_string: Feast cannot take a comma in a Redis password")
    return ",".join([f"{host}:{port}", *(f"{name}={value}" for name, value in options.items())])


def open_store(config: FeastConfig, database_dsn: str | None) -> Any:
    """A ``feast.FeatureStore``. Raises FeastMissing, ConfigError and DataUnavailable (the folder cannot be written)."""
    settings = {
        "registry": registry_settings(config),
        "online_store": online_settings(config),
        "offline_store": offline_settings(config, database_dsn),
    }
    feast = load_feast()
    folder = config.offline_store.folder
    _make_folder(folder)
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project=config.project,
            provider="local",
            repo_path=folder,
            entity_key_serialization_version=3,
            **settings,
        )
    )
    if config.online_store.kind == "sqlite":
        _write_ahead(Path(settings["online_store"]["path"]))
        _keep_times_in_utc()
    if config.online_store.kind == "redis":
        _limit_redis_attempts(store)
    _open_registry(store, config)
    if config.offline_store.type == "file":
        provider = store._get_provider()
        provider._offline_store = OneQueryAtATime(provider.offline_store, folder)
    return store


def close_store(store: Any) -> None:
    """Release files and connections; what they hold stays."""
    online = store._get_provider().online_store
    for name in ("_conn", "_conn_pool", "_client"):
        if (connection := getattr(online, name, None)) is not None:
            connection.close()
            setattr(online, name, None)
    store.registry.write_engine.dispose()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the registry in ``folder`` meanwhile."""
    with (folder / ".registry.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _open_registry(store: Any, config: FeastConfig) -> None:
    import sqlalchemy.exc

    try:
        with exclusive(config.offline_store.folder):
            if not config.registry.url:
                _write_ahead(config.offline_store.folder / "registry.db")
            store.registry  # noqa: B018 - creates its tables, which two processes must not do at once
    except sqlalchemy.exc.ArgumentError:
        # The cause may quote the address, password included.
        raise ConfigError(
            "feast.registry.url is no SQLAlchemy address (postgresql://user:password@host/name)"
        ) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataUnavailable(f"{folder}: cannot be made ({error.strerror})") from error


def _write_ahead(file: Path) -> None:
    """Let readers of a SQLite file go on while somebody writes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _keep_times_in_utc() -> None:
    """Feast gives SQLite naive UTC times and its own converters take them for local ones.

    In the hour that daylight saving leaves out, and in a process with another time zone, they come back shifted.
    """
    sqlite3.register_adapter(datetime, _epoch_seconds)
    sqlite3.register_converter("timestamp", _utc_time)


def _limit_redis_attempts(store: Any) -> None:
    """Say within a second that a server is gone: the client's own attempts take ten."""
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    client = store._get_provider().online_store._get_client(store.config.online_store)
    client.set_retry(Retry(ExponentialBackoff(cap=0.2, base=0.05), retries=3))


def _epoch_seconds(time: datetime) -> int:
    return calendar.timegm(time.utctimetuple())


@functools.lru_cache(maxsize=4096)  # every feature of an entity has the same time
def _utc_time(seconds: bytes) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
