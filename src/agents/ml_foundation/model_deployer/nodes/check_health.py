"""Ask the endpoint how it is; without one, its health is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import EndpointHealth, HealthCheck
from src.agents.ml_foundation.model_deployer.services import PLACE, Services, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.serving.endpoints import Serving
from src.resilience.outcomes import Unavailable

HIGHEST_ERROR_RATE = 0.01
UNKNOWN = EndpointHealth("unknown")


@traced_node(PLACE, "check_health")
async def check_health(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The checks of one endpoint: that it answers, with the version and digest expected, and without errors."""
    services = services_of(runtime.context)
    serving = await _endpoint(state, services)
    if serving is None:
        request = state["request"]
        return {
            "health": UNKNOWN,
            "degraded": (f"health: '{request.model_name}' has no endpoint in {request.environment}",),
        }
    said = await asyncio.to_thread(services.serving.health, serving)
    health = judged(said, version=await _expected(state, services, serving), digest=_digest(state, serving))
    measured = {} if isinstance(said, Unavailable) else figures(said)
    if measured and "deployment_id" in state:
        await services.deployments.update(state["deployment_id"], **measured)
    return {"health": health}


def judged(said: Mapping[str, Any] | Unavailable, *, version: int, digest: str) -> EndpointHealth:
    """What the endpoint's own words come to."""
    if isinstance(said, Unavailable):
        return EndpointHealth("unhealthy", (HealthCheck("answers", False, said.reason),))
    rate = said["errors"] / said["requests"] if said["requests"] else 0.0
    checks = (
        HealthCheck("answers", True, f"up for {said['uptime_s']:.1f} s"),
        HealthCheck("version", said["version"] == version, f"serves version {said['version']}, expected {version}"),
        HealthCheck("digest", said["digest"] == digest, f"package {said['digest'][:12]}, expected {digest[:12]}"),
        HealthCheck("errors", rate <= HIGHEST_ERROR_RATE, f"{said['errors']} of {said['requests']} requests failed"),
    )
    return EndpointHealth("healthy" if all(check.ok for check in checks) else "unhealthy", checks)


def figures(said: Mapping[str, Any]) -> dict[str, Any]:
    """What the endpoint measured, by column of ``ml_deployments``; nothing before its first request."""
    latency = {f"latency_{name}_ms": value for name, value in said["latency_ms"].items() if value is not None}
    return latency | ({"error_rate": said["errors"] / said["requests"]} if said["requests"] else {})


async def _endpoint(state: DeployState, services: Services) -> Serving | None:
    """The endpoint just made; otherwise the one of the wished version, or the one that answers for the model."""
    request = state["request"]
    running = await asyncio.to_thread(services.serving.running, request.model_name, request.environment)
    if "package" in state:
        made = state.get("endpoint")
        return next((serving for serving in running if made is not None and serving.name == made.name), None)
    if request.version is not None:
        return next((serving for serving in running if serving.version == request.version), None)
    return next((serving for serving in running if serving.role == "primary"), None)


async def _expected(state: DeployState, services: Services, serving: Serving) -> int:
    """The version that should be served: the one deployed, or in production the champion."""
    if "version" in state:
        return state["version"]
    request = state["request"]
    if request.environment != "production" or request.version is not None:
        return serving.version
    champion = await registry_of(services).champion(request.model_name)
    return champion.version if champion is not None else serving.version


def _digest(state: DeployState, serving: Serving) -> str:
    return state["package"].digest if "package" in state else serving.digest
