"""How does what a process does become traces? One span per command, one database for its spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from src.storage.connection import connect, resolve_dsn

if TYPE_CHECKING:
    from src.mlops.opik_connector import OpikConnector
    from src.storage.database import Database

CALLER = "unknown"


async def open_tracer(database: Database) -> OpikConnector:
    """The connector of this process, storing spans in the database in use until the process ends.

    It holds the embedded server of its own accord: spans that end after the last session still arrive.
    """
    from src.mlops.opik_connector import get_opik_connector

    connector = get_opik_connector()
    if connector.has_database:
        return connector
    if resolve_dsn().dsn is not None:
        connector.use_database(lambda: database.dsn)
        return connector
    from src.storage.embedded_postgres import embedded

    lease = await asyncio.to_thread(embedded().attach)

    def address() -> str:
        lease.ensure_running()
        return lease.dsn

    connector.use_database(address, let_go=lease.close)
    return connector


@asynccontextmanager
async def traced_database() -> AsyncIterator[Database]:
    """The configured database, migrated, with spans going to it. Raises DatabaseUnavailable or MigrationError."""
    async with connect(migrate=True) as database:
        await open_tracer(database)
        yield database


@contextmanager
def command_span(name: str) -> Iterator[None]:
    """A span around one command of the command line; what ended is in the spool when this returns."""
    from src.mlops.opik_connector import get_opik_connector, reset_opik_connector

    connector = get_opik_connector()
    ended: SystemExit | None = None
    try:
        with connector.trace_agent(CALLER, f"e2i {name}", headers=connector.inherited_headers(), tags=("cli",)) as span:
            try:
                yield
            except SystemExit as error:
                ended = error
                span.set_attribute("exit_code", error.code or 0)
                if error.code:
                    span.set_error(error)
    finally:
        reset_opik_connector()
    if ended is not None:
        raise ended
