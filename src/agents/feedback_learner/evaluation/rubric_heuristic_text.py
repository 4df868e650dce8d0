"""What does an answer say, sentence by sentence, and what does it only list, deny or tell the judge?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from src.domain.rubric import RubricContext

_WORD = re.compile(r"[a-z0-9]+(?:['’-][a-z0-9]+)*")
_MARKERS = r"(?:\s*\[[^\]\n]{1,60}\])*"
_END = re.compile(rf"[.!?]+[\"'”’)]*{_MARKERS}(?=\s|$)|\n+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|approx|ca|cf|dr|mr|ms|no|fig|incl|etc|est)|^\s*\d{1,2}|\n\s*\d{1,2})\.$", re.I
)
_LIST_MARK = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.)]|step \d+\s*[:.])\s+", re.IGNORECASE)
CITATION = re.compile(r"\[(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\]")
_BRACKETED = re.compile(r"\[[^\]\n]{1,60}\]")
_FUNCTION_TEXT = """
a about after all an and are as at be because been before both but by can could did do does each for from had
has have how if in into is it its may might more most no not of on once only or our out over per same should so
than that the their them then there these they this those to under until up us was we were what when where which
while who will with within without would you your
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())
_ADDRESSES_JUDGE = re.compile(
    r"\bignore (?:all |any |the |your |these )*(?:previous|prior|above|earlier|rubric|instructions|anchors)\b"
    r"|\b(?:dear|attention|note to(?: the)?|as the|as a|to the|you are (?:the|an?)) (?:\w+ )?(?:judge|evaluator"
    r"|grader)\b"
    r"|\b(?:judge|evaluator|grader|assistant)\s*[:,]|^\W*(?:system|instruction)s?\s*[:>]"
    r"|\b(?:give|award|assign|rate|grade|score|mark|return|output)\b[^.\n]{0,60}?"
    r"(?:\b(?:5|five) (?:points|stars|out of)|\bfull marks|\b(?:highest|maximum|top|perfect|best) (?:scores?"
    r"|ratings?|marks?)"
    r"|\b(?:every|each|all) criteri\w+|\brubric\b|\bscores? of (?:5|five)\b|\b5/5\b|\ba (?:5|five)\b)",
    re.IGNORECASE,
)
_FAR_NEGATOR = re.compile(r"\b(?:no|without|neither|nor|lack(?:s|ed|ing)?|none of|absence of|instead of|rather than)\b")
_NEAR_NEGATOR = re.compile(r"(?:\b(?:not|never|cannot|hardly|fail(?:s|ed|ing)? to|yet to|ignor(?:es|ed|ing))|n['’]t)\b")
_NOT_NEGATING = re.compile(r"\b(?:not only|not just|not merely|no doubt|no longer|no later than|no less than)\b")
_CLAUSE = re.compile(r"[,;:()]|\b(?:but|however|although|though|yet|while|whereas)\b")
_TURN = re.compile(r";|\b(?:but|however|although|though|while|whereas)\b|\band (?=\w+ing\b|(?:the|we|a|an|it|this) )")
_DENIED_AFTER = re.compile(
    r"(?:\b(?:not|never)|n['’]t) (?:been |yet |be )*(?:run|done|performed|considered|made|reported|available|stated"
    r"|given|"
    r"computed|calculated|tested|checked|possible|measured|included|attempted|applied|quantified|known|provided|tried|"
    r"carried|named|ruled)\b|\b(?:missing|absent|lacking|ignored|omitted|unavailable|skipped|left out|unknown)\b"
)
# The rubric's own words: a sentence of little else says nothing about anything.
RUBRIC_WORDS = re.compile(
    r"\b(?:confound\w*|adjust\w*|placebos?|refut\w+|sensitivity|robustness|intervals?|confidence|owners?|targets?"
    r"|steps?|citations?"
    r"|evidence|scope|privacy|fairness|assum\w+|limit(?:s|ations?)|e-values?|identif\w+|uncertain\w*|causal\w*"
    r"|back-?door"
    r"|regulatory|actionab\w+|expected|effects?|traceable|caveats?|rubric|criteri\w+)\b"
)
NEAR_WORDS, FAR_WORDS = 6, 12
MANY_RUBRIC_WORDS, RUBRIC_SHARE, FUNCTION_SHARE_OF_MANY = 4, 0.5, 0.22
LEAST_WORDS, LEAST_FUNCTION_SHARE, LEAST_CONTENT = 3, 0.12, 2
SHINGLE = 6
# Characters around an occurrence in which it can be denied, and of a sentence before it is cut.
NEARBY, LONGEST = 160, 1000
COPIED, COVERED = 0.7, 0.5


