"""What travels between the nodes of model_deployer: values only; models stay in their stores."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, TypedDict

from src.agents.ml_foundation.model_deployer.result import (
    DeployRequest,
    Endpoint,
    EndpointHealth,
    Package,
    Promotion,
    Registered,
    Rollback,
)
from src.agents.runtime import NodeError
from src.resilience.outcomes import Unavailable


@dataclass(frozen=True, slots=True)
class Plan:
    """What the request comes to: the nodes that will run, in order; ``replaces``: a running endpoint follows suit."""

    steps: tuple[str, ...]
    replaces: str | None = None


class DeployState(TypedDict, total=False):
    """Every key any node writes; ``degraded`` and ``warnings`` of several nodes are added together."""

    request: DeployRequest
    plan: Plan
    version: int
    stage: str
    registered: Registered
    promotion: Promotion
    package: Package
    image: Unavailable
    endpoint: Endpoint
    health: EndpointHealth
    rollback: Rollback
    deployment_id: str
    warnings: Annotated[tuple[str, ...], operator.add]
    degraded: Annotated[tuple[str, ...], operator.add]
    error: NodeError


class DeployUpdate(DeployState, total=False):
    """What a node returns: only what it wrote."""
