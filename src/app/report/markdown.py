"""How does a report look as Markdown? The same content, without pictures."""

from __future__ import annotations

import re
from functools import singledispatch

from src.app.report.blocks import Bullets, Figure, Note, Paragraph, Report, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_LEADING = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$)")


def to_markdown(report: Report) -> str:
    """Return GitHub-flavoured Markdown; every text from the data is escaped."""
    box = report.answer
    head = [
        f"# {inline(report.title)}",
        f"*{inline(report.stamp)}*",
        f"> **{inline(box.verdict.capitalize())}** (confidence: {inline(box.confidence)})\n>\n"
        f"> {inline(box.headline)}\n>\n> **{inline(box.effect)}**\n>\n> {inline(box.meaning)}",
        _table(Table(("Asked and understood", ""), box.facts)),
    ]
    body = [_section(section) for section in report.sections]
    return "\n\n".join([*head, *body, f"*{inline(report.stamp)} · run {inline(report.run_id)}*"]) + "\n"


def inline(text: str) -> str:
    """Escape ``text`` so that it stays what it is on one Markdown line or in a table cell."""
    joined = " ".join(text.split())
    return _LEADING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", joined))


def _section(section: Section) -> str:
    return "\n\n".join([f"## {inline(section.title)}", *(_block(block) for block in section.blocks)])


@singledispatch
def _block(block: object) -> str:
    raise TypeError(f"{type(block).__name__} has no Markdown form")


@_block.register
def _paragraph(block: Paragraph) -> str:
    return inline(block.text)


@_block.register
def _note(block: Note) -> str:
    return f"*{inline(block.text)}*"


@_block.register
def _bullets(block: Bullets) -> str:
    items = "\n".join(f"- {inline(item)}" for item in block.items)
    return f"**{inline(block.heading)}**\n\n{items}" if block.heading else items


@_block.register
def _figure(block: Figure) -> str:
    return f"*{inline(block.caption)}*"


@_block.register
def _table(block: Table) -> str:
    lines = [_row(block.columns), "|" + " --- |" * len(block.columns), *(_row(row) for row in block.rows)]
    table = "\n".join(lines)
    return f"**{inline(block.heading)}**\n\n{table}" if block.heading else table


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(inline(cell) for cell in cells) + " |"
