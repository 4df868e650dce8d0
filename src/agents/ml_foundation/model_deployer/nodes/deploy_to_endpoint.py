"""Serve the package: in place of what is served now, or beside it to be observed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest, Endpoint
from src.agents.ml_foundation.model_deployer.services import PLACE, Services, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.serving.endpoints import Serving
from src.resilience.outcomes import Unavailable

OUTCOME = "endpoint"


@traced_node(PLACE, "deploy_to_endpoint")
async def deploy_to_endpoint(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """The endpoint, and the row of the deployment, which says failed where none could be had.

    The earlier endpoint is ended only once the new one answers.
    """
    request, services = state["request"], services_of(runtime.context)
    running = await asyncio.to_thread(services.serving.running, request.model_name, request.environment)
    primaries = [serving for serving in running if serving.role == "primary"]
    await _out_of_shadow(services, request, state["version"], running)
    runtime.context.on_progress(f"{OUTCOME}: starting the server; on a busy machine that takes a minute")
    started = await _start(services, request, Path(state["package"].path), primaries)
    row = await _begin(services, request, state["version"])
    if isinstance(started, Unavailable):
        await services.deployments.update(row, status="failed")
        return {"deployment_id": row, "degraded": (f"{OUTCOME}: {started.reason}",)}
    await services.deployments.update(row, **_serves(services, started))
    replaced: tuple[str, ...] = ()
    if started.role == "shadow":
        await asyncio.to_thread(services.serving.mirror, primaries[0], started)
    else:
        replaced = await _replace(services, request, row, started, primaries)
    return {
        "deployment_id": row,
        "endpoint": Endpoint(started.name, started.url, started.pid),
        "warnings": tuple(f"{OUTCOME}: {old}" for old in replaced),
    }


async def _out_of_shadow(services: Services, request: DeployRequest, version: int, running: list[Serving]) -> None:
    """A version that is to answer for itself is not observed any more."""
    for serving in running:
        if request.strategy != "shadow" and serving.role == "shadow" and serving.version == version:
            await asyncio.to_thread(services.serving.stop, serving.name)


async def _start(
    services: Services, request: DeployRequest, package: Path, primaries: list[Serving]
) -> Serving | Unavailable:
    if request.strategy == "shadow" and not primaries:
        return Unavailable(
            "serving",
            f"'{request.model_name}' has no endpoint in {request.environment} whose requests could be copied; "
            "deploy the present version directly first",
        )
    return await asyncio.to_thread(
        services.serving.start,
        package,
        environment=request.environment,
        role="shadow" if request.strategy == "shadow" else "primary",
        port=request.port,
    )


async def _begin(services: Services, request: DeployRequest, version: int) -> str:
    active = await services.deployments.active(request.model_name, request.environment)
    strategy = "direct" if request.action is Action.ROLLBACK else request.strategy
    return await services.deployments.add(
        {
            "model_registry_id": await registry_of(services).row_id(request.model_name, version),
            "environment": request.environment,
            "strategy": strategy,
            "status": "deploying",
            "previous_deployment_id": next((row.id for row in active if row.strategy != "shadow"), None),
        }
    )


def _serves(services: Services, serving: Serving) -> dict[str, Any]:
    now = services.clock()
    begun = {"shadow_started_at": now, "shadow_requests": 0} if serving.role == "shadow" else {}
    place = {"endpoint_name": serving.name, "endpoint_url": serving.url}
    return {"status": "active", "deployed_at": now, **place, **begun}


async def _replace(
    services: Services, request: DeployRequest, row: str, started: Serving, primaries: list[Serving]
) -> tuple[str, ...]:
    """End what was served before, say so of its row, and name it."""
    replaced = [serving for serving in primaries if serving.name != started.name]
    for serving in replaced:
        await asyncio.to_thread(services.serving.stop, serving.name)
    for earlier in await services.deployments.active(request.model_name, request.environment):
        if earlier.id != row and (earlier.strategy != "shadow" or earlier.endpoint_name == started.name):
            await services.deployments.update(earlier.id, **_ended(services, request))
    return tuple(
        f"{serving.name} at {serving.url} (version {serving.version}) was ended: {started.name} takes its place"
        for serving in replaced
    )


def _ended(services: Services, request: DeployRequest) -> dict[str, Any]:
    if request.action is not Action.ROLLBACK or request.approval is None:
        return {"status": "draining"}
    return {
        "status": "rolled_back",
        "rolled_back_at": services.clock(),
        "rollback_reason": request.reason or request.approval.reason,
    }
