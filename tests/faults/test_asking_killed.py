"""Is a question that was killed at any moment finished by e2i resume, with nothing done twice?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.command_line import CommandLine, SameProcess
from tests.e2e.test_answer_killed import wait_until_the_server_noticed
from tests.integration.answering_panel import answering_panel

pytestmark = pytest.mark.leaves_orphans

CHILD = Path(__file__).with_name("asking_child.py")
EFFECT = "Did more rep calls cause more Kisqali prescriptions in the Northeast?"
GAPS = "Where are our biggest gaps to target for Kisqali?"
BOTH = f"{EFFECT} {GAPS}"
ANSWERED = {EFFECT: (1, 0), GAPS: (0, 1), BOTH: (1, 1)}
"""Runs and compositions that an answer consists of."""
UNFINISHED = "FROM conversation_questions WHERE status = 'running'"

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def e2i(postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    var = tmp_path_factory.mktemp("killed")
    with answering_panel(postgres_dsn, template_database, "killed_panel", var, hcps=120) as panel:
        yield CommandLine(panel.var, panel.dsn)


@pytest.fixture(autouse=True)
def _nothing_of_the_test_before(e2i: CommandLine) -> None:
    with psycopg.connect(e2i.dsn) as connection:
        assert connection.execute(f"SELECT 1 {UNFINISHED}").fetchall() == []
        for table in ("conversations", "analysis_runs", "rag_interactions", "composer_compositions", "composer_plans"):
            connection.execute(f"TRUNCATE {table} CASCADE".encode())


POINTS = [
    pytest.param(
        "src.storage.conversations:ConversationRepository.begin", "after", EFFECT, id="question noted", marks=slow
    ),
    pytest.param("src.storage.runs:RunRepository.start", "after", EFFECT, id="run begun", marks=slow),
    pytest.param("src.storage.runs:RunRepository.finish", "before", EFFECT, id="run computed", marks=slow),
    pytest.param("src.storage.runs:RunRepository.finish", "after", EFFECT, id="run finished"),
    pytest.param("src.app.orchestration:ExplainerWriter.write", "before", EFFECT, id="before writing", marks=slow),
    pytest.param("src.app.orchestration:ExplainerWriter.write", "after", EFFECT, id="written", marks=slow),
    pytest.param("src.storage.interactions:InteractionRepository.add", "before", EFFECT, id="answered"),
    pytest.param("src.storage.interactions:InteractionRepository.add", "after", EFFECT, id="answer kept", marks=slow),
    pytest.param("src.storage.compositions:CompositionRepository.keep", "after", GAPS, id="plan counted", marks=slow),
    pytest.param("src.storage.compositions:CompositionRepository.add", "after", GAPS, id="composition stored"),
    pytest.param(
        "src.storage.compositions:CompositionRepository.add", "before", BOTH, id="composition, both", marks=slow
    ),
    pytest.param("src.storage.runs:RunRepository.finish", "after", BOTH, id="run finished, both", marks=slow),
    pytest.param(
        "src.storage.conversations:ConversationRepository.end", "before", BOTH, id="all but the end", marks=slow
    ),
]


@pytest.mark.parametrize(("place", "when", "question"), POINTS)
def test_a_question_killed_at_a_point_is_resumed_once_and_whole(
    e2i: CommandLine, place: str, when: str, question: str
) -> None:
    killed = subprocess.run(
        [sys.executable, str(CHILD), place, when, "ask", question, "--json"],
        env=environment(e2i), cwd=Path.cwd(), capture_output=True, timeout=240,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    wait_until_the_server_noticed(e2i)
    assert rows(e2i, f"SELECT count(*) {UNFINISHED}") == [(1,)]
    resumed = within(e2i, "resume", "--json")
    assert len(resumed) == 1
    assert resumed[0]["session_id"] == rows(e2i, "SELECT session_id::text FROM conversations")[0][0]
    assert_answered_once(e2i, question)
    assert within(e2i, "resume", "--json") == []


@slow
def test_resuming_a_run_finishes_the_question_it_is_part_of(e2i: CommandLine) -> None:
    place = "src.storage.runs:RunRepository.finish"
    subprocess.run(
        [sys.executable, str(CHILD), place, "before", "ask", EFFECT], env=environment(e2i), cwd=Path.cwd(), timeout=240,
        capture_output=True, check=False,
    )  # fmt: skip
    wait_until_the_server_noticed(e2i)
    ((run_id,),) = rows(e2i, "SELECT run_id::text FROM analysis_runs WHERE status = 'running'")
    (resumed,) = within(e2i, "resume", run_id, "--json")
    assert (resumed["run"]["run_id"], resumed["run"]["status"]) == (run_id, "completed")
    assert_answered_once(e2i, EFFECT)


@slow
def test_a_question_that_another_process_answers_is_left_alone(e2i: CommandLine) -> None:
    subprocess.run(
        [sys.executable, str(CHILD), "src.storage.runs:RunRepository.start", "after", "ask", EFFECT],
        env=environment(e2i), cwd=Path.cwd(), timeout=240, capture_output=True, check=False,
    )  # fmt: skip
    wait_until_the_server_noticed(e2i)
    ((session,),) = rows(e2i, "SELECT session_id::text FROM conversations")
    with psycopg.connect(e2i.dsn) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"conversation/{session}",))
        assert within(e2i, "resume", "--json") == []
        assert rows(e2i, "SELECT status FROM analysis_runs") == [("running",)]
    assert len(within(e2i, "resume", "--json")) == 1
    assert_answered_once(e2i, EFFECT)


@slow
@pytest.mark.timeout(900)
def test_sigkill_at_random_moments_leaves_questions_that_resume_to_the_same_numbers(e2i: CommandLine) -> None:
    began = time.monotonic()
    done = e2i("ask", BOTH, "--json")
    assert done.code == 0, done.err
    seconds, unbroken, moments = time.monotonic() - began, done.document, random.Random(7)
    for _ in range(12):
        _nothing_of(e2i)
        process = subprocess.Popen(
            [sys.executable, "-m", "src.cli.main", "ask", BOTH], env=environment(e2i),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(0.5, 1.0) * seconds)
        process.kill()
        process.wait()
        wait_until_the_server_noticed(e2i)
        resumed = within(e2i, "resume", "--json")
        if rows(e2i, "SELECT 1 FROM conversations") == []:
            continue  # killed before the question was noted
        for one in resumed:
            assert one["answer"] == unbroken["answer"]
            assert one["run"]["analysis"] == unbroken["run"]["analysis"]
        assert_answered_once(e2i, BOTH)


def assert_answered_once(e2i: CommandLine, question: str) -> None:
    runs, compositions = ANSWERED[question]
    assert rows(e2i, "SELECT status FROM analysis_runs") == [("completed",)] * runs
    assert rows(e2i, "SELECT count(*) FROM composer_compositions") == [(compositions,)]
    ((trace_id,),) = rows(e2i, "SELECT trace_id FROM rag_interactions")
    ended = "SELECT trace_id, status FROM conversation_questions"
    assert rows(e2i, ended) == [(trace_id, "answered")]
    assert rows(e2i, "SELECT questions FROM conversations") == [(1,)]
    assert rows(e2i, "SELECT success_count, failure_count FROM composer_plans") == [(1, 0)] * compositions
    # The agents that were asked keep nothing in the session's memory: it could not be read back.
    assert rows(e2i, "SELECT DISTINCT checkpoint_ns FROM checkpoints.checkpoints") == [("",)]
    activities = "SELECT agent_name, count(*) FROM agent_activities WHERE trace_id = %s GROUP BY 1 HAVING count(*) > 1"
    assert rows(e2i, activities, trace_id) == []
    done = SameProcess(e2i.var, e2i.dsn)("audit", "verify", trace_id, "--json")
    assert done.code == 0, done.out + done.err


def within(e2i: CommandLine, *arguments: str) -> Any:
    done = SameProcess(e2i.var, e2i.dsn)(*arguments)
    assert done.code == 0, done.err
    return done.document


def environment(e2i: CommandLine) -> dict[str, str]:
    return {
        **e2i.environment,
        "E2I_EMBEDDINGS": "none",
        "PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{Path.cwd()}",
    }


def rows(e2i: CommandLine, query: str, *values: str) -> list[Any]:
    with psycopg.connect(e2i.dsn) as connection:
        return connection.execute(query.encode(), values or None).fetchall()


def _nothing_of(e2i: CommandLine) -> None:
    _nothing_of_the_test_before.__wrapped__(e2i)  # type: ignore[attr-defined]
