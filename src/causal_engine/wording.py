"""How are numbers and column names put into plain words?"""

from __future__ import annotations

import math

from src.causal_engine.results import EffectEstimate, Interval
from src.causal_engine.spec import CausalSpec

MINUS = "\u2212"
ABSENT = "not available"
ACRONYMS = {"nrx": "NRx", "trx": "TRx", "nbrx": "NBRx", "hcp": "HCP", "roi": "ROI"}


def number(value: float | None) -> str:
    """Three significant digits, thousands separated, with a true minus sign ("−1,790", "0.0755")."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e12 or size < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa} × 10^{int(exponent)}"
    else:
        rounded = float(f"{value:.3g}") if size < 1000 else round(value)
        decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
        text = f"{rounded:,.{decimals}f}"
    return text.replace("-", MINUS)


def interval(ci: Interval) -> str:
    """ "a to b"."""
    return f"{number(ci.lower)} to {number(ci.upper)}"


def plain(column: str) -> str:
    """A column name as words: ``rep_calls`` → "rep calls", ``nrx`` → "NRx"."""
    words = column.replace("_", " ").split()
    return " ".join(ACRONYMS.get(word.lower(), word) for word in words) or column


def effect_unit(spec: CausalSpec, *, binary: bool, binary_outcome: bool = False) -> str:
    """What one unit of the effect is: "NRx per additional unit of rep calls", "in the probability of visit, …"."""
    outcome = f"in the probability of {plain(spec.outcome)}" if binary_outcome else plain(spec.outcome)
    if binary:
        return f"{outcome}, with versus without {plain(spec.treatment)}"
    return f"{outcome} per additional unit of {plain(spec.treatment)}"


def effect_sentence(estimate: EffectEstimate, unit: str) -> str:
    """Value, interval and unit of an estimate in one clause."""
    return f"{number(estimate.value)} {unit} (95 % interval {interval(estimate.ci)})"
