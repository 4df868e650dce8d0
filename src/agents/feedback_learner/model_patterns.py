"""Which patterns does a language model see that the rules do not? It reads answers as data and names kinds and ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from src.agents.feedback_learner.attribution import component_of
from src.agents.feedback_learner.patterns import FEWEST, severity_of
from src.agents.feedback_learner.trace_scores import rating_of
from src.domain.guards import load_guards
from src.domain.identifiers import without_identifiers
from src.domain.improvement import DetectedPattern, LearningItem, PatternKind
from src.errors import ServiceOutage
from src.llm.client import LLMClient, Message
from src.resilience.outcomes import Unavailable

MOST_ANSWERS = 40
LONGEST_TEXT = 700
LONGEST_DESCRIPTION = 200
MOST_TOKENS = 1_500


class SeenPattern(BaseModel):
    """Something that went wrong in several answers, by their ids of the document."""

    model_config = ConfigDict(extra="forbid")

    component: str
    kind: PatternKind
    description: str
    evidence: list[str]


class PatternReply(BaseModel):
    """What a language model is asked for."""

    model_config = ConfigDict(extra="forbid")

    patterns: list[SeenPattern]


async def seen_by_model(client: LLMClient, system: str, items: Sequence[LearningItem]) -> tuple[DetectedPattern, ...]:
    """What the model saw, held against the batch: unknown components and ids are left out.

    Raises LLMError, ServiceRefused and ServiceOutage.
    """
    shown = {f"a{number}": item for number, item in enumerate(_worst_first(items)[:MOST_ANSWERS], start=1)}
    document = json.dumps({"answers": [_answer(name, item) for name, item in shown.items()]}, ensure_ascii=False)
    reply = await client.complete(
        [Message("user", document)], purpose="reasoning", schema=PatternReply, system=system, max_tokens=MOST_TOKENS
    )
    if isinstance(reply, Unavailable):
        raise ServiceOutage(reply.reason)
    found = [_believed(one, shown, items) for one in reply.parsed_as(PatternReply).patterns]
    return tuple(one for one in found if one is not None)


def together(rules: Sequence[DetectedPattern], model: Sequence[DetectedPattern]) -> tuple[DetectedPattern, ...]:
    """Those of the rules, and of the model those of another component or kind: what was counted stands."""
    known = {(one.component, one.kind): one for one in rules}
    for one in model:
        known.setdefault((one.component, one.kind), one)
    return tuple(known.values())


def _answer(name: str, item: LearningItem) -> dict[str, Any]:
    """What a model sees of an answer; persons are taken out of every text."""
    return {
        "id": name,
        "component": component_of(item),
        "question": _clean(item.query),
        "answer": _clean(item.answer),
        "corrections": [_clean(one) for one in item.corrections],
        "rating": rating_of(item),
        "weak": list(item.weaknesses),
        "scores": {key: round(value, 2) for key, value in {**item.ragas, **item.rubric}.items() if value is not None},
        "declined": item.declined is not None,
        "latency_ms": item.latency_ms,
    }


def _believed(
    one: SeenPattern, shown: Mapping[str, LearningItem], items: Sequence[LearningItem]
) -> DetectedPattern | None:
    """A pattern of answers that there are, all of the component it names; None for any other."""
    evidence = sorted(
        {shown[name].interaction_id for name in one.evidence if name in shown and _is_of(shown[name], one.component)}
    )
    if len(evidence) < FEWEST:
        return None
    among = sum(_is_of(item, one.component) for item in items)
    return DetectedPattern(
        component=one.component,
        kind=one.kind,
        count=len(evidence),
        severity=severity_of(len(evidence), among),
        evidence_ids=tuple(evidence),
        description=_told(one.description),
    )


def _is_of(item: LearningItem, component: str) -> bool:
    return component_of(item) == component


def _told(description: str) -> str:
    """A model's description, empty where it carries what no text of ours may: it came from answers it read."""
    plain = _clean(" ".join(description.split()))[:LONGEST_DESCRIPTION]
    return "" if load_guards().screen(plain) is not None else plain


def _clean(text: str) -> str:
    return without_identifiers(text)[:LONGEST_TEXT]


def _worst_first(items: Sequence[LearningItem]) -> list[LearningItem]:
    return sorted(items, key=lambda item: (item.rubric_weighted or 0.0, item.interaction_id))
