"""What may be said of an analysis? Aggregates only: names, rounded numbers, counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from src.agents.ml_foundation.feature_analyzer.result import Interaction, Removed, ShapSummary
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState

MOST_FEATURES = 10
MOST_PAIRS = 5
MOST_REMOVED = 20
UNITS = {"log_odds": "log-odds", "class_score": "class score", "target": "units of the target"}
_DIRECTIONS = {1: "rises", -1: "falls", 0: "none"}
REASONS = ("variance", "correlation", "vif", "stability")


@dataclass(frozen=True, slots=True)
class Facts:
    """``document`` is JSON and all that a language model sees; ``names`` are the columns that may be named."""

    document: dict[str, Any]
    names: frozenset[str]

    def numbers(self) -> tuple[float, ...]:
        """Every number there is in the document."""
        return tuple(_numbers(self.document))


def facts_of(state: AnalyzeState) -> Facts:
    """The most important features and pairs, what was selected and what was left out, rounded to 3 digits."""
    request = state["request"]
    document: dict[str, Any] = {"target": request.data.target, "problem_type": str(request.problem_type)}
    if "selected" in state:
        document["selection"] = {
            "candidates": len(request.data.features) + len(state.get("generated", ())),
            "selected": len(state["selected"]),
            "removed": _removed(state["removed"]),
        }
        document["selected_features"] = list(state["selected"][:MOST_REMOVED])
    if "shap" in state:
        document["explanation"] = _explanation(state["shap"])
        document["interactions"] = [_pair(pair) for pair in state.get("interactions", ())[:MOST_PAIRS]]
    ranked = state["shap"].ranked if "shap" in state else ()
    names = {*request.data.features, *state.get("generated", ()), request.data.target, *(one.feature for one in ranked)}
    return Facts(document, frozenset(names))


def rounded(value: float) -> float | str:
    """To 3 significant digits; a number without limit in words, for JSON has none."""
    return float(f"{value:.3g}") if math.isfinite(value) else "unlimited"


def _explanation(shap: ShapSummary) -> dict[str, Any]:
    total = sum(one.mean_abs for one in shap.ranked)
    return {
        "explainer": shap.explainer,
        "space": UNITS.get(shap.space, shap.space),
        "base_value": rounded(shap.base_value),
        "rows_explained": shap.n_rows,
        "features": [
            {
                "name": one.feature,
                "mean_abs": rounded(one.mean_abs),
                "share_percent": rounded(100 * one.mean_abs / total if total > 0 else 0.0),
                "direction": _DIRECTIONS[one.direction],
            }
            for one in shap.ranked[:MOST_FEATURES]
        ],
    }


def _pair(pair: Interaction) -> dict[str, Any]:
    return {"a": pair.a, "b": pair.b, "strength": rounded(pair.strength), "method": pair.method}


def _removed(removed: Removed) -> list[dict[str, Any]]:
    found = [
        {"name": name, "reason": reason, "value": rounded(value)}
        for reason in REASONS
        for name, value in getattr(removed, reason).items()
    ]
    return found[:MOST_REMOVED]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
