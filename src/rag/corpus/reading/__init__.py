"""How does a file become text with headings? One module per format; ``read_file`` chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import FileContents
from src.rag.corpus.reading.html import read_html
from src.rag.corpus.reading.markdown import read_markdown
from src.rag.corpus.reading.pdf import read_pdf
from src.rag.corpus.reading.plain import read_plain
from src.rag.corpus.reading.word import read_docx

READERS: Mapping[str, Callable[[bytes], FileContents]] = MappingProxyType(
    {
        ".md": read_markdown,
        ".markdown": read_markdown,
        ".txt": read_plain,
        ".text": read_plain,
        ".html": read_html,
        ".htm": read_html,
        ".pdf": read_pdf,
        ".docx": read_docx,
    }
)
KNOWN_ENDINGS = ", ".join(READERS)
_BEGINNINGS = ((b"%PDF-", ".pdf"), (b"PK\x03\x04", ".docx"))


def read_file(path: Path, *, max_mb: float) -> FileContents:
    """Read a file by its ending. Raises UnreadableFile, one line without the path.

    Refused: other endings, contents of another format than the ending says, empty files, files without any
    text, and files above ``max_mb`` megabytes (of 10^6 bytes).
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UnreadableFile(f"files of type '{path.suffix or 'none'}' are not read; there are {KNOWN_ENDINGS}")
    raw = _bytes(path, max_mb)
    _refuse_other_format(raw, path.suffix.lower())
    contents = reader(raw)
    if not contents.sections:
        raise UnreadableFile("it holds no text")
    return contents


def _bytes(path: Path, max_mb: float) -> bytes:
    try:
        if not path.is_file():
            raise UnreadableFile("it is no regular file")
        size = path.stat().st_size
        if size > max_mb * 1e6:
            raise UnreadableFile(
                f"it has {size / 1e6:,.1f} MB, more than the {max_mb:g} MB of config/rag.yaml (corpus.max_file_mb)"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"it cannot be read: {error.strerror or type(error).__name__}") from error
    if not raw.strip():
        raise UnreadableFile("it is empty")
    return raw


def _refuse_other_format(raw: bytes, ending: str) -> None:
    actual = next((name for beginning, name in _BEGINNINGS if raw.startswith(beginning)), None)
    if actual is not None and actual != ending and ending != ".docx":
        raise UnreadableFile(f"it ends in {ending} but is a {'PDF' if actual == '.pdf' else 'packed'} file; rename it")