@dataclass(frozen=True)
class Sentence:
    """A sentence as it stands in the answer, and what is read of it: lower case, one space between words."""

    quote: str
    listed: bool

    @cached_property
    def plain(self) -> str:
        """Text without list mark."""
        text = _LIST_MARK.sub("", self.quote).strip()
        return re.sub(r"\s+", " ", text.lower().replace("’", "'").replace("−", "-"))

    @cached_property
    def bare(self) -> str:
        """``plain`` without anything in brackets that cites."""
        return " ".join(CITATION.sub(" ", self.plain).split())

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words without markers."""
        return tuple(_WORD.findall(_BRACKETED.sub(" ", self.plain)))

    @cached_property
    def content(self) -> frozenset[str]:
        """Words that carry meaning, endings cut off."""
        return frozenset(stem(word) for word in self.words if word not in _FUNCTION_WORDS and len(word) > 1)

    @cached_property
    def is_prose(self) -> bool:
        """Whether the words are joined to a statement rather than listed; a few without the rubric's own words are."""
        if len(self.words) < LEAST_WORDS or len(self.content) < LEAST_CONTENT:
            return False
        if not RUBRIC_WORDS.search(self.bare):
            return True
        if (magic := len(RUBRIC_WORDS.findall(self.bare))) >= MANY_RUBRIC_WORDS and magic > RUBRIC_SHARE * len(
            self.content
        ):
            return False
        functional = sum(word in _FUNCTION_WORDS for word in self.words)
        least = FUNCTION_SHARE_OF_MANY if magic >= MANY_RUBRIC_WORDS else LEAST_FUNCTION_SHARE
        return functional / len(self.words) >= least

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether some occurrence is not denied."""
        return any(not self._denied(found) for found in pattern.finditer(self.bare))

    def denies(self, pattern: re.Pattern[str]) -> bool:
        """Whether it occurs, and every occurrence is denied: "we did not adjust for", "no interval"."""
        found = list(pattern.finditer(self.bare))
        return bool(found) and all(self._denied(one) for one in found)

    def has(self, pattern: re.Pattern[str]) -> bool:
        """Whether it occurs at all."""
        return pattern.search(self.bare) is not None

    def _denied(self, found: re.Match[str]) -> bool:
        before = self.bare[max(0, found.start() - NEARBY) : found.start()]
        after = self.bare[found.end() : found.end() + NEARBY]
        clause = _CLAUSE.split(_NOT_NEGATING.sub(" ", before))[-1]
        turn = _TURN.split(_NOT_NEGATING.sub(" ", before))[-1]
        if _NEAR_NEGATOR.search(_last_words(clause, NEAR_WORDS)) or _FAR_NEGATOR.search(_last_words(turn, FAR_WORDS)):
            return True
        return _DENIED_AFTER.search(_first_words(_TURN.split(after)[0], FAR_WORDS)) is not None


@dataclass(frozen=True)
class Reading:
    """An answer as the criteria read it. ``sentences`` are its statements, each once; lists of words are none."""

    context: RubricContext
    sentences: tuple[Sentence, ...]
    all_sentences: tuple[Sentence, ...]
    whole: tuple[Sentence, ...]
    """Everything the answer holds, what it tells a judge included."""
    listed_share: float
    """Share of the words that stand in no statement."""

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return not self.all_sentences

    def saying(self, pattern: re.Pattern[str]) -> list[Sentence]:
        """Sentences that say it and do not deny it."""
        return [one for one in self.sentences if one.says(pattern)]

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether any sentence says it."""
        return any(one.says(pattern) for one in self.sentences)

    def denies(self, pattern: re.Pattern[str]) -> bool:
        """Whether some sentence denies it."""
        return any(one.denies(pattern) for one in self.sentences)

    def has(self, pattern: re.Pattern[str]) -> bool:
        """Whether it occurs, denied or not."""
        return any(one.has(pattern) for one in self.sentences)

    @cached_property
    def copied(self) -> bool:
        """Whether the answer is little more than its contexts: their words, most of them or none of them cited."""
        answer = set(_shingles(self.context.answer))
        given = set(_shingles(" \n ".join(self.context.contexts)))
        shared = answer & given
        if not answer or len(shared) < COPIED * len(answer):
            return False
        cited = sum(bool(_BRACKETED.search(one.quote)) for one in self.sentences)
        return len(shared) >= COVERED * len(given) or 2 * cited < len(self.sentences)


def read(context: RubricContext) -> Reading:
    """Read an answer. What it tells a judge to do is not read; neither is a sentence said twice."""
    whole = {one.plain: one for one in reversed(list(_sentences(context.answer))) if one.words}
    everything = tuple(one for one in reversed(whole.values()) if not _ADDRESSES_JUDGE.search(one.quote))
    prose = tuple(one for one in everything if one.is_prose)
    total = sum(len(one.words) for one in everything)
    listed = 1 - sum(len(one.words) for one in prose) / total if total else 0.0
    return Reading(context, prose, everything, tuple(whole.values()), listed)


def stem(word: str) -> str:
    """A word without its most common endings."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content_words(text: str) -> frozenset[str]:
    """Words of a text that carry meaning, endings cut off."""
    return Sentence(text, False).content


def _sentences(text: str) -> Iterator[Sentence]:
    start = 0
    for end in _ends(text):
        piece = text[start:end].strip()
        start = end
        for cut in range(0, len(piece), LONGEST):
            yield Sentence(piece[cut : cut + LONGEST], _LIST_MARK.match(piece) is not None)


def _ends(text: str) -> Iterable[int]:
    for found in _END.finditer(text):
        if found[0].startswith(".") and _ABBREVIATION.search(text[max(0, found.start() - 12) : found.start() + 1]):
            continue
        yield found.end()
    yield len(text)


def _last_words(text: str, count: int) -> str:
    return " ".join(text.split()[-count:])


def _first_words(text: str, count: int) -> str:
    return " ".join(text.split()[:count])


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(_BRACKETED.sub(" ", text.lower()))
    size = min(SHINGLE, max(len(words), 1))
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))
