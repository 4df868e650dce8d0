"""Does a text speak of cause and effect, or of proof, without denying it? One reading for all that is narrated."""

from __future__ import annotations

import re

PROOF = re.compile(
    r"\bprov(?:es?|ed|en|ing)\b|\bproofs?\b|\b(?:certainly|definitely|undoubtedly|unquestionably|guarantee[sd]?)\b"
    r"|\b(?:beyond|without)(?: (?:a|any|all))?(?: (?:reasonable|shadow of a))? (?:doubt|question)\b"
    r"|\bno (?:doubt|question)\b",
    re.IGNORECASE,
)
CAUSAL = re.compile(
    r"\b(?:causes|caused|causing|drives?|drove|driven|driving|due to|owing to|leads? to|led to|leading to|results? in"
    r"|resulted in|resulting in|as a result of|because of|thanks to|attributable to|responsible for|drivers? of"
    r"|makes? the difference|br(?:ings?|ought) about|boost(?:s|ed|ing)?|propel(?:s|led|ling)?|fuel(?:s|ed|led|ling)?"
    r"|spur(?:s|red|ring)?|lift(?:s|ed)(?= (?:\w+ ){0,3}(?:nrx|trx|nbrx|scripts|prescriptions|prescribing)\b))\b"
    r"|(?<!\bcommon )(?<!\bhidden )(?<!\ba )(?<!\bthe )(?<!\bno )(?<!\bany )(?<!\bof )\bcause\b(?! of)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not?|never|nor|neither|cannot|without|whether|nothing|nobody)\b|n't\b|\bassociation only\b", re.IGNORECASE
)
_EMPHATIC = re.compile(
    r"\b(?:no|without(?: an?| any)?|beyond(?: any| all| a)?) (?:doubt|question|surprise|wonder)\b"
    r"|\bnot (?:only|just|merely|least)\b|\bnothing (?:but|other than|else than)\b|\bno (?:less|fewer) than\b"
    r"|\bnone other than\b",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"(?<=[.!?;:])\s+|,?\s+\b(?:but|yet|however|although|though)\b\s+", re.IGNORECASE)


def claims_proof(text: str) -> bool:
    """Whether a clause promises proof or certainty without denying it."""
    return undenied(PROOF, text)


def claims_cause(text: str) -> bool:
    """Whether a clause speaks of causes without denying them."""
    return undenied(CAUSAL, text)


def undenied(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a clause holds what the pattern says and denies it nowhere before: "no doubt" denies nothing."""
    return any(
        denies(clause[: found.end()]) is False for clause in _CLAUSES.split(text) for found in pattern.finditer(clause)
    )


def denies(text: str) -> bool:
    """Whether a text denies something; words that only stress it do not count."""
    return _DENIED.search(_EMPHATIC.sub("", text)) is not None
