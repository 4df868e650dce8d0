"""What does a file say, whatever its format?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from src.domain.identifiers import IdentifierKind, find_identifiers
from src.errors import UnreadableFile
from src.rag.documents import Section

_BETWEEN = "\n\n"
_LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85]")
# A terminal obeys these: it changes colours and titles, or presses keys. Line ends and tabs stay.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class FileContents:
    """A file as read. ``text`` is what the sections' positions refer to; ``brand`` and ``region`` are as written.

    ``title`` is None where the file names none. ``places`` says how a reader finds a place again: by the
    line of the file, by the page (the section's heading), or by the line of the text without its markup.
    """

    text: str
    sections: tuple[Section, ...]
    title: str | None = None
    effective_date: date | None = None
    brand: str | None = None
    region: str | None = None
    places: Literal["line", "page", "line of its text"] = "line of its text"
    notes: tuple[str, ...] = ()

    def identifiers(self) -> Iterator[tuple[IdentifierKind, str]]:
        """What looks like an identifier of a person, and where it stands."""
        for found in find_identifiers(self.title or ""):
            yield found.kind, "in its title"
        for section in self.sections:
            for found in find_identifiers("\n".join(section.headings)):
                yield found.kind, "in a heading"
            for found in find_identifiers(section.text):
                yield found.kind, self._place(section, found.line)

    def _place(self, section: Section, line: int) -> str:
        if self.places == "page":
            return f"on {section.headings[-1]}"
        return f"on {self.places.replace('line', f'line {line + self.text.count(chr(10), 0, section.start)}', 1)}"


def joined(parts: Iterable[tuple[tuple[str, ...], str]]) -> tuple[str, tuple[Section, ...]]:
    """Text and sections of (headings, text), with an empty line between; blank ones are left out."""
    text, sections = "", list[Section]()
    for headings, part in parts:
        if body := storable(part).strip():
            text += _BETWEEN if text else ""
            sections.append(Section(body, headings, len(text)))
            text += body
    return text, tuple(sections)


def storable(text: str) -> str:
    """``text`` with line ends \\n, without control characters (C0, C1) and what UTF-8 cannot hold (lone surrogates)."""
    plain = _LINE_ENDS.sub("\n", text)
    return _CONTROLS.sub("", plain).encode("utf-8", "replace").decode("utf-8")


def tidy(text: str) -> str:
    """One line without runs of white space."""
    return " ".join(storable(text).split())


class Outline:
    """The headings under which the reader stands; a heading closes those of its level and deeper."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> None:
        """A heading of ``level`` (1 is the outermost) begins."""
        self._open = [(depth, text) for depth, text in self._open if depth < level]
        if heading:
            self._open.append((level, heading))

    @property
    def path(self) -> tuple[str, ...]:
        """The open headings, outermost first."""
        return tuple(text for _, text in self._open)


def as_date(value: str, what: str) -> date:
    """The day of an ISO 8601 date or time. Raises UnreadableFile naming ``what``."""
    try:
        return date.fromisoformat(value.strip()[:10])
    except ValueError as error:
        raise UnreadableFile(f"{what} '{value.strip()[:40]}' is not a date; write it as 2025-03-31") from error
