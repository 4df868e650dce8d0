"""Is each SQL file applied once, whole, in order, whoever else is migrating?"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from src.errors import MigrationError
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.migrate import MigrationStatus, check, migrate, status

MIGRATOR = """
import asyncio, sys
from pathlib import Path
from src.storage.database import Database
from src.storage.migrate import migrate

async def main():
    async with Database.open(sys.argv[1]) as database:
        print(*[item.filename for item in await migrate(database, Path(sys.argv[2]))])

asyncio.run(main())
"""


@pytest.fixture
async def empty_db(empty_database_url: str) -> AsyncIterator[Database]:
    async with Database.open(empty_database_url) as database:
        yield database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, the second needing the first."""
    add(tmp_path, "core/1.sql", "CREATE EXTENSION vector;\nCREATE TABLE one (v vector(2));")
    add(tmp_path, "core/2.sql", "CREATE TABLE two (LIKE one);\nINSERT INTO two VALUES ('[1,2]');")
    return tmp_path


def add(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    with (folder / "manifest.txt").open("a") as manifest:
        manifest.write(name + "\n")


async def exists(database: Database, table: str) -> bool:
    row = await database.fetchrow("SELECT to_regclass(%s) IS NOT NULL AS there", [table])
    return bool(row and row["there"])


async def test_files_are_applied_once_in_order_and_recorded(empty_db: Database, folder: Path) -> None:
    told: list[str] = []
    applied = await migrate(empty_db, folder, told.append)
    assert [item.filename for item in applied] == told == ["core/1.sql", "core/2.sql"]
    assert all(item.applied_at.utcoffset() == timedelta(0) for item in applied)
    assert await migrate(empty_db, folder, told.append) == []
    assert len(told) == 2
    rows = await empty_db.fetch("SELECT filename, sha256 FROM schema_migrations ORDER BY applied_at")
    assert [(row["filename"], row["sha256"]) for row in rows] == [(item.filename, item.sha256) for item in applied]


async def test_only_new_files_run_the_next_time(empty_db: Database, folder: Path) -> None:
    await migrate(empty_db, folder)
    add(folder, "core/3.sql", "CREATE TABLE three ();")
    assert [item.filename for item in await migrate(empty_db, folder)] == ["core/3.sql"]


async def test_status_and_check_tell_pending_from_applied(empty_db: Database, folder: Path) -> None:
    assert {state.status for state in await status(empty_db, folder)} == {MigrationStatus.PENDING}
    assert not await exists(empty_db, "schema_migrations")
    with pytest.raises(MigrationError, match="2 migrations are not applied, first core/1.sql"):
        await check(empty_db, folder)
    await migrate(empty_db, folder)
    assert {state.status for state in await status(empty_db, folder)} == {MigrationStatus.APPLIED}
    await check(empty_db, folder)


async def test_an_applied_file_that_changed_stops_everything(empty_db: Database, folder: Path) -> None:
    await migrate(empty_db, folder)
    add(folder, "core/3.sql", "CREATE TABLE three ();")
    (folder / "core/1.sql").write_text("CREATE TABLE one (v text);")
    for action in (migrate, status, check):
        with pytest.raises(MigrationError, match="core/1.sql has changed"):
            await action(empty_db, folder)
    assert not await exists(empty_db, "three")


async def test_a_database_ahead_of_the_code_is_refused(empty_db: Database, folder: Path) -> None:
    await migrate(empty_db, folder)
    (folder / "manifest.txt").write_text("core/1.sql\n")
    (folder / "core/2.sql").unlink()
    with pytest.raises(MigrationError, match="core/2.sql, which this version of E2I does not know"):
        await migrate(empty_db, folder)


async def test_a_failing_file_leaves_nothing_and_says_where(empty_db: Database, folder: Path) -> None:
    add(folder, "core/3.sql", "CREATE TABLE three ();\nINSERT INTO three VALUES (1);")
    add(folder, "core/4.sql", "CREATE TABLE four ();")
    with pytest.raises(MigrationError, match=r"core/3.sql: line 2: .*nothing of this file") as caught:
        await migrate(empty_db, folder)
    assert "\n" not in str(caught.value)
    assert [await exists(empty_db, name) for name in ("two", "three", "four")] == [True, False, False]
    (folder / "core/3.sql").write_text("CREATE TABLE three ();")
    assert [item.filename for item in await migrate(empty_db, folder)] == ["core/3.sql", "core/4.sql"]


async def test_concurrent_migrators_apply_each_file_once(
    empty_database_url: str, empty_db: Database, tmp_path: Path
) -> None:
    for number in range(12):
        add(tmp_path, f"{number:02}.sql", f"CREATE TABLE t{number} (); SELECT pg_sleep(0.02);")
    command = [sys.executable, "-c", MIGRATOR, empty_database_url, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment) for _ in range(2)
    ]
    outputs = [(await process.communicate())[0].decode().split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(outputs[0] + outputs[1]) == [f"{number:02}.sql" for number in range(12)]
    rows = await empty_db.fetch("SELECT filename FROM schema_migrations ORDER BY applied_at")
    assert [row["filename"] for row in rows] == [f"{number:02}.sql" for number in range(12)]
