"""How do the parts of an explanation become prose, a structured page, slides or a brief?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src.agents.explainer.phrasing import (
    confidence_word,
    ended,
    figure_sentence,
    interval_words,
    main_interval,
    sentence,
    tells,
)
from src.agents.explainer.state import Material, OutputFormat, Section
from src.agents.explainer.wording import sentences
from src.domain.findings import StatementKind

BRIEF_WORDS = 80
ASSUMED_WORDS = 12
"""Kept for what an answer assumes."""
LONGEST_HEADLINE = 34
SLIDE_BULLETS = 5

_OPENINGS = {
    "Other findings": "There is more.",
    "What was found": "In detail:",
    "Ranges": "The ranges behind this:",
    "Warnings and caveats": "Keep in mind:",
    "Opportunities": "There is an opportunity:",
    "What to do": "What to do:",
    "What would change this": "What would change this:",
    "What it assumes": "The answer assumes the following.",
    "Not answered": "Not everything was answered.",
    "From the documents": "The documents say:",
    "Figures": "Figures:",
    "Evidence": "Evidence:",
}
_LISTED = ("Figures", "Evidence", "From the documents")


def lay_out(sections: Sequence[Section], layout: OutputFormat) -> tuple[str, tuple[Section, ...]]:
    """The text and its parts; a brief is made by ``brief_of``."""
    if layout is OutputFormat.PRESENTATION:
        slides = tuple(slide for one in sections for slide in _slides(one))
        return "\n\n".join(_bulleted("# ", one) for one in slides), slides
    if layout is OutputFormat.STRUCTURED:
        return "\n\n".join(_bulleted("## ", one) for one in sections), tuple(sections)
    return "\n\n".join(_paragraph(one) for one in sections), tuple(sections)


def _paragraph(section: Section) -> str:
    opening = _OPENINGS.get(section.title, "")
    if section.title in _LISTED:
        return "\n".join([opening, *(f"- {line}" for line in section.lines)])
    return " ".join(part for part in (opening, *section.lines) if part)


def _bulleted(mark: str, section: Section) -> str:
    if section.title == "Answer" and mark == "## ":
        return f"{mark}{section.title}\n{' '.join(section.lines)}"
    return "\n".join([f"{mark}{section.title}", *(f"- {line}" for line in section.lines)])


def _slides(section: Section) -> list[Section]:
    """A slide holds five points; more go on the next."""
    parts = [section.lines[at : at + SLIDE_BULLETS] for at in range(0, len(section.lines), SLIDE_BULLETS)]
    return [
        Section(section.title if not number else f"{section.title} (continued)", lines)
        for number, lines in enumerate(parts)
    ]


def brief_of(material: Material) -> tuple[str, str]:
    """The first sentence, and at most 80 words: the answer, its interval, the strongest caveat, what it assumes most of
    all and what is left out."""
    first = material.findings[0]
    figure = main_interval(material.findings)
    headline = _cut(sentence(first.headline), LONGEST_HEADLINE)
    if figure is not None and headline.endswith("…"):
        headline = _cut(figure_sentence(figure), LONGEST_HEADLINE)
    parts = [headline]
    if figure is not None and not tells(headline, figure):
        parts.append(f"95 % interval: {interval_words(figure)}.")
    parts.append(f"Confidence: {confidence_word(material.confidence)}.")
    rest = [_unanswered(material), _further(len(material.must_tell) - 1, len(material.findings) - 1)]
    left = BRIEF_WORDS - sum(len(one.split()) for one in (*parts, *rest))
    assumed = [f"Assumes: {sentences(ended(one.text))[0]}" for one in first.of(StatementKind.ASSUMPTION)][:1]
    if material.must_tell:
        parts.append(_cut(sentences(ended(material.must_tell[0].text))[0], left - ASSUMED_WORDS * len(assumed)))
        left -= len(parts[-1].split())
    if assumed:
        parts.append(_cut(assumed[0], left))
    return headline, " ".join(one for one in (*parts, *rest) if one)


def _unanswered(material: Material) -> str:
    """Who did not answer, in a few words."""
    if not material.absent:
        return ""
    names = [re.split(r" (?:declined|is not|did not|failed|answered)\b", one)[0] for one in material.absent]
    named = " and ".join(one.lower() for one in names)
    return sentence(f"Not answered by {named}") if len(names) <= 2 else "Several agents did not answer."


def _further(caveats: int, findings: int) -> str:
    """What the full answer has beside this."""
    counted = [(findings, "finding"), (caveats, "caveat")]
    said = [f"{count} further {name}{'s' if count > 1 else ''}" for count, name in counted if count > 0]
    return f"{' and '.join(said)} in the full answer." if said else ""


def _cut(text: str, words: int) -> str:
    """The first words of a text, with a sign where it was cut."""
    parts = text.split()
    return text if len(parts) <= words else " ".join(parts[: max(1, words)]).rstrip(",;:(") + "…"
