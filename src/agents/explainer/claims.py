"""Does a model's text say anything that the findings do not? Numbers, ranges, causes and ids are looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence

from src.agents.explainer.material import FROM_DOCUMENTS, founding_texts, intervals_of
from src.agents.explainer.phrasing import tells
from src.agents.explainer.reply import ExplanationReply, NamedInsight, Point
from src.agents.explainer.state import ExplainRequest, Material
from src.agents.explainer.wording import SUPPORTED, is_clinical, sentences
from src.domain.attribution import misattributed
from src.domain.causal_words import claims_cause, claims_proof
from src.domain.figures import StatedNumber, is_rounding, stated_ranges, unfounded_names, unfounded_numbers
from src.domain.findings import Figure, Finding, Insight, StatementKind, known_of
from src.domain.identifiers import find_identifiers
from src.rag.answering.quotable import instructs

MOST_SUMMARY_SENTENCES = 3
LONGEST_TEXT = 600
MOST_POINTS = 10
SHORTEST_QUOTE, LONGEST_QUOTE, MOST_QUOTES = 12, 300, 3
ROUNDING = 0.1
"""How far, relatively, a rounded number may be from the one it stands for."""

INSIGHTS = ("finding", "recommendation", "warning", "opportunity")

_ABOUT_INTERVAL = re.compile(r"(?i)\b(?:interval|range|limits?)\b")
_COVERS = re.compile(
    r"(?i)\b(?:includ|contain|cover|cross|span|touch)\w*\s(?:the value\s)?(?:zero|0(?![.\d])|no effect)\b"
)
_DENIES = re.compile(r"(?i)\b(?:not|never|excludes?|without)\b|n't\b")


def problems_of(reply: ExplanationReply, request: ExplainRequest, material: Material) -> tuple[str, ...]:
    """What is wrong with a reply, one line each, quoting no more of it than a number or id; () when it holds.

    A point may use the numbers of the findings whose evidence it cites; the summary those of all. The numbers of the
    question and of passages count for nothing; a passage is quoted word for word.
    """
    owners = _owners(material.findings)
    problems = _form(reply)
    problems += _text_problems(reply.summary, material.findings, request, "the summary")
    named: list[tuple[str, Sequence[Point | NamedInsight]]] = [("point", reply.points), ("insight", reply.insights)]
    for kind, entries in named:
        for place, one in enumerate(entries, start=1):
            where = f"{kind} {place}"
            cited = [owner for each in one.evidence for owner in owners.get(each, ())]
            if not one.evidence or not owners.keys() >= set(one.evidence):
                missing = next((each for each in one.evidence if each not in owners), "none")
                problems.append(f"{where} cites evidence that does not exist: {missing[:60]}")
            scope = [each for each in material.findings if any(each is owner for owner in cited)]
            problems += _text_problems(one.text, scope or material.findings, request, where)
    problems += _insight_problems(reply, material.findings) + _quote_problems(reply, request)
    return tuple(dict.fromkeys(problems))


def insight_confidence(ids: Sequence[str], of_findings: Sequence[Insight]) -> float | None:
    """The least confidence among the insights of the findings that share evidence with these ids."""
    shared = [one.confidence for one in of_findings if set(ids) & set(one.evidence_refs) and one.confidence is not None]
    return min(shared, default=None)


def _owners(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """All findings with a piece of evidence: parts of one question may rest on the same run."""
    owners: dict[str, list[Finding]] = {}
    for finding in findings:
        for one in finding.evidence:
            owners.setdefault(one.id, []).append(finding)
    return owners


def _form(reply: ExplanationReply) -> list[str]:
    problems = []
    entries: list[Point | NamedInsight] = [*reply.points, *reply.insights]
    if len(sentences(reply.summary)) > MOST_SUMMARY_SENTENCES:
        problems.append(f"the summary has more than {MOST_SUMMARY_SENTENCES} sentences")
    if any(len(one.text) > LONGEST_TEXT for one in entries) or len(reply.summary) > LONGEST_TEXT:
        problems.append(f"a text has more than {LONGEST_TEXT} characters")
    if any(not one.text.strip() for one in entries):
        problems.append("a point or insight is empty")
    if max(len(reply.points), len(reply.insights)) > MOST_POINTS:
        problems.append(f"there are more than {MOST_POINTS} points or insights")
    return problems


def _text_problems(text: str, scope: Sequence[Finding], request: ExplainRequest, where: str) -> list[str]:
    texts, figures = founding_texts(scope), [figure for one in scope for figure in one.figures]
    numbers = unfounded_numbers(text, known_of(scope), texts, within=ROUNDING)
    names = unfounded_names(
        text, (*texts, request.query, *_ids(scope), *(one.name for f in scope for one in f.figures))
    )
    problems = [f"{where}: the number {one[:40]} is not in the findings" for one in numbers]
    problems += [f"{where}: {one[:40]} is not in the findings" for one in names]
    problems += [f"{where}: {one} is no interval of the findings" for one in _unknown_ranges(text, scope, texts)]
    problems += [f"{where}: the number {one}" for one in misattributed(text, figures, texts)]
    if claims_proof(text):
        problems.append(f"{where}: nothing is proven or certain")
    if claims_cause(text) and not all(one.verdict == SUPPORTED for one in scope):
        problems.append(f"{where}: a cause is claimed that the verdict does not support")
    if is_clinical(text):
        problems.append(f"{where}: clinical advice or a use beyond the label")
    if find_identifiers(text):
        problems.append(f"{where}: a person is named")
    if instructs(text):
        problems.append(f"{where}: it tells the reader how to behave")
    return problems + _zero_problems(text, scope, texts, where)


def _ids(findings: Sequence[Finding]) -> list[str]:
    return [one.id for finding in findings for one in finding.evidence]


def _unknown_ranges(text: str, scope: Sequence[Finding], texts: Sequence[str]) -> list[str]:
    """Ranges whose ends are no interval's: of two figures, or in the other order."""
    figures = intervals_of(scope)
    stated = [pair for one in texts for pair in stated_ranges(one)]
    unknown = []
    for low, high in stated_ranges(text):
        written = f"{low.text} to {high.text}"
        known = any(tells(written, figure) for figure in figures) or any(
            _same(low, one) and _same(high, other) for one, other in stated
        )
        if not known:
            unknown.append(written[:60])
    return unknown


