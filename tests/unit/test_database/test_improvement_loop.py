"""Does a database that was in use before the improvement loop take its tables in with nothing lost?"""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from src.storage.connection import MIGRATIONS
from src.storage.database import Database
from src.storage.migrate import MANIFEST, migrate
from tests.unit.test_database.sql_session import SqlSession

FILE = "ml/032_improvement_loop.sql"

pytestmark = pytest.mark.integration


async def test_a_database_in_use_keeps_its_settings_and_versions(empty_database_url: str, tmp_path: Path) -> None:
    before = tmp_path / "database"
    shutil.copytree(MIGRATIONS, before)
    (before / FILE).unlink()
    manifest = before / MANIFEST
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(f"{FILE}\n", ""), encoding="utf-8")
    async with Database.open(empty_database_url) as db:
        await migrate(db, before)
        await db.execute("UPDATE retrieval_configurations SET is_active = false")
        await db.execute(
            "INSERT INTO retrieval_configurations (version, k, chunk_size, chunk_overlap, dense_weight, text_weight,"
            " graph_weight, is_active) VALUES (2, 5, 200, 20, 0, 1, 0, true)"
        )
        await db.execute(
            "INSERT INTO prompt_versions (component, version, content, content_sha256, origin)"
            " SELECT 'a', n, 'x', encode(sha256('x'), 'hex'), 'file' FROM generate_series(1, 2) AS n"
        )
        await db.execute("SELECT activate_prompt_version('a', 1, 'anna'), activate_prompt_version('a', 2, 'anna')")
        await db.execute("INSERT INTO rag_interactions (trace_id, query, answer) VALUES ('t', 'why?', 'so')")
        await migrate(db, MIGRATIONS)
        settings = await db.fetch("SELECT version, status, is_active FROM retrieval_configurations ORDER BY version")
        assert settings == [
            {"version": 1, "status": "candidate", "is_active": False},
            {"version": 2, "status": "active", "is_active": True},
        ]
        await db.execute("SELECT rollback_prompt_version('a', 'worse')")
        versions = await db.fetch("SELECT version, status FROM prompt_versions ORDER BY version")
        assert versions == [{"version": 1, "status": "active"}, {"version": 2, "status": "rolled_back"}]
        answers = await db.fetch("SELECT learning_cycle_id, learnt_at FROM rag_interactions")
        assert answers == [{"learning_cycle_id": None, "learnt_at": None}]


def test_an_empty_ledger_hinders_nobody(sql: SqlSession) -> None:
    sql.change("TRUNCATE rag_interactions CASCADE")
    assert sql.rows("SELECT FROM improvement_hops") == []


@pytest.mark.parametrize(
    "values",
    [
        "learnt_at = now()",
        "learning_claimed_at = now()",
        "learning_cycle_id = (SELECT cycle_id FROM cognitive_cycles)",
        "learning_cycle_id = gen_random_uuid(), learning_claimed_at = now()",
        "learning_cycle_id = (SELECT cycle_id FROM cognitive_cycles), learning_claimed_at = now(),"
        " learnt_at = now() - interval '1 second'",
    ],
)
def test_an_answer_is_never_half_claimed(sql: SqlSession, values: str) -> None:
    sql.add("cognitive_cycles", trigger="manual")
    sql.add("rag_interactions", trace_id="t", query="why?")
    with pytest.raises(psycopg.errors.IntegrityError):
        sql.change(f"UPDATE rag_interactions SET {values}")


@pytest.mark.parametrize("stop", ["paused = true", "singleton = false"])
def test_nobody_stops_changes_unnamed(sql: SqlSession, stop: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        sql.change(f"UPDATE improvement_switch SET {stop}")


def test_there_is_one_switch_and_one_running_cycle(sql: SqlSession) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.change("INSERT INTO improvement_switch (singleton) VALUES (true)")
    sql.add("cognitive_cycles", trigger="manual")
    sql.add("cognitive_cycles", trigger="manual", status="failed")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.add("cognitive_cycles", trigger="schedule")
