"""Which settings can one change lead to?"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from src.optimization.retrieval.settings import WEIGHT_MOVE, WEIGHT_STEP, k_range
from src.storage.retrieval_configurations import ARMS, Arm, RetrievalConfig

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SettingsSpace:
    """Settings near those in use: k, re-ranking, and the weights of the arms that can search, in steps of 0.05.

    An arm that cannot search keeps its weight, for nothing can be learnt of it; above a half it gives up as much as
    one change allows, so that the others have something to share.
    """

    current: RetrievalConfig
    missing: Collection[Arm] = ()

    def parameters(self) -> dict[str, dict[str, Any]]:
        """For the search: places in 0–1 within the range that is left, so that every trial is a valid setting."""
        least, most = k_range(self.current.k)
        space: dict[str, dict[str, Any]] = {
            "k": {"type": "int", "low": least, "high": most},
            "rerank": {"type": "categorical", "choices": [False, True]},
        }
        return space | {f"{arm}_place": {"type": "float", "low": 0.0, "high": 1.0} for arm in self._free[:-1]}

    def config(self, parameters: Mapping[str, Any]) -> RetrievalConfig:
        """The settings of a trial."""
        weights = self._fixed
        left = 1.0 - sum(weights.values())
        free = self._free
        for place, arm in enumerate(free):
            low, high = self._range(arm, left, free[place + 1 :])
            weights[arm] = _on_grid(low, high, parameters.get(f"{arm}_place", 0.0)) if free[place + 1 :] else left
            left -= weights[arm]
        return replace(
            self.current,
            k=parameters["k"],
            rerank=parameters["rerank"],
            dense_weight=round(weights["dense"], 6),
            text_weight=round(weights["text"], 6),
            graph_weight=round(weights["graph"], 6),
        )

    @property
    def _free(self) -> list[Arm]:
        return [arm for arm in ARMS if arm not in self.missing]

    @property
    def _fixed(self) -> dict[Arm, float]:
        weights = {arm: self.current.weight(arm) for arm in ARMS if arm in self.missing}
        return {arm: weight if weight <= 0.5 else weight - WEIGHT_MOVE for arm, weight in weights.items()}

    def _range(self, arm: Arm, left: float, others: Collection[Arm]) -> tuple[float, float]:
        """What the arm may weigh so that the others can weigh what is left."""
        low, high = self._bounds(arm)
        rest = [self._bounds(other) for other in others]
        low = max(low, left - sum(most for _, most in rest))
        return low, max(low, min(high, left - sum(least for least, _ in rest)))

    def _bounds(self, arm: Arm) -> tuple[float, float]:
        weight = self.current.weight(arm)
        return max(0.0, weight - WEIGHT_MOVE), min(1.0, weight + WEIGHT_MOVE)


def _on_grid(low: float, high: float, place: float) -> float:
    """The multiple of the step that lies at ``place`` between both; the nearer end where there is none."""
    first = math.ceil(low / WEIGHT_STEP - _ROUNDING)
    steps = math.floor(high / WEIGHT_STEP + _ROUNDING) - first
    if steps < 0:
        return low
    return round((first + min(steps, int(place * (steps + 1)))) * WEIGHT_STEP, 6)
