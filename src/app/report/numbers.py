"""How are numbers, intervals, times and columns written for a reader?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from src.causal_engine.results import EffectEstimate
from src.causal_engine.spec import CausalSpec
from src.causal_engine.wording import ABSENT, MINUS, effect_unit, interval, number

__all__ = [
    "ABSENT",
    "MINUS",
    "columns",
    "controls",
    "count",
    "effect",
    "interval",
    "moment",
    "number",
    "p_value",
    "percent",
    "shorten",
    "units_of",
]

_MOST_LISTED = 6


def count(value: int | None) -> str:
    """An exact whole number with thousands separated."""
    return ABSENT if value is None else f"{value:,}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal."""
    if share is None or not math.isfinite(share):
        return ABSENT
    return f"{100 * share:.1f} %".replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p-value with three decimals, or "< 0.001"."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return "<\u00a00.001" if value < 0.001 else f"{value:.3f}"


def effect(estimate: EffectEstimate, units: str) -> str:
    """An estimate with units and 95 % interval."""
    return f"{number(estimate.value)} {units} (95 % interval {interval(estimate.ci)})"


def columns(names: Sequence[str], *, most: int | None = None) -> str:
    """Column names joined by commas; beyond ``most`` only their number is told."""
    if not names:
        return "nothing"
    if most is None or len(names) <= most:
        return ", ".join(names)
    return ", ".join(names[:most]) + f" and {len(names) - most} more"


def controls(names: Sequence[str], reference: Sequence[str]) -> str:
    """Columns adjusted for; a long list is told by its difference from ``reference``, the primary's columns."""
    if len(names) <= _MOST_LISTED:
        return columns(names)
    without = [name for name in reference if name not in names]
    beside = [name for name in names if name not in reference]
    if len(without) + len(beside) > _MOST_LISTED:
        return columns(names, most=3)
    parts = (f" without {columns(without)}" if without else "", f" and {columns(beside)}" if beside else "")
    return "as primary" + "".join(parts)


def moment(when: datetime | None) -> str:
    """A UTC time to the second."""
    return ABSENT if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def shorten(name: str, width: int) -> str:
    """``name`` cut in the middle to at most ``width`` characters, so that both ends stay readable."""
    name = " ".join(name.split())
    if len(name) <= width:
        return name
    head = (width - 1) * 2 // 3
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def units_of(understood: Mapping[str, Any], treatment: str, outcome: str, *, two_arms: bool) -> str:
    """What one unit of the effect is ("nrx per call"), as stated with the question or from the column names."""
    stated = understood.get("units")
    if isinstance(stated, str) and stated:
        return stated
    return effect_unit(CausalSpec(treatment, outcome), binary=two_arms)
