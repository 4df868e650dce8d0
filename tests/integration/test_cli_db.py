"""Does `e2i db` do what it says, with exit codes a script can use?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts import migrate as migrate_script
from src.cli.db import app
from src.errors import ConfigError
from src.settings import PROJECT_ROOT
from src.storage.connection import MIGRATIONS
from src.storage.embedded_postgres import embedded


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for generated files of the test's own; its server is stopped afterwards."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    yield tmp_path
    embedded().stop()


def run(*arguments: str, code: int = 0, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
    value = json.loads(run(*arguments, "--json", code=code))
    assert isinstance(value, dict)
    return value


def test_the_server_is_started_shown_opened_stopped_and_deleted(own_folder: Path) -> None:
    assert answer("status", code=1)["running"] is False
    started = answer("start")
    assert (started["running"], started["pinned"]) == (True, True)
    shown = run("status")
    password = (own_folder / "pg" / "password").read_text()
    assert str(started["pid"]) in shown
    assert password not in shown
    command = [sys.executable, "-c", "from src.cli.db import app; app()", "psql", "--", "-Atc", "SELECT 6 * 7"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    opened = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert opened.stdout.strip() == "42"
    assert answer("stop")["running"] is False
    assert "Nothing deleted" in run("reset", code=1, stdin="n\n")
    assert (own_folder / "pg" / "cluster").exists()
    run("reset", "--yes")
    assert not (own_folder / "pg" / "cluster").exists()


@pytest.mark.parametrize("command", [["start"], ["stop"], ["reset", "--yes"]], ids=lambda command: command[0])
def test_a_server_of_somebody_else_is_not_ours_to_start_or_delete(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/x")
    with pytest.raises(ConfigError, match="DATABASE_URL is set"):
        run(*command)


def test_status_of_an_external_server_hides_the_password(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    shown = answer("status")
    assert (shown["running"], shown["source"]) == (True, "DATABASE_URL")
    assert "e2i:" not in json.dumps(shown)


def test_migrate_applies_then_has_nothing_to_do(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    listed = (MIGRATIONS / "manifest.txt").read_text().split()
    assert all(line.startswith("pending") for line in run("migrate", "--status").splitlines())
    applied = json.loads(run("migrate", "--json"))
    assert [file["filename"] for file in applied] == listed
    assert "up to date" in run("migrate")
    assert all(line.startswith("applied") for line in run("migrate", "--check").splitlines())
    monkeypatch.setattr(sys, "argv", ["migrate.py", "--check"])
    assert migrate_script.main() == 0


def test_the_migration_script_fails_with_one_line(empty_database_url: str) -> None:
    script = [sys.executable, str(PROJECT_ROOT / "scripts" / "migrate.py"), "--check"]
    environment = {**os.environ, "DATABASE_URL": empty_database_url}
    done = subprocess.run(script, check=False, capture_output=True, text=True, env=environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "not applied" in done.stderr
