"""Which SQL files has this database seen, and how does it get the rest?

``manifest.txt`` in the folder lists the files in order, one path per line. Each is applied once,
in a transaction of its own, and recorded with its checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import psycopg

from src.errors import MigrationError
from src.storage.database import Database, Session, is_unavailable

MANIFEST = "manifest.txt"
# First 8 bytes of SHA-256("e2i.schema_migrations"), signed: one migrator at a time per database.
LOCK_KEY = int.from_bytes(hashlib.sha256(b"e2i.schema_migrations").digest()[:8], "big", signed=True)
_TRANSACTION_CONTROL = re.compile(r"^\s*(BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK|END)\s*;", re.I | re.M)


class MigrationStatus(StrEnum):
    """Where a file stands in one database."""

    APPLIED = "applied"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A file of the manifest; ``filename`` is its path as written there."""

    filename: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A row of schema_migrations."""

    filename: str
    sha256: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class MigrationState:
    """A file of the manifest and whether this database has it."""

    filename: str
    status: MigrationStatus
    applied_at: datetime | None = None


def read_folder(folder: Path) -> list[SqlFile]:
    """The files of ``folder`` in manifest order; no manifest means no files.

    Raises MigrationError: an entry without file, listed twice, or a file that is not listed.
    """
    manifest = folder / MANIFEST
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    listed = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if twice := sorted({name for name in listed if listed.count(name) > 1}):
        raise MigrationError(f"{manifest} lists {twice[0]} twice; keep one line")
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*.sql")}
    if missing := [name for name in listed if name not in on_disk]:
        raise MigrationError(f"{manifest} lists {missing[0]}, which does not exist; restore the file")
    if unlisted := sorted(on_disk - set(listed)):
        raise MigrationError(f"{folder / unlisted[0]} is not listed in {MANIFEST}; add it in its place or remove it")
    return [_read_file(folder, name) for name in listed]


async def migrate(
    database: Database, folder: Path, on_progress: Callable[[str], None] | None = None
) -> list[AppliedMigration]:
    """Apply every pending file in order and return what was applied now.

    ``on_progress`` is told each file before it runs. Several migrators at once are safe: each file
    runs under an advisory lock. Raises MigrationError: a failing file leaves nothing behind, and an
    applied file that has changed stops everything before anything runs.
    """
    files = read_folder(folder)
    async with database.transaction() as session:
        await _lock(session)
        await _ensure_table(session)
    done: list[AppliedMigration] = []
    while True:
        async with database.transaction() as session:
            await _lock(session)
            file = _next(files, await _applied(session))
            if file is None:
                return done
            if on_progress is not None:
                on_progress(file.filename)
            done.append(await _apply(session, file))


async def status(database: Database, folder: Path) -> list[MigrationState]:
    """What is applied and what is pending, in manifest order. Raises MigrationError as ``migrate`` does."""
    files = read_folder(folder)
    async with database.transaction() as session:
        applied = await _applied(session) if await _has_table(session) else {}
    _compare(files, applied)
    return [
        MigrationState(file.filename, MigrationStatus.APPLIED, applied[file.filename].applied_at)
        if file.filename in applied
        else MigrationState(file.filename, MigrationStatus.PENDING)
        for file in files
    ]


async def check(database: Database, folder: Path) -> None:
    """Raise MigrationError unless the database has exactly the files of ``folder``."""
    pending = [state.filename for state in await status(database, folder) if state.status is MigrationStatus.PENDING]
    if pending:
        count = f"{len(pending)} migration{'s are' if len(pending) > 1 else ' is'}"
        raise MigrationError(f"{count} not applied, first {pending[0]}; run `e2i db migrate`")


def _read_file(folder: Path, name: str) -> SqlFile:
    content = (folder / name).read_bytes()
    text = content.decode("utf-8")
    if found := _TRANSACTION_CONTROL.search(text):
        raise MigrationError(f"{folder / name} contains '{found[0].strip()}'; each file runs in a transaction already")
    return SqlFile(name, text, hashlib.sha256(content).hexdigest())


def _next(files: Sequence[SqlFile], applied: Mapping[str, AppliedMigration]) -> SqlFile | None:
    _compare(files, applied)
    return next((file for file in files if file.filename not in applied), None)


def _compare(files: Sequence[SqlFile], applied: Mapping[str, AppliedMigration]) -> None:
    known = {file.filename: file for file in files}
    for name, record in applied.items():
        if name not in known:
            raise MigrationError(f"the database has {name}, which this version of E2I does not know; update E2I")
        if known[name].sha256 != record.sha256:
            raise MigrationError(f"{name} has changed since it was applied; restore it and add a new file instead")


async def _lock(session: Session) -> None:
    await session.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])


async def _has_table(session: Session) -> bool:
    row = await session.fetchrow("SELECT to_regclass('schema_migrations') IS NOT NULL AS there")
    return bool(row and row["there"])


async def _ensure_table(session: Session) -> None:
    if not await _has_table(session):
        await session.execute(
            "CREATE TABLE schema_migrations ("
            " filename text CONSTRAINT schema_migrations_pkey PRIMARY KEY,"
            " sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )


async def _applied(session: Session) -> dict[str, AppliedMigration]:
    rows = await session.fetch("SELECT filename, sha256, applied_at FROM schema_migrations")
    return {row["filename"]: AppliedMigration(**row) for row in rows}


async def _apply(session: Session, file: SqlFile) -> AppliedMigration:
    try:
        await session.execute(file.text)
    except psycopg.Error as error:
        if is_unavailable(error):
            raise
        raise MigrationError(
            f"{file.filename}: {_where(error, file.text)}; nothing of this file was applied"
        ) from error
    row = await session.fetchrow(
        "INSERT INTO schema_migrations (filename, sha256) VALUES (%s, %s) RETURNING filename, sha256, applied_at",
        [file.filename, file.sha256],
    )
    assert row is not None
    return AppliedMigration(**row)


def _where(error: psycopg.Error, text: str) -> str:
    message = error.diag.message_primary or str(error).splitlines()[0]
    position = error.diag.statement_position
    line = f"line {text[: int(position)].count(chr(10)) + 1}: " if position else ""
    return f"{line}{message}"
