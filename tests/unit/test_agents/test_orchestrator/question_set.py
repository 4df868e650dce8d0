"""Which questions are asked in the tests, and does a classification say of one what it should?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from src.agents.orchestrator.clarifying import turn_of
from src.agents.orchestrator.classification import Known
from src.agents.orchestrator.screening import classified
from src.agents.orchestrator.state import Classification, Part, Pattern, Turn
from src.domain.guards import load_guards
from src.domain.vocabulary import load_vocabulary

QUESTIONS = Path(__file__).resolve().parents[3] / "questions"
TODAY = date(2026, 1, 15)
ALWAYS = ("brand", "region", "specialty", "period")


@dataclass(frozen=True, eq=False)
class Case:
    group: str
    expected: Mapping[str, Any]

    @property
    def question(self) -> str:
        return str(self.expected["ask"])

    @property
    def before(self) -> list[str]:
        return [str(one) for one in self.expected.get("before", [])]


def tuned() -> Iterator[Case]:
    for file in sorted(QUESTIONS.glob("*.yaml")):
        for expected in yaml.safe_load(file.read_text("utf-8")):
            yield Case(file.stem, expected)


def held_back() -> Iterator[Case]:
    for group, cases in yaml.safe_load((QUESTIONS / "held_back" / "questions.yaml").read_text("utf-8")).items():
        for expected in cases:
            yield Case(group, expected)


def read(case: Case) -> Classification:
    """The reading of a question at the end of its session, without a model."""
    known, guards = Known(load_vocabulary(), TODAY), load_guards()
    turns: list[Turn] = []
    for at, question in enumerate(case.before):
        found = classified(question, turns, known, guards)
        turns.append(turn_of(found, str(at), question, turns=turns))
    return classified(case.question, turns, known, guards)


def misses(case: Case, found: Classification) -> list[str]:
    """What is not as expected, one line each."""
    expected = case.expected
    if "rule" in expected:
        return _differences({"pattern": Pattern.DECLINED, "rule": expected["rule"]}, found)
    if "asks" in expected:
        missed = _differences({"pattern": Pattern.CLARIFICATION_NEEDED, "rule": expected["asks"]}, found)
        lacking = [name for name in expected.get("offers", ()) if name not in found.options]
        return [*missed, *(f"does not offer {name}" for name in lacking)]
    missed = _differences({key: expected[key] for key in ("pattern", "intent")}, found)
    if expected.get("expertise") and found.expertise != expected["expertise"]:
        missed.append(f"expertise {found.expertise}")
    agents = list(dict.fromkeys(part.agent for part in found.parts))
    if sorted(agents) != sorted(expected["agents"]):
        missed.append(f"agents {agents}")
    return missed + (_slot_misses(expected["slots"], found) if "slots" in expected else [])


def _differences(expected: Mapping[str, Any], found: Classification) -> list[str]:
    wrong = [key for key, value in expected.items() if str(getattr(found, key)) != str(value)]
    return [f"{key} {getattr(found, key)} ({found.declined or found.question_back})" for key in wrong]


def _slot_misses(slots: Mapping[str, Any], found: Classification) -> list[str]:
    parts = [part for part in found.parts if part.understood]
    about = [part for part in parts if part.understood and part.understood.treatment] or parts
    if "treatment" in slots:
        about = [part for part in about if part.intent == "causal_effect"]
    names = dict.fromkeys([*slots, *(ALWAYS if len(found.parts) == 1 else ())])
    return [
        f"{name} {said}, not {slots.get(name)}"
        for name in names
        if (said := _said(about, name)) != _wanted(slots.get(name))
    ]


def _said(parts: list[Part], name: str) -> list[str]:
    values = [getattr(part.understood, name) for part in parts]
    if name == "measures":
        return sorted(column for value in values for column in value)
    if name == "period":
        values = [_window(value) for value in values]
    return sorted({str(value) for value in values if value is not None})


def _window(period: Any) -> str | None:
    if period is None or period.since_launch:
        return None if period is None else str(period)
    return f"{period.start}/{period.end}"


def _wanted(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return sorted(map(str, values))
