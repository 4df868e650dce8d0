"""What does a new prompt repeat of the material it was made from?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from src.domain.disguises import plain, worded

Words = tuple[str, ...]
Span = tuple[int, int]
"""Places of the first word and after the last one."""
SEED, MOST_REPLACED = 3, 2
"""Words that agree in a row on both sides of a gap, and words of a gap."""


def copied(new: str, old: str, training_texts: Iterable[str], longest: int) -> list[str]:
    """The passages of ``new`` that repeat more than ``longest`` words of a training text and that ``old`` has not.

    In a row, or in the same order with at most two words exchanged, left out or put in between three and three that
    agree: so a word replaced here and there makes no text of one's own. Words are compared in lower-case Latin letters
    without accents, look-alike letters, invisible characters and punctuation. Passages that overlap are one. A prompt
    that repeats its training questions scores well on them and on nothing else, and carries what people asked and were
    told to every later reader.
    """
    said, before = _words(new), _words(old)
    known, size = {*_runs(before, longest + 1)}, longest + 1
    own = [(at, run) for at, run in enumerate(_runs(said, size)) if run not in known]
    seeds = _places(said, {*_runs(before, SEED)})
    sought = {run for _, run in own}
    found: set[Span] = set()
    for words in map(_words, training_texts):
        there = sought.intersection(_runs(words, size))
        found |= {(at, at + size) for at, run in own if run in there}
        found |= {*_in_order(words, seeds, longest)}
    return [" ".join(said[begin:end]) for begin, end in _joined(sorted(found))]


def _words(text: str) -> Words:
    return tuple(word for word in worded(plain(text)).split() if word != ".")


def _runs(words: Sequence[str], size: int) -> Iterator[Words]:
    return (tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _places(said: Sequence[str], known: set[Words]) -> Mapping[Words, Sequence[int]]:
    """Where each short run stands that is not known."""
    places: dict[Words, list[int]] = {}
    for at, run in enumerate(_runs(said, SEED)):
        if run not in known:
            places.setdefault(run, []).append(at)
    return places


def _in_order(words: Sequence[str], seeds: Mapping[Words, Sequence[int]], longest: int) -> Iterator[Span]:
    """Where more than ``longest`` words of a training text stand in its order, with small gaps.

    ``chains``: by the place of a seed in the training text and in the prompt, how many words agree up to its end and
    where that began.
    """
    steps = range(1, SEED + MOST_REPLACED + 1)
    chains: dict[Span, Span] = {}
    for there, run in enumerate(_runs(words, SEED)):
        for here in seeds.get(run, ()):
            earlier = [
                (agreed + min(SEED, back, away), begin)
                for back in steps
                for away in steps
                if (chain := chains.get((there - back, here - away))) is not None
                for agreed, begin in (chain,)
            ]
            chains[there, here] = max(earlier, default=(SEED, here), key=lambda one: one[0])
            agreed, begin = chains[there, here]
            if agreed > longest:
                yield begin, here + SEED


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in their order, those that overlap or touch being one."""
    begin = end = -1
    for first, last in spans:
        if first > end:
            if end >= 0:
                yield begin, end
            begin = first
        end = max(end, last)
    if end >= 0:
        yield begin, end
