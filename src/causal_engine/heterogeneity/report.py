"""What was found about whose effect is larger: frozen values, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeterogeneityReport:
    """Whether effects differ between units, and what follows for whom to treat."""

    selected: str
