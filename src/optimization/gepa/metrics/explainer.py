"""Is an explanation clear, does it say only what the findings say, and does it cover them?

Gold: ``findings`` (text or JSON), ``must_mention`` points, ``reader`` (executive, analyst, data_scientist). Prediction:
``answer`` (or ``explanation``).
"""

from __future__ import annotations

import re
from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, list_of, share_mentioned, text_of

LONGEST_SENTENCE = 25
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_JARGON = (
    "heteroskedastic",
    "propensity",
    "doubly robust",
    "standard error",
    "p-value",
    "covariate",
    "estimand",
    "logit",
)
_CERTAIN = ("proves", "proven", "certainly", "definitely", "guarantee", "without doubt")


def explainer_parts(gold: Any, pred: Any) -> Parts:
    """The three parts; an empty explanation scores nothing."""
    answer = text_of(pred, "answer") or text_of(pred, "explanation")
    if not answer.strip():
        nothing = Part(0.0, "there is no explanation")
        return {"clarity": nothing, "accuracy": nothing, "coverage": nothing}
    return {
        "clarity": _clarity(answer, str(gold.get("reader", "analyst"))),
        "accuracy": _accuracy(answer, text_of(gold, "findings")),
        "coverage": share_mentioned(answer, [str(one) for one in list_of(gold, "must_mention")], "explanation"),
    }


def _clarity(answer: str, reader: str) -> Part:
    sentences = [one for one in _SENTENCE.split(answer.strip()) if one]
    long = [one for one in sentences if len(one.split()) > LONGEST_SENTENCE]
    jargon = [word for word in _JARGON if word in answer.lower()] if reader == "executive" else []
    wrong = [f"{len(long)} of {len(sentences)} sentences are longer than {LONGEST_SENTENCE} words"] if long else []
    wrong += [f"an executive does not know {', '.join(jargon)}"] if jargon else []
    score = 1 - 0.7 * len(long) / len(sentences) - min(0.3, 0.1 * len(jargon))
    return Part(max(0.0, score), "; ".join(wrong))


def _accuracy(answer: str, findings: str) -> Part:
    known = {_plain(one) for one in _NUMBER.findall(findings)}
    said = [_plain(one) for one in _NUMBER.findall(answer)]
    invented = sorted({one for one in said if one not in known})
    certain = [word for word in _CERTAIN if word in answer.lower()]
    wrong = [f"numbers that are not in the findings: {', '.join(invented)}"] if invented else []
    wrong += [f"more certain than the findings: {', '.join(certain)}"] if certain else []
    score = 1.0 if not said else 1 - len([one for one in said if one in invented]) / len(said)
    return Part(score * (0.5 if certain else 1.0), "; ".join(wrong))


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")
