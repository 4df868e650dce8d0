"""Which parts does an explanation have for an executive, an analyst or a data scientist?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src.agents.explainer.material import FROM_DOCUMENTS, without_instructions
from src.agents.explainer.phrasing import (
    ended,
    exact,
    figure_sentence,
    main_interval,
    reach,
    sentence,
    sureness,
    tells,
    untold,
)
from src.agents.explainer.state import Material, Quote, Reasoning, Section
from src.agents.explainer.wording import sentences
from src.contracts.enums import UserExpertise
from src.domain.figures import stated_numbers, unfounded_numbers
from src.domain.findings import Evidence, Figure, Finding, StatementKind
from src.domain.identifiers import without_identifiers

MOST_SENTENCES = 5
"""Of an executive's answer."""

_JARGON = re.compile(
    r"\b(?:ATE|ATT|LATE|CATE|OLS|DML)\b|\b[pn] ?[<=]"
    r"|(?i:\b(?:aipw|estimators?|estimands?|refutation|propensity|covariates?|standard error|elasticity|log-rate"
    r"|lead test|instruments?|e-value|robustness|p-values?|without any adjustment)\b)"
)
NOT_ADDED = "These findings answer different questions; their numbers must not be added together."


def summary_of(material: Material, reasoning: Reasoning, reader: str) -> tuple[str, ...]:
    """The answer, first sentence first: what was found, what to do, how sure, and what would change it."""
    first = material.findings[0]
    answer = [sentence(first.headline), *sentences(reasoning.summary)]
    figure = main_interval(material.findings)
    if reader == UserExpertise.EXECUTIVE:
        return _for_executive(answer, material, first, figure)
    told = [sentence(f"{sureness(material)}{_unless_told(figure, answer)}")]
    return (*answer, *told)


def _for_executive(answer: list[str], material: Material, first: Finding, figure: Figure | None) -> tuple[str, ...]:
    """At most five sentences; what does not fit stands below them."""
    sure = sureness(material) + (f"; {reach(figure)}" if figure is not None else "")
    change = [ended(one.text) for one in first.of(StatementKind.WOULD_CHANGE)][:1]
    closing = [sentence(sure), *(one for one in change if len(sentences(one)) == 1)]
    todo = [ended(one.text) for one in first.of(StatementKind.RECOMMENDATION)]
    kept = answer[: MOST_SENTENCES - len(closing) - min(1, len(todo))]
    for one in todo:
        if len(kept) + len(sentences(one)) + len(closing) <= MOST_SENTENCES:
            kept.append(one)
    return (*kept, *closing)


def _unless_told(figure: Figure | None, answer: Sequence[str]) -> str:
    if figure is None or any(tells(one, figure) for one in answer):
        return ""
    return f"; {reach(figure)}"


def sections_of(material: Material, reasoning: Reasoning, reader: str) -> tuple[Section, ...]:
    """All parts of the answer in the order of their importance, without what was told before."""
    summary = summary_of(material, reasoning, reader)
    told = {*summary, *(f"Finding 1: {one}" for one in summary)}
    parts: list[tuple[str, list[str]]] = [
        ("Answer", list(summary)),
        ("Other findings", _others(material.findings)),
        ("What was found", _found(material, reasoning, reader)),
        ("Warnings and caveats", _caveats(material)),
        ("Opportunities", _of_kind(material.findings, StatementKind.OPPORTUNITY)),
        ("What to do", _of_kind(material.findings, StatementKind.RECOMMENDATION)),
        ("What would change this", _of_kind(material.findings, StatementKind.WOULD_CHANGE)),
    ]
    assumed = _of_kind(material.findings, StatementKind.ASSUMPTION)
    parts.append(("What it assumes", assumed[:1] if reader == UserExpertise.EXECUTIVE else assumed))
    parts.append(("Not answered", list(material.absent)))
    parts.append(("From the documents", [_quoted(one) for one in reasoning.quotes]))
    if reader == UserExpertise.DATA_SCIENTIST:
        parts += [("Figures", _exact(material.findings)), ("Evidence", _evidence(material.findings))]
    ranges = [figure_sentence(one) for one in untold(material.findings, [line for _, lines in parts for line in lines])]
    parts.insert(3, ("Ranges", ranges))
    found = []
    for title, lines in parts:
        new = lines if title == "Answer" else [line for line in dict.fromkeys(lines) if line and line not in told]
        told.update(new)
        if new:
            found.append(Section(title, tuple(new)))
    return tuple(found)


def _others(findings: Sequence[Finding]) -> list[str]:
    """The headlines of the other findings, the answer being the first; each stands for itself."""
    if len(findings) == 1:
        return []
    told = [f"Finding {place}: {sentence(one.headline)}" for place, one in enumerate(findings[1:], start=2)]
    return [*told, NOT_ADDED]


def _found(material: Material, reasoning: Reasoning, reader: str) -> list[str]:
    points = [sentence(one) for one in reasoning.points]
    lines = list(points)
    for place, finding in enumerate(material.findings):
        for text in (ended(one.text) for one in finding.of(StatementKind.FINDING)):
            repeated = text.lower() in ended(finding.headline).lower()
            technical = reader == UserExpertise.EXECUTIVE and _JARGON.search(text) is not None
            if not repeated and not technical and not _covered(text, points):
                owners = _owners(text, material.findings)
                lines.append(
                    _labelled(text, owners if len(owners) == len(material.findings) else [place], material.findings)
                )
    return lines


def _caveats(material: Material) -> list[str]:
    texts = [ended(one.text) for one in material.must_tell]
    return [_labelled(one, _owners(one, material.findings), material.findings) for one in texts]


def _covered(text: str, points: Sequence[str]) -> bool:
    """Whether a model's points state all numbers of a sentence; one without numbers is told beside them."""
    return bool(points and stated_numbers(text)) and not unfounded_numbers(text, (), points)


def _of_kind(findings: Sequence[Finding], kind: StatementKind) -> list[str]:
    texts = dict.fromkeys(ended(one.text) for finding in findings for one in finding.of(kind))
    return [_labelled(one, _owners(one, findings), findings) for one in texts]


def _owners(text: str, findings: Sequence[Finding]) -> list[int]:
    return [n for n, finding in enumerate(findings) if any(ended(one.text) == text for one in finding.statements)]


def _labelled(text: str, owners: Sequence[int], findings: Sequence[Finding]) -> str:
    """The text with the finding it belongs to, unless it holds for all."""
    return text if len(owners) == len(findings) else f"Finding {owners[0] + 1}: {text}"


def _exact(findings: Sequence[Finding]) -> list[str]:
    """Every figure to four digits at least, with the id of its evidence."""
    lines = []
    for figure in (one for finding in findings for one in finding.figures):
        ends = [exact(end) for end in (figure.lower, figure.upper) if end is not None]
        interval = f", 95 % interval {ends[0]} to {ends[1]}" if len(ends) == 2 else ""
        unit = f" {figure.unit}" if figure.unit else ""
        lines.append(f"{figure.name} = {exact(figure.value)}{unit}{interval} [{figure.evidence}].")
    return lines


def _evidence(findings: Sequence[Finding]) -> list[str]:
    return [_cited(one) for finding in findings for one in finding.evidence]


def _cited(one: Evidence) -> str:
    text = without_identifiers(" ".join(without_instructions(one.text).split()))
    return f"[{one.id}] " + (f"“{text}”" if one.id.startswith(FROM_DOCUMENTS) else ended(text))


def _quoted(quote: Quote) -> str:
    return f"{quote.title}: “{quote.text}” [{FROM_DOCUMENTS}{quote.chunk_id}]"
