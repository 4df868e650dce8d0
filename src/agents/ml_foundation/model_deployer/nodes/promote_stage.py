"""Move the version to the stage that is wished for, if the rules allow it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_deployer.nodes.registry_manager import RegistryManager
from src.agents.ml_foundation.model_deployer.registry import registry_of
from src.agents.ml_foundation.model_deployer.result import DeployRequest, Promotion, ShadowEvidence
from src.agents.ml_foundation.model_deployer.services import PLACE, Services, services_of
from src.agents.ml_foundation.model_deployer.state import DeployState, DeployUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.mlflow_connector import ModelStage


@traced_node(PLACE, "promote_stage")
async def promote_stage(state: DeployState, runtime: Runtime[Deps]) -> DeployUpdate:
    """Whether it was moved, and every rule that is not met if not.

    What was seen in shadow here comes before what the request says of it.
    """
    request, services = state["request"], services_of(runtime.context)
    registry = registry_of(services)
    seen = await _seen(services, request.model_name, state["version"])
    before = await _stages(registry, request.model_name)
    moved = await registry.promote(
        request.model_name,
        state["version"],
        str(request.target_stage),
        approval=request.approval,
        shadow=seen or request.shadow_evidence,
        observed=seen is not None,
    )
    reasons = () if moved else tuple(moved.reason.split("; "))
    stage = moved.to_stage if moved else moved.from_stage or ModelStage(state["stage"])
    return {
        "promotion": Promotion(moved.ok, reasons),
        "stage": stage.value,
        "warnings": (
            *_set_aside(request, seen),
            *(_displaced(before, await _stages(registry, request.model_name), state["version"]) if moved else ()),
            *await registry.reconcile(request.model_name),
        ),
    }


async def _stages(registry: RegistryManager, name: str) -> dict[int, ModelStage]:
    return {version.version: version.stage for version in await registry.versions(name)}


def _displaced(before: Mapping[int, ModelStage], after: Mapping[int, ModelStage], moved: int) -> tuple[str, ...]:
    """Other versions that had to make room: a stage holds one."""
    return tuple(
        f"version {version} went from {before[version]} to {stage}: version {moved} takes its place"
        for version, stage in sorted(after.items())
        if version != moved and before.get(version, stage) is not stage
    )


def _set_aside(request: DeployRequest, seen: ShadowEvidence | None) -> tuple[str, ...]:
    if request.target_stage != ModelStage.PRODUCTION.value or seen is None or request.shadow_evidence is None:
        return ()
    return (f"the evidence stated is not used: {seen.requests} requests were observed in shadow here",)


async def _seen(services: Services, model_name: str, version: int) -> ShadowEvidence | None:
    seen = await asyncio.to_thread(services.serving.observed, model_name, version)
    return None if seen is None else ShadowEvidence(seen.hours, seen.requests, seen.error_rate, seen.p99_ms)
