"""Where is the MLflow store, and how is it opened? SQLite, PostgreSQL or a tracking server."""

from __future__ import annotations

import fcntl
import importlib.util
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from src.errors import ConfigError, ServiceOutage
from src.mlops.mlflow.failures import translated
from src.mlops.mlflow.values import without_credentials
from src.settings import PROJECT_ROOT, var_dir

# MLflow's own client: imported on first use, and only partly typed.
Client: TypeAlias = Any

Kind = Literal["sqlite", "postgresql", "http", "other"]

_opening = threading.Lock()
_silence = threading.RLock()
# Any fixed number will do: it only has to be the same for everybody who creates the tables.
_ADVISORY_LOCK = 727_004_117


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A store as MLflow takes it; ``artifact_root`` is None where the server decides."""

    uri: str = field(repr=False)
    kind: Kind
    artifact_root: str | None

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return without_credentials(self.uri)

    @property
    def sqlite_file(self) -> Path | None:
        """The file of a SQLite store."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.kind == "sqlite" else None


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """A command line and the variables it needs; the address, which may hold a password, is among the variables."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)


def resolve_address(uri: str, artifact_location: str = "", *, timeout_s: int = 30) -> StoreAddress:
    """Say where ``uri`` leads: relative SQLite paths lie in the checkout, those below ``var/`` in ``var_dir()``.

    Raises ConfigError for addresses that MLflow would refuse or lose.
    """
    scheme = uri.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        return _sqlite(uri, artifact_location)
    root = artifact_location or str(var_dir() / "mlflow-artifacts")
    if scheme in ("postgres", "postgresql"):
        return StoreAddress(_postgresql(uri, timeout_s), "postgresql", root)
    if scheme in ("http", "https"):
        return StoreAddress(uri.rstrip("/"), "http", artifact_location or None)
    if "://" not in uri or scheme == "file":
        raise ConfigError(
            f"tracking.uri '{uri}': MLflow no longer keeps runs in plain folders; "
            "use sqlite:///file.db, postgresql://… or http://…"
        )
    return StoreAddress(uri, "other", root)


def open_client(address: StoreAddress, *, timeout_s: int) -> Client:
    """Return a client on the store; creates an empty store's tables, once however many processes ask.

    Blocks: the first use imports MLflow, an empty store takes seconds. Raises ServiceOutage when the store
    cannot be reached.
    """
    with _opening, translated():
        mlflow_client = load_library(timeout_s)
        if address.sqlite_file is not None:
            create_sqlite_store(address.sqlite_file, address.artifact_root or "")
            return mlflow_client(tracking_uri=address.uri, registry_uri=address.uri)
        if address.kind == "postgresql":
            with _postgres_tables_lock(address.uri, timeout_s):
                return mlflow_client(tracking_uri=address.uri, registry_uri=address.uri)
        return mlflow_client(tracking_uri=address.uri, registry_uri=address.uri)


def create_sqlite_store(file: Path, artifact_root: str) -> None:
    """Create an empty store at ``file`` unless it exists; another process sees it whole or not at all."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_name(file.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as folder:
            _fill_sqlite(Path(folder) / file.name, artifact_root)
            os.replace(Path(folder) / file.name, file)


def server_command(
    address: StoreAddress, *, host: str = "127.0.0.1", port: int = 5000, ui: bool = True
) -> ServerCommand:
    """The ``mlflow ui`` (or ``mlflow server``) that shows this store. Raises ConfigError for a tracking server."""
    if address.kind == "http":
        raise ConfigError(f"the store is an MLflow server already: open {address.shown}")
    executable = Path(sys.executable).with_name("mlflow")
    argv = (str(executable), "ui" if ui else "server", "--host", host, "--port", str(port), "--workers", "1")
    environment = {**_quiet_environment(), "MLFLOW_BACKEND_STORE_URI": address.uri}
    if address.artifact_root:
        environment["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = address.artifact_root
    return ServerCommand(argv, environment)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep MLflow's advice on type hints, column types and other libraries from the caller.

    One thread at a time: filters of warnings belong to the process, and two who change them leave them changed.
    """
    with _silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sqlite(uri: str, artifact_location: str) -> StoreAddress:
    path = uri.partition("://")[2].removeprefix("/").partition("?")[0]
    if not path or path == ":memory:":
        raise ConfigError(f"tracking.uri '{uri}' names no file; use sqlite:///folder/file.db")
    if not os.path.isabs(path):
        first, _, rest = path.partition("/")
        path = str(var_dir() / rest if first == "var" and rest else PROJECT_ROOT / path)
    root = artifact_location or str(Path(path).parent / "mlflow-artifacts")
    return StoreAddress(f"sqlite:///{path}", "sqlite", root)


def _postgresql(uri: str, timeout_s: int) -> str:
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.setdefault("connect_timeout", str(timeout_s))
    scheme = parts.scheme if "+" in parts.scheme else "postgresql+psycopg"
    return urlunsplit(parts._replace(scheme=scheme, query=urlencode(query)))


def _quiet_environment() -> dict[str, str]:
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # MLflow's server imports LiteLLM, which asks the internet for prices as it is loaded, and without one hangs.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def load_library(timeout_s: int) -> Client:
    """Import MLflow without telemetry, chatter, or its own retries: repeating is the connector's business.

    Returns its client class. Raises ConfigError when MLflow is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError("MLflow is not installed: pip install 'e2i[tracking]'")
    for name, value in _quiet_environment().items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(timeout_s)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    with quietly():
        import mlflow.models
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    return mlflow.MlflowClient


def _fill_sqlite(file: Path, artifact_root: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    build: Any = SqlAlchemyStore
    build(f"sqlite:///{file}", artifact_root).engine.dispose()


@contextmanager
def _postgres_tables_lock(uri: str, timeout_s: int) -> Iterator[None]:
    """Fail within the timeout where MLflow would try for minutes, and let one process at a time create the tables."""
    import psycopg

    plain = urlunsplit(urlsplit(uri)._replace(scheme="postgresql"))
    try:
        connection = psycopg.connect(plain, connect_timeout=timeout_s, autocommit=True)
    except psycopg.OperationalError as error:
        said = without_credentials(" ".join(str(error).split()))[:300]
        raise ServiceOutage(f"the MLflow store does not answer ({said})") from error
    with connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        yield
