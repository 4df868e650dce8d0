"""What do all tests share: a database server of their own, a folder of their own, and the rules of the suite?"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

from src.domain.agents import TIER_OF_AGENT
from tests.bytecode import keep_bytecode
from tests.memory_folder import folder_in_memory
from tests.suite_rules import NoTier, folder_markers, refuse_foreign, skip_problem, tier_marker

keep_bytecode()

TESTS = Path(__file__).resolve().parent
TEMPLATE = "e2i_template"
# A developer's own servers and keys are none of the tests' business.
FOREIGN_VARIABLES = (
    *("DATABASE_URL", "SUPABASE_DB_URL", "SUPABASE_URL", "SUPABASE_KEY", "REDIS_URL", "MLFLOW_TRACKING_URI"),
    *("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "E2I_LLM_PROVIDER"),
    *("OPIK_ENABLED", "OPIK_API_KEY", "OPIK_ENDPOINT", "OPIK_URL_OVERRIDE", "OPIK_WORKSPACE"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "TRACEPARENT", "TRACESTATE", "E2I_ENV", "E2I_CACHE_BACKEND"),
    *("E2I_DASK_SCHEDULER", "OPTUNA_STORAGE_URL"),
)
# What these libraries would report home, and what costs every test time.
SILENCED = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OPIK_SENTRY_ENABLE": "false",
    "OPIK_ANALYTICS_ENABLE": "false",
    "RAGAS_DO_NOT_TRACK": "true",
    # Answers are scored where a test asks for it.
    "E2I_EVALUATION_RATE": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

DELIVERING = ("e2i-delivery", "e2i-spool-writer")
FEW_CONNECTORS = 6

# The same examples every time: a run that fails fails again.
settings.register_profile("e2i", derandomize=True, deadline=None)
settings.load_profile("e2i")

_var_dir = pytest.StashKey[Path]()
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-supabase", action="store_true", help="start a PostgREST-compatible server on Node for requires_supabase"
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(tempfile.mkdtemp(prefix="e2i-tests-"))
    config.stash[_var_dir] = folder
    if (in_memory := folder_in_memory()) is not None:
        (folder / "pg").symlink_to(in_memory)
    os.environ["E2I_VAR_DIR"] = str(folder)
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(SILENCED)
    # In the order of the folders the few long tests of commands come first, not last with one worker idle.
    config.option.loadscopereorder = False
    # Python starts with the sitecustomize it finds there: child processes are kept on this machine too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TESTS / "offline"), os.environ.get("PYTHONPATH"))))


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_var_dir, None)) is not None:
        shutil.rmtree((folder / "pg").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in folder_markers(item.path, TESTS):
            item.add_marker(marker)
        if (tier := _tier_marker(item.path)) is not None:
            item.add_marker(tier)
        if item.get_closest_marker("requires_supabase") and not config.getoption("--run-supabase"):
            item.add_marker(pytest.mark.skip(reason="needs a PostgREST-compatible server: pass --run-supabase"))


def _tier_marker(path: Path) -> str | None:
    try:
        return tier_marker(path, TESTS, TIER_OF_AGENT)
    except NoTier as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _judge_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    if report.skipped:
        _judge_skip(report)
    return report


def _judge_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if (problem := skip_problem(reason)) is not None:
        report.outcome = "failed"
        report.longrepr = problem


@pytest.fixture(scope="session", autouse=True)
def _local_network_only() -> Iterator[None]:
    """Every connection made through Python's sockets stays on this machine."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    yield
    patch.undo()


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        refuse_foreign(self.family, address)
        return connect(self, address)

    return guarded


@pytest.fixture(scope="module", autouse=True)
def _connectors_of_the_module() -> Iterator[None]:
    """Hundreds of threads that wait for spans of tests long gone slow down every later test."""
    yield from _connectors_closed()
    left = [thread.name for thread in threading.enumerate() if thread.name in DELIVERING]
    assert len(left) <= FEW_CONNECTORS, f"connectors were left open: {len(left)} threads deliver"


@pytest.fixture(autouse=True)
def _own_connector() -> Iterator[None]:
    """No test delivers the spans of another."""
    yield from _connectors_closed()
    close_connector()


def _connectors_closed() -> Iterator[None]:
    traces = sys.modules.get("tests.traces")
    before = traces.opened() if traces else 0
    yield
    if (traces := sys.modules.get("tests.traces")) is not None:
        traces.close_opened(before)


def close_connector() -> None:
    """Close the connector that a test used, if it used one."""
    if (module := sys.modules.get("src.mlops.opik_connector")) is not None:
        module.reset_opik_connector()


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """Address of this worker's embedded server, database ``e2i`` (the one commands use by default)."""
    from src.storage.embedded_postgres import embedded

    server = embedded()
    with server.attach() as lease:
        _forgo_durability(lease.dsn)
        yield lease.dsn
    server.stop()


def _forgo_durability(dsn: str) -> None:
    """No test pulls the plug of this server: waiting for the disk at every database made and dropped is time lost."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def template_database(postgres_dsn: str) -> str:
    """Name of a migrated database that the others are cloned from."""
    import psycopg

    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    asyncio.run(_migrate(in_database(postgres_dsn, TEMPLATE)))
    return TEMPLATE


async def _migrate(dsn: str) -> None:
    from src.storage.connection import MIGRATIONS
    from src.storage.database import Database
    from src.storage.migrate import migrate

    async with Database.open(dsn) as database:
        await migrate(database, MIGRATIONS)


def in_database(dsn: str, name: str) -> str:
    """The same address with another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.fixture
def empty_database_url(postgres_dsn: str) -> Iterator[str]:
    """Address of a new database without any table."""
    yield from _new_database(postgres_dsn, "template1")


@pytest.fixture
def database_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    """Address of a new, migrated database of the test's own."""
    yield from _new_database(postgres_dsn, template_database)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    """``Database`` on a new, migrated database of the test's own."""
    from src.storage.database import Database

    async with Database.open(database_url) as database:
        yield database


def _new_database(dsn: str, template: str) -> Iterator[str]:
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield in_database(dsn, name)
    close_connector()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
