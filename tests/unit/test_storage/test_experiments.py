"""Does an experiment have one row, whoever asks first?"""

from __future__ import annotations

import asyncio

import pytest

from src.errors import ContractViolation, UnknownColumn
from src.storage.experiments import ExperimentRepository
from src.storage.gateway import TableGateway

pytestmark = pytest.mark.integration


@pytest.fixture
def experiments(gateway: TableGateway) -> ExperimentRepository:
    return ExperimentRepository(gateway)


async def test_trainings_that_begin_at_once_share_one_experiment(
    experiments: ExperimentRepository, gateway: TableGateway
) -> None:
    ids = await asyncio.gather(
        *(experiments.ensure("churn", mlflow_experiment_id="7", prediction_target="churned") for _ in range(6))
    )
    assert len(set(ids)) == 1
    assert len(await gateway.select("ml_experiments")) == 1


async def test_what_is_known_of_an_experiment_is_stored(experiments: ExperimentRepository) -> None:
    made = await experiments.ensure(
        "churn", mlflow_experiment_id="7", prediction_target="churned", brand="Kisqali", region="west", minimum_auc=0.7
    )
    found = await experiments.get("churn")
    assert found is not None
    assert (found.id, found.prediction_target, found.brand, found.region) == (made, "churned", "Kisqali", "west")
    assert await experiments.of_mlflow("7") == found


async def test_an_experiment_made_while_mlflow_was_away_gets_its_mlflow_id_later(
    experiments: ExperimentRepository,
) -> None:
    first = await experiments.ensure("churn", mlflow_experiment_id=None, prediction_target="churned")
    assert await experiments.ensure("churn", mlflow_experiment_id="7", prediction_target="churned") == first
    assert await experiments.ensure("churn", mlflow_experiment_id=None, prediction_target="churned") == first
    found = await experiments.get("churn")
    assert found is not None
    assert found.mlflow_experiment_id == "7"


async def test_an_experiment_that_mlflow_made_anew_is_another_row(experiments: ExperimentRepository) -> None:
    old = await experiments.ensure("churn", mlflow_experiment_id="7", prediction_target="churned")
    new = await experiments.ensure("churn", mlflow_experiment_id="8", prediction_target="churned")
    assert new != old
    assert await experiments.ensure("churn", mlflow_experiment_id="7", prediction_target="churned") == old
    found = await experiments.get("churn")
    assert found is not None
    assert found.id == new


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [("churn", "adopted", "predicts 'churned', not 'adopted'"), ("other", "churned", "recorded as 'churn'")],
)
async def test_a_second_meaning_of_an_experiment_is_refused(
    experiments: ExperimentRepository, name: str, target: str, message: str
) -> None:
    await experiments.ensure("churn", mlflow_experiment_id="7", prediction_target="churned")
    with pytest.raises(ContractViolation, match=message):
        await experiments.ensure(name, mlflow_experiment_id="7", prediction_target=target)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"brand": "Fabhalta", "region": "west"}, "is of Kisqali, west, not of Fabhalta, west"),
        ({"brand": "Kisqali", "region": "south"}, "not of Kisqali, south"),
        ({}, "not of all brands, all regions"),
    ],
)
async def test_the_rows_of_another_brand_or_region_are_another_experiment(
    experiments: ExperimentRepository, other: dict[str, str], message: str
) -> None:
    given = {"mlflow_experiment_id": "7", "prediction_target": "churned", "brand": "Kisqali", "region": "west"}
    first = await experiments.ensure("churn", **given)
    assert await experiments.ensure("churn", **given) == first
    with pytest.raises(ContractViolation, match=message):
        await experiments.ensure("churn", mlflow_experiment_id=None, prediction_target="churned", **other)


async def test_a_detail_that_does_not_exist_is_named(experiments: ExperimentRepository) -> None:
    with pytest.raises(UnknownColumn, match="did you mean 'minimum_auc'"):
        await experiments.ensure("churn", mlflow_experiment_id=None, prediction_target="y", min_auc=0.7)
