"""Is the model better than no model? The first thing a reader is told, and no more than the test split shows."""

from __future__ import annotations

from dataclasses import dataclass

from src.app.model_card.card import ModelCard, Tone
from src.causal_engine.wording import number


@dataclass(frozen=True, slots=True)
class Verdict:
    """In a word, with a colour, and what follows from it."""

    tone: Tone
    words: str
    headline: str
    meaning: str


MEANING: dict[Tone, str] = {
    "supported": "On rows it never saw, the model predicts better than the baseline, by more than chance explains.",
    "caution": "On rows it never saw, the model is not shown to be better than the baseline: chance may explain it.",
    "stop": "Nothing may be decided by this model.",
}


def verdict(card: ModelCard) -> Verdict:
    """The model against the baseline, by the interval of its metric on the test split."""
    tone = _tone(card)
    words = {"supported": "Better than the baseline", "caution": "Not shown to be better than the baseline"}
    return Verdict(tone, words.get(tone, "No better than the baseline"), _headline(card), MEANING[tone])


def metric_text(card: ModelCard, name: str) -> str:
    """A metric on the test split with its interval."""
    value = card.metrics.get("test", {}).get(name)
    if value is None:
        return f"{name} is not known on the test split"
    bounds = card.intervals.get(name)
    shown = "" if bounds is None else f" (95 % interval {number(bounds[0])} to {number(bounds[1])})"
    return f"{name} {number(value)}{shown}"


def _headline(card: ModelCard) -> str:
    if card.primary_metric is None:
        return "The model was not measured."
    to_beat = card.baseline.to_beat if card.baseline is not None else None
    beside = "" if to_beat is None or card.baseline is None else f"; baseline {card.baseline.metric} {number(to_beat)}"
    return f"{metric_text(card, card.primary_metric)}{beside}."


def _tone(card: ModelCard) -> Tone:
    """A metric that was written so that more is better, or turned round, against what is to be beaten."""
    if card.baseline is None or card.baseline.to_beat is None:
        return "caution"
    name, sign = card.baseline.metric, -1.0 if card.direction == "minimize" else 1.0
    found = _signed(card, name, sign)
    if found is None:
        return "caution"
    value, low = found
    beaten = sign * card.baseline.to_beat
    return "stop" if value <= beaten else "supported" if low > beaten else "caution"


def _signed(card: ModelCard, name: str, sign: float) -> tuple[float, float] | None:
    """The value and the worse end of its interval (the value itself without one), more being better."""
    metrics = card.metrics.get("test", {})
    if name not in metrics and name.startswith("neg_") and name.removeprefix("neg_") in metrics:
        name, sign = name.removeprefix("neg_"), -1.0
    if name not in metrics:
        return None
    value = sign * metrics[name]
    return value, min((sign * bound for bound in card.intervals.get(name, ())), default=value)
