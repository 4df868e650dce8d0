"""Which words about cause and effect does a verdict allow?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from src.causal_engine.results import Verdict

STAMP = "Internal use — commercial analytics; not clinical advice"

MEANING = {
    Verdict.SUPPORTED: (
        "Under the assumptions listed below, the data support the reading that a change in {treatment} causes a change "
        "in {outcome}."
    ),
    Verdict.ASSOCIATION_ONLY: (
        "{treatment} and {outcome} move together, but these data do not show that one brings about the other."
    ),
    Verdict.NO_DETECTABLE_EFFECT: (
        "An effect of {treatment} on {outcome} was not found, although the data could have shown one of a size that "
        "matters."
    ),
    Verdict.UNDERPOWERED: (
        "The data are too few to tell whether {treatment} changes {outcome}; this is neither a yes nor a no."
    ),
    Verdict.NOT_IDENTIFIED: (
        "The assumptions given do not allow an effect of {treatment} on {outcome} to be worked out from these data; "
        "no effect is reported."
    ),
}

# How the estimate is introduced: a number that is no effect must not look like one.
INTRODUCTION = {
    Verdict.SUPPORTED: "Effect",
    Verdict.ASSOCIATION_ONLY: "Association, not an effect",
    Verdict.NO_DETECTABLE_EFFECT: "Estimate, no effect detected",
    Verdict.UNDERPOWERED: "Estimate, too imprecise to act on",
}
NO_EFFECT_REPORTED = "No effect is reported."

TONE = {
    Verdict.SUPPORTED: "supported",
    Verdict.ASSOCIATION_ONLY: "caution",
    Verdict.NO_DETECTABLE_EFFECT: "neutral",
    Verdict.UNDERPOWERED: "caution",
    Verdict.NOT_IDENTIFIED: "stop",
}

NOT_TO_CONCLUDE = {
    Verdict.SUPPORTED: (
        "That the effect is certain: it rests on the assumptions below, and passing every test is no evidence that an "
        "unmeasured common cause is absent.",
        "That the same effect holds for other products, periods or prescribers than those in the data.",
    ),
    Verdict.ASSOCIATION_ONLY: (
        "That changing {treatment} would change {outcome}.",
        "That {treatment} has no effect: this analysis cannot tell.",
    ),
    Verdict.NO_DETECTABLE_EFFECT: (
        "That the effect is exactly zero: effects inside the interval remain possible.",
        "That {treatment} drives {outcome}.",
    ),
    Verdict.UNDERPOWERED: (
        "That there is no effect: a sizeable one could have gone unseen.",
        "That the estimate, whatever its sign, is a basis for a decision.",
    ),
    Verdict.NOT_IDENTIFIED: (
        "Anything about the effect of {treatment} on {outcome}; a difference between groups is not an effect.",
    ),
}

_PROOF = re.compile(r"(?<!not )(?<!never )\b(?:proves|proved|proven)\b", re.IGNORECASE)
_CAUSE = re.compile(r"\b(?:causes|caused)\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:not|no|never|cannot|whether)\b", re.IGNORECASE)


def say(text: str, treatment: str, outcome: str) -> str:
    """Fill in the names; names that contain braces stay as they are."""
    return text.replace("{treatment}", treatment).replace("{outcome}", outcome)


def overstatements(verdict: Verdict, texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that claim more than ``verdict`` allows.

    "Proves" is never allowed; "causes" only when the effect is supported, or in a sentence that denies it.
    """
    return tuple(text for text in texts if any(_overstates(verdict, part) for part in re.split(r"[.;:]\s", text)))


def _overstates(verdict: Verdict, sentence: str) -> bool:
    if _PROOF.search(sentence):
        return True
    claims = _CAUSE.search(sentence) is not None and _NEGATED.search(sentence) is None
    return claims and verdict is not Verdict.SUPPORTED


def plain(name: str) -> str:
    """A code name as words: "random_common_cause" → "random common cause"."""
    return name.replace("_", " ")
