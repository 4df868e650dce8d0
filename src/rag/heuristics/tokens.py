"""Which words, numbers, names and polarity markers does a text consist of, whatever way they are written?

Case, accents, punctuation, plurals and other endings do not matter; "1,200" is "1200", "1.5 million" is
"1,500,000", "30 %" is "30 percent" and "0.30", "Q3" is "third quarter", "ribociclib" is "Kisqali". Weights are a
property of the token alone: were they counted in the contexts, taking a context away could raise a score.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import Stemmer

from src.domain.vocabulary import Kind, load_vocabulary
from src.rag.heuristics.lexicon import (
    CONTRACTIONS,
    FUNCTION_WORDS,
    MONTHS,
    NEGATIONS,
    NUMBER_WORDS,
    ORDINALS,
    SCALES,
    SPELLINGS,
)

MAX_WORD = 40
WEIGHT_FUNCTION, WEIGHT_COMMON, WEIGHT_WORD, WEIGHT_NAME = 0.2, 0.6, 1.0, 1.4

_TOKEN = re.compile(
    r"(?P<iso>\b\d{4}-\d{2}-\d{2}\b)"
    r"|(?P<number>\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,20})?(?!\d)|\d{1,25}(?:\.\d{1,20})?)"
    r"|(?P<word>[^\W\d_]{1,60}(?:'[^\W\d_]{1,3}\b)?)"
    r"|(?P<mark>[-+%$€£])"
)
_UNITS = {"%": "%", "percent": "%", "pct": "%", "percentage": "%"}
_QUARTER = {"first": "q1", "second": "q2", "third": "q3", "fourth": "q4"}
_STEMMER = Stemmer.Stemmer("english")
_STEMMER_LOCK = threading.Lock()


class Sort(StrEnum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Token:
    """``norm`` is what tokens are compared by; ``surface`` the lower-case word, ``weight`` what it counts.

    ``named``: written with a capital inside a sentence, or known to the vocabulary as a brand, region or drug.
    """

    norm: str
    surface: str
    sort: Sort
    weight: float
    named: bool = False

    @property
    def content(self) -> bool:
        """Whether it says more than grammar does."""
        return self.weight > WEIGHT_FUNCTION


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The English Snowball stem of a lower-case word."""
    with _STEMMER_LOCK:  # a stemmer is not safe to share between threads
        return str(_STEMMER.stemWord(word[:MAX_WORD]))


def plain_text(text: str) -> str:
    """One spelling of quotes, dashes, accents and of contractions that a tokeniser took apart."""
    plain = text.translate(SPELLINGS)
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return CONTRACTIONS.sub(r"\1'\2", plain)


@dataclass(slots=True)
class _Piece:
    group: str
    text: str
    start: int
    end: int


@lru_cache(maxsize=2_048)
def tokenize(text: str) -> tuple[Token, ...]:
    """The tokens of a text in order. Numbers and names are brought to one form, signs and units included."""
    plain = plain_text(text)
    pieces = [_Piece(str(m.lastgroup), m.group(), m.start(), m.end()) for m in _TOKEN.finditer(plain)]
    return tuple(_join_names(_read(pieces, plain)))


