"""Are explanations and deployments found by the model they belong to?"""

from __future__ import annotations

from uuid import uuid4

import pytest

from src.errors import ContractViolation
from src.storage.deployments import DeploymentRepository
from src.storage.gateway import TableGateway
from src.storage.shap_analyses import ShapRepository
from src.storage.training_runs import TrainingRunRepository
from tests.unit.test_storage.lifecycle_rows import NOW, experiment, registered, training

pytestmark = pytest.mark.integration


async def test_the_latest_explanation_of_a_model_is_found(gateway: TableGateway) -> None:
    shap = ShapRepository(gateway)
    run = await TrainingRunRepository(gateway).add(training(await experiment(gateway)))
    row = {
        "training_run_id": run,
        "model_uri": "models:/churn/1",
        "explainer_type": "Tree",
        "sample_size": 50,
        "base_value": -0.2,
        "global_importance": {"age": 0.4},
        "top_features": ["age"],
        "narrative_source": "template",
    }
    await shap.add(row)
    newer = await shap.add(row | {"global_importance": {"age": 0.5}})
    found = await shap.latest("models:/churn/1")
    assert found is not None
    assert (found.id, found.global_importance, found.top_features) == (newer, {"age": 0.5}, ["age"])
    assert await shap.of_training(run) == found
    assert await shap.latest("models:/other/1") is None


async def test_deployments_are_found_by_model_and_environment(gateway: TableGateway) -> None:
    registry, deployments = await registered(gateway, 1, 2), DeploymentRepository(gateway)
    await registered(gateway, 1, name="adoption")
    row = {"environment": "staging", "strategy": "direct", "status": "active", "deployed_at": NOW}
    first = await deployments.add(row | {"model_registry_id": (await registry.version("churn", 1)).id})
    second = await deployments.add(
        row | {"model_registry_id": (await registry.version("churn", 2)).id, "previous_deployment_id": first}
    )
    await deployments.add(row | {"model_registry_id": (await registry.version("adoption", 1)).id})
    await deployments.update(first, status="rolled_back", rolled_back_at=NOW, rollback_reason="slow")
    assert [item.id for item in await deployments.active("churn", "staging")] == [second]
    assert await deployments.active("churn", "production") == []
    assert [item.id for item in await deployments.history("churn")] == [second, first]
    assert await deployments.history("never registered") == []
    gone = await deployments.get(first)
    assert gone is not None
    assert (gone.status, gone.rollback_reason) == ("rolled_back", "slow")


async def test_what_does_not_exist_is_not_updated_or_served(gateway: TableGateway) -> None:
    deployments = DeploymentRepository(gateway)
    with pytest.raises(ContractViolation, match="no deployment"):
        await deployments.update(str(uuid4()), status="active")
    row = {"model_registry_id": str(uuid4()), "environment": "staging", "strategy": "direct", "status": "active"}
    with pytest.raises(ContractViolation, match="model_registry_fk"):
        await deployments.add(row)
