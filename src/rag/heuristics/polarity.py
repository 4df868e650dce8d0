"""Do two statements about the same things say the opposite: up and down, more and no effect, is and is not?

Marks (rising, falling, no effect, cause, association) are compared only where they stand near shared content words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from src.rag.heuristics.lexicon import ANTONYMS, ASSOCIATIONS, CAUSES, FALLING, NULL_HEADS, RISING
from src.rag.heuristics.tokens import Sort, Token, stem

REACH = 8
"""How many tokens away from a mark the words it is about may stand."""
_NEGATED_WITHIN = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """A direction (+1, -1, 0 for no effect) and the content words around it."""

    sign: int
    about: frozenset[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many marks of a claim agree with, and contradict, those of a text about the same words."""

    agree: int = 0
    conflict: int = 0
    negation: bool = False
    """The claim denies something and the text denies nothing, or the other way round about a shared word."""
    antonyms: int = 0
    overreach: bool = False
    """The claim speaks of a cause where the text only knows an association."""


def direction(token: Token) -> int:
    """+1 for a word of rising, -1 for one of falling, 0 for any other."""
    return 1 if token.surface in RISING else -1 if token.surface in FALLING else 0


def _negated(tokens: Sequence[Token], at: int) -> bool:
    return any(token.norm == "not" for token in tokens[max(0, at - _NEGATED_WITHIN) : at])


def _around(tokens: Sequence[Token], at: int) -> frozenset[str]:
    near = tokens[max(0, at - REACH) : at + REACH + 1]
    return frozenset(t.norm for t in near if t.content and t.sort is not Sort.NUMBER and not direction(t))


@lru_cache(maxsize=8_192)
def marks(tokens: tuple[Token, ...]) -> tuple[Mark, ...]:
    """The directions a sentence speaks of; "no increase" and "no effect" are 0."""
    found: list[Mark] = []
    for at, token in enumerate(tokens):
        if sign := direction(token):
            found.append(Mark(0 if _negated(tokens, at) else sign, _around(tokens, at)))
        elif token.norm in _null_heads() and _negated(tokens, at):
            found.append(Mark(0, _around(tokens, at)))
        elif token.sort is Sort.NUMBER and token.norm.startswith("-"):
            found.append(Mark(-1, _around(tokens, at)))
    return tuple(found)


@lru_cache(maxsize=1)
def _null_heads() -> frozenset[str]:
    return frozenset(stem(word) for word in NULL_HEADS)


def compare(claim: tuple[Token, ...], text: Sequence[tuple[Token, ...]]) -> Comparison:
    """Compare a claim with the sentences of one window of text."""
    there = [mark for sentence in text for mark in marks(sentence)]
    agree = conflict = 0
    for mark in marks(claim):
        near = [(len(mark.about & other.about), other.sign) for other in there]
        most = max((shared for shared, _ in near), default=0)
        if not most:
            continue
        if any(shared == most and sign == mark.sign for shared, sign in near):
            agree += 1
        else:
            conflict += 1
    return Comparison(agree, conflict, _negation_differs(claim, text), _opposed(claim, text), _overreaches(claim, text))


def _denied(tokens: Sequence[Token]) -> frozenset[str]:
    """Content words that follow a negation closely."""
    found: set[str] = set()
    for at, token in enumerate(tokens):
        if token.norm == "not":
            found.update(t.norm for t in tokens[at + 1 : at + 1 + _NEGATED_WITHIN] if t.content)
    return frozenset(found)


def _negation_differs(claim: tuple[Token, ...], text: Sequence[tuple[Token, ...]]) -> bool:
    denies = any(token.norm == "not" for token in claim)
    there = any(token.norm == "not" for sentence in text for token in sentence)
    if denies:
        return not there
    words = {token.norm for token in claim if token.content}
    denied = frozenset[str]().union(*map(_denied, text)) if there else frozenset[str]()
    return len(words & denied) > 1


def _opposed(claim: tuple[Token, ...], text: Sequence[tuple[Token, ...]]) -> int:
    here = {token.surface for token in claim}
    there = {token.surface for sentence in text for token in sentence}
    return sum(1 for word in here - there if ANTONYMS.get(word, frozenset()) & there - here)


def _overreaches(claim: tuple[Token, ...], text: Sequence[tuple[Token, ...]]) -> bool:
    there = {token.surface for sentence in text for token in sentence}
    causal = any(token.surface in CAUSES for token in claim)
    return causal and not there & CAUSES and bool(there & ASSOCIATIONS)
