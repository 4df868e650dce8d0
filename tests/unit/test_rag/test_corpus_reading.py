"""Every format gives text with headings; what cannot be read is one clear line."""

from __future__ import annotations

import io
import os
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from src.errors import UnreadableFile
from src.rag.corpus.reading import read_file
from src.rag.corpus.reading.contents import FileContents

HTML = """<html><head><title>Window title</title><meta name="date" content="2025-02-03">
<style>p {color: red}</style><script>var secret = 1;</script></head><body><nav><a>Menu</a></nav>
<h1>Kisqali <em>report</em></h1><p>One   <b>two</b>
three</p><ul><li>first<li>second</ul>
<h2>Numbers</h2><table><tr><th>month</th><th>TRx</th></tr><tr><td>March</td><td>12</td></tr></table>
<pre>a  b
  c</pre><footer>Imprint</footer></body></html>"""


def read(folder: Path, name: str, content: str | bytes, max_mb: float = 1) -> FileContents:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(path, max_mb=max_mb)


def told(contents: FileContents) -> list[tuple[tuple[str, ...], str]]:
    return [(section.headings, section.text) for section in contents.sections]


def pdf(pages: list[str], *, password: str | None = None, title: str = "", owner_only: bool = False) -> bytes:
    """A PDF written by hand: each page shows one line (none where the text is empty)."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
        )
    writer.add_metadata({"/Title": title, "/CreationDate": "D:20250301120000Z"})
    if password is not None:
        writer.encrypt("" if owner_only else password, owner_password=password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def docx_bytes() -> bytes:
    import docx

    document = docx.Document()
    document.core_properties.modified = datetime(2025, 4, 5, tzinfo=UTC).replace(tzinfo=None)
    document.add_heading("Access in the South", 0)
    document.add_paragraph("Before any part.")
    document.add_heading("Payers", 1)
    document.add_paragraph("A paragraph.")
    table = document.add_table(rows=2, cols=2)
    for at, text in enumerate(("plan", "share", "A", "0.4")):
        table.rows[at // 2].cells[at % 2].text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def test_markdown_keeps_its_headings_and_front_matter(tmp_path: Path) -> None:
    text = (
        "---\ntitle: Spring\ndate: 2025-03-31\nbrand: Kisqali\nregion: south\nauthor: somebody\n---\nIntro.\n"
        "# Top\nA.\n\n```\n# code\n```\n## Deep ##\nB.\n\nUnder\nlined\n-----\nC.\n# Next\nD.\n"
    )
    contents = read(tmp_path, "a.md", text)
    assert (contents.title, contents.effective_date) == ("Spring", date(2025, 3, 31))
    assert (contents.brand, contents.region) == ("Kisqali", "south")
    assert told(contents) == [
        ((), "Intro."),
        (("Top",), "A.\n\n```\n# code\n```"),
        (("Top", "Deep"), "B.\n\nUnder"),
        (("Top", "lined"), "C."),
        (("Next",), "D."),
    ]
    assert all(contents.text[s.start :].startswith(s.text) for s in contents.sections)


def test_the_first_heading_names_a_markdown_file(tmp_path: Path) -> None:
    assert read(tmp_path, "a.md", "Intro\n\n## The **bold** [name](http://x)\n\ntext").title == "The bold name"


def test_a_rule_of_dashes_is_no_front_matter(tmp_path: Path) -> None:
    assert told(read(tmp_path, "a.md", "---\njust text\n---\nmore"))[0][1].startswith("---")


def test_html_is_what_its_reader_sees(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.html", HTML)
    assert (contents.title, contents.effective_date) == ("Kisqali report", date(2025, 2, 3))
    assert told(contents) == [
        (("Kisqali report",), "One two three\n\n- first\n- second"),
        (("Kisqali report", "Numbers"), "month | TRx\nMarch | 12\n\na  b\nc"),
    ]


def test_html_is_read_in_the_encoding_it_declares(tmp_path: Path) -> None:
    page = '<meta charset="latin-1"><p>caf\u00e9</p>'.encode("latin-1")
    assert told(read(tmp_path, "a.htm", page)) == [((), "café")]


def test_pdf_sections_are_its_pages(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.pdf", pdf(["Rep calls", "", "TRx rose"], title="Field report"))
    assert told(contents) == [(("page 1",), "Rep calls"), (("page 3",), "TRx rose")]
    assert (contents.title, contents.effective_date) == ("Field report", date(2025, 3, 1))
    assert contents.notes == ("1 of its 3 pages hold no text and are left out",)


def test_a_pdf_that_only_forbids_printing_is_read(tmp_path: Path) -> None:
    assert told(read(tmp_path, "a.pdf", pdf(["Rep calls"], password="x", owner_only=True)))[0][1] == "Rep calls"


def test_docx_keeps_headings_and_table_rows(tmp_path: Path) -> None:
    contents = read(tmp_path, "a.docx", docx_bytes())
    assert (contents.title, contents.effective_date) == ("Access in the South", date(2025, 4, 5))
    assert told(contents) == [
        (("Access in the South",), "Before any part."),
        (("Access in the South", "Payers"), "A paragraph.\n\nplan | share\nA | 0.4"),
    ]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark_is_read(tmp_path: Path, mark: str) -> None:
    assert told(read(tmp_path, "a.txt", "caf\u00e9\r\nbar".encode(mark))) == [((), "café\nbar")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.xlsx", b"x", "files of type '.xlsx' are not read; there are .md"),
        ("a", b"x", "files of type 'none' are not read"),
        ("a.txt", b"", "it is empty"),
        ("a.md", b" \n ", "it is empty"),
        ("a.md", b"# Only a heading", "it holds no text"),
        ("a.html", b"<script>x</script>", "it holds no text"),
        ("a.txt", b"ok\ncaf\xe9", "line 2 is not utf-8 text; save it as UTF-8"),
        ("a.txt", b"a\x00b", "binary data"),
        ("a.html", b"<meta charset=klingon><p>x", "encoding 'klingon' is unknown"),
        ("a.md", b"---\ndate: soon\n---\ntext", "'soon' is not a date"),
        ("a.md", b"---\na: [\n---\ntext", "front matter is not YAML"),
        ("a.md", b"---\ndate: 2025-02-30\n---\ntext", "day is out of range for month); write dates as 2025-03-31"),
        ("a.md", b"---\nbrand: [a, b]\n---\ntext", "'brand:' in its front matter must be a single value"),
        ("a.txt", b"%PDF-1.7 xx", "ends in .txt but is a PDF file"),
        ("a.pdf", b"not a pdf", "it is damaged or no PDF"),
        ("a.docx", b"not a docx", "it is damaged or no Word document"),
        ("a.docx", b"\xd0\xcf\x11\xe0rest", "it is encrypted or in the format of old Word"),
        ("a.pdf", pdf(["secret"], password="x"), "it is encrypted; save it without a password"),
        ("a.pdf", pdf(["", ""]), "its pages hold images and no text"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read(tmp_path, name, content)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"it has 0\.2 MB, more than the 0\.1 MB .*corpus\.max_file_mb"):
        read(tmp_path, "a.txt", "x" * 200_000, max_mb=0.1)


def test_a_packed_file_that_is_no_document_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a.txt", "x")
    with pytest.raises(UnreadableFile, match="no Word document"):
        read(tmp_path, "a.docx", out.getvalue())


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.md", "---\ntitle: x\n---\n# A\n\nok\n## B\nmail a@example.org", ["e-mail address on line 8"]),
        ("a.txt", "one\n\ncall 212-555-0123", ["phone number on line 3"]),
        ("a.html", "<h1>T</h1><p>ok<p>MRN 445566", ["medical record number on line 3 of its text"]),
        ("a.pdf", pdf(["ok", "npi 1234567893"]), ["10-digit NPI on page 2"]),
        ("a.md", "# Of pat_000123\ntext", ["patient id in its title", "patient id in a heading"]),
    ],
)
def test_identifiers_are_told_by_kind_and_place(tmp_path: Path, name: str, content: Any, places: list[str]) -> None:
    assert [f"{kind} {place}" for kind, place in read(tmp_path, name, content).identifiers()] == places


@pytest.mark.parametrize(
    ("meta", "day", "noted"),
    [
        ('http-equiv="last-modified" content="Tue, 15 Nov 2022 12:45:26 GMT"', date(2022, 11, 15), False),
        ('name="date" content="2025-02-03T08:00:00Z"', date(2025, 2, 3), False),
        ('name="date" content="last spring"', None, True),
        ('name="date" content="2025-02-30"', None, True),
    ],
)
def test_a_page_is_read_whatever_its_date_looks_like(tmp_path: Path, meta: str, day: date | None, noted: bool) -> None:
    contents = read(tmp_path, "a.html", f"<meta {meta}><p>text")
    assert contents.effective_date == day
    assert ["is not a date" in note for note in contents.notes] == [True] * noted


@pytest.mark.parametrize(
    ("name", "page"), [("a.md", "# {}\n\n{}"), ("a.html", "<h1>{}</h1><p>{}"), ("a.txt", "{}\n{}")]
)
def test_what_a_terminal_would_obey_is_not_kept(tmp_path: Path, name: str, page: str) -> None:
    harm = "red\x1b[31m \x1b]0;title\x07 \x9b2J bell\x07 del\x7f"
    contents = read(tmp_path, name, page.format(harm, "a\tb\r\nc" + harm))
    shown = "".join((contents.title or "", *(s.text for s in contents.sections), *contents.sections[0].headings))
    assert "red[31m" in shown
    assert [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160] == []


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(UnreadableFile, match="no regular file"):
        read_file(tmp_path / "a.txt", max_mb=1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("heading", ["[" * 200_000, "[](" * 70_000, "_" * 200_000 + "a", " #" * 100_000 + "x"])
def test_a_heading_of_nothing_but_signs_is_read_in_linear_time(tmp_path: Path, heading: str) -> None:
    assert told(read(tmp_path, "a.md", f"# {heading}\n\ntext"))[0][1] == "text"
