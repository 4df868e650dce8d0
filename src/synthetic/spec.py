"""What would an analyst be told about a generated dataset?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OUTCOME_KINDS = ("continuous", "binary")


@dataclass(frozen=True, slots=True)
class DeclaredGraph:
    """A causal graph as declared knowledge: edges cause → effect, names that are not measured.

    ``time_invariant`` names latent nodes that never change within a unit of a panel, so that unit
    effects condition on them.
    """

    edges: tuple[tuple[str, str], ...]
    latent: tuple[str, ...] = ()
    time_invariant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """Roles of the emitted columns. ``bad_controls`` come after treatment or outcome: not to be adjusted for."""

    name: str
    graph: DeclaredGraph
    treatment: str = "treatment"
    outcome: str = "outcome"
    confounders: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    effect_modifiers: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    negative_controls: tuple[str, ...] = ()
    bad_controls: tuple[str, ...] = ()
    unit_key: str | None = None
    time_key: str | None = None
    cluster_key: str | None = None
    randomized: bool = False
    lag: int = 0


def declared(spec: ProcessSpec) -> dict[str, Any]:
    """JSON form of ``spec`` for the catalogue; a key is absent when it does not apply."""
    lists = {
        name: list(getattr(spec, name))
        for name in ("confounders", "instruments", "effect_modifiers", "mediators", "negative_controls")
    }
    lists["post_treatment"] = list(spec.bad_controls)
    scalars: dict[str, Any] = {
        "unit_key": spec.unit_key,
        "time_key": spec.time_key,
        "cluster_key": spec.cluster_key,
        "randomized": spec.randomized,
        "lag": spec.lag,
    }
    graph: dict[str, Any] = {"edges": [list(edge) for edge in spec.graph.edges], "latent": list(spec.graph.latent)}
    if spec.graph.time_invariant:
        graph["time_invariant"] = list(spec.graph.time_invariant)
    named = {"treatment": spec.treatment, "outcome": spec.outcome}
    return {**named, **{key: value for key, value in {**lists, **scalars}.items() if value}, "graph": graph}
