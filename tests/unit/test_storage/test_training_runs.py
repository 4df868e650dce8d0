"""Is a training one row, with its numbers, and is its end counted?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from src.errors import ContractViolation
from src.storage.gateway import TableGateway
from src.storage.training_runs import TrainingCounts, TrainingRunRepository
from tests.unit.test_storage.lifecycle_rows import NOW, experiment, registered, training

pytestmark = pytest.mark.integration


@pytest.fixture
def runs(gateway: TableGateway) -> TrainingRunRepository:
    return TrainingRunRepository(gateway)


async def test_a_training_is_read_back_with_its_three_metric_documents(
    runs: TrainingRunRepository, gateway: TableGateway
) -> None:
    row = training(await experiment(gateway), mlflow_run_id="abc")
    found = await runs.get(await runs.add(row))
    assert found is not None
    assert {name: getattr(found, name) for name in row} == row
    assert await runs.of_mlflow("abc") == found


async def test_a_training_recorded_again_under_its_id_stays_one_row(
    runs: TrainingRunRepository, gateway: TableGateway
) -> None:
    row = training(await experiment(gateway), id=str(uuid4()))
    assert await runs.add(row) == await runs.add(row | {"mlflow_run_id": "abc"}) == row["id"]
    assert [run.mlflow_run_id for run in await runs.recent()] == ["abc"]


async def test_a_training_that_runs_and_ends_is_one_row(runs: TrainingRunRepository, gateway: TableGateway) -> None:
    owner, own = await experiment(gateway), str(uuid4())
    row = training(owner, id=own, mlflow_run_id="abc")
    await runs.begin(row | {"train_metrics": {}, "completed_at": None})
    assert await runs.running(owner) == [(own, "abc")]
    await runs.add(row)
    await runs.end_abandoned(own, "cancelled", NOW, None, "too late")
    (found,) = await runs.recent()
    assert (found.status, found.error_message, await runs.running(owner)) == ("completed", None, [])


@pytest.mark.parametrize("seconds", [-1, 90])
async def test_an_abandoned_training_ends_when_it_last_gave_a_sign_of_life(
    runs: TrainingRunRepository, gateway: TableGateway, seconds: int
) -> None:
    row = training(await experiment(gateway), id=str(uuid4()), mlflow_run_id="abc", completed_at=None)
    await runs.begin(row)
    await runs.end_abandoned(row["id"], "cancelled", NOW + timedelta(seconds=seconds), "ProcessEnded", "it ended")
    found = await runs.get(row["id"])
    assert found is not None
    assert (found.status, found.error_type, found.error_message) == ("cancelled", "ProcessEnded", "it ended")
    assert found.duration_seconds == max(seconds, 0)
    assert (await runs.history()) == {"lightgbm": TrainingCounts(0, 0)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": "running"}, "not as 'running'"),
        ({"status": None}, "not as 'None'"),
        ({"test_metrics": {}}, "without test_metrics"),
        ({"status": "failed"}, "failed_error"),
        ({"completed_at": None}, "completed_time"),
        ({"status": "failed", "error_message": "m", "colour": "red"}, "'colour'"),
    ],
)
async def test_half_a_training_is_refused(
    runs: TrainingRunRepository, gateway: TableGateway, values: dict[str, Any], message: str
) -> None:
    row = training(await experiment(gateway)) | values
    with pytest.raises(ContractViolation, match=message):
        await runs.add(row)
    assert await runs.recent() == []


async def test_a_failed_training_is_recorded_with_its_error(runs: TrainingRunRepository, gateway: TableGateway) -> None:
    failed = {"status": "failed", "error_type": "HPOError", "error_message": "all trials failed", "test_metrics": {}}
    found = await runs.get(await runs.add(training(await experiment(gateway), **failed)))
    assert found is not None
    assert {name: getattr(found, name) for name in failed} == failed


async def test_history_counts_how_trainings_ended_by_algorithm(
    runs: TrainingRunRepository, gateway: TableGateway
) -> None:
    owner = await experiment(gateway)
    assert await runs.history() == {}
    for algorithm, status in [("ridge", "completed"), ("ridge", "failed"), ("ridge", "completed"), ("lasso", "failed")]:
        await runs.add(training(owner, algorithm=algorithm, status=status, error_message="m"))
    await runs.add(training(owner, algorithm="ridge", status="cancelled"))
    assert await runs.history() == {"lasso": TrainingCounts(0, 1), "ridge": TrainingCounts(2, 1)}
    assert await runs.history("ridge") == {"ridge": TrainingCounts(2, 1)}
    assert TrainingCounts(2, 1).success_rate == pytest.approx(2 / 3)
    assert TrainingCounts(0, 0).success_rate is None


async def test_a_training_is_linked_to_its_model_and_run(runs: TrainingRunRepository, gateway: TableGateway) -> None:
    registry = await registered(gateway, 1)
    model = (await registry.version("churn", 1)).id
    run = await runs.add(training(await experiment(gateway)))
    await runs.link_model(run, model)
    await runs.link_mlflow_run(run, "abc")
    found = await runs.get(run)
    assert found is not None
    assert (found.model_registry_id, found.mlflow_run_id) == (model, "abc")
    with pytest.raises(ContractViolation, match="no training"):
        await runs.link_model(str(uuid4()), model)
    with pytest.raises(ContractViolation, match="model_registry_fk"):
        await runs.link_model(run, str(uuid4()))
