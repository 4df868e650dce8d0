"""How is the outcome of one layer of validation written down?"""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.ml_foundation.data_preparer.services import Services
from src.agents.ml_foundation.data_preparer.state import PrepareState, PrepareUpdate
from src.agents.quality_gate import LayerStatus

# How the lines begin that say what rows lack, and what the values of a feature view lack.
ABOUT_FEATURE = "the required feature"
ABOUT_VIEW = "feature view"


def passed(layer: str, warnings: Sequence[str] = ()) -> PrepareUpdate:
    """The layer ran and nothing blocks."""
    return {"layers": {layer: LayerStatus.PASSED}, "warnings": _about(layer, warnings)}


def failed(layer: str, blockers: Sequence[str], warnings: Sequence[str] = ()) -> PrepareUpdate:
    """The layer ran and says why the data may not be used."""
    return {
        "layers": {layer: LayerStatus.FAILED},
        "blockers": _about(layer, blockers),
        "warnings": _about(layer, warnings),
    }


def did_not_run(services: Services, layer: str, reason: str) -> PrepareUpdate:
    """The layer is missing; that blocks unless the services do without."""
    lines = _about(layer, (reason,))
    update: PrepareUpdate = {"layers": {layer: LayerStatus.SKIPPED}}
    return update | ({"blockers": lines} if services.require_all_layers else {"warnings": lines})


def schema_failed(state: PrepareState) -> bool:
    """Whether the rows break their contract, so that what cannot be computed from them is no surprise."""
    return state.get("layers", {}).get("schema") is LayerStatus.FAILED


def is_blocked(state: PrepareState) -> bool:
    """Whether it is settled already that the gate stays closed."""
    return bool(state.get("blockers")) or LayerStatus.FAILED in state.get("layers", {}).values()


def _about(layer: str, lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{layer}: {line}" for line in lines)
