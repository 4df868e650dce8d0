"""Are the SQL files complete, plain, named throughout, portable, and in step with the contract?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.gen_contract_sql import main as generate
from src.contracts.model import Dtype
from src.contracts.sql import SQL_TYPES, sql_type
from src.contracts.tables import TABLES
from tests.unit.test_database.sql_files import FOLDER, MANIFEST, declarations, statements, text
from tests.unit.test_database.sql_session import SqlSession

EACH_FILE = pytest.mark.parametrize("name", MANIFEST)
ROOT = FOLDER.parent


def test_schema_manifest_lists_every_file_once_in_order() -> None:
    on_disk = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.sql")}
    assert set(MANIFEST) == on_disk
    assert len(MANIFEST) == len(set(MANIFEST)) == 27
    assert MANIFEST[:3] == ["core/001_enums.sql", "core/010_core_tables.sql", "core/015_catalogue.sql"]
    assert MANIFEST[-1] == "core/090_views.sql"


@EACH_FILE
def test_schema_objects_are_created_plainly(name: str) -> None:
    found = re.findall(r"CREATE[^;(]*?IF NOT EXISTS[^;(]*", statements(name), flags=re.IGNORECASE)
    assert [statement for statement in found if "EXTENSION" not in statement] == []
    assert "CREATE OR REPLACE" not in statements(name)
    assert re.findall(r"CREATE TABLE (?!\w+ \()", statements(name)) == []


@EACH_FILE
def test_schema_constraints_are_all_named(name: str) -> None:
    pattern = r"(\bCONSTRAINT\s+(\w+)\s+)?(?:\bCHECK\s*\(|\bPRIMARY KEY\b|\bREFERENCES\b|\bUNIQUE\s*\(|\bFOREIGN KEY\b)"
    body = re.sub(r"REFERENCES \w+ \([^)]*\)", "", declarations(name))
    unnamed = [match[0] for match in re.finditer(pattern, body) if match[1] is None]
    assert unnamed == []
    names = re.findall(r"\bCONSTRAINT\s+(\w+)\s", body)
    assert len(names) == len(set(names))


@EACH_FILE
def test_schema_uses_nothing_newer_or_rarer_than_postgresql_14_with_pgvector(name: str) -> None:
    found = re.findall(
        r"uuidv7|uuid_generate|pgcrypto|uuid-ossp|security_invoker|NULLS NOT DISTINCT|\bMERGE\b|SUPERUSER|btree_gist",
        text(name),
        flags=re.IGNORECASE,
    )
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "file", "matches"),
    [
        (
            "CREATE TABLE ml_experiments|CREATE TABLE ml_training_runs|CREATE TABLE ml_model_registry",
            "database/ml/mlops_tables.sql",
            3,
        ),
        ("CREATE TABLE ml_observability_spans", "database/ml/mlops_tables.sql", 1),
        (
            "CREATE TABLE evaluation_results|CREATE TABLE improvement_actions",
            "database/ml/022_self_improvement_tables.sql",
            2,
        ),
    ],
)
def test_schema_tables_are_found_by_a_text_search(pattern: str, file: str, matches: int) -> None:
    done = subprocess.run(["grep", "-cE", pattern, file], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == matches


def test_schema_generated_files_agree_with_the_contract() -> None:
    assert generate(["--check"]) == 0


def test_schema_check_notices_a_changed_file_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(["--folder", str(tmp_path)]) == 0
    changed = tmp_path / "010_core_tables.sql"
    edited = changed.read_text(encoding="utf-8").replace("confidence_score <= 1", "confidence_score <= 2")
    changed.write_text(edited, encoding="utf-8")
    assert generate(["--folder", str(tmp_path), "--check"]) == 1
    assert "010_core_tables.sql" in capsys.readouterr().err
    assert changed.read_text(encoding="utf-8") == edited


def test_schema_check_runs_as_a_command() -> None:
    done = subprocess.run([sys.executable, "scripts/gen_contract_sql.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0


@pytest.mark.integration
def test_schema_columns_in_the_database_are_those_of_the_contract(sql: SqlSession) -> None:
    rows = sql.rows(
        "SELECT table_name, column_name, is_nullable, data_type, udt_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = ANY(%s) ORDER BY table_name, ordinal_position",
        list(TABLES),
    )
    found: dict[str, list[tuple[str, bool, str]]] = {}
    for row in rows:
        shown = _type_name(row["data_type"], row["udt_name"])
        found.setdefault(row["table_name"], []).append((row["column_name"], row["is_nullable"] == "YES", shown))
    expected = {
        table.name: [(column.name, column.nullable, sql_type(column)) for column in table.columns]
        for table in TABLES.values()
    }
    assert found == expected


def _type_name(data_type: str, udt_name: str) -> str:
    if data_type == "timestamp with time zone":
        return SQL_TYPES[Dtype.TS]
    return {"USER-DEFINED": udt_name, "ARRAY": f"{udt_name.lstrip('_')}[]"}.get(data_type, data_type)


@pytest.mark.integration
def test_schema_has_every_table_view_and_function(sql: SqlSession) -> None:
    for name in MANIFEST:
        for kind, created in re.findall(r"CREATE (TABLE|VIEW|FUNCTION) (\w+)", statements(name)):
            catalogue = "pg_proc WHERE proname" if kind == "FUNCTION" else "pg_class WHERE relname"
            assert sql.rows(f"SELECT FROM {catalogue} = %s", created) != [], created


@pytest.mark.integration
@pytest.mark.parametrize("table", ["ml_predictions", "triggers", "patient_journeys"])
def test_schema_split_views_show_their_split_only(sql: SqlSession, table: str) -> None:
    for split in ("train", "validation", "test", "holdout"):
        row = sql.row("SELECT definition FROM pg_views WHERE viewname = %s", f"v_{split}_{table}")
        assert f"data_split = '{split}'" in row["definition"]


@pytest.mark.integration
@pytest.mark.parametrize("table", list(TABLES))
def test_schema_core_tables_are_indexed_by_key_time_and_place(sql: SqlSession, table: str) -> None:
    rows = sql.rows("SELECT indexdef FROM pg_indexes WHERE tablename = %s", table)
    indexed = {match for row in rows for match in re.findall(r"\(([^)]*)\)", row["indexdef"])}
    contract = TABLES[table]
    assert contract.primary_key in indexed
    assert next(column.name for column in contract.columns if column.role == "time") in indexed
    if {"brand", "region"} <= set(contract.column_names):
        assert "brand, region" in indexed
