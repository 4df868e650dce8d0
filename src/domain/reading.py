"""Which words does a question consist of, and which of them are already understood?"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from src.errors import QuestionNotUnderstood

MAX_CHARACTERS = 2_000
MAX_WORD = 60

_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")
_SENTENCE_END = re.compile(r"[.?!:;\n]")
_EXAMPLE = 'ask for example "Do rep calls increase new prescriptions of Kisqali in the Northeast?"'


@dataclass(frozen=True, slots=True)
class Word:
    """``norm`` is lower case without accents; ``raw`` as typed; ``named`` if capitalised inside a sentence."""

    norm: str
    raw: str
    named: bool


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Lower-case words separated by single spaces: 'E-mail  opens' becomes 'e mail opens'."""
    return " ".join(word.norm for word in split_words(text))


def split_words(text: str) -> list[Word]:
    """Split at everything that is neither letter nor digit; a possessive s is dropped."""
    plain = _POSSESSIVE.sub("", unicodedata.normalize("NFKC", text))
    words: list[Word] = []
    previous_end = 0
    for match in _WORD.finditer(plain):
        raw = match.group()
        starts = not words or _SENTENCE_END.search(plain, previous_end, match.start()) is not None
        words.append(Word(_fold(raw), raw, named=raw[0].isupper() and not starts))
        previous_end = match.end()
    return words


def _fold(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def check_readable(question: str) -> None:
    """Raise QuestionNotUnderstood for what cannot be a question: too long, empty, binary, no words."""
    if len(question) > MAX_CHARACTERS:
        raise QuestionNotUnderstood(
            f"the question has {len(question):,} characters; at most {MAX_CHARACTERS:,} can be read"
        )
    if not question.strip():
        raise QuestionNotUnderstood(f"the question is empty; {_EXAMPLE}")
    if any(unicodedata.category(c) in {"Cc", "Cs", "Co", "Cn"} and c not in "\t\r\n" for c in question):
        raise QuestionNotUnderstood(f"the question holds bytes that are not text; {_EXAMPLE}")
    if not any(c.isalpha() for c in question):
        raise QuestionNotUnderstood(f"the question has no words; {_EXAMPLE}")


@dataclass(frozen=True, slots=True)
class Span:
    """Word positions [start, stop) of a reading and the words as typed."""

    positions: tuple[int, ...]
    text: str


class Reading:
    """The words of one question; what has been understood is taken and cannot be understood twice."""

    def __init__(self, question: str) -> None:
        check_readable(question)
        self.words = split_words(question)
        longest = max((word.norm for word in self.words), key=len)
        if len(longest) > MAX_WORD:
            raise QuestionNotUnderstood(f"the word '{longest[:20]}…' has {len(longest)} characters; {_EXAMPLE}")
        self._taken = [False] * len(self.words)

    def free(self) -> list[int]:
        """Positions of the words not yet understood."""
        return [i for i, taken in enumerate(self._taken) if not taken]

    def is_free(self, position: int) -> bool:
        """Whether the word exists and is not yet understood."""
        return 0 <= position < len(self.words) and not self._taken[position]

    def take(self, positions: Iterable[int]) -> Span:
        """Mark words as understood and return them as typed."""
        kept = tuple(positions)
        for position in kept:
            self._taken[position] = True
        return Span(kept, " ".join(self.words[i].raw for i in kept))

    def norm(self, position: int) -> str:
        """The normalised word, or '' outside the question."""
        return self.words[position].norm if 0 <= position < len(self.words) else ""

    def search(self, pattern: re.Pattern[str], positions: list[int]) -> tuple[re.Match[str], list[int]] | None:
        """First match of ``pattern`` on whole words of the joined text of ``positions``, and where it lies."""
        text = " ".join(self.words[i].norm for i in positions)
        starts = _starts(text)
        for match in pattern.finditer(text):
            first, last = (bisect.bisect_right(starts, at) - 1 for at in (match.start(), max(match.end() - 1, 0)))
            if match.end() > match.start():
                return match, positions[first : last + 1]
        return None


def _starts(text: str) -> list[int]:
    return [0, *(i + 1 for i, c in enumerate(text) if c == " ")]
