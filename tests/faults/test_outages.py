"""Whatever a store's server does, the spans wait and arrive, once and unchanged."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from src.scripted_servers import faults
from src.scripted_servers.faults import Fault
from src.scripted_servers.opik import ScriptedOpik
from src.storage.connection import MIGRATIONS
from src.storage.database import Database
from src.storage.embedded_postgres import EmbeddedPostgres
from src.storage.migrate import migrate
from tests.faults.harness import ForkServer, Rig, assert_counters

PIECES, SPANS = 60, 80
TROUBLES = {
    "500": faults.status(500),
    "503": faults.status(503),
    "503 with Retry-After": faults.status(503, retry_after=0.2),
    "429": faults.status(429),
    "429 with Retry-After": faults.status(429, retry_after=0.2),
    "401 until the key is corrected": faults.status(401),
    "reset before storing": faults.RESET,
    "reset after storing": faults.RESET_AFTER,
    "slow": faults.slow(0.3),
    "black hole": faults.BLACK_HOLE,
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_what_opik_does_not_take_now_arrives_later(rig: Rig, trouble: Fault) -> None:
    rig.opik.script_faults([trouble] * 3)
    patience = 60.0 if trouble is not faults.BLACK_HOLE else 0.5
    rig.run(pieces=PIECES, settings=rig.settings(opik={"request_timeout_seconds": patience}))
    assert_all_stored(rig)
    assert len(rig.opik.requests) > 3


def test_every_third_request_failing_in_another_way_loses_nothing(rig: Rig) -> None:
    trouble = [fault for fault in TROUBLES.values() if fault is not faults.BLACK_HOLE]
    rig.opik.script_faults([fault for one in trouble for fault in (None, None, one)])
    rig.run(pieces=PIECES)
    assert_all_stored(rig)


@pytest.mark.parametrize("down_s", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_an_outage_of_opik_delays_neither_the_caller_nor_the_database(rig: Rig, down_s: float) -> None:
    with rig.opik.down():
        process = rig.start(leave="stay", pause_s=0.05)
        until = time.monotonic() + down_s
        while time.monotonic() < until:
            known = len(rig.known().accepted)
            rig.wait_until_accepted(known + 1)
        wait_until_stored(rig, len(rig.known().accepted))
    process.kill()
    assert rig.in_opik() == {}
    rig.assert_nothing_lost()


def test_an_outage_that_ends_is_caught_up_by_the_process_itself(rig: Rig) -> None:
    with rig.opik.down():
        process = rig.start(pieces=PIECES, flush_s=60)
        rig.wait_until_accepted(SPANS)
    process.wait()
    assert rig.known().statuses[0]["sinks"]["opik"]["delivered"] == SPANS
    assert_all_stored(rig)


def test_a_database_killed_with_sigkill_gets_every_span_when_it_is_back(
    fork_server: ForkServer, tmp_path: Path, opik: ScriptedOpik
) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with server.attach() as lease:
        migrated(lease.dsn)
        rig = Rig(fork_server, tmp_path, lease.dsn, opik)
        process = rig.start("log_twice", leave="stay", pause_s=0.01)
        rig.wait_until_accepted(40)
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        rig.wait_until_accepted(len(rig.known().accepted) + 100)
        lease.ensure_running()
        wait_until_stored(rig, len(rig.known().accepted))
        process.kill()
        rig.assert_nothing_lost()
    server.stop()


def test_a_database_that_was_away_all_the_time_gets_every_span_from_the_next_process(rig: Rig) -> None:
    rig.run(pieces=PIECES, database=False)
    status = rig.known().statuses[0]
    assert status["sinks"]["database"]["pending"] == status["sinks"]["opik"]["pending"] == SPANS
    assert_all_stored(rig)


def test_without_a_database_the_mirror_alone_gets_every_span(rig: Rig) -> None:
    rig.run(pieces=PIECES, database=False, settings=rig.settings(fallback={"database": False}))
    (status,) = rig.known().statuses
    assert_counters(status, opik=SPANS)
    assert rig.in_opik().keys() == rig.known().accepted.keys()


def migrated(dsn: str) -> None:
    async def apply() -> None:
        async with Database.open(dsn) as database:
            await migrate(database, MIGRATIONS)

    asyncio.run(apply())


def wait_until_stored(rig: Rig, count: int, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while len(rig.in_database()) < count:
        assert time.monotonic() < deadline, f"{len(rig.in_database())} of {count} spans are in the database"
        time.sleep(0.05)


def assert_all_stored(rig: Rig) -> None:
    status = rig.assert_nothing_lost()
    assert len(rig.known().accepted) == SPANS
    assert {name: numbers["delivered"] for name, numbers in status["sinks"].items()} == {
        "database": SPANS,
        "opik": SPANS,
    }
