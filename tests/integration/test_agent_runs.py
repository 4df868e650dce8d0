"""However the run of an agent ends, one activity says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from src.agents.runtime import Deps
from src.app.agent_runs import run_deps, run_recorded
from src.errors import DataUnavailable
from src.mlops.opik_connector import reset_opik_connector
from src.storage.database import Database


@dataclass
class Waiting:
    """An agent whose run ends when it is told to."""

    sla_seconds: float
    agent_name: str = "data_preparer"

    def __post_init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(self, request: str, deps: Deps) -> Any:
        self.begun.set()
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    reset_opik_connector()
    yield
    reset_opik_connector()


async def recorded(agent: Waiting, db: Database) -> Any:
    return await run_recorded(
        agent,
        "what is asked",
        run_deps(db, agent.agent_name, lambda _: None),
        db,
        activity_type="data_preparation",
        workstream="WS1",
        records=lambda _: 0,
        too_slow="took too long: ask for less",
    )


async def activity(db: Database) -> tuple[str, str, str]:
    (row,) = await db.fetch("SELECT status, error_type, error_message FROM agent_activities")
    return row["status"], row["error_type"], row["error_message"]


async def test_an_interrupted_run_is_kept_as_failed(db: Database) -> None:
    agent = Waiting(60)
    task = asyncio.create_task(recorded(agent, db))
    await agent.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await activity(db) == ("failed", "CancelledError", "the run was interrupted")


async def test_a_run_beyond_its_budget_is_kept_as_timed_out(db: Database) -> None:
    with pytest.raises(DataUnavailable, match="ask for less, or raise its timeouts"):
        await recorded(Waiting(0.05), db)
    assert await activity(db) == ("timeout", "TimeoutError", "the time budget was used up")
