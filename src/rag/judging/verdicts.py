"""Did the judge do what it was asked, or is the score one of half the work?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from src.rag.judging.ragas_adapter import Exchange
from src.rag.scores import Metric, MetricScore, unmeasured

DRAWS = 3
"""Questions that answer relevancy generates from an answer."""
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])|\n+")
_WORDS_OF_SENTENCE = 3
"""Fewer are taken for an abbreviation, a heading or a list number, for which a judge need not give a verdict."""


def judged(metric: Metric, value: float, exchange: Exchange, *, reference: str | None = None) -> MetricScore:
    """The score with what it rests on, or why it is none. ``reference``: the ground truth that was judged against.

    RAGAS divides by the verdicts that came back: fewer or more than were asked for, verdicts other than 0 and 1, and
    scores from nothing at all are unmeasured here. So is recall from less than half the sentences of the ground
    truth: judges join short ones, but do not leave out most.
    """
    summary, problem = _CHECKS[metric](exchange)
    if problem is None and metric == "context_recall":
        problem = _left_out(exchange, reference or "")
    if problem is not None:
        return unmeasured(problem)
    if not math.isfinite(value):
        return unmeasured("no score came out: the judge returned nothing that could be counted")
    # Average precision carries RAGAS's 1e-10 in its denominator, a cosine may leave the interval by rounding.
    return MetricScore(round(min(1.0, max(0.0, value)), 6), summary)


_Check = tuple[str, str | None]


def _faithfulness(exchange: Exchange) -> _Check:
    sent = _count(exchange.of("StatementGeneratorOutput"), "statements")
    verdicts = [one.verdict for reply in exchange.of("NLIStatementOutput") for one in reply.statements]
    if not sent:
        return "", "no statement was found in the answer"
    if len(verdicts) != sent:
        return "", f"{len(verdicts)} of {sent} statements were judged"
    return f"{sum(verdicts)} of {sent} statements are supported", _binary(verdicts)


def _relevancy(exchange: Exchange) -> _Check:
    replies = exchange.of("AnswerRelevanceOutput")
    asked = [one for one in replies if one.question]
    evasive = [one.noncommittal for one in asked]
    if not asked:
        return "", "no question was generated from the answer"
    if problem := _binary(evasive):
        return "", problem
    if len(asked) != DRAWS:
        return "", f"{len(asked)} of {DRAWS} questions were generated from the answer"
    if all(evasive):
        return "the answer commits to nothing", None
    return f"mean likeness of {DRAWS} generated questions to the question", None


def _precision(exchange: Exchange) -> _Check:
    verdicts = [one.verdict for one in exchange.of("ContextPrecisionOutput")]
    return f"{sum(verdicts)} of {len(verdicts)} contexts are useful, weighted by rank", _binary(verdicts)


def _recall(exchange: Exchange) -> _Check:
    verdicts = [one.attributed for reply in exchange.of("ContextRecallOutput") for one in reply.classifications]
    if not verdicts:
        return "", "no statement of the ground truth was judged"
    return f"{sum(verdicts)} of {len(verdicts)} statements of the ground truth are in the contexts", _binary(verdicts)


def _left_out(exchange: Exchange, reference: str) -> str | None:
    judged_ones = _count(exchange.of("ContextRecallOutput"), "classifications")
    parts = [part for part in _SENTENCE_END.split(reference) if len(part.split()) >= _WORDS_OF_SENTENCE]
    if 2 * judged_ones >= len(parts):
        return None
    return f"{judged_ones} statements of the ground truth were judged, it has {len(parts)} sentences"


def _correctness(exchange: Exchange) -> _Check:
    of_answer, of_truth = (len(one.statements) for one in exchange.of("StatementGeneratorOutput"))
    if not of_answer or not of_truth:
        return "", f"no statement was found in the {'answer' if not of_answer else 'ground truth'}"
    (sorted_out,) = exchange.of("ClassificationWithReason")
    right, wrong, missed = len(sorted_out.TP), len(sorted_out.FP), len(sorted_out.FN)
    if right + wrong != of_answer:
        return "", f"{right + wrong} of {of_answer} statements were judged"
    if missed > of_truth:
        return "", f"{missed} statements are said to be missing, the ground truth has {of_truth}"
    return f"{right} statements are right, {wrong} are not, {missed} are missing", None


_CHECKS: dict[Metric, Callable[[Exchange], _Check]] = {
    "faithfulness": _faithfulness,
    "answer_relevancy": _relevancy,
    "context_precision": _precision,
    "context_recall": _recall,
    "answer_correctness": _correctness,
}


def _count(replies: list[Any], name: str) -> int:
    return sum(len(getattr(reply, name)) for reply in replies)


def _binary(verdicts: Iterable[int]) -> str | None:
    strange = sorted({verdict for verdict in verdicts if verdict not in (0, 1)})
    return f"a verdict is {strange[0]}, neither 0 nor 1" if strange else None
