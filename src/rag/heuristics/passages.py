"""Where in a context does a claim find most of its words, one to three sentences at a time?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.rag.heuristics.claims import MAX_TOKENS, sentences
from src.rag.heuristics.polarity import direction
from src.rag.heuristics.tokens import Sort, Token, tokenize

LONGEST_WINDOW = 3
WINDOWS_KEPT = 3
"""Best windows of each length that are read closely."""
SOFT_CREDIT = 0.6
"""What a word counts that only begins like one of the context ("prescriber" and "prescription")."""
_PREFIX = 5
_NEAR = 4
_APART = re.compile(r"\b\d{1,3}(?:, \d{3}){1,4}\b")

Sentence = tuple[Token, ...]
Matches = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passages:
    """The sentences of one context, and in which of them each form of a token and each word beginning stands."""

    sentences: tuple[Sentence, ...]
    forms: dict[str, NDArray[np.intp]]
    beginnings: dict[str, NDArray[np.intp]]

    def has(self, token: Token, tokens: Sentence, start: int = 0, stop: int | None = None) -> bool:
        """Whether the token of a claim stands in any form in the sentences from ``start`` to before ``stop``."""
        return self.holds(written_forms(token, tokens), start, stop)

    def holds(self, forms: Sequence[str], start: int = 0, stop: int | None = None) -> bool:
        """Whether one of the forms stands in the sentences from ``start`` to before ``stop``."""
        end = len(self.sentences) if stop is None else stop
        for form in forms:
            where = self.forms.get(form)
            if where is not None:
                at = int(np.searchsorted(where, start))
                if at < len(where) and where[at] < end:
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Window:
    """Adjacent sentences and the weighted share of a claim's tokens they hold."""

    sentences: tuple[Sentence, ...]
    start: int
    coverage: float

    @property
    def stop(self) -> int:
        """Place of the first sentence behind the window."""
        return self.start + len(self.sentences)


def _falls(tokens: Sentence, norm: str) -> bool:
    """Whether a number stands near a word of falling."""
    at = next((place for place, token in enumerate(tokens) if token.norm == norm), 0)
    return any(direction(token) < 0 for token in tokens[max(0, at - _NEAR) : at + _NEAR])


def written_forms(token: Token, tokens: Sentence) -> tuple[str, ...]:
    """How else a token may be written: "fell 5 %" as "-5 %"."""
    if token.sort is Sort.NUMBER and token.norm[0].isdigit() and _falls(tokens, token.norm):
        return (token.norm, f"-{token.norm}")
    return (token.norm,)


@lru_cache(maxsize=256)
def passages(context: str) -> Passages:
    """Read a context once. Numbers taken apart by a tokeniser ("3, 000") are also found whole."""
    found: list[Sentence] = []
    apart: dict[str, set[int]] = {}
    for sentence in sentences(context):
        for match in _APART.findall(sentence):
            apart.setdefault(match.replace(", ", ""), set()).add(len(found))
        tokens = tokenize(sentence)
        found += [tokens[at : at + MAX_TOKENS] for at in range(0, len(tokens), MAX_TOKENS)]
    return passages_of(found, apart)


def passages_of(found: Sequence[Sentence], apart: Mapping[str, set[int]] | None = None) -> Passages:
    """Sentences that are read already; ``apart`` says where further forms stand."""
    forms: dict[str, set[int]] = {form: set(where) for form, where in (apart or {}).items()}
    beginnings: dict[str, set[int]] = {}
    for at, sentence in enumerate(found):
        _enter(sentence, at, forms, beginnings)
    return Passages(tuple(found), _arrays(forms), _arrays(beginnings))


def _enter(piece: Sentence, at: int, forms: dict[str, set[int]], beginnings: dict[str, set[int]]) -> None:
    for token in piece:
        for form in written_forms(token, piece):
            forms.setdefault(form, set()).add(at)
        if token.sort is not Sort.NUMBER and len(token.norm) >= _PREFIX and ":" not in token.norm:
            beginnings.setdefault(token.norm[:_PREFIX], set()).add(at)


def _arrays(places: dict[str, set[int]]) -> dict[str, NDArray[np.intp]]:
    return {form: np.fromiter(sorted(where), dtype=np.intp) for form, where in places.items()}


def matches(claim: Sentence, context: Passages) -> Matches:
    """Sentences by tokens of the claim: 1 where it stands there, less where only its beginning does."""
    found = np.zeros((len(context.sentences), len(claim)))
    for column, token in enumerate(claim):
        if token.sort is not Sort.NUMBER and ":" not in token.norm and len(token.norm) >= _PREFIX:
            similar = context.beginnings.get(token.norm[:_PREFIX])
            if similar is not None:
                found[similar, column] = SOFT_CREDIT
        for form in written_forms(token, claim):
            exact = context.forms.get(form)
            if exact is not None:
                found[exact, column] = 1.0
    return found


def weights(claim: Sentence) -> NDArray[np.float64]:
    """The share of each token in the weight of a claim."""
    weight = np.array([token.weight for token in claim])
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def best_windows(claim: Sentence, context: Passages, found: Matches) -> list[Window]:
    """The windows of one to three sentences that hold most of a claim; those that hold nothing are left out.

    They are chosen in each context by itself, so that taking another context away changes nothing here.
    """
    share = weights(claim)
    count = len(context.sentences)
    windows: list[Window] = []
    current = found
    for length in range(1, min(LONGEST_WINDOW, count) + 1):
        if length > 1:
            current = np.maximum(current[:-1], found[length - 1 :])
        coverage = current @ share
        for start in np.argsort(-coverage, kind="stable")[:WINDOWS_KEPT]:
            if coverage[start] > 0:
                windows.append(Window(context.sentences[start : start + length], int(start), float(coverage[start])))
    return windows


def joined(window: Sequence[Sentence]) -> Sentence:
    """All tokens of a window."""
    return tuple(token for sentence in window for token in sentence)
