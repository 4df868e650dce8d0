"""What does a PDF say, page by page?"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from datetime import date
from typing import TYPE_CHECKING

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import FileContents, joined, tidy

if TYPE_CHECKING:
    from pypdf import PdfReader

# What a damaged file makes the parser stumble over, beside its own errors.
_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    OSError,
    zlib.error,
    struct.error,
)

# The parser logs each oddity of a file; what keeps a file from being read is raised here.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def read_pdf(raw: bytes) -> FileContents:
    """One section per page with text, under the heading "page N".

    Raises UnreadableFile for encrypted and damaged files and for those whose pages are images only.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    try:
        reader = PdfReader(io.BytesIO(raw))
        _refuse_encrypted(reader)
        pages = [(number, page.extract_text()) for number, page in enumerate(reader.pages, 1)]
    except (FileNotDecryptedError, DependencyError) as error:
        raise _encrypted() from error
    except (PyPdfError, *_DAMAGE) as error:
        raise UnreadableFile(f"it is damaged or no PDF ({type(error).__name__}); save it again") from error
    text, sections = joined(((f"page {number}",), page) for number, page in pages)
    if not sections:
        raise UnreadableFile("its pages hold images and no text; make it searchable first (OCR)")
    return FileContents(
        text=text,
        sections=sections,
        title=_title(reader),
        effective_date=_created(reader),
        places="page",
        notes=_without_text(len(pages), len(sections)),
    )


def _refuse_encrypted(reader: PdfReader) -> None:
    # A file that only its printing or copying is restricted of opens with the empty password.
    if reader.is_encrypted and not reader.decrypt(""):
        raise _encrypted()


def _encrypted() -> UnreadableFile:
    return UnreadableFile("it is encrypted; save it without a password")


def _title(reader: PdfReader) -> str | None:
    try:
        return tidy(str(reader.metadata.title or "")) or None if reader.metadata else None
    except _DAMAGE:
        return None


def _created(reader: PdfReader) -> date | None:
    """The day in the metadata; one that cannot be read counts as none, as the text is what was asked for."""
    try:
        created = reader.metadata.creation_date if reader.metadata else None
    except _DAMAGE:
        return None
    return created.date() if created is not None else None


def _without_text(pages: int, with_text: int) -> tuple[str, ...]:
    if pages == with_text:
        return ()
    return (f"{pages - with_text} of its {pages} pages hold no text and are left out",)
