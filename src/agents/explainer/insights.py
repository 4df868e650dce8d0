"""What is worth knowing, in order, and how could it be seen at a glance?"""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.explainer.phrasing import ended, sentence
from src.agents.explainer.state import Material, Visual
from src.domain.findings import Figure, Finding, Insight, StatementKind

MOST_INSIGHTS = 12
MOST_FOLLOW_UPS = 5
_CATEGORIES = (
    StatementKind.WARNING,
    StatementKind.RECOMMENDATION,
    StatementKind.OPPORTUNITY,
    StatementKind.FINDING,
)


def insights_of(material: Material) -> tuple[Insight, ...]:
    """The answers first, then warnings, recommendations, opportunities and what else was found; each with evidence."""
    found: dict[str, tuple[str, float | None, tuple[str, ...]]] = {}
    for one in material.findings:
        found.setdefault(sentence(one.headline), (StatementKind.FINDING, _confidence(one, material), _rests_on(one)))
    for kind in _CATEGORIES:
        for one in material.findings:
            for statement in one.of(kind):
                if statement.evidence:
                    found.setdefault(ended(statement.text), (kind, _confidence(one, material), statement.evidence))
    return numbered([Insight(kind, text, sure, 0, ids) for text, (kind, sure, ids) in found.items()])


def numbered(insights: Sequence[Insight]) -> tuple[Insight, ...]:
    """The insights with their priority by place, 1 first."""
    return tuple(
        Insight(str(one.category), one.text, one.confidence, place, one.evidence_refs)
        for place, one in enumerate(insights[:MOST_INSIGHTS], start=1)
    )


def follow_ups_of(material: Material) -> tuple[str, ...]:
    """The questions that the agents themselves offer next, once each."""
    offered = dict.fromkeys(question for one in material.findings for question in one.follow_ups)
    return tuple(offered)[:MOST_FOLLOW_UPS]


def visuals_of(findings: Sequence[Finding]) -> tuple[Visual, ...]:
    """Intervals side by side where figures of one finding share a unit; values without intervals as bars."""
    found = []
    for finding in findings:
        for unit in dict.fromkeys(one.unit for one in finding.figures):
            alike = [one for one in finding.figures if one.unit == unit]
            with_ends = [one for one in alike if None not in (one.lower, one.upper)]
            plain = [one for one in alike if one not in with_ends]
            if with_ends:
                found.append(_visual("interval_plot", with_ends, "with 95 % intervals"))
            if len(plain) > 1:
                found.append(_visual("bar_chart", plain, "compared"))
    return tuple(found)


def _visual(kind: str, figures: Sequence[Figure], how: str) -> Visual:
    what = figures[0].name.split(",")[0]
    unit = f" ({figures[0].unit})" if figures[0].unit else ""
    return Visual(kind, f"{sentence(what).rstrip('.')}{unit}, {how}", tuple(one.name for one in figures))


def _confidence(finding: Finding, material: Material) -> float | None:
    """A finding's own confidence, lowered by the share of agents that did not answer."""
    if finding.confidence is None:
        return None
    answered = len(material.findings)
    return finding.confidence * answered / (answered + material.missing)


def _rests_on(finding: Finding) -> tuple[str, ...]:
    """The evidence of the headline: that of the figures, else of the first sentence, else all."""
    cited = dict.fromkeys(one.evidence for one in finding.figures)
    first = next((one.evidence for one in finding.of(StatementKind.FINDING)), ())
    return tuple(cited) or first or tuple(one.id for one in finding.evidence)
