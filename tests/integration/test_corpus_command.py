"""`e2i corpus` does what it says, with exit codes a script can use."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner, Result

from src.causal_engine.serialise import to_json
from src.cli.corpus import corpus_app
from src.contracts.tables import get_table
from src.errors import ContractViolation, DataUnavailable, E2IError, UnreadableFile
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.records import RunRecord
from src.storage.runs import RunRepository
from tests.unit.test_contracts.frames import clean_row
from tests.unit.test_report.samples import supported

PLANTED = "Zebedee"
AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
TEXT = "# Kisqali access\nTRx rose in March.\n\n## Cause\nRep calls rose too."


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("E2I_EMBEDDINGS", "none")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text(TEXT)
    (folder / "sub/b.txt").write_text("Formulary of the West, 2025.")
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(corpus_app, [str(argument) for argument in arguments])


def document(*arguments: object, exit_code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == exit_code, result.exception
    return json.loads(result.stdout)


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in ("added", "updated", "unchanged", "deleted"))


def test_documents_are_added_listed_shown_and_removed(docs: Path) -> None:
    report = document("add", docs, "--date", "2025-04-01")
    assert counts(report) == (2, 0, 0, 0)
    assert report["chunks"] == 3
    assert "switched off" in report["not_embedded"]
    assert report["notes"] == ["a.md: brand Kisqali is taken from the title 'Kisqali access'"]
    rows = {row["source_id"]: row for row in document("list")}
    assert set(rows) == {"a.md", "sub/b.txt"}
    row = rows["a.md"]
    assert (row["brand"], row["effective_date"], row["chunks"]) == ("Kisqali", "2025-04-01", 2)
    assert [row["source_id"] for row in document("list", "--brand", "kisqali", "--type", "file")] == ["a.md"]
    shown = document("show", rows["a.md"]["document_id"][:8])
    assert [chunk["section"] for chunk in shown["text"]] == ["Kisqali access", "Kisqali access > Cause"]
    assert all(TEXT[chunk["start"] : chunk["end"]] == chunk["content"] for chunk in shown["text"])
    assert "Rep calls rose too." in call("show", "a.md").stdout
    assert document("remove", "a.md", "sub/b.txt")["removed"][0]["source_id"] == "a.md"
    assert document("list") == []
    assert (docs / "a.md").exists()


def test_a_folder_added_again_follows_its_files(docs: Path) -> None:
    document("add", docs)
    assert counts(document("add", docs)) == (0, 0, 2, 0)
    (docs / "a.md").write_text(TEXT + " And more.")
    (docs / "sub/b.txt").unlink()
    (docs / "c.txt").write_text("New.")
    assert counts(document("add", docs, "--keep-missing")) == (1, 1, 0, 0)
    assert counts(document("add", docs)) == (0, 0, 2, 1)
    assert {row["source_id"] for row in document("list")} == {"a.md", "c.txt"}


def test_files_outside_the_folder_are_left_alone(docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("Another.")
    document("add", docs, other)
    other.unlink()
    assert document("add", docs)["deleted"] == 0


def test_a_document_with_identifiers_is_refused_with_kind_and_line_and_exit_is_1(docs: Path) -> None:
    (docs / "p.txt").write_text("ok\nwrite to jane.doe@example.org\nNPI 1234567893")
    report = document("add", docs, exit_code=1)
    assert counts(report) == (2, 0, 0, 0)
    (failed,) = report["failed"]
    assert failed["source"] == "p.txt"
    assert "e-mail address on line 2, 10-digit NPI on line 3" in failed["reason"]
    text = call("add", docs)
    assert text.exit_code == 1
    assert "failed: p.txt: it holds" in text.stdout
    assert "jane" not in text.stdout + json.dumps(report)


def test_reindex_says_why_it_adds_no_embeddings(docs: Path) -> None:
    document("add", docs)
    report = document("reindex", "--missing")
    assert (report["embedded"], report["updated"]) == (0, 0)
    assert "switched off" in report["not_embedded"]


def test_reindex_cuts_by_the_configuration_that_is_active_now(docs: Path, database_url: str) -> None:
    (docs / "a.md").write_text("# Long\n" + "One sentence of six words here. " * 60)
    first = document("add", docs)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE retrieval_configurations SET chunk_size = 64, chunk_overlap = 8 WHERE is_active")
    assert document("reindex", "--missing")["updated"] == 0
    report = document("reindex")
    assert report["updated"] == 2
    assert report["chunks"] > first["chunks"]
    assert document("reindex")["updated"] == 0


@pytest.fixture
async def tables(db: Database) -> Database:
    """Metrics, paths and a run; a planted name in every personal column of every table."""
    for table in ("business_metrics", "causal_paths", "hcp_profiles", "patient_journeys"):
        rows = [clean_row(get_table(table), i) for i in range(4)]
        names = get_table(table).personal_columns & {"first_name", "last_name"}
        for row in rows:
            row.update(dict.fromkeys(names, PLANTED))
        await PostgresGateway(db).insert(table, rows)
    return db


async def _add_run(db: Database, number: int, question: str) -> str:
    analysis = supported()
    run_id = str(UUID(int=number))
    runs = RunRepository(PostgresGateway(db))
    record = RunRecord(
        run_id, run_id, question, {}, {}, "0" * 64, "ds_1", "0" * 64, "test", 1, {}, [], "running",
        None, None, None, None, AT, None,
    )  # fmt: skip
    await runs.start(record)
    await runs.finish(
        run_id,
        status="completed",
        ended_at=AT + timedelta(seconds=5),
        verdict=analysis.conclusion.verdict.value,
        analysis=to_json(analysis),
    )
    return run_id


async def test_insights_follow_the_tables_and_name_nobody(tables: Database) -> None:
    run_id = await _add_run(tables, 1, "Do rep calls raise new prescriptions of Kisqali in the South?")
    await _add_run(tables, 2, "Does a call to jane.doe@example.org help?")
    report = await asyncio.to_thread(document, "add", "--insights", exit_code=1)
    assert [failed["source"] for failed in report["failed"]] == [f"run {UUID(int=2)}"]
    listed = await asyncio.to_thread(document, "list")
    kinds = {row["source_type"] for row in listed}
    assert kinds == {"kpi_summary", "causal_path", "definition", "run_report"}
    run = await asyncio.to_thread(document, "show", run_id)
    assert (run["brand"], run["region"], run["effective_date"]) == ("Kisqali", "south", "2025-03-01")
    text = "\n".join(chunk["content"] for chunk in run["text"])
    analysis = supported()
    assert analysis.conclusion.headline in text
    assert all(assumption in text for assumption in analysis.conclusion.assumptions)
    assert f"Verdict: {analysis.conclusion.verdict.value}." in text
    paths = [row for row in listed if row["source_type"] == "causal_path"]
    statuses = await tables.fetch("SELECT path_id FROM causal_paths WHERE validation_status IN ('proceed', 'review')")
    assert {row["source_id"] for row in paths} == {row["path_id"] for row in statuses}
    stored = await tables.fetch("SELECT d.*, c.* FROM rag_documents d JOIN rag_chunks c USING (document_id)")
    corpus = json.dumps(stored, default=str)
    assert PLANTED not in corpus
    assert "jane.doe" not in corpus
    for row in await tables.fetch("SELECT npi, zip_code FROM hcp_profiles"):
        assert str(row["npi"]) not in corpus

    unchanged = await asyncio.to_thread(document, "add", "--insights", exit_code=1)
    assert unchanged["unchanged"] == len(listed)
    await tables.execute("UPDATE business_metrics SET value = value + 1, achievement_rate = NULL")
    await tables.execute("DELETE FROM causal_paths WHERE path_id = %s", [paths[0]["source_id"]])
    again = await asyncio.to_thread(document, "add", "--insights", exit_code=1)
    assert (again["added"], again["deleted"]) == (0, 1)
    assert again["updated"] == sum(row["source_type"] == "kpi_summary" for row in listed)
    ids = {row["source_id"]: row["document_id"] for row in listed if row != paths[0]}
    assert {row["source_id"]: row["document_id"] for row in await asyncio.to_thread(document, "list")} == ids


def test_files_are_no_insights_that_vanished(docs: Path) -> None:
    document("add", docs)
    assert document("add", "--insights")["deleted"] == 0
    assert document("add", docs)["unchanged"] == 2


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["add"], ContractViolation, "give files and folders to add, or --insights"),
        (["add", "x.md", "--insights"], ContractViolation, "one of them"),
        (["add", "--insights", "--brand", "Kisqali"], ContractViolation, "are for files"),
        (["add", "gone.md"], UnreadableFile, "there is no such file or folder"),
        (["add", "gone.md", "--brand", "Kisquali"], ContractViolation, "did you mean 'Kisqali'"),
        (["list", "--type", "files"], ContractViolation, "there are file, kpi_summary"),
        (["list", "--region", "nort"], ContractViolation, "there is no region 'nort'"),
        (["show", "nothing"], DataUnavailable, "'e2i corpus list' shows them"),
        (["remove", "nothing"], DataUnavailable, "there is no document 'nothing'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], error: type[E2IError], says: str) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)


def test_one_wrong_name_removes_nothing(docs: Path) -> None:
    document("add", docs)
    assert isinstance(call("remove", "a.md", "nothing").exception, DataUnavailable)
    assert len(document("list")) == 2


def test_a_name_that_means_two_documents_is_refused(docs: Path) -> None:
    (docs / "c.md").write_text(TEXT)
    document("add", docs)
    result = call("show", "Kisqali access")
    assert isinstance(result.exception, ContractViolation)
    assert "means 2 documents; use one of the ids" in str(result.exception)


def test_an_empty_corpus_says_how_to_fill_it() -> None:
    assert "'e2i corpus add PATH'" in call("list").stdout


@pytest.mark.parametrize("command", ["add", "list", "show", "remove", "reindex"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    assert "Example: e2i corpus" in call(command, "--help").stdout


def test_documents_of_a_folder_that_is_gone_are_removed_by_its_path(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "docs2").mkdir()
    (tmp_path / "docs2/c.md").write_text("# Other\ntext")
    document("add", docs, tmp_path / "docs2")
    shutil.rmtree(docs)
    gone = call("add", docs)
    assert isinstance(gone.exception, UnreadableFile)
    assert f"'e2i corpus remove --below {docs}'" in str(gone.exception)
    removed = document("remove", "--below", docs)["removed"]
    assert sorted(row["source_id"] for row in removed) == ["a.md", "sub/b.txt"]
    assert [row["source_id"] for row in document("list")] == ["c.md"]
    assert isinstance(call("remove", "--below", docs).exception, DataUnavailable)
    assert isinstance(call("remove").exception, ContractViolation)
