"""A process killed at any moment leaves nothing half-loaded, and the next load starts clean."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.settings import PROJECT_ROOT
from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.partial_files import PartialFile, remove_abandoned, working_folder
from tests.integration.loading_files import metrics, write_csv

ROWS = 1_500
FILE_ROWS = 40_000


class Loader:
    """Runs loads in a child process; ``run`` kills it after ``seconds`` when given."""

    def __init__(self, var: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.loading_child"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "E2I_VAR_DIR": str(var), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def run(self, command: list[str], seconds: float | None = None) -> bool:
        """Whether the load came to its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        pid = int(self._line())
        killer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL)) if seconds is not None else None
        if killer is not None:
            killer.start()
        status = int(self._line())
        if killer is not None:
            killer.cancel()
        return status == 0

    def close(self) -> None:
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def loader(var: Path) -> Iterator[Loader]:
    child = Loader(var)
    yield child
    child.close()


async def count(db: Database) -> int:
    row = await db.fetchrow("SELECT count(*) AS n FROM business_metrics")
    assert row is not None
    return int(row["n"])


async def kill_table_loads(loader: Loader, db: Database, url: str, path: Path, points: int, seed: int) -> int:
    """Kill ``points`` loads at random moments and return how many did not come to their end."""
    rng = random.Random(seed)
    started = time.monotonic()
    assert loader.run(["table", url, str(path)])
    whole = time.monotonic() - started
    killed = 0
    for _ in range(points):
        await db.execute("DELETE FROM business_metrics")
        finished = loader.run(["table", url, str(path)], rng.uniform(0, whole))
        stored = await count(db)
        assert stored == ROWS if finished else stored in (0, ROWS)
        killed += not finished
    await db.execute("DELETE FROM business_metrics")
    assert loader.run(["table", url, str(path)])
    assert await count(db) == ROWS
    return killed


async def test_a_killed_table_load_leaves_all_or_nothing(
    loader: Loader, db: Database, database_url: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(ROWS))
    assert await kill_table_loads(loader, db, database_url, path, points=12, seed=1) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
async def test_more_killed_table_loads_leave_all_or_nothing(
    loader: Loader, db: Database, database_url: str, tmp_path: Path, seed: int
) -> None:
    path = write_csv(tmp_path / "in.csv", metrics(ROWS))
    assert await kill_table_loads(loader, db, database_url, path, points=20, seed=seed) >= 10


async def test_a_killed_file_load_leaves_no_dataset_and_the_next_no_partial_file(
    loader: Loader, db: Database, database_url: str, var: Path, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n" + "".join(f"{i},text {i}\n" for i in range(FILE_ROWS)))
    rng = random.Random(9)
    catalogue = Catalogue(db)
    started = time.monotonic()
    assert loader.run(["file", database_url, str(path)])
    whole = time.monotonic() - started
    killed = 0
    for _ in range(10):
        for record in await catalogue.list():
            await catalogue.remove(record.dataset_id)
        finished = loader.run(["file", database_url, str(path)], rng.uniform(0, whole))
        killed += not finished
        for record in await catalogue.list():
            assert (await catalogue.load(record)).rows_after == FILE_ROWS
    assert killed >= 4
    assert loader.run(["file", database_url, str(path)])
    (record,) = await catalogue.list()
    assert [file.name for file in (var / "datasets").iterdir()] == [f"{record.content_sha256}.parquet"]


def test_partial_files_of_the_living_are_left_alone(tmp_path: Path) -> None:
    with PartialFile(tmp_path) as partial, working_folder(tmp_path) as folder:
        partial.handle.write(b"x")
        assert remove_abandoned(tmp_path) == 0
        assert folder.is_dir()
        partial.commit(tmp_path / "done")
    assert [file.name for file in tmp_path.iterdir()] == ["done"]


def test_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".e2i-0123.partial").write_bytes(b"x")
    (tmp_path / ".e2i-0123.work").mkdir()
    (tmp_path / ".e2i-0123.work" / "part").write_bytes(b"x")
    (tmp_path / "mine.partial").write_bytes(b"x")
    assert remove_abandoned(tmp_path) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["mine.partial"]