def _same(one: StatedNumber, other: StatedNumber) -> bool:
    return is_rounding(one, other.value)


def _zero_problems(text: str, scope: Sequence[Finding], texts: Sequence[str], where: str) -> list[str]:
    """An interval that is said to include zero must, and the other way round."""
    figures = intervals_of(scope)
    if not figures:
        return []
    problems = []
    for one in sentences(text):
        if _ABOUT_INTERVAL.search(one) is None or _COVERS.search(one) is None:
            continue
        said = _DENIES.search(one) is None
        if all(_covers_zero(figure) != said for figure in _meant(one, figures)):
            problems.append(f"{where}: what is said of the interval and zero does not hold")
    return problems


def _meant(text: str, figures: Sequence[Figure]) -> list[Figure]:
    """The figures whose interval the sentence states; all where it states none."""
    return [one for one in figures if tells(text, one)] or list(figures)


def _covers_zero(figure: Figure) -> bool:
    return figure.lower is not None and figure.upper is not None and figure.lower <= 0 <= figure.upper


def _insight_problems(reply: ExplanationReply, findings: Sequence[Finding]) -> list[str]:
    problems = [
        f"there is no kind of insight '{one.category[:30]}'" for one in reply.insights if one.category not in INSIGHTS
    ]
    recommends = any(one.of(StatementKind.RECOMMENDATION) for one in findings)
    if not recommends and any(one.category == "recommendation" for one in reply.insights):
        problems.append("an insight recommends what no agent recommended")
    return problems


def _quote_problems(reply: ExplanationReply, request: ExplainRequest) -> list[str]:
    passages = {one.chunk_id.removeprefix(FROM_DOCUMENTS): _squeezed(one.text) for one in request.passages}
    problems = [] if len(reply.quotes) <= MOST_QUOTES else [f"there are more than {MOST_QUOTES} quotes"]
    for place, one in enumerate(reply.quotes, start=1):
        text = _squeezed(one.text)
        there = passages.get(one.chunk_id.removeprefix(FROM_DOCUMENTS), "")
        if not SHORTEST_QUOTE <= len(text) <= LONGEST_QUOTE or text not in there:
            problems.append(f"quote {place} does not stand in its passage, or is too short or long")
        elif instructs(text) or is_clinical(text) or find_identifiers(text):
            problems.append(f"quote {place} may not be repeated")
    return problems


def _squeezed(text: str) -> str:
    return " ".join(text.split())
