"""Is an answer right, and was it given in time?

Gold: ``answer``, ``max_latency_ms``. Prediction: ``answer``, ``latency_ms``.
"""

from __future__ import annotations

from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, text_of, words


def standard_parts(gold: Any, pred: Any) -> Parts:
    """Accuracy always; latency where limit and time are known, and as far as the answer is right."""
    answer, right = text_of(pred, "answer"), text_of(gold, "answer")
    accuracy = _accuracy(answer, right)
    limit, took = gold.get("max_latency_ms", None), pred.get("latency_ms", None)
    if limit is None or took is None:
        return {"accuracy": accuracy}
    return {"accuracy": accuracy, "latency": _latency(float(took), float(limit), accuracy.score)}


def _accuracy(answer: str, right: str) -> Part:
    """F1 of the words; 1 for the same text in other letters."""
    said, wanted = words(answer), words(right)
    if answer.strip().lower() == right.strip().lower() and answer.strip():
        return Part(1.0)
    both = len(said & wanted)
    score = 2 * both / (len(said) + len(wanted)) if both else 0.0
    return Part(score, f"'{answer[:80]}' instead of '{right[:80]}'")


def _latency(took_ms: float, limit_ms: float, right: float) -> Part:
    score = min(1.0, limit_ms / took_ms) if took_ms > 0 else 1.0
    return Part(score * right, f"it took {took_ms:.0f} ms and may take {limit_ms:.0f} ms" if took_ms > limit_ms else "")
