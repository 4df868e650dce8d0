"""Does the agent take exactly the steps an action needs, and is a refused or failed step reported as that?"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from src.agents.ml_foundation.model_deployer.agent import ModelDeployerAgent
from src.agents.ml_foundation.model_deployer.graph import STEPS
from src.agents.ml_foundation.model_deployer.nodes.check_health import judged
from src.agents.ml_foundation.model_deployer.request import request_from
from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest, DeployResult
from src.agents.ml_foundation.model_deployer.services import Services
from src.agents.runtime import Deps
from src.errors import ContractViolation
from src.mlops.serving.mirror import Observed
from src.mlops.serving.package import read_package
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.outcomes import Unavailable
from tests.traces import memory_connector

from .parts import NAME, NOW, SEEN, DeploymentRows, Endpoints, Rows, Store, answer, approval, store

DEPLOYMENT = ["package_model", "containerize_model", "deploy_to_endpoint", "check_health"]
FIRST, LAST = ["plan_deployment", "validate_deployment_plan"], ["check_rollback_availability"]


class NoDatasets:
    """The agent reads no rows."""

    async def load(self, dataset_id: str, **_: Any) -> Any:
        raise AssertionError(dataset_id)


@dataclass
class World:
    """Everything around a run: a real registry, rows and endpoints in memory."""

    store: Store
    packages: Path
    rows: Rows = field(default_factory=Rows)
    deployments: DeploymentRows = field(default_factory=DeploymentRows)
    endpoints: Endpoints = field(default_factory=Endpoints)
    sink: MemorySink = field(init=False)

    @property
    def services(self) -> Services:
        return Services(
            self.store.connector,
            self.rows,
            self.deployments,
            serving=self.endpoints,
            packages=self.packages,
            clock=self.store.clock,
        )

    async def run(self, action: str, **given: Any) -> DeployResult:
        connector, self.sink = memory_connector()
        deps = Deps(NoDatasets(), connector, str(uuid7()), str(uuid7()))
        asked = DeployRequest(Action(action), **{"model_name": NAME, **given})
        try:
            return await ModelDeployerAgent(self.services, sla_seconds=600).run(asked, deps)
        finally:
            await connector.flush()

    async def register(self, run: int = 0, **given: Any) -> DeployResult:
        experiment = {"experiment_id": "exp", "algorithm": "logistic_regression"}
        return await self.run("register", run_id=self.store.runs[run], **experiment, **given)

    async def promote(self, version: int, *stages: str) -> None:
        for stage in stages:
            self.store.clock.forward(hours=25)
            done = await self.run(
                "promote", version=version, target_stage=stage, approval=approval(), shadow_evidence=SEEN
            )
            assert done.overall == "completed", done

    def route(self) -> list[str]:
        return [span["operation_type"] for span in self.sink.spans if span["operation_type"] != "run"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(store(tmp_path / "mlflow"), tmp_path / "packages")


def crowned(tmp_path: Path, champions: int) -> World:
    made = World(store(tmp_path / "mlflow", champions=champions), tmp_path / "packages")
    made.rows.as_in(champions)
    return made


@pytest.fixture
def champion(tmp_path: Path) -> World:
    """Version 1 is in production."""
    return crowned(tmp_path, 1)


@pytest.fixture
def second(tmp_path: Path) -> World:
    """Version 2 is in production, version 1 was there before."""
    return crowned(tmp_path, 2)


async def test_registering_takes_its_steps_and_no_others(world: World) -> None:
    done = await world.register()
    assert world.route() == [*FIRST, "register_model", *LAST]
    assert done.registered is not None
    assert (done.registered.version, done.stage, done.overall) == (1, "development", "completed")
    assert (done.promotion, done.package, done.endpoint, done.error) == (None, None, None, None)


async def test_registering_with_a_target_stage_also_promotes(world: World) -> None:
    done = await world.register(target_stage="staging")
    assert world.route() == [*FIRST, "register_model", "validate_promotion", "promote_stage", *LAST]
    assert done.promotion is not None
    assert (done.promotion.ok, done.stage) == (True, "staging")


async def test_a_promotion_names_the_version_that_had_to_make_room(world: World) -> None:
    await world.register(target_stage="staging")
    second = await world.register(1, target_stage="staging")
    assert [line for line in second.meta.warnings if "takes its place" in line] == [
        "version 1 went from staging to archived: version 2 takes its place"
    ]


async def test_a_promotion_without_a_way_fails_before_it_is_tried(world: World) -> None:
    await world.register()
    done = await world.run("promote", target_stage="production", approval=approval())
    assert world.route() == [*FIRST, "validate_promotion"]
    assert done.error is not None
    assert (done.error.type, done.error.node) == ("PromotionRefused", "validate_promotion")
    assert done.promotion is not None
    assert (done.promotion.ok, done.overall, done.meta.status) == (False, "failed", "completed")
    assert "development" in done.promotion.refused_because[0]


async def test_every_rule_that_is_not_met_is_told(world: World) -> None:
    await world.register()
    await world.promote(1, "staging", "shadow")
    done = await world.run("promote", target_stage="production")
    assert done.promotion is not None
    told = [reason.partition(":")[0] for reason in done.promotion.refused_because]
    assert told == ["min_hours", "min_requests", "max_error_rate", "max_p99_ms", "approval"]
    assert (done.overall, done.stage) == ("failed", "shadow")


async def test_what_was_observed_in_shadow_counts_when_nothing_is_claimed(world: World) -> None:
    await world.register()
    await world.promote(1, "staging", "shadow")
    world.store.clock.forward(hours=25)
    world.endpoints.seen = Observed(25.0, 4_000, 0.5, 80.0, 0)
    refused = await world.run("promote", target_stage="production", approval=approval())
    assert refused.promotion is not None
    assert refused.promotion.refused_because == ("max_error_rate: error rate in shadow is 0.5, above 0.01",)
    world.endpoints.seen = Observed(25.0, 4_000, 0.0, 80.0, 0)
    assert (await world.run("promote", target_stage="production", approval=approval())).stage == "production"


async def test_what_was_observed_comes_before_what_is_stated(world: World) -> None:
    await world.register()
    await world.promote(1, "staging", "shadow")
    world.store.clock.forward(hours=25)
    world.endpoints.seen = Observed(25.0, 10, 0.5, 80.0, 0)
    stated = {"approval": approval(), "shadow_evidence": SEEN}
    refused = await world.run("promote", target_stage="production", **stated)
    assert refused.promotion is not None
    told = [reason.partition(":")[0] for reason in refused.promotion.refused_because]
    assert told == ["min_requests", "max_error_rate"]
    assert "the evidence stated is not used: 10 requests were observed in shadow here" in refused.meta.warnings
    world.endpoints.seen = None
    assert (await world.run("promote", target_stage="production", **stated)).stage == "production"


async def test_deploying_packages_serves_and_asks_the_endpoint(champion: World) -> None:
    done = await champion.run("deploy", environment="production")
    assert champion.route() == [*FIRST, *DEPLOYMENT, *LAST]
    assert done.overall == "completed", done
    assert done.package is not None
    assert done.endpoint is not None
    assert done.health is not None
    assert done.package.digest == read_package(Path(done.package.path)).digest
    assert done.endpoint.name == f"{NAME}-production-v1"
    assert (done.health.status, done.error) == ("healthy", None)
    (row,) = champion.deployments.rows
    assert row["id"] == done.deployment_id
    assert (row["status"], row["model_registry_id"], row["endpoint_url"]) == ("active", "row-1", done.endpoint.url)
    assert (row["latency_p99_ms"], row["error_rate"], row["deployed_at"]) == (9.0, 0.0, champion.store.clock.now)


async def test_no_image_is_claimed_and_a_dockerfile_says_how_to_build_one(champion: World) -> None:
    done = await champion.run("deploy", environment="production")
    assert done.package is not None
    file = Path(done.package.path).parent / "Dockerfile"
    assert f'org.e2i.digest="{done.package.digest}"' in file.read_text("utf-8")
    assert any(line.startswith("container image: not built") for line in done.meta.degraded)


async def test_a_new_version_takes_the_place_of_the_old_one(champion: World) -> None:
    await champion.run("deploy", environment="production")
    await champion.register(1)
    await champion.promote(2, "staging", "shadow", "production")
    done = await champion.run("deploy", environment="production", version=2)
    assert list(champion.endpoints.there) == [f"{NAME}-production-v2"]
    (replaced,) = done.meta.warnings
    assert f"{NAME}-production-v1 at http://127.0.0.1:9001 (version 1) was ended" in replaced
    assert [row["status"] for row in champion.deployments.rows] == ["draining", "active"]
    assert champion.deployments.rows[1]["previous_deployment_id"] == "deployment-0"
    assert done.rollback is not None
    assert (done.rollback.available, done.rollback.previous_version) == (True, 1)


async def test_shadow_serves_beside_the_present_version_and_gets_its_requests(champion: World) -> None:
    await champion.run("deploy", environment="production")
    await champion.register(1)
    await champion.promote(2, "staging", "shadow")
    done = await champion.run("deploy", environment="production", strategy="shadow", version=2)
    assert done.overall == "completed", done
    assert champion.endpoints.mirrored == [(f"{NAME}-production-v1", f"{NAME}-production-v2")]
    assert [row["status"] for row in champion.deployments.rows] == ["active", "active"]
    assert champion.deployments.rows[1]["shadow_started_at"] == champion.store.clock.now


async def test_a_version_that_answers_for_itself_is_not_in_shadow_any_more(champion: World) -> None:
    await champion.run("deploy", environment="production")
    await champion.register(1)
    await champion.promote(2, "staging", "shadow")
    await champion.run("deploy", environment="production", strategy="shadow", version=2)
    await champion.promote(2, "production")
    await champion.run("deploy", environment="production", version=2)
    (served,) = champion.endpoints.there.values()
    assert (served.version, served.role) == (2, "primary")
    assert [row["status"] for row in champion.deployments.rows] == ["draining", "draining", "active"]


async def test_an_endpoint_without_a_request_has_no_figures_to_keep(champion: World) -> None:
    quiet = {"requests": 0, "latency_ms": {"p50": None, "p95": None, "p99": None}}
    champion.endpoints.said = lambda serving: answer(serving, **quiet)
    done = await champion.run("deploy", environment="production")
    (row,) = champion.deployments.rows
    assert done.overall == "completed"
    assert {"error_rate", "latency_p99_ms"} & set(row) == set()


async def test_shadow_without_anything_to_observe_is_unavailable(champion: World) -> None:
    done = await champion.run("deploy", environment="production", strategy="shadow")
    assert (done.endpoint, done.overall) == (None, "partial")
    assert any("no endpoint in production whose requests could be copied" in line for line in done.meta.degraded)


@pytest.mark.parametrize("strategy", ["blue_green", "canary"])
async def test_a_strategy_the_adapter_does_not_have_is_refused_before_anything_is_done(
    world: World, strategy: str
) -> None:
    experiment = {"run_id": world.store.runs[0], "experiment_id": "exp", "algorithm": "logistic_regression"}
    with pytest.raises(ContractViolation, match=f"strategy '{strategy}' is not supported .* use direct, or shadow"):
        await world.run("deploy", strategy=strategy, **experiment)
    assert world.route() == []
    assert (world.deployments.rows, world.rows.rows) == ([], {})
    assert await world.store.connector.get_model_versions(NAME) == []


async def test_an_endpoint_that_cannot_be_had_is_partial_and_its_row_says_failed(champion: World) -> None:
    champion.endpoints.refuses = "the port is taken"
    done = await champion.run("deploy", environment="production")
    assert (done.overall, done.meta.status, done.endpoint) == ("partial", "partial", None)
    assert done.health is not None
    assert done.health.status == "unknown"
    assert "endpoint: the port is taken" in done.meta.degraded
    assert [row["status"] for row in champion.deployments.rows] == ["failed"]


@pytest.mark.parametrize(("environment", "served"), [("development", True), ("staging", False), ("production", False)])
async def test_a_version_is_served_only_where_its_stage_allows(world: World, environment: str, served: bool) -> None:
    await world.register()
    done = await world.run("deploy", environment=environment)
    assert (done.endpoint is not None) is served
    assert served or (done.error is not None and done.error.type == "PromotionRefused")


async def test_promoting_on_the_way_does_not_open_another_environment(world: World) -> None:
    await world.register()
    done = await world.run("deploy", environment="production", target_stage="staging")
    assert done.error is not None
    assert (done.stage, done.error.node, done.endpoint) == ("staging", "package_model", None)


async def test_a_refused_promotion_is_not_deployed(world: World) -> None:
    await world.register()
    await world.promote(1, "staging", "shadow")
    done = await world.run("deploy", environment="production", target_stage="production", approval=approval())
    assert "package_model" not in world.route()
    assert (done.overall, done.package, world.endpoints.there) == ("failed", None, {})


async def test_a_rollback_restores_the_version_and_its_endpoint(second: World) -> None:
    await second.run("deploy", environment="production")
    second.store.clock.forward(hours=1)
    done = await second.run("rollback", environment="production", approval=approval(why="errors rise"))
    assert second.route() == [*FIRST, "execute_rollback", *DEPLOYMENT, *LAST]
    assert done.overall == "completed", done
    assert await second.store.champion() == 1
    assert list(second.endpoints.there) == [f"{NAME}-production-v1"]
    rows = second.deployments.rows
    assert [row["status"] for row in rows] == ["rolled_back", "active"]
    assert (rows[0]["rollback_reason"], rows[0]["rolled_back_at"]) == ("errors rise", second.store.clock.now)


async def test_a_rollback_of_what_is_not_served_changes_the_registry_only(second: World) -> None:
    second.store.clock.forward(hours=1)
    done = await second.run("rollback", approval=approval())
    assert second.route() == [*FIRST, "execute_rollback", *LAST]
    assert (done.stage, done.overall, second.deployments.rows) == ("production", "completed", [])
    assert done.rollback is not None
    assert done.rollback.previous_version == 2


async def test_a_rollback_to_nothing_is_refused(champion: World) -> None:
    done = await champion.run("rollback", approval=approval())
    assert done.promotion is not None
    assert (done.promotion.ok, done.overall) == (False, "failed")
    assert await champion.store.champion() == 1


async def test_health_tells_that_another_version_is_in_production(second: World) -> None:
    await second.run("deploy", environment="production")
    (served,) = second.endpoints.there.values()
    second.endpoints.there = {served.name: dataclasses.replace(served, version=1)}
    done = await second.run("health", environment="production")
    assert second.route() == [*FIRST, "check_health", *LAST]
    assert done.health is not None
    assert [check.name for check in done.health.checks if not check.ok] == ["version"]
    assert (done.health.status, done.overall) == ("unhealthy", "partial")


async def test_an_unknown_model_is_an_error_of_the_first_step(world: World) -> None:
    done = await world.run("deploy", model_name="e2i_nothing")
    assert done.error is not None
    assert (done.error.type, done.error.node, done.overall) == ("ModelNotFound", "validate_deployment_plan", "failed")
    assert len(world.route()) == len(FIRST)


def test_every_node_of_the_contract_is_in_the_graph() -> None:
    assert [name for name, _ in STEPS] == [
        *FIRST,
        "register_model",
        "execute_rollback",
        "validate_promotion",
        "promote_stage",
        *DEPLOYMENT,
        *LAST,
    ]


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"version": 4}, ["version"]),
        ({"digest": "other"}, ["digest"]),
        ({"errors": 2}, ["errors"]),
        ({"errors": 1}, []),
        ({"requests": 0}, []),
    ],
)
def test_each_check_fires_on_its_own(changes: dict[str, Any], broken: list[str]) -> None:
    from src.mlops.serving.endpoints import Serving

    serving = Serving("e", NAME, 3, "d" * 64, "staging", "primary", "http://127.0.0.1:1", 1, NOW)
    health = judged(answer(serving, **changes), version=3, digest="d" * 64)
    assert [check.name for check in health.checks if not check.ok] == broken
    assert health.status == ("unhealthy" if broken else "healthy")


def test_an_endpoint_that_does_not_answer_is_unhealthy() -> None:
    health = judged(Unavailable("serving", "gone"), version=1, digest="d")
    assert (health.status, [check.ok for check in health.checks]) == ("unhealthy", [False])


# What may be asked.

ASKED: dict[str, Any] = {"action": "promote", "model_name": NAME, "target_stage": "staging"}
CONSENT = {"approver": "Jane", "reason": "fine", "at": "2026-03-01T09:00:00Z", "waives": ["shadow"]}


def test_a_request_is_read_from_json() -> None:
    raw = json.loads(json.dumps({**ASKED, "approval": CONSENT, "shadow_evidence": dataclasses.asdict(SEEN)}))
    read = request_from(raw)
    assert read.action is Action.PROMOTE
    assert read.shadow_evidence == SEEN
    assert read.approval is not None
    assert (read.approval.waives, read.approval.at.utcoffset()) == (frozenset({"shadow"}), NOW.utcoffset())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"acton": "promote"}, "unknown key 'acton'"),
        ({"action": "promot"}, "did you mean 'promote'"),
        ({"target_stage": None}, "needs 'target_stage'"),
        ({"target_stage": "development"}, "unknown target_stage"),
        ({"environment": "prod"}, "unknown environment 'prod'"),
        ({"strategy": "rolling"}, "unknown strategy"),
        ({"model_name": ".."}, "model_name is empty"),
        ({"version": 0}, "version must be a number from 1"),
        ({"port": 70_000}, "port must be"),
        ({"action": "register"}, "needs 'run_id'"),
        ({"action": "rollback"}, "who approves it"),
        ({"approval": "Jane"}, "approval must be an object"),
        ({"approval": {**CONSENT, "reason": " "}}, "a reason"),
        ({"approval": {**CONSENT, "at": "2026-03-01T09:00:00"}}, "with a zone"),
        ({"approval": {**CONSENT, "at": "soon"}}, "is no time"),
        ({"approval": {**CONSENT, "waives": ["path"]}}, "'path' is no rule that can be waived"),
        ({"approval": {**CONSENT, "waives": ["approval"]}}, "'approval' is no rule that can be waived"),
        ({"shadow_evidence": {**dataclasses.asdict(SEEN), "error_rate": 2}}, "error_rate lies in 0–1"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractViolation, match=says) as refused:
        request_from({**ASKED, **changes})
    assert "\n" not in str(refused.value)
