"""Which known names does a question contain, typing errors included?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from src.domain.reading import Reading, normalise
from src.domain.vocabulary import Held, Kind, Measure, Vocabulary

NAMES = (Kind.BRAND, Kind.REGION, Kind.SPECIALTY, Kind.VENDOR, Kind.DRUG, Kind.INDICATION)
QUANTITIES = (Kind.MEASURE, Kind.KPI)

_PATTERN_SCORE = 0.95
_ASSUMED_SCORE = 0.85


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase of the question read as a known name; ``score`` is 1 for an exact name, less for a guess.

    ``alternatives`` lists every canonical name an ambiguous phrase may stand for. ``assumed``
    marks a vaguer word ("scripts") read as one measure. ``position`` is that of its first word.
    """

    kind: Kind
    canonical: str
    text: str
    score: float
    position: int = 0
    assumed: bool = False
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Name:
    kind: Kind
    canonicals: tuple[str, ...]
    assumed: bool


@dataclass(frozen=True)
class _Lexicon:
    phrases: dict[tuple[str, ...], _Name]
    joined: dict[str, _Name]
    patterns: tuple[tuple[re.Pattern[str], _Name], ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """Words that are a name by themselves."""
        return frozenset(words[0] for words in self.phrases if len(words) == 1)

    @cached_property
    def longest(self) -> int:
        """Number of words of the longest phrase."""
        return max(map(len, self.phrases))


@dataclass(frozen=True)
class _Lexicons:
    names: _Lexicon
    quantities: _Lexicon
    neutral: frozenset[str]
    known: frozenset[str]


def find_names(reading: Reading, vocabulary: Vocabulary) -> list[Match]:
    """Take every known name out of the reading; what stays free was not recognised.

    Names (brand, region, …) go first, so that "new Kisqali prescriptions" still holds
    "new prescriptions"; only whole phrases of several words such as "Kisqali oncologist reach"
    come before them. A typing error is repaired only where no exact phrase of that length stands.
    """
    lexicons = _lexicons(Held(vocabulary))
    names, quantities, known = lexicons.names, lexicons.quantities, lexicons.known
    found = [*_exact(reading, quantities, frozenset(), shortest=2)]
    for lexicon, inside in ((names, frozenset[str]()), (quantities, lexicons.neutral)):
        found += _exact(reading, lexicon, inside, shortest=2)
        found += _patterns(reading, lexicon, inside)
        found += _misspelt(reading, lexicon, inside, known, sizes=(3, 2))
        found += _exact(reading, lexicon, inside)
        found += _misspelt(reading, lexicon, inside, known, sizes=(1,))
    return sorted(found, key=lambda match: match.position)


def allowed_edits(length: int) -> int:
    """Typing errors tolerated in a name of that many letters: short names must be exact."""
    return 0 if length < 5 else 1 if length < 8 else 2


@lru_cache(maxsize=8)
def _lexicons(held: Held) -> _Lexicons:
    vocabulary = held.vocabulary
    names, quantities = _lexicon(vocabulary, NAMES), _lexicon(vocabulary, QUANTITIES)
    neutral = frozenset(vocabulary.words.neutral)
    known = neutral.union(
        vocabulary.words.function, vocabulary.words.common, vocabulary.foreign.words, names.words, quantities.words
    )
    return _Lexicons(names, quantities, neutral, known)


def _lexicon(vocabulary: Vocabulary, kinds: tuple[Kind, ...]) -> _Lexicon:
    phrases: dict[tuple[str, ...], _Name] = {}
    patterns = []
    for kind in kinds:
        for term in vocabulary.terms(kind):
            vague = {normalise(word) for word in term.assumed} if isinstance(term, Measure) else set()
            for phrase in dict.fromkeys(map(normalise, term.phrases)):
                words = tuple(phrase.split())
                phrases[words] = _merged(phrases.get(words), _Name(kind, (term.canonical,), phrase in vague))
            name = _Name(kind, (term.canonical,), assumed=False)
            patterns += [(re.compile(rf"\b(?:{pattern})\b"), name) for pattern in term.patterns]
    joined = {"".join(words): name for words, name in phrases.items()}
    return _Lexicon(phrases, joined, tuple(patterns))


def _merged(before: _Name | None, new: _Name) -> _Name:
    """A phrase two measures share is ambiguous; across kinds the first kind keeps it."""
    if before is None:
        return new
    if before.kind is not new.kind:
        return before
    return _Name(new.kind, (*before.canonicals, *new.canonicals), assumed=False)


def _windows(reading: Reading, neutral: frozenset[str], longest: int, shortest: int = 1) -> Iterator[list[int]]:
    """Runs of free words, longest first; taken and neutral words inside a run are stepped over."""
    for size in range(longest, shortest - 1, -1):
        free = [i for i in reading.free() if reading.norm(i) not in neutral]
        for at in range(len(free) - size + 1):
            window = free[at : at + size]
            if all(reading.is_free(i) for i in window):
                yield window


def _exact(reading: Reading, lexicon: _Lexicon, neutral: frozenset[str], shortest: int = 1) -> Iterator[Match]:
    for window in _windows(reading, neutral, lexicon.longest, shortest):
        name = lexicon.phrases.get(tuple(reading.norm(i) for i in window))
        if name:
            yield _taken(reading, window, name, _ASSUMED_SCORE if name.assumed else 1.0)


def _patterns(reading: Reading, lexicon: _Lexicon, neutral: frozenset[str]) -> Iterator[Match]:
    for pattern, name in lexicon.patterns:
        free = [i for i in reading.free() if reading.norm(i) not in neutral]
        hit = reading.search(pattern, free)
        if hit:
            yield _taken(reading, hit[1], name, _PATTERN_SCORE)


def _misspelt(
    reading: Reading, lexicon: _Lexicon, neutral: frozenset[str], known: frozenset[str], sizes: tuple[int, ...]
) -> Iterator[Match]:
    """Several words count as one misspelt phrase only if one of them, of three letters or more, is unknown."""
    for window in _windows(reading, neutral, max(sizes), min(sizes)):
        words = [reading.norm(i) for i in window]
        if all(word in known or len(word) < 3 for word in words):
            continue
        hit = _nearest("".join(words), lexicon)
        if hit:
            yield _taken(reading, window, hit[0], hit[1])


def _nearest(text: str, lexicon: _Lexicon) -> tuple[_Name, float] | None:
    """The one name within the allowed edits; None when two different names are equally near."""
    edits = allowed_edits(len(text))
    found = process.extract(text, lexicon.joined.keys(), scorer=OSA.distance, score_cutoff=edits, limit=5)
    near = [
        (phrase, distance)
        for phrase, distance, _ in found
        if distance <= allowed_edits(len(phrase)) and (phrase[0] == text[0] or len(phrase) >= 8)
    ]
    if not near:
        return None
    best = min(distance for _, distance in near)
    names = {lexicon.joined[phrase] for phrase, distance in near if distance == best}
    if len({name.canonicals for name in names}) > 1:
        return None
    return names.pop(), 1.0 - best / len(text)


def _taken(reading: Reading, window: list[int], name: _Name, score: float) -> Match:
    span = reading.take(window)
    alternatives = name.canonicals if len(name.canonicals) > 1 else ()
    return Match(name.kind, name.canonicals[0], span.text, score, window[0], name.assumed, alternatives)
