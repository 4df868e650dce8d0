"""Which sentences does a text consist of, and which of them claim something?"""

from __future__ import annotations

import re
from functools import lru_cache

from src.rag.heuristics.tokens import Token, tokenize

MAX_TOKENS = 80
"""A longer run without sentence end is cut, so that a text without punctuation is still judged in pieces."""
MAX_CLAIMS = 200
"""More claims than this are not compared: no answer is that long, and the work grows with their number."""

_END = re.compile(r"(?<=[.!?])[\"')\]]{0,3}\s+|\n+|;\s+|\s[•●▪]\s")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|prof|st|vs|no|fig|al|approx|e\.g|i\.e|u\.s|u\.k|inc|ltd|co|jr|sr|[a-z])\.$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_ITEM_NUMBER = re.compile(r"\d{1,2}\.")
_CITATION = re.compile(r"\[\d{1,3}(?:\s?,\s?\d{1,3}){0,9}\]")


@lru_cache(maxsize=2_048)
def sentences(text: str) -> tuple[str, ...]:
    """Sentences, list items and lines in order, without bullets; abbreviations and decimals end none."""
    found: list[str] = []
    held = ""
    for part in _END.split(text):
        held = f"{held} {part}".strip() if held else part.strip()
        if not _ABBREVIATED.search(held[-12:]) and not _ITEM_NUMBER.fullmatch(held):
            found.append(held)
            held = ""
    found.append(held)
    return tuple(bare for one in found if (bare := _BULLET.sub("", one).strip()))


@lru_cache(maxsize=1_024)
def sentence_tokens(text: str) -> tuple[tuple[Token, ...], ...]:
    """The tokens of each sentence; sentences without any are left out, overlong ones cut."""
    found: list[tuple[Token, ...]] = []
    for sentence in sentences(text):
        tokens = tokenize(sentence)
        found += [tokens[at : at + MAX_TOKENS] for at in range(0, len(tokens), MAX_TOKENS)]
    return tuple(found)


@lru_cache(maxsize=1_024)
def claims(answer: str) -> tuple[tuple[Token, ...], ...]:
    """The sentences of an answer that say something: with at least one token beyond grammar. Citations are dropped."""
    return tuple(one for one in sentence_tokens(_CITATION.sub(" ", answer)) if any(token.content for token in one))
