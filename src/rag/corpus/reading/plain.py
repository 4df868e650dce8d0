"""What does a plain text file say?"""

from __future__ import annotations

from src.rag.corpus.reading.contents import FileContents
from src.rag.corpus.reading.decoding import decode
from src.rag.documents import Section


def read_plain(raw: bytes) -> FileContents:
    """One section; a text file has no headings and no title of its own."""
    text = decode(raw)
    body = text.strip()
    sections = (Section(body, (), text.index(body)),) if body else ()
    return FileContents(text=text, sections=sections, places="line")
