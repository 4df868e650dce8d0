"""What is asked of model_deployer, and what does it answer?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from src.agents.results import AgentMeta
from src.agents.runtime import NodeError


class Action(StrEnum):
    """What is to be done with a model."""

    REGISTER = "register"
    PROMOTE = "promote"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    HEALTH = "health"


Strategy = Literal["direct", "blue_green", "canary", "shadow"]
Environment = Literal["development", "staging", "production"]


@dataclass(frozen=True, slots=True)
class Approval:
    """Who lets a version into production, why and when; ``waives`` names rules set aside, such as min_hours."""

    approver: str
    reason: str
    at: datetime
    waives: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ShadowEvidence:
    """What was observed while the version ran beside the champion; times in hours and milliseconds, rates 0–1."""

    hours: float
    requests: int
    error_rate: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """``register`` needs ``run_id``, ``model_name``, ``experiment_id`` (row of ml_experiments) and ``algorithm``;
    the others ``model_name``, and ``version`` (default: the newest; rollback: the champion before the present)."""

    action: Action
    model_name: str
    version: int | None = None
    run_id: str | None = None
    model_path: str = "model"
    experiment_id: str | None = None
    training_run_id: str | None = None
    algorithm: str | None = None
    target_stage: str | None = None
    environment: Environment = "development"
    strategy: Strategy = "direct"
    approval: Approval | None = None
    shadow_evidence: ShadowEvidence | None = None
    reason: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A version in the registry."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether the stage was changed, and every reason if not."""

    ok: bool
    refused_because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """A folder with model, preprocessing, signature and requirements; ``digest``: SHA-256 over its files."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A serving process of this machine."""

    name: str
    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One question to the endpoint and its answer."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """healthy: all checks passed; unhealthy: one did not; unknown: there is no endpoint."""

    status: Literal["healthy", "unhealthy", "unknown"]
    checks: tuple[HealthCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollback:
    """Whether there is a version to go back to, and which."""

    available: bool
    previous_version: int | None = None


@dataclass(frozen=True, slots=True)
class DeployResult:
    """What was done. ``overall``: partial when something that was asked for could not be had (``meta.degraded``)."""

    registered: Registered | None
    stage: str | None
    promotion: Promotion | None
    package: Package | None
    endpoint: Endpoint | None
    health: EndpointHealth | None
    rollback: Rollback | None
    deployment_id: str | None
    overall: Literal["completed", "failed", "partial"]
    error: NodeError | None
    meta: AgentMeta
