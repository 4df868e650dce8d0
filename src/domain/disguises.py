"""Which other texts does a text hide: in look-alike letters, codes, mirror writing or invisible characters?"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

# Letters of other scripts that look like a Latin one: the frequent ones of Unicode Technical Standard 39.
_LOOK_ALIKE = str.maketrans(
    "аеорсхуіјѕԁһӏԛԝкмтнвгзαοειικνρτυχηωγβɡɑıʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢᴀօոսհցզ",
    "aeopcxyijsdhlqwkmthbrsaoeiikvptuxnwybgaibcdefghijklmnoprstuvwyzaonuhgq",
)
_DIGIT_FOR_LETTER = str.maketrans("013457@$!", "oieastasi")
_TAGS = range(0xE0020, 0xE007F)
"""Tag characters: an invisible copy of ASCII."""
_SENTENCE_END = re.compile(r"[.?!]+(?=\s|$)")
_POSSESSIVE = re.compile(r"['’]s\b")
_WORD = re.compile(r"[^\W_]+")
_LETTERED = re.compile(r"(?:\b\w ){5,200}\w\b")
_MIXED_WORD = re.compile(r"\b(?=\w*[^\W\d_])[\w@$!]{3,40}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,4000}={0,2}")
_HEX = re.compile(r"(?:(?:\\x|0x)?[0-9a-fA-F]{2}[\s:,]?){10,2000}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_DEPTH = 2
_LEAST_LENGTH, _LONG = 6, 12


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a text: with its punctuation, as words, and those words that were written in one piece."""

    signs: str
    words: str
    glued: tuple[str, ...]


def readings(text: str, spelling: Collection[str] = (), leave: Collection[str] = ()) -> tuple[Reading, ...]:
    """``text`` as it stands, decoded, mirrored, with letters for digits, and with the words of ``spelling`` put right.

    All in lower-case Latin letters; the text as it stands is the first. Words of ``leave`` are no misspelt ones.
    """
    found = dict.fromkeys(plain(one) for one in _decoded(text, _DEPTH))
    for one in tuple(found):
        found |= dict.fromkeys(_rewritten(one))
    made = [_reading(one) for one in found if one]
    right = (corrected(one.words, spelling, leave) for one in made)
    put_right = [Reading("", words, ()) for words, one in zip(right, made, strict=True) if words != one.words]
    return (*made, *put_right)


def plain(text: str) -> str:
    """``text`` in lower-case Latin letters without accents, invisible characters and doubled spaces."""
    known = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(one for one in known if one == "\n" or not _is_unseen(one)).translate(_LOOK_ALIKE)
    return "\n".join(" ".join(line.split()) for line in seen.splitlines()).strip()


def worded(text: str) -> str:
    """The words of a plain text separated by one space; between two sentences stands " . "."""
    parts = (" ".join(_WORD.findall(part)) for part in _SENTENCE_END.split(_POSSESSIVE.sub("", text)))
    return " . ".join(part for part in parts if part)


def corrected(words: str, spelling: Collection[str], leave: Collection[str] = ()) -> str:
    """Words with those that are a letter (two, from twelve letters on) away from one of ``spelling`` put right."""
    known = {*spelling, *leave}
    return " ".join(
        word if len(word) < _LEAST_LENGTH or word in known else _nearest(word, spelling) for word in words.split()
    )


def _nearest(word: str, spelling: Collection[str]) -> str:
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    candidates = [one for one in spelling if one[0] == word[0] and abs(len(one) - len(word)) <= 2]
    found = process.extractOne(word, candidates, scorer=OSA.distance, score_cutoff=2 if len(word) >= _LONG else 1)
    return found[0] if found else word


def _reading(text: str) -> Reading:
    words = worded(text)
    pieces = [match.group().replace(" ", "") for match in _LETTERED.finditer(words)]
    return Reading(text, words, (*pieces, *(word for word in words.split() if len(word) >= _LONG)))


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Mn", "Me", "Cn", "Co", "Cs") and character != "\t"


def _decoded(text: str, depth: int) -> Iterator[str]:
    yield text
    if depth == 0:
        return
    for one in dict.fromkeys(_hidden(text)):
        if one != text:
            yield from _decoded(one, depth - 1)


def _hidden(text: str) -> Iterator[str]:
    if any(ord(one) in _TAGS for one in text):
        yield "".join(chr(ord(one) - 0xE0000) if ord(one) in _TAGS else " " for one in text)
    yield unquote(text)
    yield html.unescape(text)
    yield _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    yield from _readable(_of_base64(match.group()) for match in _BASE64.finditer(text))
    yield from _readable(_of_hex(match.group()) for match in _HEX.finditer(text))


def _readable(found: Iterable[bytes]) -> Iterator[str]:
    """Only what is text: chance makes bytes of any long word."""
    for content in found:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if all(one.isprintable() or one.isspace() for one in text):
            yield text


def _of_base64(token: str) -> bytes:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except (binascii.Error, ValueError):
        return b"\xff"


def _of_hex(token: str) -> bytes:
    digits = re.sub(r"\\x|0x|[\s:,]", "", token)
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _rewritten(text: str) -> Iterator[str]:
    yield codecs.encode(text, "rot13")
    yield text[::-1]
    yield " ".join(word[::-1] for word in text.split())
    yield _MIXED_WORD.sub(lambda match: match.group().translate(_DIGIT_FOR_LETTER), text)
