"""Feature stores for the tests: one that is only read, and new ones for tests that change something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from src.feature_store.feast_client import FeastClient
from src.settings import var_dir
from tests.unit.test_feature_store.worlds import materialize, write_world

for _module in ("freshness_cases", "materialization_cases"):
    pytest.register_assert_rewrite(f"tests.unit.test_feature_store.{_module}")


@pytest.fixture(scope="session")
def served_client() -> Iterator[FeastClient]:
    """Applied and materialised on embedded stores; not to be changed."""
    client = FeastClient(write_world(var_dir() / "served-features"))
    asyncio.run(client.apply())
    materialize(client)
    yield client
    asyncio.run(client.close())


@pytest.fixture
async def new_client(tmp_path: Path) -> AsyncIterator[FeastClient]:
    """On embedded stores of the test's own, nothing applied."""
    client = FeastClient(write_world(tmp_path / "features"))
    yield client
    await client.close()


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put the process into a time zone."""

    def enter(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield enter
    monkeypatch.undo()
    time.tzset()
