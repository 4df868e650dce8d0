"""Does a question ask for the effect the other way round, of an outcome on an action?"""

from __future__ import annotations

from src.domain.reading import Reading

_NOUNS = {"effect", "effects", "impact", "influence", "consequences"}
EFFECT_VERBS = {
    "drive", "drives", "drove", "increase", "increases", "increased", "raise", "raises", "raised", "affect", "affects",
    "affected", "influence", "influences", "influenced", "boost", "boosts", "boosted", "cause", "causes", "caused",
    "change", "changes", "changed", "lift", "lifts", "improve", "improves", "reduce", "reduces", "lower", "lowers",
    "move", "moves", "generate", "generates", "bring", "brings", "produce", "produces", "lead", "leads", "led", 
    "result",
}  # fmt: skip
_INSIDE = {
    "the",
    "a",
    "more",
    "fewer",
    "less",
    "our",
    "their",
    "number",
    "of",
    "to",
    "in",
    "additional",
    "extra",
    "monthly",
}


def is_reversed(reading: Reading, treatment: int, outcome: int) -> bool:
    """Whether the outcome at one word position is clearly said to act on the treatment at the other.

    Only two wordings are clear: "effect of OUTCOME on TREATMENT" and "OUTCOME drives TREATMENT".
    """
    if outcome > treatment:
        return False
    between = [reading.norm(i) for i in range(outcome + 1, treatment)]
    before = [reading.norm(i) for i in range(max(0, outcome - 4), outcome)]
    if any(noun in before for noun in _NOUNS) and "of" in before and "on" in between:
        return True
    verbs = [i for i, word in enumerate(between) if word in EFFECT_VERBS]
    return bool(verbs) and all(word in _INSIDE for word in between[verbs[-1] + 1 :])
