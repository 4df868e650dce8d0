"""Does an answer speak to the question and say something about it?

Similarity to the question is no measure: a poor answer repeats the question. A good one touches its terms, itself or
through the sentence of the contexts it draws on, and adds figures, names and words that the question does not hold.
Where there are contexts, only statements they support count, and of these only what stands in them: an invention adds
nothing. What only says that nothing is known adds nothing; another brand or region than the asked one halves the
value; repeating the contexts in place of choosing lowers it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.rag.heuristics.claims import claims
from src.rag.heuristics.commitment import committal_parts
from src.rag.heuristics.copying import kept_of_copy
from src.rag.heuristics.effort import too_much
from src.rag.heuristics.lexicon import VAGUE
from src.rag.heuristics.passages import Passages, Sentence, matches, passages, weights
from src.rag.heuristics.support import support_in
from src.rag.heuristics.tokens import Sort, Token, tokenize
from src.rag.scores import MetricScore

ENOUGH_TERMS = 0.4
"""Share of the question's weighted terms from which an answer counts as on the topic."""
DRAWN_ON = 0.8
"""What a term of the question counts that only the sentence holds which a statement draws on."""
DRAWN_FROM = 0.5
"""Share of a statement's weight that such a sentence holds."""
NEWS_SCALE = 1.2
"""New figures and names count 1, new words a half; this many make 63 % of full informativeness."""
BACKED_FROM = 0.25
"""Support from which a statement counts at all: far below that of a faithful one, above that of an invented one."""
WRONG_SORT = 0.75
"""Factor for an answer without a figure or date where the question asks for one."""
STRAYED = 0.5
"""Factor for an answer that speaks of another brand or region and leaves out an asked one."""
LONG_WORDS = 200
"""Words from which an answer is taken as less to the point, in proportion."""
_ASKS_FIGURE = (("how", "many"), ("how", "much"), ("how", "long"), ("what", "percentage"), ("what", "share"), ("when",))
_OWNERS = ("brand:", "region:")
_KINDS = (*_OWNERS, "measure:")


def answer_relevancy(question: str, answer: str, contexts: Sequence[str] = ()) -> MetricScore:
    """0–1 without calibration against people; 0 for an empty or non-committal answer; None without a question.

    None also where the answer is too long to be compared with the contexts in time.
    """
    asked = [token for token in tokenize(question) if token.content]
    if not asked:
        return MetricScore(None, "the question has no words to compare an answer with")
    if not tokenize(answer):
        return MetricScore(0.0, "the answer is empty")
    clauses, evasive = committal_parts(answer)
    said = [statement for clause in clauses for statement in claims(clause)]
    if not said:
        return MetricScore(0.0, "non-committal: the answer only says that nothing is known")
    texts = tuple(context for context in contexts if passages(context).sentences)
    read = list(map(passages, texts))
    if reason := too_much(said, read):
        return MetricScore(None, reason)
    backed = [one for one in said if not texts or support_in(one, texts).beyond_doubt >= BACKED_FROM]
    if not backed:
        return MetricScore(0.0, "no statement of the answer stands in the contexts; not calibrated against people")
    strayed = _strays(asked, backed, said)
    topic = _topic(asked, backed, [] if strayed else read)
    news = _news(asked, backed, read)
    length, kept = sum(map(len, said)), kept_of_copy(answer, texts)
    value = topic * news * len(backed) / (len(backed) + evasive) * (STRAYED if strayed else 1.0)
    value *= 1.0 if _right_sort(question, backed) else WRONG_SORT
    value *= min(1.0, LONG_WORDS / length) * kept
    parts = [f"question terms {topic:.0%} of enough", f"new information {news:.0%}"]
    parts += _lowered(evasive, len(said) - len(backed), length, strayed=strayed, copied=kept < 1)
    return MetricScore(value, "; ".join(parts) + "; not calibrated against people")


def _topic(asked: Sequence[Token], backed: Sequence[Sentence], read: Sequence[Passages]) -> float:
    """Share of enough of the question's terms that the statements hold, or the sentences they draw on."""
    terms = {token.norm: token.weight for token in asked}
    spoken = {token.norm for statement in backed for token in statement}
    if any(norm not in spoken for norm in terms):
        near = {token.norm for statement in backed for token in _drawn_on(statement, read)} - spoken
    else:
        near = set()
    covered = sum(weight * ((norm in spoken) + DRAWN_ON * (norm in near)) for norm, weight in terms.items())
    return min(1.0, covered / sum(terms.values()) / ENOUGH_TERMS)


def _drawn_on(statement: Sentence, read: Sequence[Passages]) -> Sentence:
    """The sentence of the contexts that holds most of a statement, where it holds at least half."""
    best = DRAWN_FROM
    found: Sentence = ()
    for context in read:
        held = matches(statement, context) @ weights(statement)
        at = int(held.argmax())
        if held[at] > best:
            best, found = float(held[at]), context.sentences[at]
    return found


def _news(asked: Sequence[Token], backed: Sequence[Sentence], read: Sequence[Passages]) -> float:
    """How informative the statements are; brands, regions and measures only where none is asked about."""
    known = {_kind(token) for token in asked}
    new = {
        _kind(token): token
        for statement in backed
        for token in statement
        if token.content and _kind(token) not in known and _stands(token, statement, read)
    }
    amount = sum(
        1.0 if token.named or token.sort is Sort.NUMBER else 0.0 if token.surface in VAGUE else 0.5
        for token in new.values()
    )
    return 1 - math.exp(-amount / NEWS_SCALE)


def _kind(token: Token) -> str:
    """What counts as one piece of news: all brands are the same, so that naming another one tells nothing more."""
    return next((kind for kind in _KINDS if token.norm.startswith(kind)), token.norm)


def _stands(token: Token, statement: Sentence, read: Sequence[Passages]) -> bool:
    return not read or any(context.has(token, statement) for context in read)


def _strays(asked: Sequence[Token], backed: Sequence[Sentence], said: Sequence[Sentence]) -> bool:
    """Whether an asked brand or region is missing and another one is spoken of."""
    for owner in _OWNERS:
        wanted = {token.norm for token in asked if token.norm.startswith(owner)}
        there = {token.norm for statement in backed for token in statement}
        spoken = {token.norm for statement in said for token in statement if token.norm.startswith(owner)}
        if wanted - there and spoken - wanted:
            return True
    return False


def _right_sort(question: str, backed: Sequence[Sentence]) -> bool:
    words = [token.surface for token in tokenize(question)]
    wanted = any(
        tuple(words[at : at + len(phrase)]) == phrase for phrase in _ASKS_FIGURE for at in range(min(len(words), 3))
    )
    return not wanted or any(token.sort is Sort.NUMBER for statement in backed for token in statement)


def _lowered(evasive: int, unbacked: int, length: int, *, strayed: bool, copied: bool) -> list[str]:
    parts = []
    if evasive:
        parts.append(f"{evasive} non-committal part{'s' if evasive > 1 else ''}")
    if unbacked:
        parts.append(f"{unbacked} statement{'s' if unbacked > 1 else ''} without support left out")
    if length > LONG_WORDS:
        parts.append(f"{length} words, more than {LONG_WORDS}")
    if strayed:
        parts.append("another brand or region than the asked one")
    if copied:
        parts.append("much of the contexts repeated")
    return parts
