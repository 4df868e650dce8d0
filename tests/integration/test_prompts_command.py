"""`e2i prompts` and `e2i audit`, as a user calls them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from src.domain.prompts import PROMPTS, load_prompt
from src.mlops.tracing.ids import uuid7
from src.storage.audit_chain import AuditChain
from src.storage.database import Database
from tests.e2e.command_line import SameProcess, study_frame

COMPONENTS = sorted(file.stem for file in PROMPTS.glob("*.md"))


@pytest.fixture
def e2i(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> SameProcess:
    monkeypatch.setenv("E2I_EMBEDDINGS", "none")
    return SameProcess(tmp_path / "var", database_url)


@pytest.fixture
def improved(e2i: SameProcess) -> str:
    """``rag_answer`` with a second version, activated by Anna."""
    assert e2i("prompts", "list").code == 0
    text = load_prompt("rag_answer").text.replace("Answer in one to six", "Answer in one to four")
    with psycopg.connect(e2i.dsn) as connection:
        connection.execute(
            "INSERT INTO prompt_versions (component, version, content, content_sha256, origin, parent_version,"
            " created_by, offline_score, baseline_score)"
            " VALUES ('rag_answer', 2, %(text)s, encode(sha256(convert_to(%(text)s, 'UTF8')), 'hex'), 'improvement', 1,"
            " 'feedback_learner', 4.25, 4.0)",
            {"text": text},
        )
        connection.execute("SELECT activate_prompt_version('rag_answer', 2, 'anna')")
    return text


def test_every_component_is_listed_with_its_active_version(e2i: SameProcess) -> None:
    listed = e2i("prompts", "list", "--json").document
    assert [(one["component"], one["version"], one["active"]) for one in listed] == [
        (one, 1, True) for one in COMPONENTS
    ]
    assert "content" not in listed[0]
    shown = e2i("prompts", "list").out
    assert all(one in shown for one in COMPONENTS)
    assert "config/prompts" in shown


def test_the_active_text_is_shown_or_that_of_a_version(e2i: SameProcess, improved: str) -> None:
    active = e2i("prompts", "show", "rag_answer").out
    assert "version 2 (active)" in active
    assert "one to four short sentences" in active
    assert e2i("prompts", "show", "rag_answer", "--json").document["content"] == improved
    first = e2i("prompts", "show", "rag_answer", "--version", "1")
    assert "(active)" not in first.out
    assert "one to six short sentences" in first.out


def test_what_changed_is_a_unified_diff(e2i: SameProcess, improved: str) -> None:
    lines = e2i("prompts", "diff", "rag_answer").out.splitlines()
    assert lines[:2] == ["--- rag_answer version 1 (retired)", "+++ rag_answer version 2 (active)"]
    assert [line[:1] for line in lines if "short sentences" in line] == ["-", "+"]
    back = e2i("prompts", "diff", "rag_answer", "2", "1", "--json").document["diff"]
    assert back.startswith("--- rag_answer version 2 (active)\n+++ rag_answer version 1")
    same = e2i("prompts", "diff", "rag_answer", "2", "2")
    assert (same.code, same.out) == (0, "")


def test_the_history_says_who_decided_what(e2i: SameProcess, improved: str) -> None:
    first, second = e2i("prompts", "history", "rag_answer", "--json").document
    assert (first["status"], first["activated_by"], first["retired_at"] is None) == ("retired", "config/prompts", False)
    assert (second["status"], second["activated_by"], second["created_by"]) == ("active", "anna", "feedback_learner")
    shown = e2i("prompts", "history", "rag_answer").out
    assert "* 2" in shown
    assert "anna" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "rag_anwser"), "did you mean 'rag_answer'"),
        (("history", "nobody"), "no component 'nobody' has a prompt"),
        (("show", "rag_answer", "--version", "9"), "has no version 9; there is: 1"),
        (("diff", "rag_answer"), "version 1 of 'rag_answer' is the first one"),
        (("diff", "rag_answer", "1", "9"), "has no version 9"),
    ],
)
def test_a_wrong_name_or_number_is_one_line_and_exit_2(e2i: SameProcess, arguments: Any, said: str) -> None:
    done = e2i("prompts", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_an_analysis_leaves_a_record_that_is_intact_until_somebody_changes_it(e2i: SameProcess, tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    study_frame(400).to_csv(path, index=False)
    asked = ("effect", "--data", str(path), "--treatment", "t", "--outcome", "y", "--confounders", "x", "--json")
    run = e2i(*asked).document["run"]
    for reference in (run["run_id"], run["run_id"][:23], run["trace_id"]):
        done = e2i("audit", "verify", reference, "--json")
        assert done.code == 0
        (chain,) = done.document["chains"]
        assert (chain["chain_id"], chain["intact"], chain["entries"]) == (run["run_id"], True, chain["witnesses"])
    shown = e2i("audit", "show", run["run_id"])
    assert "audit_init" in shown.out
    (entries,) = e2i("audit", "show", run["run_id"], "--json").document.values()
    assert [one["node"] for one in entries][:2] == ["audit_init", "graph_builder"]
    with psycopg.connect(e2i.dsn) as connection:
        connection.execute("DELETE FROM audit_chain WHERE sequence = (SELECT max(sequence) FROM audit_chain)")
    broken = e2i("audit", "verify", "--all")
    assert broken.code == 1
    assert f"{run['run_id']} is broken: entry {len(entries) - 1} is missing at the end" in " ".join(broken.out.split())


def test_every_record_is_verified_and_a_changed_one_named(e2i: SameProcess) -> None:
    names = [str(uuid7()) for _ in range(7)]

    async def fill() -> None:
        async with Database.open(e2i.dsn) as database:
            for name in names:
                await AuditChain(database, name).append("explainer", "assemble", "ab" * 32, "cd" * 32)

    asyncio.run(fill())
    whole = e2i("audit", "verify", "--all")
    assert (whole.code, whole.out.strip()) == (0, "7 of 7 are intact")
    assert len(e2i("audit", "list", "--limit", "5", "--json").document) == 5
    assert names[-1] in e2i("audit", "list").out
    with psycopg.connect(e2i.dsn) as connection:
        connection.execute("UPDATE audit_chain SET node = 'another' WHERE chain_id = %s", (names[3],))
    done = e2i("audit", "verify", "--all", "--json")
    assert (done.code, done.document["intact"]) == (1, False)
    (broken,) = [one for one in done.document["chains"] if not one["intact"]]
    assert (broken["chain_id"], broken["broken_at"]) == (names[3], 0)
    assert "entry 0 was changed" in broken["problem"]
    assert e2i("audit", "verify", names[0]).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "ffffffff"), "no audit chain belongs to 'ffffffff'"),
        (("show", "xyz"), "'xyz' is no id"),
        (("verify",), "name one run, or give --all"),
        (("verify", "ffffffff", "--all"), "name one run, or give --all"),
    ],
)
def test_an_unknown_run_is_one_line_and_exit_2(e2i: SameProcess, arguments: Any, said: str) -> None:
    done = e2i("audit", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_before_anything_ran_there_is_nothing_to_verify(e2i: SameProcess) -> None:
    done = e2i("audit", "verify", "--all")
    assert (done.code, done.out.strip()) == (0, "No run has left a record yet")
