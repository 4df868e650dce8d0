"""Does a folder of SQL files say what to run, or exactly what is wrong with it?"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from src.errors import MigrationError
from src.storage.migrate import read_folder


def write(folder: Path, manifest: str, *names: str) -> None:
    (folder / "manifest.txt").write_text(manifest)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"SELECT '{name}';\n")


def test_files_come_in_the_order_of_the_manifest_with_their_checksums(tmp_path: Path) -> None:
    write(tmp_path, "# order matters\nb/2.sql\n\na/1.sql\n", "a/1.sql", "b/2.sql")
    files = read_folder(tmp_path)
    assert [file.filename for file in files] == ["b/2.sql", "a/1.sql"]
    assert files[0].sha256 == hashlib.sha256(b"SELECT 'b/2.sql';\n").hexdigest()


def test_no_manifest_and_no_files_is_nothing_to_do(tmp_path: Path) -> None:
    assert read_folder(tmp_path) == []


@pytest.mark.parametrize(
    ("manifest", "names", "message"),
    [
        ("a.sql\nb.sql\n", ["a.sql"], "b.sql, which does not exist"),
        ("a.sql\n", ["a.sql", "deep/b.sql"], "deep/b.sql is not listed"),
        ("", ["a.sql"], "a.sql is not listed"),
        ("a.sql\na.sql\n", ["a.sql"], "lists a.sql twice"),
    ],
)
def test_manifest_and_files_have_to_agree(tmp_path: Path, manifest: str, names: list[str], message: str) -> None:
    write(tmp_path, manifest, *names)
    with pytest.raises(MigrationError, match=message) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("control", ["COMMIT;", "  begin ;", "ROLLBACK;", "Start Transaction;"])
def test_a_file_may_not_control_the_transaction_it_runs_in(tmp_path: Path, control: str) -> None:
    write(tmp_path, "a.sql\n", "a.sql")
    (tmp_path / "a.sql").write_text(f"CREATE TABLE a ();\n{control}\n")
    with pytest.raises(MigrationError, match="transaction already"):
        read_folder(tmp_path)


def test_the_blocks_of_a_function_are_not_transaction_control(tmp_path: Path) -> None:
    write(tmp_path, "a.sql\n", "a.sql")
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND\n$$;\n"
    (tmp_path / "a.sql").write_text(body)
    assert len(read_folder(tmp_path)) == 1
