"""Which database does this process use, and how does it get connected?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from src.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from src.storage.database import Database
    from src.storage.embedded_postgres import EmbeddedPostgres

MIGRATIONS = PROJECT_ROOT / "database"
_PATIENCE_EXTERNAL_S = 2.0
_PATIENCE_EMBEDDED_S = 10.0


class Source(StrEnum):
    """Where the address of the database comes from, in order of precedence."""

    DATABASE_URL = "DATABASE_URL"
    SUPABASE_DB_URL = "SUPABASE_DB_URL"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Target:
    """The database to use; ``dsn`` is None for the embedded one, which gets its address when it is up."""

    source: Source
    dsn: str | None


def resolve_dsn(environ: Mapping[str, str] | None = None) -> Target:
    """DATABASE_URL, else SUPABASE_DB_URL, else the embedded server."""
    variables = os.environ if environ is None else environ
    for source in (Source.DATABASE_URL, Source.SUPABASE_DB_URL):
        if dsn := variables.get(source.value, "").strip():
            return Target(source, dsn)
    return Target(Source.EMBEDDED, None)


@asynccontextmanager
async def connect(
    *,
    migrate: bool = False,
    on_progress: Callable[[str], None] | None = None,
    server: EmbeddedPostgres | None = None,
) -> AsyncIterator[Database]:
    """Connect to the configured database, starting the embedded server where nothing else is configured.

    With ``migrate`` the schema is brought up to date first, ``on_progress`` being told each file.
    ``server`` replaces the project's own embedded server. The embedded server stays up as long as
    the connection; killed meanwhile, it is started again for the next statement.
    Raises DatabaseUnavailable and MigrationError.
    """
    from src.storage.database import Database

    target = resolve_dsn()
    if target.dsn is not None and server is None:
        async with Database.open(target.dsn, patience_s=_PATIENCE_EXTERNAL_S) as database:
            await _up_to_date(database, migrate, on_progress)
            yield database
        return
    async with _attached(server) as address, Database.open(address, patience_s=_PATIENCE_EMBEDDED_S) as database:
        await _up_to_date(database, migrate, on_progress)
        yield database


@asynccontextmanager
async def _attached(server: EmbeddedPostgres | None) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    from src.storage.embedded_postgres import embedded

    lease = await asyncio.to_thread((server or embedded()).attach)

    async def address() -> str:
        await asyncio.to_thread(lease.ensure_running)
        return lease.dsn

    with lease:
        yield address


async def _up_to_date(database: Database, wanted: bool, on_progress: Callable[[str], None] | None) -> None:
    if wanted:
        from src.storage.migrate import migrate

        await migrate(database, MIGRATIONS, on_progress)
