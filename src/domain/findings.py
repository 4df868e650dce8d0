"""What did a specialist find out, in words and figures that can be traced to their evidence?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from src.domain.figures import Known


class FindingStatus(StrEnum):
    """How a specialist's work ended. Only ``completed`` and ``partial`` carry findings."""

    COMPLETED = "completed"
    PARTIAL = "partial"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    FAILED = "failed"


class StatementKind(StrEnum):
    """What a sentence is for a reader."""

    FINDING = "finding"
    RECOMMENDATION = "recommendation"
    WARNING = "warning"
    OPPORTUNITY = "opportunity"
    CAVEAT = "caveat"
    ASSUMPTION = "assumption"
    WOULD_CHANGE = "would_change"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something a sentence rests on.

    ``id`` names its kind and place: ``run:<run_id>``, ``chunk:<chunk_id>``, ``path:<path_id>``,
    ``step:<composition_id>/<ordinal>``, ``spans:<window>``. ``text`` is what stands there.
    """

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was computed or read: what it measures, its unit, and the id of its evidence.

    ``lower`` and ``upper`` are the ends of its 95 % interval where it has one.
    """

    name: str
    value: float
    unit: str
    evidence: str
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence and the ids of the evidence it rests on; never none for a finding or a recommendation."""

    kind: StatementKind
    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one specialist answers to one question.

    ``headline`` is its answer in one sentence; ``confidence`` is in 0–1, None where nothing was found. ``reason`` says
    in one line why there is no answer, and is empty for one. ``prompt_versions`` are those its model calls used.
    ``verdict`` is that of a causal analysis in its own words ("causal effect supported"), empty for anything else.
    """

    agent: str
    question: str
    status: FindingStatus
    headline: str = ""
    statements: tuple[Statement, ...] = ()
    figures: tuple[Figure, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    confidence: float | None = None
    reason: str = ""
    follow_ups: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    prompt_versions: tuple[tuple[str, int], ...] = ()
    run_id: str | None = None
    verdict: str = ""

    @property
    def answered(self) -> bool:
        """Whether there is something to tell."""
        return self.status in (FindingStatus.COMPLETED, FindingStatus.PARTIAL)

    def of(self, *kinds: StatementKind) -> tuple[Statement, ...]:
        """The sentences of those kinds, in order."""
        return tuple(one for one in self.statements if one.kind in kinds)


@dataclass(frozen=True, slots=True)
class Insight:
    """One thing worth knowing; ``category`` finding, recommendation, warning or opportunity; ``priority`` 1 first."""

    category: str
    text: str
    confidence: float | None
    priority: int
    evidence_refs: tuple[str, ...]


def known_of(findings: Iterable[Finding]) -> list[Known]:
    """Every figure with the ends of its interval, each with its unit: what a text about the findings may state."""
    return [
        Known(value, figure.unit)
        for finding in findings
        for figure in finding.figures
        for value in (figure.value, figure.lower, figure.upper)
        if value is not None
    ]


def texts_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Headlines, sentences, names of figures and evidence: the words of the findings, whose numbers are known too."""
    found: list[str] = []
    for finding in findings:
        found += [finding.headline, *(one.text for one in finding.statements), *(one.text for one in finding.evidence)]
        found += [one.name for one in finding.figures]
    return tuple(text for text in found if text)
