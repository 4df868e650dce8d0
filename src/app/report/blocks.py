"""What is a report made of, whatever it is rendered as?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line in place of something that is not there, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[str, ...]
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text cells, each as long as ``columns``; ``emphasis`` holds the indices of rows to stress."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heading: str = ""
    emphasis: frozenset[int] = frozenset()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot; ``draw`` returns inline SVG and is called only where pictures can be shown."""

    draw: Callable[[], str]
    alt: str
    caption: str


Block = Paragraph | Note | Bullets | Table | Figure


@dataclass(frozen=True, slots=True)
class Section:
    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class AnswerBox:
    """The answer at the head of the report."""

    verdict: str
    tone: str
    meaning: str
    headline: str
    effect: str
    confidence: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    stamp: str
    run_id: str
    answer: AnswerBox
    sections: tuple[Section, ...]


def bullets(items: tuple[str, ...], heading: str = "") -> tuple[Block, ...]:
    """A list, or nothing when there is nothing to list."""
    return (Bullets(items, heading),) if items else ()
