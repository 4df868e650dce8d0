"""Which questions may share a plan, and how is a plan kept?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from src.agents.tool_composer.names import Names
from src.agents.tool_composer.slots import unsettled
from src.agents.tool_composer.state import ComposeContext, Plan, PlannedStep, SubQuestion
from src.domain.reading import normalise
from src.errors import ContractViolation

_AMOUNT = re.compile(
    r"(?:(?<![\w)])[-+−–])?\s?[$€£]?\d[\d.,]*(?:\s?(?:%|‰|[$€£]|percent\b|per cent\b|pct\b|k\b|m\b|million\b))?",
    re.IGNORECASE,
)
_DATED = re.compile(r"\b(?:19|20)\d\d\b|\blast \d|\bthis (?:year|quarter|month)\b")


def plan_key(
    question: str, names: Names, context: ComposeContext, declared: Mapping[str, Any], *, by_model: bool
) -> str | None:
    """SHA-256 of what a plan depends on: the question without its months but with every amount as it is written
    (sign, currency, percent), the context's names, the declaration.

    None where a plan cannot be used again: several periods are compared. Where a model takes questions apart its
    wording of the parts is kept, so that months stay in the key.
    """
    if len(names.periods) > 1:
        return None
    words = normalise(question) if by_model and names.periods else names.bare
    parts = {
        "question": words,
        "amounts": _amounts(question, words),
        "lag": names.lag,
        "by": "model" if by_model else "rules",
        "datasets": [context.dataset, context.metrics, context.predictions],
        "brand": context.brand,
        "region": context.region,
        "declared": _digest(declared),
    }
    return _digest(parts)


def _amounts(question: str, words: str) -> list[str]:
    """Numbers as written, without those of the months that ``words`` lack: "20" and "20%" are different amounts."""
    kept = set(words.split())
    found = (hit[0].lower() for hit in _AMOUNT.finditer(question))
    return ["".join(one.split()).rstrip(".,") for one in found if set(normalise(one).split()) <= kept]


def document_of(sub_questions: tuple[SubQuestion, ...], plan: Plan) -> dict[str, Any] | None:
    """A plan as JSON, without the rows it was about; None for one whose arguments name dates."""
    steps = [
        {
            "ordinal": step.ordinal,
            "tool": step.tool,
            "arguments": dict(step.arguments),
            "sub_question": step.sub_question,
            "depends_on": list(step.depends_on),
        }
        for step in (unsettled(one, sub_questions[one.sub_question]) for one in plan.steps)
    ]
    if _DATED.search(json.dumps([step["arguments"] for step in steps])):
        return None
    parts = [{"text": one.text, "intent": one.intent, "depends_on": list(one.depends_on)} for one in sub_questions]
    return {"sub_questions": parts, "steps": steps, "assumptions": list(plan.assumptions)}


def plan_from(document: Mapping[str, Any], plan_id: str) -> Plan:
    """The plan of a kept document. Raises ContractViolation for one of another form."""
    try:
        steps = tuple(
            PlannedStep(
                int(step["ordinal"]),
                str(step["tool"]),
                dict(step["arguments"]),
                int(step["sub_question"]),
                tuple(int(needed) for needed in step["depends_on"]),
            )
            for step in document["steps"]
        )
        return Plan(steps, "cache", plan_id, tuple(str(one) for one in document["assumptions"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ContractViolation(f"a kept plan cannot be read ({type(error).__name__})") from error


def parts_from(document: Mapping[str, Any]) -> tuple[SubQuestion, ...]:
    """The parts a kept plan answers, of any rows. Raises ContractViolation for a document of another form."""
    try:
        return tuple(
            SubQuestion(str(one["text"]), str(one["intent"]), tuple(int(needed) for needed in one["depends_on"]))
            for one in document["sub_questions"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ContractViolation(f"a kept plan cannot be read ({type(error).__name__})") from error


def with_scopes(parts: tuple[SubQuestion, ...], scoped: tuple[SubQuestion, ...]) -> tuple[SubQuestion, ...]:
    """``parts`` about the rows of ``scoped``, one by one."""
    return tuple(replace(part, scope=one.scope) for part, one in zip(parts, scoped, strict=True))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
