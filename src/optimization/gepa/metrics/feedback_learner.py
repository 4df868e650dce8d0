"""Does a phase of the feedback learner find the right patterns, recommend what they ask for, and keep what it learnt?

Gold: ``phase`` and what is right for it: ``patterns`` ("component: kind"), ``recommendations`` (components or points
to be addressed), ``lessons`` to be kept. Prediction: the outputs that the phase declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from src.domain.improvement import PatternKind
from src.optimization.gepa.metrics.scored import Part, Parts, list_of, overlap, share_mentioned, text_of, words

OUTPUT_OF: Mapping[str, str] = {
    "pattern": "patterns",
    "recommendation": "recommendations",
    "update": "updates",
    "summary": "summary",
}
"""The output that the module of each phase declares."""
KINDS = frozenset(get_args(PatternKind))
FIELDS_OF_A_LESSON = ("title", "description", "component")


def feedback_learner_parts(gold: Any, pred: Any) -> Parts:
    """The parts that the phase's outputs can be judged by; without a phase all three."""
    phase = gold.get("phase", None)
    parts: dict[str, Part | None] = {}
    if phase in (None, "pattern"):
        parts["pattern"] = overlap(_patterns(pred), _patterns(gold), "patterns")
    if phase in (None, "recommendation", "summary"):
        output = "summary" if phase == "summary" else "recommendations"
        parts["recommendation"] = _recommended(gold, text_of(pred, output), output)
    if phase in (None, "update"):
        parts["storage"] = _kept(gold, pred)
    return parts


def _patterns(source: Any) -> list[str]:
    """Patterns as "component: kind" in small letters."""
    found = []
    for one in list_of(source, "patterns"):
        text = f"{one.get('component', '')}: {one.get('kind', '')}" if isinstance(one, Mapping) else str(one)
        component, _, kind = text.lower().partition(":")
        if component.strip():
            found.append(f"{component.strip()}: {kind.strip().split(' ')[0].strip(',.;')}")
    return found


def _recommended(gold: Any, said: str, output: str) -> Part | None:
    if not said.strip():
        return Part(0.0, f"there is no {output}")
    return _addressed(said, [str(one) for one in list_of(gold, "recommendations")], output)


def _addressed(said: str, wanted: list[str], output: str) -> Part | None:
    """The share of ``wanted`` that is addressed, less where other kinds are too: a list of all of them finds none."""
    found = share_mentioned(said, wanted, output)
    if found is None:
        return None
    others = sorted((words(said) - words(" ".join(wanted))) & KINDS)
    asked = len(words(" ".join(wanted)) & KINDS)
    if not others or not asked:
        return found
    wrong = f"{output} about {', '.join(others)}, which is no pattern here"
    return Part(found.score * asked / (asked + len(others)), "; ".join(filter(None, [found.wrong, wrong])))


def _kept(gold: Any, pred: Any) -> Part | None:
    lessons = [str(one) for one in list_of(gold, "lessons")]
    updates = list_of(pred, "updates")
    if not updates:
        return Part(0.0, "nothing is kept of what was learnt")
    complete = [
        one for one in updates if isinstance(one, Mapping) and all(one.get(name) for name in FIELDS_OF_A_LESSON)
    ]
    learnt = _addressed(text_of(pred, "updates"), lessons, "updates")
    if learnt is None:
        return None
    form = len(complete) / len(updates)
    wrong = [] if form == 1 else [f"{len(updates) - len(complete)} entries lack {', '.join(FIELDS_OF_A_LESSON)}"]
    # However well it is put down: what is not learnt is not kept.
    return Part((0.5 + 0.5 * form) * learnt.score, "; ".join([*wrong, *([learnt.wrong] if learnt.wrong else [])]))
