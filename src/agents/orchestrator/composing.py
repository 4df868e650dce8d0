"""Does the written answer hold, and how sure is it with what is missing?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from src.agents.orchestrator.services import Services
from src.agents.orchestrator.state import ContextChunk, QueryRequest, Written
from src.agents.orchestrator.wording import citations, headlines, insights, no_answer, recommendations, told_plainly
from src.domain.figures import unfounded_numbers
from src.domain.findings import Finding, known_of, texts_of
from src.errors import E2IError

_ABOUT_ITSELF = re.compile(r"\b\d+ further (?:caveats?|findings?|assumptions?|recommendations?)\b")
"""How many things an answer leaves to its longer form is said of the answer, not of the data."""


async def composed(
    request: QueryRequest,
    findings: Sequence[Finding],
    contexts: Sequence[ContextChunk],
    trace_id: str,
    services: Services,
) -> Written:
    """The writer's answer; where it cannot write, or a number of it is not in the findings, their own sentences."""
    if not any(finding.answered for finding in findings):
        return told_plainly(no_answer(findings))
    try:
        written = await services.writer.write(request, findings, contexts, trace_id)
    except E2IError as error:
        return _in_their_words(findings, f"the answer could not be written ({type(error).__name__}: {error})")
    if unknown := _unknown_numbers(written.answer, findings, contexts):
        return _in_their_words(findings, f"the written answer had a number that no finding has: {unknown[0]}")
    if not written.answer.strip():
        return _in_their_words(findings, "the written answer was empty")
    return replace(written, confidence=confidence_of(findings, written.confidence))


def confidence_of(findings: Sequence[Finding], written: float | None = None) -> float | None:
    """That of the least certain answer, lowered by the share of parts without one, and never above the writer's."""
    answered = [finding for finding in findings if finding.answered]
    told = [finding.confidence for finding in answered if finding.confidence is not None]
    if not answered or (not told and written is None):
        return None
    own = min([*told, *([written] if written is not None else [])])
    lowered = min(told, default=own) * len(answered) / len(findings)
    return min(own, lowered)


def _unknown_numbers(answer: str, findings: Sequence[Finding], contexts: Sequence[ContextChunk]) -> tuple[str, ...]:
    said = [
        *texts_of(findings),
        *(text for finding in findings for text in (finding.reason, *finding.degraded)),
        *(chunk.text for chunk in contexts),
    ]
    return unfounded_numbers(_ABOUT_ITSELF.sub("", answer), known_of(findings), said)


def _in_their_words(findings: Sequence[Finding], why: str) -> Written:
    return Written(
        answer=headlines(findings),
        source="template",
        confidence=confidence_of(findings),
        citations=citations(findings),
        recommendations=recommendations(findings),
        follow_ups=tuple(dict.fromkeys(one for finding in findings for one in finding.follow_ups)),
        insights=insights(findings),
        degraded=(f"answer: in the findings' own words, {why}",),
    )
