"""How are numbers and column names put into plain words?"""

from __future__ import annotations

import math

from src.causal_engine.results import EffectEstimate, Interval
from src.causal_engine.spec import CausalSpec

ACRONYMS = {"nrx": "NRx", "trx": "TRx", "nbrx": "NBRx", "hcp": "HCP", "roi": "ROI"}


def number(value: float) -> str:
    """Three significant digits, a true minus sign, thousands separated."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    magnitude = abs(value)
    digits = 0 if magnitude >= 100 else max(0, 2 - math.floor(math.log10(magnitude)))
    text = f"{magnitude:,.{min(digits, 8)}f}"
    return f"−{text}" if value < 0 and float(text.replace(",", "")) != 0 else text


def interval(ci: Interval) -> str:
    """ "a to b"."""
    return f"{number(ci.lower)} to {number(ci.upper)}"


def plain(column: str) -> str:
    """A column name as words: ``rep_calls`` → "rep calls", ``nrx`` → "NRx"."""
    words = column.replace("_", " ").split()
    return " ".join(ACRONYMS.get(word.lower(), word) for word in words) or column


def effect_unit(spec: CausalSpec, *, binary: bool) -> str:
    """What one unit of the effect is: "NRx per additional rep call" or "NRx, with against without"."""
    if binary:
        return f"{plain(spec.outcome)}, with against without {plain(spec.treatment)}"
    return f"{plain(spec.outcome)} per additional unit of {plain(spec.treatment)}"


def effect_sentence(estimate: EffectEstimate, unit: str) -> str:
    """Value, interval and unit of an estimate in one clause."""
    return f"{number(estimate.value)} {unit} (95 % interval {interval(estimate.ci)})"
