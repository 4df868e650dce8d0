"""Does a sentence say of the same thing, and moving the same way, what a claim says with a figure?"""

from __future__ import annotations

from collections.abc import Sequence

from src.domain.figures import unfounded_names, unfounded_numbers
from src.rag.answering.quotable import Quotable
from src.rag.answering.reading import EFFECT, FALLS, NUMBER, OVERRIDING, RISES, facts, kind, senses
from src.rag.heuristics.passages import passages_of
from src.rag.heuristics.tokens import Token

REACH_BEFORE, REACH_AFTER = 6, 3
"""How many tokens before and behind a figure the word of its movement may stand."""

Tokens = tuple[Token, ...]


def unseen(text: str, quoted: Sequence[str]) -> tuple[str, ...]:
    """Numbers, dates and codes of a text that stand in none of the quoted ones, as it writes them; none is rounded."""
    return (*unfounded_numbers(text, (), quoted, within=0.0), *unfounded_names(text, quoted))


def agrees(claim: Tokens, quoted: Sequence[Quotable]) -> bool:
    """Whether a quoted sentence says each figure of the claim's brand, region and time, and of the same movement.

    A claim of a movement without a figure agrees when some quoted sentence moves that way.
    """
    figures = [token for token in claim if kind(token) == NUMBER]
    holding = {token: [one for one in quoted if passages_of([one.tokens]).has(token, claim)] for token in figures}
    if any(holding.values()):
        return all(
            any(_same_subject(claim, one) and _same_way(token, claim, one.tokens) for one in found)
            for token, found in holding.items()
            if found
        )
    moves = _directions(claim)
    there = frozenset[str]().union(*(_directions(one.tokens) for one in quoted))
    return not moves or bool(moves & there) or any(EFFECT in one.said for one in quoted)


def _same_subject(claim: Tokens, one: Quotable) -> bool:
    named = facts(claim)
    return all(
        not named.get(kind) or bool(named[kind] & one.scope.get(kind, frozenset()))
        for kind in OVERRIDING
    )  # fmt: skip


def _same_way(figure: Token, claim: Tokens, there: Tokens) -> bool:
    asked, found = _movement(figure, claim), _movement(figure, there)
    if asked is None or asked == found:
        return True
    if found is None and any(EFFECT in senses(token) for token in there):
        return asked == RISES  # "an effect of 0.3" raises, "of -0.3" is another number
    return found is None and asked in _directions(there)


def _movement(figure: Token, tokens: Tokens) -> str | None:
    """The movement that a figure is part of: of the nearest word of moving, the one before it first."""
    if f"-{figure.norm}" in {token.norm for token in tokens}:
        return FALLS
    at = next((place for place, token in enumerate(tokens) if token.norm == figure.norm), None)
    if at is None:
        return None
    before = list(reversed(range(max(0, at - REACH_BEFORE), at)))
    for place in (*before, *range(at + 1, min(len(tokens), at + 1 + REACH_AFTER))):
        if moved := senses(tokens[place]) & {RISES, FALLS}:
            return next(iter(moved))
    return None


def _directions(tokens: Tokens) -> frozenset[str]:
    return frozenset[str]().union(*map(senses, tokens)) & {RISES, FALLS}
