"""An answer killed at any moment is resumed to the same numbers; a killed database server loses nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from src.storage.embedded_postgres import EmbeddedPostgres

from .command_line import CommandLine, SameProcess, study_frame

FEW, MANY = 1, 20


@pytest.fixture
def e2i(tmp_path: Path, database_url: str) -> CommandLine:
    return CommandLine(tmp_path / "var", database_url)


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "study.csv"
    study_frame(1200).to_csv(path, index=False)
    return ("effect", "--data", str(path), "--treatment", "t", "--outcome", "y", "--confounders", "x", "--json")


@pytest.mark.parametrize("points", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_sigkill_at_random_points_leaves_an_answer_that_resumes_to_the_same_numbers(
    e2i: CommandLine, asked: tuple[str, ...], points: int
) -> None:
    began = time.monotonic()
    unbroken = e2i(*asked).document["run"]
    seconds = time.monotonic() - began
    moments, within = random.Random(points), SameProcess(e2i.var, e2i.dsn)
    for _ in range(points):
        killed_after(e2i, asked, moments.uniform(0.2, seconds))
        resumed = within("resume", "--json")
        assert resumed.code == 0, resumed.err
        again = within(*asked)
        assert again.code == 0, again.err
        for run in [*(answer["run"] for answer in resumed.document), again.document["run"]]:
            assert run["status"] == "completed"
            assert run["analysis"] == unbroken["analysis"]
        assert_nothing_half_done(e2i)
        assert_every_node_has_one_entry(e2i, within)


def test_asking_again_resumes_the_interrupted_answer_instead_of_starting_another(
    e2i: CommandLine, asked: tuple[str, ...]
) -> None:
    process = e2i.start(*asked)
    wait_for(lambda: rows(e2i, "SELECT status FROM analysis_runs") == [("running",)])
    process.kill()
    process.wait()
    wait_until_the_server_noticed(e2i)
    interrupted = rows(e2i, "SELECT run_id::text FROM analysis_runs")
    again = SameProcess(e2i.var, e2i.dsn)(*asked)
    assert again.code == 0, again.err
    assert again.document["run"]["run_id"] == interrupted[0][0]
    assert len(rows(e2i, "SELECT run_id FROM analysis_runs")) == 1
    assert_every_node_has_one_entry(e2i, SameProcess(e2i.var, e2i.dsn))


def test_an_answer_survives_sigkill_of_the_database_server(tmp_path: Path, asked: tuple[str, ...]) -> None:
    e2i, within = CommandLine(tmp_path / "var", ""), SameProcess(tmp_path / "var", "")
    unbroken = within(*asked).document["run"]
    server = EmbeddedPostgres(tmp_path / "var" / "pg")
    with server.attach() as lease:
        attached = CommandLine(tmp_path / "var", lease.dsn)
        process = e2i.start(*asked)
        wait_for(lambda: rows(attached, "SELECT 1 FROM analysis_runs WHERE status = 'running'") != [])
        pid = server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        process.wait(timeout=120)
    again = within(*asked)
    assert again.code == 0, again.err
    assert again.document["run"]["status"] == "completed"
    assert again.document["run"]["analysis"] == unbroken["analysis"]
    assert within("show", unbroken["run_id"], "--json").document["run"] == unbroken


def killed_after(e2i: CommandLine, arguments: tuple[str, ...], seconds: float) -> None:
    process = e2i.start(*arguments)
    time.sleep(seconds)
    process.kill()
    process.wait()
    wait_until_the_server_noticed(e2i)


def wait_until_the_server_noticed(e2i: CommandLine) -> None:
    """A killed process holds its run until its connection is found closed."""
    held = (
        "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    wait_for(lambda: rows(e2i, held) == [])


def assert_nothing_half_done(e2i: CommandLine) -> None:
    assert rows(e2i, "SELECT run_id FROM analysis_runs WHERE status <> 'completed'") == []
    assert rows(e2i, "SELECT thread_id FROM checkpoints.checkpoints") == []
    stored = {path.name for path in (e2i.var / "datasets").iterdir() if path.is_file()}
    assert stored == {f"{digest}.parquet" for (digest,) in rows(e2i, "SELECT content_sha256 FROM datasets")}


def assert_every_node_has_one_entry(e2i: CommandLine, within: SameProcess) -> None:
    """Also a node that was run once more, because the process was killed between its entry and its checkpoint."""
    assert rows(e2i, "SELECT 1 FROM audit_chain GROUP BY chain_id, agent, node HAVING count(*) > 1") == []
    verified = within("audit", "verify", "--all", "--json")
    assert (verified.code, verified.document["intact"]) == (0, True)
    assert {chain["chain_id"] for chain in verified.document["chains"]} >= {
        run_id for (run_id,) in rows(e2i, "SELECT run_id::text FROM analysis_runs")
    }


def rows(e2i: CommandLine, query: str) -> list[Any]:
    with psycopg.connect(e2i.dsn) as connection:
        return connection.execute(query).fetchall()


def wait_for(condition: Any, *, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
