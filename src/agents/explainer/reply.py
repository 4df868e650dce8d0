"""What is a language model asked for, and what does it see? Facts as JSON; passages as quoted material."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from src.agents.explainer.material import harmless
from src.agents.explainer.phrasing import confidence_word
from src.agents.explainer.state import ExplainRequest, Material
from src.domain.findings import Figure, Finding
from src.domain.identifiers import without_identifiers

MOST_PASSAGES = 5
LONGEST_PASSAGE = 1_200


class Point(BaseModel):
    """A sentence or two of the text, and the ids of the evidence they rest on."""

    model_config = ConfigDict(extra="forbid")

    text: str
    evidence: list[str]


class NamedInsight(BaseModel):
    """One thing worth knowing: finding, recommendation, warning or opportunity."""

    model_config = ConfigDict(extra="forbid")

    category: str
    text: str
    evidence: list[str]


class PassageQuote(BaseModel):
    """A sentence of a passage, copied exactly."""

    model_config = ConfigDict(extra="forbid")

    chunk_id: str
    text: str


class ExplanationReply(BaseModel):
    """What a language model is asked for; insights in order of importance."""

    model_config = ConfigDict(extra="forbid")

    summary: str
    points: list[Point]
    insights: list[NamedInsight]
    quotes: list[PassageQuote]


def document_of(request: ExplainRequest, material: Material) -> dict[str, Any]:
    """All that a model sees: the question, the findings with their evidence, who is absent, and passages to quote."""
    return {
        "question": without_identifiers(request.query),
        "reader": request.user_expertise,
        "format": str(request.output_format),
        "confidence": confidence_word(material.confidence),
        "findings": [_finding(one) for one in material.findings],
        "not_answered": list(material.absent),
        "passages": [
            {
                "chunk_id": one.chunk_id,
                "title": harmless(one.title),
                "text": harmless(one.text)[:LONGEST_PASSAGE],
            }
            for one in request.passages[:MOST_PASSAGES]
        ],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "agent": one.agent,
        "verdict": one.verdict or "none",
        "headline": one.headline,
        "statements": [
            {"kind": str(each.kind), "text": each.text, "evidence": list(each.evidence)} for each in one.statements
        ],
        "figures": [_figure(each) for each in one.figures],
        "evidence": [{"id": each.id, "text": harmless(each.text)} for each in one.evidence],
    }


def _figure(one: Figure) -> dict[str, Any]:
    ends = {} if one.lower is None or one.upper is None else {"interval": [_rounded(one.lower), _rounded(one.upper)]}
    return {"name": one.name, "value": _rounded(one.value), "unit": one.unit, "evidence": one.evidence, **ends}


def _rounded(value: float) -> float | str:
    """To four digits; what JSON has no number for, in words."""
    shown = float(f"{value:.4g}")
    return shown if abs(shown) < float("inf") else "unlimited"
