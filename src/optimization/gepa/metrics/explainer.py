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
    """The three parts. An explanation that says nothing of its findings scores nothing, however clear it is."""
    answer = text_of(pred, "answer") or text_of(pred, "explanation")
    findings = text_of(gold, "findings")
    coverage = share_mentioned(answer, [str(one) for one in list_of(gold, "must_mention")], "explanation")
    if not answer.strip():
        return _nothing("there is no explanation")
    if not (coverage is not None and coverage.score) and not _figures(answer) & _figures(findings):
        return _nothing("it says nothing of the findings")
    return {
        "clarity": _clarity(answer, str(gold.get("reader", "analyst"))),
        "accuracy": _accuracy(answer, findings),
        "coverage": coverage,
    }


def _nothing(why: str) -> Parts:
    return dict.fromkeys(("clarity", "accuracy", "coverage"), Part(0.0, why))


def _clarity(answer: str, reader: str) -> Part:
    sentences = [one for one in _SENTENCE.split(answer.strip()) if one]
    long = [one for one in sentences if len(one.split()) > LONGEST_SENTENCE]
    jargon = [word for word in _JARGON if word in answer.lower()] if reader == "executive" else []
    wrong = [f"{len(long)} of {len(sentences)} sentences are longer than {LONGEST_SENTENCE} words"] if long else []
    wrong += [f"an executive does not know {', '.join(jargon)}"] if jargon else []
    score = 1 - 0.7 * len(long) / len(sentences) - min(0.3, 0.1 * len(jargon))
    return Part(max(0.0, score), "; ".join(wrong))


def _accuracy(answer: str, findings: str) -> Part:
    """The share of its figures that are of the findings; of findings with figures it has to give one."""
    known, said = _figures(findings), _figures(answer)
    invented = sorted(said - known)
    certain = [word for word in _CERTAIN if word in answer.lower()]
    wrong = [f"numbers that are not in the findings: {', '.join(invented)}"] if invented else []
    wrong += [f"more certain than the findings: {', '.join(certain)}"] if certain else []
    wrong += ["none of the findings' figures is given"] if known and not said else []
    score = 1 - len(invented) / len(said) if said else float(not known)
    return Part(score * (0.5 if certain else 1.0), "; ".join(wrong))


def _figures(text: str) -> set[str]:
    return {one.replace(",", "").rstrip(".") for one in _NUMBER.findall(text)}
