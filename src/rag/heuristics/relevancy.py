"""Does an answer speak to the question and say something about it?

Similarity to the question is no measure: a poor answer repeats the question. A good one touches its terms and adds
figures, names and words that the question does not hold. What only says that nothing is known adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.rag.heuristics.claims import sentence_tokens
from src.rag.heuristics.commitment import committal_parts
from src.rag.heuristics.lexicon import VAGUE
from src.rag.heuristics.tokens import Sort, Token, tokenize
from src.rag.scores import MetricScore

ENOUGH_TERMS = 0.4
"""Share of the question's weighted terms from which an answer counts as on the topic."""
NEWS_SCALE = 1.2
"""New figures and names count 1, new words a half; this many make 63 % of full informativeness."""
WRONG_SORT = 0.75
"""Factor for an answer without a figure or date where the question asks for one."""
COPIED = 0.7
"""Factor for an answer of several sentences that repeats every context whole, in place of choosing."""
_SEVERAL = 3
LONG_WORDS = 200
"""Words from which an answer is taken as less to the point, in proportion."""
_ASKS_FIGURE = (("how", "many"), ("how", "much"), ("how", "long"), ("what", "percentage"), ("what", "share"), ("when",))


def answer_relevancy(question: str, answer: str, contexts: Sequence[str] = ()) -> MetricScore:
    """0–1 without calibration against people; 0 for an empty or non-committal answer; None without a question.

    The contexts serve only to see that an answer repeats all of them.
    """
    asked = [token for token in tokenize(question) if token.content]
    if not asked:
        return MetricScore(None, "the question has no words to compare an answer with")
    if not tokenize(answer):
        return MetricScore(0.0, "the answer is empty")
    said, evasive = committal_parts(answer)
    told = [token for clause in said for token in tokenize(clause)]
    if not any(token.content for token in told):
        return MetricScore(0.0, "non-committal: the answer only says that nothing is known")
    topic, news = _topic(asked, told), _news(asked, told)
    value = topic * news * len(said) / (len(said) + evasive)
    value *= 1.0 if _right_sort(question, told) else WRONG_SORT
    value *= min(1.0, LONG_WORDS / len(told))
    copied = _repeats_all(answer, contexts)
    return MetricScore(value * (COPIED if copied else 1.0), _reason(topic, news, evasive, len(told), copied))


def _repeats_all(answer: str, contexts: Sequence[str]) -> bool:
    """Whether every context stands in the answer; without a context left out, so that taking one away saves nobody."""
    said = {tuple(token.norm for token in sentence) for sentence in sentence_tokens(answer)}
    read = [found for found in map(sentence_tokens, contexts) if found]
    return (
        len(said) >= _SEVERAL
        and bool(read)
        and all(tuple(token.norm for token in sentence) in said for found in read for sentence in found)
    )


def _topic(asked: Sequence[Token], told: Sequence[Token]) -> float:
    spoken = {token.norm for token in told}
    weights = {token.norm: token.weight for token in asked}
    covered = sum(weight for norm, weight in weights.items() if norm in spoken) / sum(weights.values())
    return min(1.0, covered / ENOUGH_TERMS)


def _news(asked: Sequence[Token], told: Sequence[Token]) -> float:
    known = {token.norm for token in asked}
    new = {token.norm: token for token in told if token.content and token.norm not in known}
    amount = sum(
        1.0 if token.named or token.sort is Sort.NUMBER else 0.0 if token.surface in VAGUE else 0.5
        for token in new.values()
    )
    return 1 - math.exp(-amount / NEWS_SCALE)


def _right_sort(question: str, told: Sequence[Token]) -> bool:
    words = [token.surface for token in tokenize(question)]
    wanted = any(
        tuple(words[at : at + len(phrase)]) == phrase for phrase in _ASKS_FIGURE for at in range(min(len(words), 3))
    )
    return not wanted or any(token.sort is Sort.NUMBER for token in told)


def _reason(topic: float, news: float, evasive: int, length: int, copied: bool) -> str:
    parts = [f"question terms {topic:.0%} of enough", f"new information {news:.0%}"]
    if evasive:
        parts.append(f"{evasive} non-committal part{'s' if evasive > 1 else ''}")
    if length > LONG_WORDS:
        parts.append(f"{length} words, more than {LONG_WORDS}")
    if copied:
        parts.append("every context repeated whole")
    return "; ".join(parts) + "; not calibrated against people"
