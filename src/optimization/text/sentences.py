"""Which sentences does a prompt consist of, and under which line does each stand?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_COMMENT = re.compile(r"<!--[\s\S]*?(?:-->|\Z)")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[\s\S]*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE)
_STRUCK = re.compile(r"~~[^~]*~~|<(s|del|strike)>[\s\S]*?(?:</\1>|\Z)", re.IGNORECASE)
_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}\s+\S")
_BULLET = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+")
_EMPHASIS = re.compile(r"\*\*|__")
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]{0,3}\s+(?=[^\sa-z])")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with blanks for line breaks; ``lead`` is the heading or the line ending in a colon that it is
    under."""

    text: str
    lead: str = ""

    @property
    def leads(self) -> bool:
        """Whether others stand under it."""
        return self.text.endswith(":") or _HEADING.match(self.text) is not None


def sentences(prompt: str) -> tuple[Sentence, ...]:
    """The sentences that instruct, in their order: none of comments, code blocks, quoted or struck-out text.

    How lines are broken, bullets and bold letters make no difference.
    """
    found: list[Sentence] = []
    lead = ""
    for block in _blocks(instructing(prompt)):
        for text in filter(None, (part.strip() for part in _END.split(block))):
            one = Sentence(text, lead)
            found.append(one)
            lead = text if one.leads else lead
    return tuple(found)


def instructing(prompt: str) -> str:
    """``prompt`` without the parts that a model need not take for instructions."""
    plain = unicodedata.normalize("NFC", prompt)
    for inert in (_COMMENT, _FENCE, _STRUCK, _QUOTED_LINE):
        plain = inert.sub("\n", plain)
    return plain


def texts_of(prompt: str) -> frozenset[str]:
    """The sentences of a prompt without their order."""
    return frozenset(one.text for one in sentences(prompt))


def _blocks(prompt: str) -> Iterator[str]:
    """Headings, bullets and paragraphs, each in one line."""
    block: list[str] = []
    for raw in (*prompt.splitlines(), ""):
        line = " ".join(_EMPHASIS.sub("", raw).split())
        bullet = _BULLET.match(line)
        if block and (
            not line or bullet or _HEADING.match(line) or block[-1].endswith(":") or _HEADING.match(block[0])
        ):
            yield " ".join(block)
            block = []
        if line:
            block.append(line[bullet.end() :] if bullet else line)
