"""What does a unit of a treatment return, given its effect, a price of the outcome and a cost?"""

from __future__ import annotations

from dataclasses import dataclass

from src.causal_engine.results import Interval


@dataclass(frozen=True, slots=True)
class Amount:
    """A value with the ends of its 95 % interval, None where it has none."""

    value: float
    lower: float | None = None
    upper: float | None = None

    @classmethod
    def of(cls, value: float, ci: Interval) -> Amount:
        """An estimate."""
        return cls(value, ci.lower, ci.upper)

    @property
    def sure(self) -> bool:
        """Whether the interval lies above 0."""
        return self.lower is not None and self.lower > 0

    def times(self, factor: float, plus: float = 0.0) -> Amount:
        """``factor`` · amount + ``plus``, the ends in their order."""
        ends = [None if end is None else factor * end + plus for end in (self.lower, self.upper)]
        lower, upper = ends if factor >= 0 else ends[::-1]
        return Amount(factor * self.value + plus, lower, upper)

    def inverse(self, numerator: float) -> Amount | None:
        """``numerator`` / amount; None unless the interval lies above 0, where the quotient is bounded."""
        if not self.sure or self.lower is None or self.upper is None:
            return None
        return Amount(numerator / self.value, numerator / self.upper, numerator / self.lower)


@dataclass(frozen=True, slots=True)
class Returns:
    """Returns per unit of treatment; None for what a missing price or cost leaves open.

    ``gross``: worth of the outcomes of one unit, which is also the cost at which it breaks even. ``net``: gross − cost.
    ``per_cost``: gross / cost, as KPI BU10 counts. ``roi``: net / cost. ``cost_per_outcome``: cost / effect.
    """

    effect: Amount
    gross: Amount | None
    net: Amount | None
    per_cost: Amount | None
    roi: Amount | None
    cost_per_outcome: Amount | None


def returns_of(effect: Amount, value_per_outcome: float | None, unit_cost: float | None) -> Returns:
    """All that effect, price and cost allow. Price and cost are taken as exact."""
    gross = None if value_per_outcome is None else effect.times(value_per_outcome)
    both = gross is not None and unit_cost is not None
    return Returns(
        effect=effect,
        gross=gross,
        net=gross.times(1, -unit_cost) if gross is not None and unit_cost is not None else None,
        per_cost=gross.times(1 / unit_cost) if gross is not None and unit_cost else None,
        roi=gross.times(1 / unit_cost, -1) if both and gross is not None and unit_cost else None,
        cost_per_outcome=effect.inverse(unit_cost) if unit_cost else None,
    )
