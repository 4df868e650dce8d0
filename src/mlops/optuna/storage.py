"""Where are studies kept? In a SQLite file, in PostgreSQL shared by several workers, or, declared, in memory."""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from src.errors import ConfigError, HPOError, ServiceOutage
from src.mlops.optuna.library import load_optuna
from src.settings import PROJECT_ROOT, shown_address, var_dir

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

MEMORY = "memory"
# Seconds between the signs of life of a running trial; after three without one its process counts as dead.
HEARTBEAT_S = 60
_CONNECT_TIMEOUT_S = 10
# Any fixed number will do: it only has to be the same for everybody who creates the tables.
_ADVISORY_LOCK = 727_004_118


@dataclass(frozen=True, slots=True)
class StorageAddress:
    """Where studies are; ``url`` as SQLAlchemy takes it, credentials included."""

    url: str = field(repr=False)
    kind: Literal["sqlite", "postgresql", "memory"]

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return MEMORY if self.kind == "memory" else shown_address(self.url).replace("+psycopg", "")

    @property
    def file(self) -> Path:
        """The file of a SQLite storage."""
        return Path(self.url.removeprefix("sqlite:///"))


def storage_address(url: str) -> StorageAddress:
    """Say where ``url`` leads: relative SQLite paths lie in the checkout, those below ``var/`` in ``var_dir()``.

    Raises ConfigError for what is neither sqlite:///…, postgresql://… nor memory.
    """
    if url == MEMORY:
        return StorageAddress("", "memory")
    scheme = url.partition(":")[0].partition("+")[0].lower() if ":" in url else ""
    if scheme == "sqlite":
        return StorageAddress(f"sqlite:///{_sqlite_file(url)}", "sqlite")
    if scheme in ("postgres", "postgresql"):
        return StorageAddress(_postgresql(url), "postgresql")
    raise ConfigError(
        f"optuna.storage_url (OPTUNA_STORAGE_URL) begins with '{scheme[:20]}'; "
        "use sqlite:///file.db, postgresql://… or memory"
    )


def open_storage(url: str, *, heartbeat_s: int = HEARTBEAT_S) -> BaseStorage:
    """The storage at ``url``; creates an empty one's tables, once however many processes ask. Blocks.

    Running trials give a sign of life every ``heartbeat_s`` seconds; one without for three times as long becomes
    FAIL when the next trial begins. Raises ServiceOutage naming the address, without its password, when it cannot
    be opened, ConfigError for an address that is none.
    """
    optuna = load_optuna()
    address = storage_address(url)
    if address.kind == "memory":
        memory: BaseStorage = optuna.storages.InMemoryStorage()
        return memory
    with reachable(address), _alone(address), warnings.catch_warnings():
        # Heartbeats are what tells a dead worker's trial from a slow one; Optuna calls them experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage: BaseStorage = optuna.storages.RDBStorage(
            address.url,
            engine_kwargs=_engine_options(address),
            heartbeat_interval=heartbeat_s,
            grace_period=3 * heartbeat_s,
        )
        _quicken(storage, address)
    return storage


def close_storage(storage: BaseStorage) -> None:
    """Give back the connections; the storage opens new ones when it is used again."""
    inner: Any = getattr(storage, "_backend", storage)
    if hasattr(inner, "engine"):
        inner.engine.dispose()


@contextmanager
def reachable(address: StorageAddress) -> Iterator[None]:
    """Raise ServiceOutage, naming the address, for a storage that fails or does not answer in the body."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (sqlalchemy.exc.DBAPIError, StorageInternalError, OSError) as error:
        raise ServiceOutage(
            f"the study storage {address.shown} cannot be used ({_short(error)}); start it, or set OPTUNA_STORAGE_URL"
        ) from error
    except RuntimeError as error:
        if "version" not in str(error):
            raise
        raise HPOError(
            f"the study storage {address.shown} belongs to another version of Optuna: name an empty one"
        ) from error


def _short(error: BaseException) -> str:
    """The cause in a line, without the statement, its values or an address."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    lines = str(cause).splitlines()
    return f"{type(cause).__name__}: {lines[0][:200]}" if lines else type(cause).__name__


def _quicken(storage: Any, address: StorageAddress) -> None:
    """SQLite waits for the disk at every report of a trial, unless it is told to do so at checkpoints only."""
    if address.kind != "sqlite":
        return
    from sqlalchemy import event

    def connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", connected)
    storage.engine.dispose()


def _engine_options(address: StorageAddress) -> dict[str, Any]:
    if address.kind == "sqlite":
        return {"connect_args": {"timeout": 60}}
    return {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 8}


def _sqlite_file(url: str) -> str:
    path = url.partition("://")[2].removeprefix("/").partition("?")[0]
    if not path or path == ":memory:":
        raise ConfigError(f"optuna.storage_url '{url}' names no file; use sqlite:///folder/file.db, or memory")
    if os.path.isabs(path):
        return path
    first, _, rest = path.partition("/")
    return str(var_dir() / rest if first == "var" and rest else PROJECT_ROOT / path)


def _postgresql(url: str) -> str:
    try:
        parts = urlsplit(url)
        names_a_host = bool(parts.hostname)
    except ValueError:
        names_a_host = False
    if not names_a_host:
        raise ConfigError("optuna.storage_url is not a PostgreSQL URL (postgresql://user:password@host:port/database)")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.setdefault("connect_timeout", str(_CONNECT_TIMEOUT_S))
    return urlunsplit(parts._replace(scheme="postgresql+psycopg", query=urlencode(query)))


@contextmanager
def _alone(address: StorageAddress) -> Iterator[None]:
    """One process at a time creates the tables: two at once would find each other's."""
    if address.kind == "sqlite":
        address.file.parent.mkdir(parents=True, exist_ok=True)
        with open(address.file.with_name(address.file.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    import psycopg

    plain = urlunsplit(urlsplit(address.url)._replace(scheme="postgresql"))
    try:
        connection = psycopg.connect(plain, autocommit=True)
    except psycopg.Error as error:
        raise ServiceOutage(
            f"the study storage {address.shown} does not answer ({_short(error)}); start it, or set OPTUNA_STORAGE_URL"
        ) from error
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        yield
