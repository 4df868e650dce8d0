"""Is there always one champion, and does every version stand where it was put?"""

from __future__ import annotations

import asyncio

import pytest

from src.errors import ContractViolation, ModelNotFound
from src.storage.database import Database
from src.storage.gateway import TableGateway
from src.storage.model_registry import ModelOverview, ModelRegistryRepository
from tests.unit.test_storage.lifecycle_rows import experiment, registered

pytestmark = pytest.mark.integration


async def stages(registry: ModelRegistryRepository) -> dict[str, str]:
    return {model.model_version: model.stage for model in await registry.versions("churn")}


async def test_a_version_is_registered_in_development_and_completed_later(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1)
    owner = await experiment(gateway)
    again = await registry.register(
        "churn", 1, experiment_id=owner, algorithm="lightgbm", mlflow_run_id="run1", brier_score=0.1
    )
    (model,) = await registry.versions("churn")
    assert (model.id, model.stage, model.is_champion, model.auc, model.brier_score) == (
        *(again, "development", False),
        *(0.8, 0.1),
    )
    assert await registry.version("churn", 1) == model


async def test_registering_a_champion_again_leaves_it_the_champion(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1)
    await registry.move_stage("churn", 1, "production", approved_by="ada")
    await registered(gateway, 1)
    champion = await registry.champion("churn")
    assert champion is not None
    assert (champion.stage, champion.approved_by, champion.promoted_at is not None) == ("production", "ada", True)


async def test_the_version_of_another_run_and_a_stage_by_hand_are_refused(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1)
    owner = await experiment(gateway)
    with pytest.raises(ContractViolation, match="with run run1, not other"):
        await registry.register("churn", 1, experiment_id=owner, algorithm="lightgbm", mlflow_run_id="other")
    with pytest.raises(ContractViolation, match="'is_champion' is set by moving"):
        await registry.register("churn", 2, experiment_id=owner, algorithm="lightgbm", is_champion=True)


async def test_of_runs_that_register_a_version_at_once_one_has_it(gateway: TableGateway) -> None:
    registry, owner = ModelRegistryRepository(gateway), await experiment(gateway)
    for version in range(10):
        runs = [f"run{version}_{number}" for number in range(4)]
        found = await asyncio.gather(
            *(
                registry.register("churn", version, experiment_id=owner, algorithm="lightgbm", mlflow_run_id=run)
                for run in runs
            ),
            return_exceptions=True,
        )
        owned = [run for run, outcome in zip(runs, found, strict=True) if isinstance(outcome, str)]
        assert owned == [(await registry.version("churn", version)).mlflow_run_id]
        refused = [outcome for outcome in found if isinstance(outcome, ContractViolation)]
        assert len(refused) == 3
        assert all(f"is recorded with run {owned[0]}, not" in str(outcome) for outcome in refused)


@pytest.mark.parametrize(
    ("moves", "archive", "expected", "champion"),
    [
        ([(1, "staging"), (2, "staging")], True, {"1": "archived", "2": "staging"}, None),
        ([(1, "staging"), (2, "staging")], False, {"1": "staging", "2": "staging"}, None),
        ([(1, "production"), (2, "production")], True, {"1": "archived", "2": "production"}, "2"),
        ([(1, "production"), (2, "production")], False, {"1": "deprecated", "2": "production"}, "2"),
        ([(1, "production"), (2, "production"), (1, "production")], True, {"1": "production", "2": "archived"}, "1"),
        ([(1, "production"), (1, "deprecated")], True, {"1": "deprecated", "2": "development"}, None),
        ([(1, "production"), (2, "archived")], True, {"1": "production", "2": "archived"}, "1"),
    ],
)
async def test_a_move_sets_aside_what_held_the_stage(
    gateway: TableGateway, moves: list[tuple[int, str]], archive: bool, expected: dict[str, str], champion: str | None
) -> None:
    registry = await registered(gateway, 1, 2)
    for version, stage in moves:
        moved = await registry.move_stage("churn", version, stage, archive_existing=archive)
        assert (moved.model_version, moved.stage) == (str(version), stage)
    assert await stages(registry) == expected
    found = await registry.champion("churn")
    assert (found.model_version if found else None) == champion


async def test_readers_see_exactly_one_champion_while_it_changes(gateway: TableGateway, db: Database) -> None:
    registry = await registered(gateway, 1, 2)
    await registry.move_stage("churn", 1, "production")
    changing = True
    seen: list[list[str]] = []

    async def read() -> None:
        while changing:
            rows = await db.fetch("SELECT model_version AS v FROM ml_model_registry WHERE stage = 'production'")
            champions = await db.fetch("SELECT model_version AS v FROM v_champion_models")
            seen.extend([[row["v"] for row in rows], [row["v"] for row in champions]])

    readers = [asyncio.create_task(read()) for _ in range(2)]
    for _ in range(10):
        await registry.move_stage("churn", 2, "production")
        await registry.move_stage("churn", 1, "production")
    changing = False
    await asyncio.gather(*readers)
    assert {len(versions) for versions in seen} == {1}
    assert {versions[0] for versions in seen} == {"1", "2"}


async def test_moves_at_once_leave_one_champion(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1, 2, 3)
    await asyncio.gather(*(registry.move_stage("churn", version, "production") for version in (1, 2, 3, 1, 2, 3)))
    assert sorted((await stages(registry)).values()) == ["archived", "archived", "production"]


async def test_models_are_listed_with_their_champion(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1, 2)
    await registered(gateway, 1, name="adoption")
    await registry.move_stage("churn", 1, "production")
    assert await registry.models() == [ModelOverview("adoption", 1, "1", None), ModelOverview("churn", 2, "2", "1")]


async def test_an_unknown_version_is_an_error_and_an_unknown_stage_too(gateway: TableGateway) -> None:
    registry = await registered(gateway, 1)
    with pytest.raises(ModelNotFound, match="no version 9 of model 'churn'"):
        await registry.move_stage("churn", 9, "staging")
    with pytest.raises(ContractViolation, match="champion"):
        await registry.move_stage("churn", 1, "champion")
    assert await registry.versions("nothing") == []
