"""Can the claims of an answer be traced? By citations that exist, speak of the same matter and carry the figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from src.agents.feedback_learner.evaluation.rubric_heuristic_action import is_step
from src.agents.feedback_learner.evaluation.rubric_heuristic_causal import ASSOCIATES, CAUSES, LIMITS
from src.agents.feedback_learner.evaluation.rubric_heuristic_regulatory import is_caveat
from src.agents.feedback_learner.evaluation.rubric_heuristic_text import (
    CITATION,
    Reading,
    Sentence,
    content_words,
    stem,
)
from src.agents.feedback_learner.evaluation.rubric_heuristic_uncertainty import is_reservation
from src.contracts.enums import Brand
from src.domain.rubric import CriterionScore

_NAMED = re.compile(
    r"\b(?:chunk|path|run|document|doc|source|row|table)[s]?[ :#=_-]+(?=[\w.:-]*\d)([a-z0-9][\w.:/-]{2,60})",
    re.IGNORECASE,
)
_SOURCE_IN_WORDS = re.compile(
    r"\b(?:according to|source[sd]?\b|as reported|based on (?:the|our)|the (?:report|panel|run|dashboard|table"
    r"|data) (?:shows?|says?))"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# A figure of its own: not the 2 of Q2.
_FIGURE = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_MISSING = re.compile(r"\b(?:no|none|not|nothing|nobody|without|lack\w*|missing|cannot|neither)\b|n't\b")
_SOURCES = re.compile(r"\b(?:documents?|corpus|sources?|data|figures?|passages?)\b")
# Of a claim's words besides its brands.
_LEAST_SHARED = 0.4
_BRANDS = frozenset(stem(brand.lower()) for brand in Brand)
# Citations that nobody can look up.
_UNVERIFIED = 3.9


@dataclass(frozen=True, slots=True)
class _Claim:
    sentence: Sentence
    key: bool
    support: float
    """0 not cited, -1 cited in vain, 0.5 cited without all of its figures, 1 cited."""
    traced: bool


def evidence_chain(reading: Reading) -> CriterionScore:
    """Anchors: no evidence, unrelated evidence, some claims cited, all key claims, each claim traceable.

    An answer that declines has no claims to cite; it is asked whether it says what is missing.
    """
    if reading.context.declined:
        return _declining(reading)
    asserted = [one for one in reading.sentences if _is_claim(one)]
    # An answer of reservations alone, as the definition of one, is about them.
    asserted = asserted or [one for one in reading.sentences if CITATION.search(one.plain)]
    claims = [_claim(one, reading) for one in asserted]
    supported = [one for one in claims if one.support > 0]
    if not supported:
        return _without_support(reading, claims)
    keys = [one for one in claims if one.key] or claims
    key_share = sum(max(one.support, 0.0) for one in keys) / len(keys)
    share = sum(max(one.support, 0.0) for one in claims) / len(claims)
    in_vain = sum(one.support < 0 for one in claims)
    score = 2.5 + 1.4 * key_share
    if key_share > 0.99:
        traced = sum(one.traced for one in supported) / len(supported)
        score = 4.0 + 0.4 * share + 0.6 * traced * (share > 0.99)
    if not (reading.context.contexts or reading.context.evidence) and not any(one.traced for one in supported):
        score = min(score, _UNVERIFIED)
    score -= 0.3 * (in_vain > 0)
    said = f"{len(supported)} of {len(claims)} claims cited" + (f", {in_vain} in vain" if in_vain else "")
    return CriterionScore(max(2.0, score), said, supported[0].sentence.quote)


def _declining(reading: Reading) -> CriterionScore:
    asked = content_words(reading.context.query)
    for one in reading.all_sentences:
        if one.has(_MISSING) and (one.has(_SOURCES) or one.content & asked):
            return CriterionScore(5.0, "claims nothing and says what is missing", one.quote)
    return CriterionScore(2.0, "declines without saying what is missing")


def _without_support(reading: Reading, claims: list[_Claim]) -> CriterionScore:
    in_vain = next((one for one in claims if one.support < 0), None)
    if in_vain is not None:
        return CriterionScore(2.0, "what is cited does not bear on the claim or does not exist", in_vain.sentence.quote)
    if worded := reading.saying(_SOURCE_IN_WORDS):
        return CriterionScore(1.5, "a source is spoken of and none is cited", worded[0].quote)
    return CriterionScore(1.0, "nothing is cited")


def _is_claim(sentence: Sentence) -> bool:
    """Questions, steps, reservations, limits and caveats need no source."""
    if sentence.plain.endswith("?") or is_caveat(sentence) or is_reservation(sentence) or sentence.has(LIMITS):
        return False
    return not is_step(sentence) or bool(CITATION.search(sentence.plain))


def _claim(sentence: Sentence, reading: Reading) -> _Claim:
    key = bool(_NUMBER.search(sentence.bare)) or sentence.says(CAUSES) or sentence.says(ASSOCIATES)
    cited, exists = _cited(sentence, reading)
    if not cited:
        return _Claim(sentence, key, 0.0, False)
    if not exists:
        return _Claim(sentence, key, -1.0, False)
    texts = [text for text in exists if text]
    if not texts:
        known = bool(reading.context.evidence or reading.context.contexts)
        return _Claim(sentence, key, 1.0, known or _NAMED.search(sentence.plain) is not None)
    bearing = [text for text in texts if _bears_on(text, sentence)]
    carried = _carried_figures(bearing, sentence)
    if not bearing or not carried:
        return _Claim(sentence, key, -1.0, False)
    return _Claim(sentence, key, carried, True)


def _cited(sentence: Sentence, reading: Reading) -> tuple[bool, list[str]]:
    """Whether the sentence cites at all, and the texts of what it cites and exists ("" where the text is not known)."""
    contexts, evidence = reading.context.contexts, reading.context.evidence
    count = max(len(contexts), len(evidence))
    numbers = [int(number) for found in CITATION.findall(sentence.plain) for number in re.findall(r"\d+", found)]
    texts = [
        contexts[number - 1] if number <= len(contexts) else ""
        for number in numbers
        if 1 <= number <= count or (not count and number >= 1)
    ]
    named = _NAMED.findall(sentence.plain)
    texts += [_text_of(place, contexts) for place, one in enumerate(evidence) if _mentions(sentence.plain, one)]
    if named and not evidence:
        texts += [""] * len(named)
    return bool(numbers or named or texts), texts


def _text_of(place: int, contexts: Sequence[str]) -> str:
    return contexts[place] if place < len(contexts) else ""


def _mentions(text: str, identifier: str) -> bool:
    """An id in full, or the first eight characters of a long one."""
    known = identifier.lower().strip()
    shorter = known[:8] if len(known) >= 16 else known
    return bool(shorter) and not shorter.isdigit() and re.search(rf"(?<![\w-]){re.escape(shorter)}", text) is not None


def _bears_on(text: str, sentence: Sentence) -> bool:
    words, there = sentence.content, content_words(text)
    brands, brands_there = words & _BRANDS, there & _BRANDS
    if brands and brands_there and not brands & brands_there:
        return False
    named = words - _BRANDS or words
    return bool(named) and len(named & there) / len(named) >= _LEAST_SHARED


def _carried_figures(texts: list[str], sentence: Sentence) -> float:
    """1 where all figures of a sentence stand in what it cites, or it has none; 0.5 where some do, 0 where none does.

    A year that agrees carries nothing while other figures do not.
    """
    figures = {_plain(number) for number in _FIGURE.findall(sentence.bare)}
    given = {_plain(number) for text in texts for number in _NUMBER.findall(text)}
    if figures <= given:
        return 1.0
    telling = {one for one in figures if not _YEAR.fullmatch(one)} or figures
    return 0.5 if telling & given else 0.0


def _plain(number: str) -> str:
    """Without thousands separators."""
    return re.sub(r",(?=\d{3}\b)", "", number)
