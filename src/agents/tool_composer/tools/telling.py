"""How does a tool tell what it computed, so that every number of a sentence is one of its figures?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ToolInputs
from src.causal_engine.wording import MINUS, number, plain
from src.domain.findings import Figure, Statement, StatementKind

SHARE = "share"
NOT_SHOWN = "Small groups, and those that would reveal them, are not shown."


class Telling:
    """Figures and sentences of one tool run, all of the same evidence."""

    def __init__(self, inputs: ToolInputs) -> None:
        self._inputs = inputs
        self._figures: dict[str, Figure] = {}
        self._statements: list[Statement] = []

    def figure(
        self, name: str, value: float | None, unit: str, lower: float | None = None, upper: float | None = None
    ) -> str:
        """Record a figure, once per name, and return it in words; what is not finite is no figure."""
        if value is None or not math.isfinite(value):
            return number(None)
        low, high = _finite(lower), _finite(upper)
        if low is None or high is None:
            low = high = None
        self._figures[name] = Figure(name, float(value), unit, self._inputs.evidence, low, high)
        return in_words(value, unit, low, high)

    def say(self, kind: StatementKind, text: str) -> None:
        """Record a sentence on the tool's evidence, each once."""
        statement = Statement(kind, text, (self._inputs.evidence,))
        if statement not in self._statements:
            self._statements.append(statement)

    def output(self, summary: str, rows: Sequence[Mapping[str, Any]], n_rows: int, confidence: str = "") -> ToolOutput:
        """Everything that was told, and how sure the tool is of it (high, moderate, low) where it says so."""
        return ToolOutput(
            summary=summary,
            figures=tuple(self._figures.values()),
            statements=tuple(self._statements),
            rows=tuple(rows),
            n_rows=n_rows,
            query=self._inputs.query,
            confidence=confidence,
        )


def in_words(value: float, unit: str, lower: float | None = None, upper: float | None = None) -> str:
    """A value with its unit and 95 % interval: "12.3 % (95 % interval 10 to 14.7 %)"."""
    if unit == SHARE:
        value, lower, upper = (None if part is None else 100 * part for part in (value, lower, upper))  # type: ignore[assignment]
    sign = {SHARE: " %", "": ""}.get(unit, f" {unit}")
    if lower is None or upper is None:
        return f"{worded(value)}{sign}"
    return f"{number(value)}{sign} (95 % interval {number(lower)} to {number(upper)}{' %' if unit == SHARE else ''})"


def worded(value: float) -> str:
    """Whole numbers as such, others with three significant digits."""
    return number(value) if value != round(value) or abs(value) >= 1e9 else f"{round(value):,}".replace("-", MINUS)


def counted(n: int, one: str, many: str) -> str:
    """ "1 column", "3 columns"."""
    return f"{n:,} {one if n == 1 else many}"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Column names in plain words: "rep calls, NRx and decile"; the rest of a long list is said to be there."""
    words = [plain(name) for name in names[:limit]]
    if len(names) > limit:
        return ", ".join(words) + " and others"
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "none"


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
