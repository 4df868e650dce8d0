"""Does a phase of the feedback learner find the right patterns, recommend what they ask for, and keep what it learnt?

Gold: ``phase`` and what is right for it: ``patterns`` ("component: kind"), ``recommendations`` (components or points
to be addressed), ``lessons`` to be kept. Prediction: the outputs that the phase declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, list_of, overlap, share_mentioned, text_of

OUTPUTS_OF: Mapping[str, tuple[str, ...]] = {
    "pattern": ("patterns",),
    "recommendation": ("recommendations",),
    "update": ("updates",),
    "summary": ("summary",),
}
"""The outputs that the module of each phase declares."""
FIELDS_OF_A_LESSON = ("title", "description", "component")


def feedback_learner_parts(gold: Any, pred: Any) -> Parts:
    """The parts that the phase's outputs can be judged by; without a phase all three."""
    phase = gold.get("phase", None)
    parts: dict[str, Part] = {}
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


def _recommended(gold: Any, said: str, output: str) -> Part:
    if not said.strip():
        return Part(0.0, f"there is no {output}")
    return share_mentioned(said, [str(one) for one in list_of(gold, "recommendations")], output)


def _kept(gold: Any, pred: Any) -> Part:
    updates = list_of(pred, "updates")
    if not updates:
        return Part(0.0, "nothing is kept of what was learnt")
    complete = [
        one for one in updates if isinstance(one, Mapping) and all(one.get(name) for name in FIELDS_OF_A_LESSON)
    ]
    learnt = share_mentioned(text_of(pred, "updates"), [str(one) for one in list_of(gold, "lessons")], "updates")
    form = len(complete) / len(updates)
    wrong = [] if form == 1 else [f"{len(updates) - len(complete)} entries lack {', '.join(FIELDS_OF_A_LESSON)}"]
    return Part(0.5 * form + 0.5 * learnt.score, "; ".join([*wrong, *([learnt.wrong] if learnt.wrong else [])]))
