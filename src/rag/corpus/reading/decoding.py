"""Which characters are the bytes of a text file?"""

from __future__ import annotations

import codecs

from src.errors import UnreadableFile
from src.rag.corpus.reading.contents import storable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(raw: bytes, declared: str | None = None) -> str:
    """Text by its byte-order mark, else the ``declared`` encoding, else UTF-8; line ends become \\n.

    Raises UnreadableFile for other encodings and for what is no text at all.
    """
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), declared or "utf-8")
    try:
        text = raw.decode(encoding)
    except LookupError as error:
        raise UnreadableFile(f"its encoding '{encoding[:40]}' is unknown; save it as UTF-8") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(f"line {line} is not {encoding} text; save it as UTF-8") from error
    if "\x00" in text:
        raise UnreadableFile("it holds binary data, not text")
    return storable(text)
