"""Where is which version of a model served, how does it do, and what was served before it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import ContractViolation
from src.storage.gateway import Op, OrderBy, Row, TableGateway, Where

TABLE = "ml_deployments"
REGISTRY = "ml_model_registry"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One serving of a version. ``status``: pending, deploying, active, draining, rolled_back or failed.

    Latencies in milliseconds, ``error_rate`` 0–1; None where nothing was measured.
    """

    id: str
    model_registry_id: str
    environment: str
    strategy: str
    endpoint_name: str | None
    endpoint_url: str | None
    status: str
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    error_rate: float | None
    shadow_started_at: datetime | None
    shadow_requests: int | None
    deployed_at: datetime | None
    rolled_back_at: datetime | None
    rollback_reason: str | None
    previous_deployment_id: str | None
    created_at: datetime


class DeploymentRepository:
    """Writes and reads ``ml_deployments``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def add(self, row: Mapping[str, Any]) -> str:
        """Store a deployment and return its id; keys are columns of the table, an unknown one is refused."""
        return str((await self._gateway.insert(TABLE, [row]))[0]["id"])

    async def update(self, deployment_id: str, **values: Any) -> None:
        """Set columns of a deployment. Raises ContractViolation when there is none of that id."""
        if not await self._gateway.update(TABLE, values, where=[Where("id", deployment_id)]):
            raise ContractViolation(f"no deployment '{deployment_id}' is recorded")

    async def get(self, deployment_id: str) -> Deployment | None:
        """The deployment of that id; None when there is none."""
        rows = await self._gateway.select(TABLE, where=[Where("id", deployment_id)])
        return _deployment(rows[0]) if rows else None

    async def active(self, model_name: str, environment: str | None = None) -> list[Deployment]:
        """What is served of a model at present (in one environment, where given), newest first."""
        conditions = [Where("status", "active")]
        if environment is not None:
            conditions.append(Where("environment", environment))
        return await self._of_model(model_name, conditions, None)

    async def history(self, model_name: str, *, limit: int = 50) -> list[Deployment]:
        """Deployments of all versions of a model, newest first."""
        return await self._of_model(model_name, [], limit)

    async def _of_model(self, model_name: str, conditions: list[Where], limit: int | None) -> list[Deployment]:
        versions = await self._gateway.select(REGISTRY, columns=["id"], where=[Where("model_name", model_name)])
        where = [Where("model_registry_id", [row["id"] for row in versions], Op.IN), *conditions]
        rows = await self._gateway.select(TABLE, where=where, order_by=[OrderBy("created_at", True)], limit=limit)
        return [_deployment(row) for row in rows]


def _deployment(row: Row) -> Deployment:
    return Deployment(**{field.name: row[field.name] for field in dataclasses.fields(Deployment)})
