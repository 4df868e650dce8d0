"""Where does a setting lie in its search space, each number as a share of its range?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.mlops.optuna.library import load_optuna

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution

    Floats = NDArray[np.float64]

# Two different choices lie as far apart as the two ends of a range.
_CHOSEN = math.sqrt(0.5)
_UNKNOWN = 0.5


class Coordinates:
    """Settings of a space as points of a cube: a number is one coordinate in 0-1, by its logarithm where the space
    says so; of a choice each possibility is one, at most √½.

    ``space`` are Optuna's distributions by the parameters' names.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._space = dict(space)

    @property
    def dimensions(self) -> int:
        """Number of coordinates."""
        return sum(self._width(part) for part in self._space.values())

    def points(self, settings: Sequence[Mapping[str, Any]]) -> Floats:
        """One row for each setting (n, d); a parameter that it does not say lies in the middle."""
        rows = [[at for name, part in self._space.items() for at in self._place(part, one, name)] for one in settings]
        return np.array(rows, dtype=np.float64).reshape(len(settings), self.dimensions)

    def setting(self, point: Floats) -> dict[str, Any]:
        """The setting nearest to ``point`` (d,)."""
        found, at = {}, 0
        for name, part in self._space.items():
            width = self._width(part)
            found[name] = self._value(part, point[at : at + width])
            at += width
        return found

    @staticmethod
    def _width(part: Any) -> int:
        return len(part.choices) if _is_choice(part) else 1

    def _place(self, part: Any, setting: Mapping[str, Any], name: str) -> list[float]:
        if _is_choice(part):
            chosen = part.to_internal_repr(setting[name]) if name in setting else None
            return [_CHOSEN * (chosen == index) for index in range(len(part.choices))]
        if name not in setting:
            return [_UNKNOWN]
        low, high = _ends(part)
        return [(_scale(part, setting[name]) - low) / (high - low) if high > low else _UNKNOWN]

    def _value(self, part: Any, place: Floats) -> Any:
        if _is_choice(part):
            return part.choices[int(place.argmax())]
        low, high = _ends(part)
        at = low + float(min(max(place[0], 0.0), 1.0)) * (high - low)
        return _allowed(part, math.exp(at) if part.log else at)


def _is_choice(part: Any) -> bool:
    return isinstance(part, load_optuna().distributions.CategoricalDistribution)


def _scale(part: Any, value: float) -> float:
    return math.log(value) if part.log else float(value)


def _ends(part: Any) -> tuple[float, float]:
    return _scale(part, part.low), _scale(part, part.high)


def _allowed(part: Any, value: float) -> Any:
    """The value of the distribution nearest to ``value``."""
    inside = min(max(value, part.low), part.high)
    if part.step is not None:
        steps = round((inside - part.low) / part.step)
        # As the space writes them: 0.1 + 2 · 0.1 would lie above 0.3.
        inside = min(round(part.low + steps * part.step, 12), part.high)
    return int(inside) if isinstance(part, load_optuna().distributions.IntDistribution) else float(inside)
