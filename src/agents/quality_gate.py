"""May anything be built on this data? The gate every graph that trains or answers stands behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypedDict

LAYERS = ("schema", "quality", "ge", "leakage")


class LayerStatus(StrEnum):
    """How one layer of validation fared; ``SKIPPED`` did not run and is not a pass."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


_SAID = {LayerStatus.FAILED: "the validation failed", LayerStatus.SKIPPED: "the validation did not run"}


@dataclass(frozen=True, slots=True)
class QCGate:
    """The decision. ``score`` is the weighted quality score between 0 and 1, None when it was not measured.

    ``blockers`` say in words why the data may not be used; with none, ``passed`` is True.
    """

    passed: bool
    score: float | None
    blockers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    layers: dict[str, LayerStatus] = field(default_factory=dict)


class Gated(TypedDict, total=False):
    """What a graph's state needs so that the gate can stand before its work."""

    gate: QCGate


def decide(
    layers: dict[str, LayerStatus],
    score: float | None,
    *,
    blockers: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
    lowest_score: float = 0.80,
    require_all_layers: bool = True,
) -> QCGate:
    """Decide from what the layers said.

    A failed layer of any name, a blocker, or a score that is not at least ``lowest_score`` (NaN is not) blocks.
    A layer that was skipped or is missing, and a score that was not measured, block while
    ``require_all_layers``, otherwise they are warnings. A line that begins with the layer's name ("ge: …")
    says why in place of the general one.
    """
    known = dict.fromkeys(LAYERS, LayerStatus.SKIPPED) | layers
    found, noted = list(blockers), list(warnings)
    missing = found if require_all_layers else noted
    if score is None:
        missing.append("quality: no score was measured")
    elif not score >= lowest_score:  # so written, NaN blocks too
        how = "is no number" if score != score else f"{score:.2f} is below {lowest_score:.2f}"
        found.append(f"quality: the score {how}")
    for name, status in known.items():
        if status is LayerStatus.FAILED and not _told(name, found):
            found.append(f"{name}: {_SAID[status]}")
        if status is LayerStatus.SKIPPED and not _told(name, missing):
            missing.append(f"{name}: {_SAID[status]}")
    return QCGate(not found, score, tuple(dict.fromkeys(found)), tuple(dict.fromkeys(noted)), known)


def _told(layer: str, lines: Sequence[str]) -> bool:
    return any(line.startswith(f"{layer}:") for line in lines)


def reasons_to_stop(gate: QCGate) -> tuple[str, ...]:
    """Why nothing may be built behind this gate, whatever it says of itself; () when it stands open.

    ``passed`` counts only as True itself; a blocker, or a layer that failed or did not run, shuts the gate.
    """
    found = [str(line) for line in gate.blockers]
    for name, status in gate.layers.items():
        if status in _SAID and not _told(name, found):
            found.append(f"{name}: {_SAID[status]}")
    if gate.passed is not True and not found:
        found.append("it gives no reason" if gate.passed is False else "it does not say true or false")
    return tuple(found)


def after_gate(state: Gated) -> Literal["proceed", "blocked"]:
    """Where a graph goes on: ``proceed`` only with a gate that has no reason to stop; no gate at all is blocked."""
    gate = state.get("gate")
    return "blocked" if gate is None or reasons_to_stop(gate) else "proceed"
