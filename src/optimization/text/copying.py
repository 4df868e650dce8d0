"""What does a new prompt repeat word for word of the material it was made from?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from src.domain.disguises import plain, worded

Words = tuple[str, ...]


def copied(new: str, old: str, training_texts: Iterable[str], longest: int) -> list[str]:
    """The runs of more than ``longest`` words that ``new`` shares with a training text and ``old`` has not.

    Words are compared in lower-case Latin letters without accents, look-alike letters, invisible characters and
    punctuation. Runs that overlap are one. A prompt that repeats its training questions scores well on them and on
    nothing else, and carries what people asked and were told to every later reader.
    """
    size = longest + 1
    said = _words(new)
    known = set(_runs(_words(old), size))
    from_training = {run for text in training_texts for run in _runs(_words(text), size)} - known
    starts = [at for at, run in enumerate(_runs(said, size)) if run in from_training]
    return [" ".join(said[begin:end]) for begin, end in _joined(starts, size)]


def _words(text: str) -> Words:
    return tuple(word for word in worded(plain(text)).split() if word != ".")


def _runs(words: Sequence[str], size: int) -> Iterator[Words]:
    return (tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _joined(starts: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of runs of ``size`` words, those that touch being one."""
    begin = end = -1
    for start in starts:
        if start > end:
            if end >= 0:
                yield begin, end
            begin = start
        end = start + size
    if end >= 0:
        yield begin, end
