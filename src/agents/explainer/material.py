"""What is there to tell, in which order, and what must not be forgotten?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from src.agents.explainer.state import ExplainRequest, Material
from src.agents.explainer.wording import SUPPORTED, is_clinical, toned_down
from src.domain.findings import Figure, Finding, FindingStatus, Statement, StatementKind, texts_of
from src.domain.identifiers import without_identifiers
from src.errors import DataUnavailable
from src.rag.answering.quotable import instructs

FROM_DOCUMENTS = "chunk:"
"""How the ids of evidence begin that are words of the corpus, and no computed facts."""

_NEEDS_EVIDENCE = (StatementKind.FINDING, StatementKind.RECOMMENDATION, StatementKind.OPPORTUNITY)
_VERDICTS = (SUPPORTED, "no detectable effect", "association only", "", "underpowered", "not identified")
_GRAVE = re.compile(
    r"(?i)\b(?:hidden|confound\w*|explain\w* .* away|too few|small|overlap|selection|missing|bias\w*)\b"
)
_ABSENT = {
    FindingStatus.DECLINED: "declined to answer",
    FindingStatus.UNAVAILABLE: "is not available",
    FindingStatus.TIMEOUT: "did not answer in time",
    FindingStatus.FAILED: "failed",
}
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")


def material_of(request: ExplainRequest) -> Material:
    """Order the findings and keep what can be told. Raises DataUnavailable, saying why, where nothing is left."""
    left_out: list[str] = []
    told = [kept for one in request.results if one.answered and (kept := _traceable(one, left_out)) is not None]
    silent = [one for one in request.results if not one.answered]
    untraced = len(request.results) - len(told) - len(silent)
    absent = [*map(_absence, silent), *(line for one in told for line in _partly(one))]
    if not told:
        raise DataUnavailable(_nothing(absent, left_out))
    told.sort(key=lambda one: _rank(one, request.focus))
    missing = len(silent) + untraced
    return Material(
        findings=tuple(told),
        must_tell=_must_tell(told),
        absent=tuple(absent),
        confidence=_lowered(told[0].confidence, len(told), missing),
        missing=missing,
        left_out=tuple(left_out),
    )


def founding_texts(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The texts that vouch for a number: what agents state and what they computed, not the words of the corpus."""
    own = [
        replace(one, evidence=tuple(each for each in one.evidence if not each.id.startswith(FROM_DOCUMENTS)))
        for one in findings
    ]
    return tuple(kept for text in texts_of(own) if (kept := without_instructions(text)))


def without_instructions(text: str) -> str:
    """A text without the sentences that tell their reader how to answer or behave."""
    if not instructs(text):
        return text
    return " ".join(one for one in _SENTENCES.split(text) if one and not instructs(one))


def agent_words(agent: str) -> str:
    """An agent's name in words."""
    return agent.replace("_", " ")


def _traceable(finding: Finding, left_out: list[str]) -> Finding | None:
    """The finding without what rests on no evidence, advises a treatment or names a person; None where none is left."""
    ids = {one.id for one in finding.evidence}
    name = agent_words(finding.agent)
    if not ids or not finding.headline.strip():
        left_out.append(f"the answer of {name} was left out: it cites no evidence")
        return None
    if is_clinical(finding.headline):
        left_out.append(f"the answer of {name} was left out: it gives clinical advice")
        return None
    kept = [one for raw in finding.statements if (one := _statement(raw, finding, ids, left_out)) is not None]
    figures = tuple(replace(one, name=without_identifiers(one.name)) for one in finding.figures if one.evidence in ids)
    left_out += [f"a figure of {name} was left out: it cites no evidence" for _ in finding.figures[len(figures) :]]
    return replace(finding, headline=_clean(finding.headline, finding), statements=tuple(kept), figures=figures)


def _statement(one: Statement, finding: Finding, ids: set[str], left_out: list[str]) -> Statement | None:
    cited = tuple(each for each in one.evidence if each in ids)
    name = agent_words(finding.agent)
    if one.kind in _NEEDS_EVIDENCE and not cited:
        left_out.append(f"a {one.kind} of {name} was left out: it cites no evidence")
        return None
    if is_clinical(one.text) and one.kind in _NEEDS_EVIDENCE:
        left_out.append(f"a {one.kind} of {name} was left out: it gives clinical advice")
        return None
    text = _clean(one.text, finding) if one.kind in _NEEDS_EVIDENCE else without_identifiers(one.text.strip())
    return replace(one, text=text, evidence=cited) if text else None


def harmless(text: str) -> str:
    """A text without instructions and ids of persons."""
    return without_identifiers(without_instructions(text).strip())


def _clean(text: str, finding: Finding) -> str:
    plain = harmless(text)
    return toned_down(plain, supported=finding.verdict == SUPPORTED)


def _rank(finding: Finding, focus: Sequence[str]) -> tuple[bool, int, bool, float]:
    """What is asked for first, then what is settled, then what is complete, then what is surer."""
    words = f"{finding.headline} {finding.question}".lower()
    focused = any(word.lower() in words for word in focus)
    verdict = _VERDICTS.index(finding.verdict) if finding.verdict in _VERDICTS else _VERDICTS.index("")
    return not focused, verdict, finding.status is not FindingStatus.COMPLETED, -(finding.confidence or 0.0)


def _must_tell(findings: Sequence[Finding]) -> tuple[Statement, ...]:
    """Warnings and caveats once each: first what could overturn an answer, warnings before caveats."""
    found: dict[str, Statement] = {}
    for finding in findings:
        for one in finding.of(StatementKind.WARNING, StatementKind.CAVEAT):
            found.setdefault(one.text, one)
    return tuple(
        sorted(found.values(), key=lambda one: (not _GRAVE.search(one.text), one.kind is StatementKind.CAVEAT))
    )


def _absence(finding: Finding) -> str:
    reason = harmless(finding.reason)
    why = f": {reason}" if reason else ""
    return f"{agent_words(finding.agent).capitalize()} {_ABSENT[finding.status]}{why}".rstrip(".") + "."


def _partly(finding: Finding) -> list[str]:
    if finding.status is not FindingStatus.PARTIAL:
        return []
    told = (harmless(one).rstrip(".") for one in (finding.reason, *finding.degraded))
    reasons = "; ".join(one for one in told if one)
    return [f"{agent_words(finding.agent).capitalize()} answered in part{f': {reasons}' if reasons else ''}."]


def _nothing(absent: Sequence[str], left_out: Sequence[str]) -> str:
    reasons = [*absent, *(f"{one}." for one in left_out)]
    return f"there is nothing to explain: {' '.join(reasons) if reasons else 'no agent gave a finding.'}".rstrip(".")


def _lowered(confidence: float | None, answered: int, missing: int) -> float | None:
    return None if confidence is None else confidence * answered / (answered + missing)


def intervals_of(findings: Iterable[Finding]) -> list[Figure]:
    """The figures that have an interval, in order."""
    return [one for finding in findings for one in finding.figures if None not in (one.lower, one.upper)]
