"""What does a question say a unit costs, an outcome is worth, and how many extra there are to place?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from src.agents.tool_composer.amounts import COUNT, DIGITS, YEAR, value_of, without_times
from src.errors import QuestionNotUnderstood

_SIGNS = {"$": "USD", "usd": "USD", "dollar": "USD", "€": "EUR", "eur": "EUR", "euro": "EUR", "£": "GBP", "gbp": "GBP"}
_SIGNS |= {"dollars": "USD", "euros": "EUR", "pound": "GBP", "pounds": "GBP"}
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mio": 1e6, "million": 1e6}
_MONEY = (
    rf"(?P<sign>[$€£]|\b(?:usd|eur|gbp))?\s?(?P<count>{DIGITS})(?:\s?(?P<scale>k|thousand|mio|million|m)\b)?"
    r"(?:\s?(?P<word>usd|dollars?|eur|euros?|gbp|pounds?)\b)?"
    r"(?!\s?(?:%|percent|per cent|times|x\b|more|less|-\s?\d|to \d))(?![\w]|[.,]\d)"
)
_EACH = r"(?P<each>\s?(?:each|apiece|a piece)\b)?"
_ACTS = r"calls?|visits?|e-?mails?|samples?|programs?|programmes?|triggers?|alerts?|units?|opens?"
_OUTS = r"scripts?|prescriptions?|nrx|trx|nbrx"
_PATTERNS = tuple(
    (nouns, re.compile(pattern))
    for nouns in ("cost", "worth")
    for pattern in (
        (
            rf"(?P<single>\b(?:a|an|one|each|every|per) (?:[a-z]{{2,9}} )?)?\b(?P<noun>{_ACTS}) (?:that )?"
            rf"(?P<verb>costs?|at|for|priced at) (?:us )?{_MONEY}{_EACH}",
            rf"(?P<verb>)(?P<single>){_MONEY} (?:per|for each|for every|a|an|each) (?:rep |sales |speaker |drug )?"
            rf"(?P<noun>{_ACTS})\b(?P<each>)",
        )
        if nouns == "cost"
        else (
            rf"(?P<single>\b(?:a|an|one|each|every|per) (?:[a-z]{{2,9}} )?)?\b(?P<noun>{_OUTS}) "
            rf"(?P<verb>(?:is |are |being )?(?:worth|valued at)|at|is|brings|returns) (?:us )?{_MONEY}{_EACH}",
            rf"(?P<verb>)(?P<single>){_MONEY} (?:per|for each|for every|a|an|each) (?:new |total )?"
            rf"(?P<noun>{_OUTS})\b(?P<each>)",
        )
    )
)
_MAKES = re.compile(
    rf"\b(?:makes?|making|doing|does|with|at) (?P<count>{DIGITS}) (?:rep |sales )?(?:calls?|visits?)\b"
    rf"|\b(?P<other>{DIGITS}) (?:rep |sales )?(?:calls?|visits?) (?:per|for each|a|each) (?:sales )?rep\b"
)
_PEOPLE = r"(?:sales )?(?:reps?|representatives?|people|colleagues?|fte|ftes|headcount)"
_BESIDE = r"more |extra |additional |further |new "
_EXTRA = re.compile(
    rf"(?<![\w.,$€£-]){COUNT} (?P<beside>{_BESIDE})?(?:rep |sales |speaker |drug )?"
    rf"(?:(?P<people>{_PEOPLE})|(?P<noun>{_ACTS}))\b"
    r"(?P<after> (?:more|extra|in addition)\b)?"
    r"(?! (?:per|each|a|for each|costs?|returns?|brings?|pays?|made|have|has)\b)"
)
_ONE = re.compile(
    rf"\b(?:another |an? (?:{_BESIDE}))(?:rep |sales |speaker |drug )?(?:(?P<people>{_PEOPLE})|(?P<noun>{_ACTS}))\b"
)
_SPENT = re.compile(r"\b(?:cost|costs|price|priced|pay|paying|spend|spending|worth|value)\b[^.;?!]{0,20}$")
_MADE = re.compile(r"(?:makes?|making|doing|does|with|at|every|each|per)\s$")


@dataclass(frozen=True, slots=True)
class Price:
    """Money per one ``noun``, in the currency that is written, None where none is."""

    noun: str
    amount: float
    currency: str | None


@dataclass(frozen=True, slots=True)
class Extra:
    """How many extra there are to place, and whether these are people rather than units of what they do."""

    count: float
    people: bool
    words: str


def prices_of(words: str) -> tuple[tuple[Price, ...], tuple[Price, ...]]:
    """In lower-case words: what units cost, and what outcomes are worth; only money that is said to be so.

    A number is money with a currency, with "per" or "each", or where one unit costs it; a bare year never is. Raises
    QuestionNotUnderstood for two different prices of one thing.
    """
    found: dict[str, dict[str, Price]] = {"cost": {}, "worth": {}}
    for kind, pattern in _PATTERNS:
        for hit in pattern.finditer(words):
            price = _price(hit)
            if price is None:
                continue
            before = found[kind].setdefault(price.noun, price)
            if before.amount != price.amount:
                raise QuestionNotUnderstood(
                    f"the question names two prices of one {price.noun} ({before.amount:g} and {price.amount:g}); "
                    "name one"
                )
    return tuple(found["cost"].values()), tuple(found["worth"].values())


def _price(hit: re.Match[str]) -> Price | None:
    named = hit["sign"] or hit["word"]
    per_one = bool(hit["single"] and hit["verb"] not in ("at", "for", "is")) or bool(hit["each"])
    per_one |= not hit["verb"] and _SPENT.search(hit.string[: hit.start()]) is not None
    if not named and (not per_one or YEAR.fullmatch(hit["count"])):
        return None
    amount = value_of(hit["count"]) * _SCALES.get(hit["scale"] or "", 1.0)
    if amount <= 0:
        return None
    noun = re.sub(r"(?<=[a-z])s$", "", hit["noun"].replace("-", ""))
    return Price(noun, amount, _SIGNS[named] if named else None)


def calls_per_rep_of(words: str) -> float | None:
    """In lower-case words: how many calls one rep makes ("each rep makes 80 calls"), None where it is not said."""
    hit = _MAKES.search(without_times(words))
    if hit is None:
        return None
    count = hit["count"] or hit["other"]
    return None if YEAR.fullmatch(count) else value_of(count)


def extra_of(words: str) -> Extra | None:
    """In lower-case words: what a question has to place ("ten extra reps", "1,500 calls"), None without an amount.

    A year, a price, an average per head and one unit without "more" or "extra" are no such amount.
    """
    text = without_times(words)
    for hit in _EXTRA.finditer(text):
        more = bool(hit["beside"] or hit["after"])
        if not more and (hit["count"] == "one" or YEAR.fullmatch(hit["count"]) or _MADE.search(text[: hit.start()])):
            continue
        return Extra(value_of(hit["count"]), bool(hit["people"]), hit[0].strip())
    one = _ONE.search(text)
    return None if one is None else Extra(1.0, bool(one["people"]), one[0])


def price_for(prices: Sequence[Price], nouns: Sequence[str]) -> Price | None:
    """The price of a thing that goes by any of these names; that of a "unit" fits all."""
    plain = {noun.replace(" ", "") for noun in nouns} | {"unit"}
    return next((one for one in prices if one.noun in plain), None)
