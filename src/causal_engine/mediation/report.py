"""What was found about how an effect comes about: frozen values, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PathEffect:
    """One part of an effect, in outcome units; ``name`` is total, direct or indirect; 95 % interval."""

    name: str
    value: float
    std_error: float
    lower: float
    upper: float
    p_value: float


@dataclass(frozen=True, slots=True)
class MediationReport:
    """How much of an effect runs through the mediators, or why that cannot be said (``refusal``).

    ``effects`` are total, direct (not through the mediators) and indirect (through them), and add up:
    total = direct + indirect. ``share_indirect`` is None unless the total is told from 0.
    ``rho_without_indirect`` is the correlation between what else moves mediator and outcome at which no
    indirect effect would be left, ``sensitivity`` (that correlation, indirect effect) pairs; both from a
    linear working model.
    """

    mediators: tuple[str, ...]
    refusal: str = ""
    effects: tuple[PathEffect, ...] = ()
    share_indirect: float | None = None
    adjusted_for: tuple[str, ...] = ()
    n: int = 0
    method: str = ""
    assumptions: tuple[str, ...] = ()
    rho_without_indirect: float | None = None
    sensitivity: tuple[tuple[float, float], ...] = ()

    def effect(self, name: str) -> PathEffect:
        """The part of that name; KeyError when nothing was estimated."""
        return {part.name: part for part in self.effects}[name]
