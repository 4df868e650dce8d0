"""Files keep their ids, get brand and region from whoever says so, and one bad file stops no other."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from src.domain.vocabulary import load_vocabulary
from src.errors import ContractViolation, UnreadableFile
from src.rag.corpus.files import Given, find_files, path_of, read_documents, source_ids
from src.rag.corpus.ingestion import Unreadable
from src.rag.corpus.labels import Labeller, brand_named, region_named
from src.rag.documents import SourceDocument

LABELLER = Labeller(load_vocabulary())


def write(path: Path, text: str = "# Title\ntext") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ids_of(*paths: Path, stored: dict[str, str | None] | None = None) -> dict[str, str]:
    files = find_files(list(paths)).files
    return {path.name + "@" + path.parent.name: name for path, name in source_ids(files, stored or {}).items()}


def test_a_folder_gives_its_known_files_by_relative_path(tmp_path: Path) -> None:
    for name in ("docs/b.md", "docs/sub/a.txt", "docs/.hidden/c.md", "docs/~$open.docx", "docs/x.csv"):
        write(tmp_path / name)
    found = find_files([tmp_path / "docs"])
    assert [file.relative for file in found.files] == ["b.md", "sub/a.txt"]
    assert (found.skipped, found.folders) == (1, (tmp_path / "docs",))


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "docs/a.md")
    assert [file.relative for file in find_files([path, tmp_path / "docs"]).files] == ["a.md"]


@pytest.mark.parametrize(("name", "says"), [("gone.md", "no such file or folder"), ("docs", "holds no file to read")])
def test_a_path_without_a_file_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "docs").mkdir()
    write(tmp_path / "docs/x.csv")
    with pytest.raises(UnreadableFile, match=says):
        find_files([tmp_path / name])


def test_the_same_name_in_two_folders_is_two_documents(tmp_path: Path) -> None:
    write(tmp_path / "a/read.md")
    write(tmp_path / "b/read.md")
    assert ids_of(tmp_path / "a", tmp_path / "b") == {"read.md@a": "read.md", "read.md@b": "b/read.md"}


def test_a_stored_file_keeps_its_id_whatever_path_it_is_added_by(tmp_path: Path) -> None:
    path = write(tmp_path / "docs/sub/a.md")
    assert ids_of(tmp_path / "docs", stored={"a.md": path.as_uri()}) == {"a.md@sub": "a.md"}


def test_a_folder_that_moved_takes_its_ids_along(tmp_path: Path) -> None:
    write(tmp_path / "new/a.md")
    assert ids_of(tmp_path / "new", stored={"a.md": (tmp_path / "old/a.md").as_uri()}) == {"a.md@new": "a.md"}


def test_an_id_of_another_file_that_is_there_is_not_taken(tmp_path: Path) -> None:
    other = write(tmp_path / "old/a.md")
    write(tmp_path / "new/a.md")
    assert ids_of(tmp_path / "new", stored={"a.md": other.as_uri()}) == {"a.md@new": "new/a.md"}


def test_an_address_leads_back_to_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a b%é#.md")
    (file,) = find_files([path]).files
    assert path_of(file.uri) == path


def documents(folder: Path, given: Given | None = None) -> list[SourceDocument | Unreadable]:
    files = find_files([folder]).files
    return list(read_documents(files, source_ids(files, {}), given or Given(), max_mb=1))


def test_what_a_file_says_of_itself_is_kept_and_what_the_caller_says_wins(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "---\ndate: 2025-01-02\nbrand: kisqali\nregion: none\n---\n# In the South\ntext")
    (said,) = documents(tmp_path)
    assert isinstance(said, SourceDocument)
    assert (said.title, said.brand, said.region, said.effective_date) == (
        "In the South",
        "Kisqali",
        None,
        date(2025, 1, 2),
    )
    (told,) = documents(tmp_path, Given("Fabhalta", "west", date(2024, 5, 6)))
    assert isinstance(told, SourceDocument)
    assert (told.brand, told.region, told.effective_date) == ("Fabhalta", "west", date(2024, 5, 6))


def test_a_file_without_date_has_none_whenever_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "field_notes.txt", "text")
    (document,) = documents(tmp_path)
    assert isinstance(document, SourceDocument)
    assert (document.title, document.effective_date) == ("field notes", None)


def test_a_bad_file_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "---\nbrand: Kisquali\n---\ntext")
    write(tmp_path / "b.txt", "ok\nNPI 1234567893 and jane@example.org")
    write(tmp_path / "c.txt", "fine")
    brand, personal, fine = documents(tmp_path)
    assert brand == Unreadable("a.md", "there is no brand 'Kisquali'; did you mean 'Kisqali'?")
    assert isinstance(personal, Unreadable)
    assert personal.reason.startswith("it holds what looks like a person's 10-digit NPI on line 2, e-mail address on l")
    assert "1234567893" not in personal.reason
    assert isinstance(fine, SourceDocument)


@pytest.mark.parametrize(
    ("title", "brand", "region"),
    [
        ("Kisqali in the North East", "Kisqali", "northeast"),
        ("Ribociclib access", "Kisqali", None),
        ("CSU patients", "Remibrutinib", None),
        ("Kisqali and Fabhalta", None, None),
        ("Middle West plan", None, "midwest"),
        ("South and West", None, None),
        ("Kisqlai with a typing error", None, None),
        ("", None, None),
    ],
)
def test_a_title_labels_by_the_only_brand_and_region_it_names(
    title: str, brand: str | None, region: str | None
) -> None:
    labels = LABELLER.label(title, None, None)
    assert (labels.brand, labels.region) == (brand, region)
    assert len(labels.notes) == (brand is not None) + (region is not None)


def test_names_given_ignore_case_and_unknown_ones_are_refused_with_the_nearest() -> None:
    assert (brand_named(" KISQALI "), region_named("West")) == ("Kisqali", "west")
    with pytest.raises(ContractViolation, match="there is no region 'wst'; did you mean 'west'"):
        region_named("wst")


@pytest.mark.parametrize("name", ["patient_PAT_00123.md", "hcp_000123/notes.txt", "jane@example.org.txt"])
def test_an_identifier_in_a_path_holds_the_file_back(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "text")
    (held,) = documents(tmp_path)
    assert isinstance(held, Unreadable)
    assert "in its path" in held.reason


def test_a_name_of_two_lines_is_a_title_of_one(tmp_path: Path) -> None:
    write(tmp_path / "field\nnotes\x1b[2J.txt", "text")
    (document,) = documents(tmp_path)
    assert isinstance(document, SourceDocument)
    assert (document.title, document.source_id) == ("field notes[2J", "field notes[2J.txt")


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UnreadableFile, match=r"pipe\.txt: it is neither a file nor a folder"):
        find_files([tmp_path / "pipe.txt"])
