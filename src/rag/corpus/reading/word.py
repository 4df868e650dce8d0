"""What does a Word document (.docx) say?"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import FileContents, Outline, joined, tidy

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import Table

_OLE = b"\xd0\xcf\x11\xe0"
# A compressed file may hold far more than its size on disk.
_MOST_UNPACKED_BYTES = 500_000_000


def read_docx(raw: bytes) -> FileContents:
    """Paragraphs under their headings; a table row is a line with its cells between bars.

    Raises UnreadableFile for encrypted, damaged and unreasonably large files.
    """
    document = _opened(raw)
    outline = Outline()
    text, sections = joined(_parts(document, outline))
    headings = (section.headings[0] for section in sections if section.headings)
    properties = document.core_properties
    changed = properties.modified or properties.created
    return FileContents(
        text=text,
        sections=sections,
        title=next(headings, None) or tidy(properties.title or "") or None,
        effective_date=changed.date() if changed is not None else None,
    )


def _opened(raw: bytes) -> Document:
    import docx
    from docx.opc.exceptions import OpcError

    if raw.startswith(_OLE):
        raise UnreadableFile("it is encrypted or in the format of old Word; save it as .docx without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_UNPACKED_BYTES:
                raise UnreadableFile(f"unpacked it is larger than {_MOST_UNPACKED_BYTES // 10**6:,} MB")
        return docx.Document(io.BytesIO(raw))
    except (zipfile.BadZipFile, OpcError, SyntaxError, ValueError, KeyError, OSError) as error:
        raise UnreadableFile(f"it is damaged or no Word document ({type(error).__name__}); save it again") from error


def _parts(document: Document, outline: Outline) -> Iterator[tuple[tuple[str, ...], str]]:
    from docx.table import Table

    body: list[str] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            body.append("\n".join(_rows(item)))
            continue
        level = _level(item.style.name if item.style is not None else "")
        if level is None:
            body.append(item.text)
        elif heading := tidy(item.text):
            yield outline.path, "\n\n".join(filter(str.strip, body))
            outline.enter(level, heading)
            body = []
    yield outline.path, "\n\n".join(filter(str.strip, body))


def _level(style: str) -> int | None:
    """The outline level of a paragraph style; the title stands above all headings."""
    if style == "Title":
        return 0
    number = style.removeprefix("Heading ")
    return int(number) if style.startswith("Heading ") and number.isdigit() else None


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        # A cell that spans several columns is listed once for each.
        cells = [cell for at, cell in enumerate(row.cells) if at == 0 or cell._tc is not row.cells[at - 1]._tc]
        if any(words := [tidy(cell.text) for cell in cells]):
            yield " | ".join(words)
