"""What was found about how an effect comes about: frozen values, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediationReport:
    """How much of an effect runs through the mediators."""

    mediators: tuple[str, ...]
