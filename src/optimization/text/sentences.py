"""Which sentences does a prompt consist of, and under which lines does each stand?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

_COMMENT = re.compile(r"<!--[\s\S]*?(?:-->|\Z)")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[\s\S]*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE)
_STRUCK = re.compile(r"~~[^~]*~~|<(s|del|strike)>[\s\S]*?(?:</\1>|\Z)", re.IGNORECASE)
_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_UNDERLINED = re.compile(r"^[ \t]*(\S.*)\n[ \t]*(?:={2,}|-{2,})[ \t]*$", re.MULTILINE)
_BOLD_LINE = re.compile(r"^[ \t]*(\*\*|__)([^*_\n]*[^*_\n.!?])\1:?[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"(#{1,6})\s+\S")
_TAG = re.compile(r"<(?P<close>/?)(?P<name>[A-Za-z][\w-]*)[^<>]*>")
_BULLET = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+")
_EMPHASIS = re.compile(r"\*\*|__")
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]{0,3}\s+(?=[^\sa-z])")
_ENDED = re.compile(r"[.!?;,][\"'”’)\]`]*$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with blanks for line breaks.

    ``leads`` are the lines that it stands under, the outermost first: tags, headings, lines that end in a colon or
    without a stop, and the bullet that its own is indented under.
    """

    text: str
    leads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Block:
    """A tag, a heading, a bullet or a paragraph, in one line; ``indent`` in columns."""

    text: str
    indent: int
    bullet: bool


@dataclass(slots=True)
class _Place:
    """The lines that what comes next stands under."""

    tags: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    bullets: list[tuple[int, str]] = field(default_factory=list)
    just_led: bool = False

    @property
    def leads(self) -> tuple[str, ...]:
        headings, bullets = ([text for _, text in those] for those in (self.headings, self.bullets))
        return (*self.tags, *headings, *self.lines, *bullets)

    def enter(self, block: _Block) -> None:
        """Leave what ends where the block begins."""
        self.bullets = [one for one in self.bullets if one[0] < block.indent]
        if (heading := _HEADING.match(block.text)) is not None:
            self.headings = [one for one in self.headings if one[0] < len(heading[1])]
            self.lines = []

    def passed(self, text: str, *, leads: bool) -> None:
        """Lines that lead without anything in between all lead what follows."""
        if leads:
            self.lines = [*(self.lines if self.just_led else ()), text]
        self.just_led = leads

    def end(self, block: _Block, last: str) -> None:
        if (tag := _TAG.fullmatch(block.text)) is not None:
            self._turn(tag)
        elif (heading := _HEADING.match(block.text)) is not None:
            self.headings.append((len(heading[1]), block.text))
        elif block.bullet:
            self.bullets.append((block.indent, last))

    def _turn(self, tag: re.Match[str]) -> None:
        if not tag["close"]:
            self.tags.append(tag[0])
            return
        opened = [at for at, one in enumerate(self.tags) if (match := _TAG.match(one)) and match["name"] == tag["name"]]
        del self.tags[opened[-1] if opened else len(self.tags) :]


def sentences(prompt: str) -> tuple[Sentence, ...]:
    """The sentences that instruct, in their order: none of comments, code blocks, quoted or struck-out text.

    How lines are broken, bullets and bold letters make no difference.
    """
    found: list[Sentence] = []
    place = _Place()
    for block in _blocks(_instructing(prompt)):
        place.enter(block)
        own = [part.strip() for part in _END.split(block.text) if part.strip()]
        for text in own:
            found.append(Sentence(text, place.leads))
            place.passed(text, leads=_leads(text, block))
        place.end(block, own[-1])
    return tuple(found)


def texts_of(prompt: str) -> frozenset[str]:
    """The sentences of a prompt without their order."""
    return frozenset(one.text for one in sentences(prompt))


def _leads(text: str, block: _Block) -> bool:
    """Whether a sentence stands for a title of what follows."""
    if _TAG.fullmatch(block.text) or _HEADING.match(block.text):
        return False
    return text.endswith(":") or (not block.bullet and text == block.text and _ENDED.search(text) is None)


def _instructing(prompt: str) -> str:
    """``prompt`` without the parts that a model need not take for instructions."""
    plain = unicodedata.normalize("NFC", prompt)
    for inert in (_COMMENT, _FENCE, _STRUCK, _QUOTED_LINE):
        plain = inert.sub("\n", plain)
    return _BOLD_LINE.sub(r"###### \2", _UNDERLINED.sub(r"# \1\n", plain))


def _blocks(prompt: str) -> Iterator[_Block]:
    lines: list[str] = []
    indent, bullet = 0, False
    for raw in (*prompt.splitlines(), ""):
        line = " ".join(_EMPHASIS.sub("", raw).split())
        begins = _BULLET.match(line)
        if lines and (not line or begins or _alone(line) or lines[-1].endswith(":") or _alone(lines[0])):
            yield _Block(" ".join(lines), indent, bullet)
            lines = []
        if line and not lines:
            indent, bullet = len(raw.expandtabs(4)) - len(raw.expandtabs(4).lstrip()), begins is not None
        if line:
            lines.append(line[begins.end() :] if begins else line)


def _alone(line: str) -> bool:
    return _HEADING.match(line) is not None or _TAG.fullmatch(line) is not None
