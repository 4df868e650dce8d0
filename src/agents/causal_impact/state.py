"""What travels between the nodes of causal_impact: ids and frozen results, never frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from src.agents.runtime import Filter, NodeError
from src.causal_engine.conclusion import EstimationOutcome
from src.causal_engine.results import Conclusion, Identification, RefutationReport, SensitivityReport
from src.causal_engine.spec import CausalSpec


@dataclass(frozen=True, slots=True)
class DeclaredGraph:
    """Cause and effect as the analyst or the dataset declares it."""

    edges: tuple[tuple[str, str], ...]
    latent: tuple[str, ...] = ()
    time_invariant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImpactRequest:
    """One causal question over one catalogued dataset."""

    query: str
    dataset_id: str
    spec: CausalSpec
    graph: DeclaredGraph | None = None
    filters: tuple[Filter, ...] = ()


class CausalImpactState(TypedDict, total=False):
    """Every key any node writes."""

    request: ImpactRequest
    identification: Identification
    outcome: EstimationOutcome
    refutation: RefutationReport
    sensitivity: SensitivityReport
    conclusion: Conclusion
    error: NodeError


class CausalImpactUpdate(CausalImpactState, total=False):
    """What a node returns: only what it wrote."""
