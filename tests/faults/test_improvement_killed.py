"""Does a change that is killed at any moment go on at its next hop, with no hop done twice and none lost?"""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.conftest import in_database
from tests.faults.improving_child import carry

POINTS, QUICK = 60, 4
HOPS = [
    *("proposed", "candidate", "guarded", "tested", "approved", "canary", "measured", "promoted", "measured"),
    "closed",
]
ACTIVE = """
SELECT component, count(*) FILTER (WHERE status = 'active') AS n FROM prompt_versions GROUP BY component
UNION ALL SELECT 'retrieval', count(*) FILTER (WHERE is_active) FROM retrieval_configurations
"""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.improving_child"])
_DRAWS = random.Random(11)
SHARES = [(_DRAWS.random(), _DRAWS.random() < 0.5) for _ in range(POINTS)]
"""Where on its way, and whether before or after a statement, each process is killed."""


@pytest.fixture(scope="module")
def new_database(postgres_dsn: str, template_database: str) -> Iterator[Callable[[], str]]:
    """Makes migrated databases, all dropped at the end."""
    names: list[str] = []

    def make() -> str:
        names.append(f"improving_{len(names)}")
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {template_database} STRATEGY file_copy".encode())
        return in_database(postgres_dsn, names[-1])

    yield make
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def statements(new_database: Callable[[], str]) -> int:
    """How many statements the way takes when nobody is killed."""
    dsn = new_database()
    code, count = run(dsn)
    assert code == 0
    assert_whole(dsn)
    return count


def run(dsn: str, kill_at: int = 0, after: bool = False) -> tuple[int | None, int]:
    """Exit code of a process that goes the way, and how many statements it sent."""
    count = PROCESSES.Value("i", 0)
    process = PROCESSES.Process(target=carry, args=(dsn, kill_at, after, count))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the process does not end"
    return process.exitcode, int(count.value)


@contextmanager
def watched(dsn: str) -> Iterator[None]:
    """A reader that looks all the time whether each component has exactly one active version."""
    stop, seen = threading.Event(), list[list[Any]]()

    def look() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not stop.wait(0.002):
                seen.append([row for row in connection.execute(ACTIVE).fetchall() if row[1] != 1])

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 10
    assert [wrong for wrong in seen if wrong] == []


def rows(dsn: str, query: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def assert_whole(dsn: str) -> None:
    """Every hop once in its order, and each of its effects once."""
    assert rows(dsn, "SELECT status::text, outcome_improved, samples_measured FROM improvement_actions") == [
        ("confirmed", True, 20)
    ]
    hops = rows(dsn, "SELECT hop FROM improvement_hops ORDER BY sequence")
    assert [hop for (hop,) in hops] == HOPS
    assert rows(dsn, "SELECT verify_improvement_hops(action_id) FROM improvement_actions") == [(True,)]
    versions = "SELECT version, status FROM prompt_versions WHERE component = 'explainer' ORDER BY version"
    assert rows(dsn, versions) == [(1, "retired"), (2, "active")]
    assert rows(dsn, "SELECT winner, jsonb_array_length(looks) FROM prompt_ab_tests") == [("treatment", 1)]
    assert rows(dsn, "SELECT count(*), count(DISTINCT unit_id) FROM prompt_ab_observations") == [(20, 20)]
    assert rows(dsn, "SELECT lesson_type FROM experiment_knowledge_store") == [("success",)]
    assert rows(dsn, "SELECT count(*) FROM cognitive_cycles") == [(1,)]


@pytest.mark.parametrize(
    ("share", "after"),
    [
        pytest.param(*point, id=f"{number}", marks=[] if number < QUICK else [pytest.mark.slow])
        for number, point in enumerate(SHARES)
    ],
)
def test_a_change_killed_at_a_random_point_goes_on_at_its_next_hop(
    new_database: Callable[[], str], statements: int, share: float, after: bool
) -> None:
    dsn = new_database()
    with watched(dsn):
        code, _ = run(dsn, kill_at=1 + int(share * statements), after=after)
        assert code == -signal.SIGKILL
        code, _ = run(dsn)
        assert code == 0
    assert_whole(dsn)


@pytest.mark.slow
def test_a_change_killed_again_and_again_arrives(new_database: Callable[[], str]) -> None:
    dsn, draws = new_database(), random.Random(5)
    with watched(dsn):
        codes = [run(dsn, kill_at=draws.randrange(15, 50))[0] for _ in range(8)]
        assert codes.count(-signal.SIGKILL) >= 3
        assert run(dsn)[0] == 0
    assert_whole(dsn)