def _read(pieces: list[_Piece], plain: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece.group == "iso":
            tokens += _date(piece.text)
        elif piece.group == "number":
            at = _number(pieces, at, plain, tokens)
        elif piece.group == "word":
            at = _word(pieces, at, plain, tokens)
        at += 1
    return tokens


def _date(text: str) -> list[Token]:
    year, month, day = text.split("-")
    name = MONTHS.get(month, month)
    return [number_token(float(year), ""), _month(name), number_token(float(day), "")]


def _month(name: str) -> Token:
    return Token(name, name, Sort.NAME, WEIGHT_NAME, named=True)


def number_token(value: float, unit: str, surface: str = "") -> Token:
    """A number by its value: 0.3 for thirty percent, so that "30 %" and "0.30" are the same."""
    shown = f"{value / 100:.12g}" if unit == "%" else f"{value:.12g}"
    return Token(shown, surface or shown, Sort.NUMBER, WEIGHT_NAME)


def _number(pieces: list[_Piece], at: int, plain: str, tokens: list[Token]) -> int:
    piece = pieces[at]
    value = float(piece.text.replace(",", ""))
    before = pieces[at - 1] if at else None
    if before is not None and before.text == "-" and before.end == piece.start and _opens(plain, before.start):
        value = -value
    after = pieces[at + 1] if at + 1 < len(pieces) else None
    if after is not None and after.group == "word" and plain[piece.end : after.start].strip() in ("", "-"):
        word = after.text.lower()
        if word in SCALES and (len(word) > 1 or after.start == piece.end):
            value *= SCALES[word]
            at += 1
        elif word in ("st", "nd", "rd", "th") and after.start == piece.end:
            tokens.append(Token(f"{value:.0f}th", piece.text, Sort.WORD, WEIGHT_WORD))
            return at + 1
    unit, used = _unit_after(pieces, at, plain)
    tokens.append(number_token(value, unit, piece.text))
    return at + used


def _opens(plain: str, at: int) -> bool:
    """Whether a minus at this place is a sign: nothing or a space, bracket or currency before it."""
    return at == 0 or plain[at - 1] in " \t\n([$€£,:;="


def _unit_after(pieces: list[_Piece], at: int, plain: str) -> tuple[str, int]:
    """The unit behind a number and how many pieces it takes; the first end of a range takes that of the second."""
    end = pieces[at].end
    following = pieces[at + 1 : at + 4]
    if following and (unit := _unit(following, end, plain)):
        return unit
    if len(following) > 1 and following[0].text.lower() in ("-", "to", "and") and following[1].group == "number":
        behind = pieces[at + 3 : at + 5]
        if behind and (unit := _unit(behind, following[1].end, plain)):
            return unit[0], 0
    return "", 0


def _unit(following: list[_Piece], end: int, plain: str) -> tuple[str, int] | None:
    first = following[0]
    if plain[end : first.start].strip() not in ("", "-"):
        return None
    word = first.text.lower()
    if word == "per" and len(following) > 1 and following[1].text.lower() == "cent":
        return "%", 2
    return ("%", 1) if word in _UNITS else None


def _word(pieces: list[_Piece], at: int, plain: str, tokens: list[Token]) -> int:
    piece = pieces[at]
    lower = piece.text.lower()
    following = pieces[at + 1] if at + 1 < len(pieces) else None
    adjacent = following is not None and following.group == "number" and following.start == piece.end
    if following is not None and adjacent and lower in ("q", "h", "fy"):
        tokens.append(Token(lower + following.text, lower + following.text, Sort.NUMBER, WEIGHT_NAME))
        return at + 1
    if lower in _QUARTER and following is not None and following.text.lower() == "quarter":
        tokens.append(Token(_QUARTER[lower], lower, Sort.NUMBER, WEIGHT_NAME))
        return at + 1
    if lower in NUMBER_WORDS:
        return _spelled(pieces, at, plain, tokens)
    if lower in ORDINALS:
        tokens.append(Token(ORDINALS[lower], lower, Sort.WORD, WEIGHT_COMMON))
        return at
    tokens.append(_plain_word(piece.text, named=_named(piece, plain)))
    return at


def _spelled(pieces: list[_Piece], at: int, plain: str, tokens: list[Token]) -> int:
    """A number in words: "twenty five", "three hundred", "two million"."""
    surface = pieces[at].text.lower()
    value = float(NUMBER_WORDS[surface])
    while at + 1 < len(pieces) and pieces[at + 1].group in ("word", "mark"):
        skip = 2 if pieces[at + 1].text == "-" and at + 2 < len(pieces) else 1
        word = pieces[at + skip].text.lower()
        if word in NUMBER_WORDS and 20 <= value < 100 and value % 10 == 0 and NUMBER_WORDS[word] < 10:
            value += NUMBER_WORDS[word]
        elif word in SCALES and len(word) > 2:
            value *= SCALES[word]
        else:
            break
        at += skip
    unit, used = _unit_after(pieces, at, plain)
    tokens.append(number_token(value, unit, surface))
    return at + used


def _named(piece: _Piece, plain: str) -> bool:
    """Whether a capital is there for a name: inside a sentence, or capitals and digits throughout."""
    if not piece.text[0].isupper():
        return False
    if len(piece.text) > 1 and any(c.isupper() for c in piece.text[1:]):
        return True
    before = plain[max(0, piece.start - 6) : piece.start].rstrip(" \t\"'(")
    return bool(before) and before[-1] not in ".!?:;\n-*•"


@lru_cache(maxsize=20_000)
def _plain_word(text: str, *, named: bool) -> Token:
    lower = text.lower()
    if lower.endswith("n't"):
        return Token("not", lower, Sort.WORD, WEIGHT_FUNCTION)
    lower = lower.split("'")[0]
    lower = MONTHS.get(lower, lower)
    if text[0].isupper() and lower in MONTHS.values() and (lower != "may" or named):
        return _month(lower)
    if lower in NEGATIONS:
        return Token("not", lower, Sort.WORD, WEIGHT_FUNCTION)
    if lower in FUNCTION_WORDS or len(lower) < 2:
        return Token(lower, lower, Sort.WORD, WEIGHT_FUNCTION)
    norm = stem(_american(lower))
    if named:
        return Token(norm, lower, Sort.NAME, WEIGHT_NAME, named=True)
    return Token(norm, lower, Sort.WORD, WEIGHT_COMMON if norm in _common_stems() else WEIGHT_WORD)


def _american(word: str) -> str:
    word = word.replace("haem", "hem").replace("aemia", "emia")
    for british, american in (("isation", "ization"), ("ise", "ize"), ("ised", "ized"), ("ising", "izing")):
        if word.endswith(british) and len(word) > len(british) + 3:
            return word[: -len(british)] + american
    return word


@lru_cache(maxsize=1)
def _common_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in load_vocabulary().words.common)


