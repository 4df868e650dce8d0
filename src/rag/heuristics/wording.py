"""How closely do the sentences of a window repeat the words of a claim, and in which order?"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import LCSseq

from src.rag.heuristics.passages import Sentence, Window, joined, written_forms
from src.rag.heuristics.tokens import Sort


@dataclass(frozen=True, slots=True)
class Alike:
    """Shares from 0 to 1: ``mean`` of five ways to compare; two of them, the longest common subsequence of all words

    (``order``) and of the words beyond grammar (``content_order``), as shares of the claim's.
    """

    mean: float
    order: float
    content_order: float


class Wording:
    """What a claim is compared by with window after window: words, neighbouring words, numbers, names."""

    def __init__(self, claim: Sentence) -> None:
        self.all = [token.norm for token in claim]
        self.content = [token.norm for token in claim if token.content] or self.all
        self.numbers = [written_forms(token, claim) for token in claim if token.sort is Sort.NUMBER]
        self.names = [written_forms(token, claim) for token in claim if token.named]

    def alike(self, window: Window) -> Alike:
        """Coverage, neighbouring pairs and longest common subsequence, with and without grammar words."""
        there = joined(window.sentences)
        every = [token.norm for token in there]
        content = [token.norm for token in there if token.content]
        close = {*zip(content, content[1:], strict=False), *zip(content, content[2:], strict=False)}
        order = LCSseq.similarity(self.all, every) / len(self.all)
        content_order = LCSseq.similarity(self.content, content) / len(self.content)
        pairs = _pairs(self.content, close, window.coverage)
        pairs += _pairs(self.all, set(zip(every, every[1:], strict=False)), window.coverage)
        return Alike((window.coverage + pairs + content_order + order) / 5, order, content_order)


def _pairs(words: list[str], there: set[tuple[str, str]], otherwise: float) -> float:
    if len(words) < 2:
        return otherwise
    return sum(pair in there for pair in zip(words, words[1:], strict=False)) / (len(words) - 1)
