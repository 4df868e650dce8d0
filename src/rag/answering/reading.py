"""What does a text speak of: which measures, and which brands, regions, periods and other names tie it down?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from src.domain.vocabulary import load_vocabulary
from src.rag.heuristics.lexicon import FALLING, MONTHS, RISING
from src.rag.heuristics.tokens import WEIGHT_NAME, Sort, Token, stem, tokenize

BRAND, REGION, PERIOD, YEAR = "brand", "region", "period", "year"
SPECIALTY, INDICATION, NUMBER, NAME = "specialty", "indication", "number", "name"
MEASURE = "measure:"
OVERRIDING = (BRAND, REGION, PERIOD, YEAR)
"""A sentence that names one of these itself is about that one, whatever it stands under."""

NATIONAL = "region:national"
_NATIONAL = frozenset({"nationally", "national", "nationwide", "countrywide"})
_PERIOD = re.compile(r"q[1-4]|h[12]|fy\d{2,4}")
_PREFIXES = (BRAND, REGION, SPECIALTY, INDICATION)
_MONTHS = frozenset(MONTHS.values())
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_OF_PRESCRIPTIONS = ("measure:trx", "measure:nrx", "measure:nbrx")

RISES, FALLS, MOVES, EFFECT = "moves:up", "moves:down", "moves", "effect"
_DRIVES = frozenset(["drive", "drives", "drove", "driven", "driving", "driver", "drivers"])
_EFFECTS = frozenset(
    ["effect", "effects", "affect", "affects", "affected"]
    + ["impact", "impacts", "impacted", "influence", "influences", "influenced"]
)

Facts = Mapping[str, frozenset[str]]


@lru_cache(maxsize=4_096)
def read(text: str) -> tuple[Token, ...]:
    """The tokens of a text, with the KPIs and the foreign brands and regions of the vocabulary as one token each."""
    return tuple(_joined(tokenize(text)))


def said(tokens: Sequence[Token], text: str = "") -> frozenset[str]:
    """The forms by which tokens are compared, of those that say more than grammar.

    With ``text`` the single words of a KPI's name count too ("share" stands in "market share").
    """
    norms = {token.norm for token in tokens if token.content}
    norms |= {token.norm for token in tokenize(text) if token.content}
    if norms & set(_OF_PRESCRIPTIONS):
        norms.add(stem("prescriptions"))
    return frozenset(norms.union(*map(senses, tokens)))


def senses(token: Token) -> frozenset[str]:
    """What a word of moving or of effect means, whatever its form: "fell" and "decline" are both a fall."""
    if token.surface in RISING or token.surface in _DRIVES:
        return frozenset({MOVES, RISES})
    if token.surface in FALLING:
        return frozenset({MOVES, FALLS})
    return frozenset({EFFECT}) if token.surface in _EFFECTS else frozenset()


def kind(token: Token) -> str | None:
    """What a token ties a statement to; None for one that ties it to nothing."""
    prefix = token.norm.partition(":")[0] if ":" in token.norm else ""
    if prefix in _PREFIXES:
        return prefix
    if token.norm in _MONTHS and token.named or _PERIOD.fullmatch(token.norm):
        return PERIOD
    if token.sort is Sort.NUMBER:
        return YEAR if _is_year(token) else NUMBER
    return NAME if token.named else None


def facts(tokens: Sequence[Token]) -> Facts:
    """What ties a statement down, by kind."""
    found: dict[str, set[str]] = {}
    for token in tokens:
        if (one := kind(token)) is not None:
            found.setdefault(one, set()).add(token.norm)
    return {one: frozenset(norms) for one, norms in found.items()}


def measures(tokens: Sequence[Token]) -> frozenset[str]:
    """The measures and KPIs that are named."""
    return frozenset(token.norm for token in tokens if token.norm.startswith(MEASURE))


def _is_year(token: Token) -> bool:
    return token.norm.isdigit() and len(token.surface) == 4 and _FIRST_YEAR <= int(token.norm) <= _LAST_YEAR


def _joined(tokens: Sequence[Token]) -> Iterator[Token]:
    phrases, longest = _phrases()
    at = 0
    while at < len(tokens):
        size, norm = _longest(tokens, at, phrases, longest)
        if norm is not None:
            surface = " ".join(token.surface for token in tokens[at : at + size])
            yield Token(norm, surface, Sort.NAME, WEIGHT_NAME, named=not norm.startswith(MEASURE))
        else:
            yield _national(tokens[at])
        at += size


def _longest(
    tokens: Sequence[Token], at: int, phrases: Mapping[tuple[str, ...], str], longest: int
) -> tuple[int, str | None]:
    for size in range(min(longest, len(tokens) - at), 0, -1):
        norm = phrases.get(tuple(token.norm for token in tokens[at : at + size]))
        if norm is not None:
            return size, norm
    return 1, None


def _national(token: Token) -> Token:
    if token.surface in _NATIONAL:
        return Token(NATIONAL, token.surface, Sort.NAME, WEIGHT_NAME, named=True)
    return token


@lru_cache(maxsize=1)
def _phrases() -> tuple[dict[tuple[str, ...], str], int]:
    """Names as the forms of their words, what each stands for, and the number of words of the longest."""
    vocabulary = load_vocabulary()
    named = [(phrase, f"{BRAND}:{phrase}") for phrase in vocabulary.foreign.brands]
    named += [(phrase, f"{REGION}:{phrase}") for phrase in vocabulary.foreign.regions]
    named += [(phrase, f"{MEASURE}{kpi.canonical.lower()}") for kpi in vocabulary.kpis for phrase in kpi.phrases]
    found: dict[tuple[str, ...], str] = {}
    for phrase, norm in named:
        words = tuple(token.norm for token in tokenize(phrase) if token.content)
        if words:
            found.setdefault(words, norm)
    return found, max(map(len, found))