@lru_cache(maxsize=1)
def _phrases() -> dict[tuple[str, ...], tuple[str, bool]]:
    """Names of the vocabulary as stems, and the one they stand for; true for those that must agree."""
    vocabulary = load_vocabulary()
    found: dict[tuple[str, ...], tuple[str, bool]] = {}
    for kind, entity in ((Kind.REGION, True), (Kind.SPECIALTY, False), (Kind.INDICATION, False), (Kind.BRAND, True)):
        for term in vocabulary.terms(kind):
            for phrase in (term.canonical, *term.synonyms):
                found[_stems(phrase)] = (f"{kind.value}:{term.canonical.lower()}", entity)
    for drug in vocabulary.drugs:
        found[_stems(drug.canonical)] = (f"brand:{drug.brand.lower()}", True)
    for measure in vocabulary.measures:
        if measure.kpi is not None or measure.canonical == "market_trx":
            for phrase in (measure.canonical, *measure.synonyms):
                found[_stems(phrase)] = (f"measure:{measure.canonical}", False)
    found.pop(_stems("other"), None)
    return {key: value for key, value in found.items() if key}


def _stems(phrase: str) -> tuple[str, ...]:
    words = re.findall(r"[^\W_]+", plain_text(phrase).lower())
    return tuple(stem(_american(word)) for word in words)


@lru_cache(maxsize=1)
def _first_words() -> dict[str, int]:
    longest: dict[str, int] = {}
    for key in _phrases():
        longest[key[0]] = max(longest.get(key[0], 0), len(key))
    return longest


def _join_names(tokens: list[Token]) -> list[Token]:
    """Known names of one or several words become one token each."""
    first, phrases = _first_words(), _phrases()
    stems = [token.norm for token in tokens]
    joined: list[Token] = []
    at = 0
    while at < len(tokens):
        for size in range(min(first.get(stems[at], 0), len(tokens) - at), 0, -1):
            known = phrases.get(tuple(stems[at : at + size]))
            if known is not None:
                surface = " ".join(token.surface for token in tokens[at : at + size])
                joined.append(Token(known[0], surface, Sort.NAME, WEIGHT_NAME, named=known[1]))
                at += size - 1
                break
        else:
            joined.append(tokens[at])
        at += 1
    return joined
