"""Forked, sharing a spool, ending by themselves or with a clock that jumps: processes lose and invent nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import load_observability_config
from src.scripted_servers import faults
from src.settings import PROJECT_ROOT
from tests.faults.harness import Process, Rig
from tests.faults.numbered import log_work

PIECES = 60


def test_parent_and_child_of_a_fork_both_log_and_the_parent_may_end_first(rig: Rig) -> None:
    rig.run("log_in_family", pieces=20)
    (child,) = (Process(pid) for pid in rig.known().forked)
    child.wait()
    known = rig.known()
    for part in ("abefore", "aparent", "achild"):
        assert f"{rig.label}{part}:19" in known.accepted
    rig.assert_nothing_lost()


def test_a_child_that_is_killed_harms_neither_the_parent_nor_what_it_had_logged(rig: Rig) -> None:
    process = rig.start("log_in_family", pieces=40, pause_s=0.05)
    rig.wait_until_accepted(60)
    (child,) = (Process(pid) for pid in rig.known().forked)
    child.kill()
    process.wait()
    assert f"{rig.label}aparent:39" in rig.known().accepted
    rig.assert_nothing_lost()


def test_two_processes_share_one_spool(rig: Rig) -> None:
    both = [rig.start("log_twice", label=label, pieces=PIECES, pause_s=0.01) for label in "ab"]
    for process in both:
        process.wait()
    assert len(rig.known().accepted) == 2 * 2 * 80
    rig.assert_nothing_lost()


def test_when_the_process_that_delivers_is_killed_the_other_takes_over(rig: Rig) -> None:
    leader = rig.start(label="a", leave="stay", pause_s=0.01)
    rig.wait_until_accepted(20)
    other = rig.start(label="b", pieces=PIECES, pause_s=0.05)
    rig.wait_until_accepted(len(rig.known().accepted) + 40)
    leader.kill()
    accepted_by_leader = set(rig.known().accepted)
    other.wait()
    assert {number for number in accepted_by_leader if "a:" in number} <= rig.in_database().keys()
    assert rig.known().statuses[0]["sinks"]["database"]["pending"] == 0
    rig.assert_nothing_lost()


def test_a_wall_clock_that_jumps_by_hours_disorders_nothing(rig: Rig) -> None:
    rig.run("log_twice", pieces=PIECES, clock="stepping")
    assert len(rig.known().accepted) == 2 * 80
    rig.assert_nothing_lost()


def test_a_process_that_simply_returns_loses_nothing_and_waits_for_no_dead_opik(rig: Rig) -> None:
    rig.opik.fault = faults.BLACK_HOLE
    settings = rig.settings(opik={"request_timeout_seconds": 600.0})
    command = rig.command(pieces=PIECES, leave="return", settings=settings)
    environment = {**os.environ, "E2I_VAR_DIR": str(rig.spool.parent)}
    arguments = [sys.executable, "-m", "tests.faults.span_child", json.dumps(command)]
    subprocess.run(arguments, cwd=PROJECT_ROOT, env=environment, check=True, timeout=60)
    rig.opik.heal()
    rig.assert_nothing_lost()
    assert rig.in_database().keys() == rig.known().started


async def test_a_closed_connector_leaves_no_socket_file_or_thread(rig: Rig, tmp_path: Path) -> None:
    await log_and_close(rig, tmp_path / "first")  # imports and the loop's thread pool stay
    before = open_things()
    await log_and_close(rig, tmp_path / "second")
    assert open_things() - before == set()


async def log_and_close(rig: Rig, spool: Path) -> None:
    config = load_observability_config(environ={}).changed(rig.settings())
    connector = OpikConnector(config, spool=spool)
    connector.use_database(lambda: rig.dsn)
    list(log_work(connector, rig.label + spool.name, 1))
    assert await connector.flush(30)
    assert await connector.shutdown(30)


def open_things() -> set[str]:
    """Sockets to other ports, spool files and threads of ours."""
    process = psutil.Process()
    sockets = {f"{end.laddr}->{end.raddr}" for end in process.net_connections() if end.raddr and end.status != "CLOSE"}
    files = {file.path for file in process.open_files() if "spool" in file.path or "leader" in file.path}
    return sockets | files | {thread.name for thread in threading.enumerate() if thread.name.startswith("e2i-")}
