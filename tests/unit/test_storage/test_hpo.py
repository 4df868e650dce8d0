"""Is a search stored whole, once, and read back as it was?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.errors import ContractViolation, UnknownColumn
from src.storage.gateway import TableGateway
from src.storage.hpo import HPORepository
from tests.unit.test_storage.lifecycle_rows import NOW, experiment, study, trials

pytestmark = pytest.mark.integration


@pytest.fixture
def stored(gateway: TableGateway) -> HPORepository:
    return HPORepository(gateway)


async def test_a_study_and_its_trials_are_read_back_as_they_were_saved(stored: HPORepository) -> None:
    study_id = await stored.save_study(study(), trials())
    found = await stored.study("e2i_churn_lightgbm")
    assert found is not None
    assert found.id == study_id
    assert {name: getattr(found, name) for name in study()} == study()
    first, second = await stored.trials(study_id)
    assert {name: getattr(first, name) for name in trials()[0]} == trials()[0]
    assert (second.state, second.value, second.error_message) == ("FAIL", None, "ValueError: no")
    assert second.intermediate_values == {}


async def test_saving_a_study_again_replaces_it_and_keeps_its_id(stored: HPORepository) -> None:
    begun = study(status="running", completed_at=None, n_trials=1, n_failed=0)
    study_id = await stored.save_study(begun, trials()[:1])
    assert await stored.save_study(study(best_value=0.9), trials()) == study_id
    assert [trial.trial_number for trial in await stored.trials(study_id)] == [0, 1]
    found = await stored.study("e2i_churn_lightgbm")
    assert found is not None
    assert (found.status, found.best_value, found.started_at) == ("completed", 0.9, NOW)


async def test_processes_that_save_a_study_at_once_leave_one(stored: HPORepository) -> None:
    ids = await asyncio.gather(*(stored.save_study(study(), trials()) for _ in range(4)))
    assert len(set(ids)) == 1
    assert len(await stored.trials(ids[0])) == 2


async def test_an_older_save_takes_nothing_from_a_study(stored: HPORepository, gateway: TableGateway) -> None:
    owner = await experiment(gateway)
    older = study(n_trials=1, n_failed=0, best_value=0.1, status="running", completed_at=None)
    study_id = await stored.save_study(study(experiment_id=owner), trials())
    assert await stored.save_study(older, trials()[:1]) == study_id
    found = await stored.study("e2i_churn_lightgbm")
    assert found is not None
    assert (found.n_trials, found.best_value, found.status, found.experiment_id) == (2, 0.8, "completed", owner)
    assert len(await stored.trials(study_id)) == 2


@pytest.mark.parametrize("first", ["with", "without"])
async def test_a_study_keeps_its_experiment_whoever_saves_it_next(
    stored: HPORepository, gateway: TableGateway, first: str
) -> None:
    owner = await experiment(gateway)
    linked, plain = study(experiment_id=owner), study()
    await stored.save_study(linked if first == "with" else plain, trials())
    await stored.save_study(plain if first == "with" else linked, trials())
    found = await stored.study("e2i_churn_lightgbm")
    assert found is not None
    assert found.experiment_id == owner


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ({}, [trials()[0], trials()[1] | {"value": 1.0}], "value_presence"),
        ({}, [trials()[0], trials()[0]], "number_unique"),
        ({"n_failed": 7}, trials(), "counts_sum"),
        ({"n_trials": 9, "n_completed": 8}, trials(), "counts 9 trials, and 2 are given"),
        ({}, [], "counts 2 trials, and 0 are given"),
        ({"best_value": None}, trials(), "completed_best"),
        ({}, [trials()[0] | {"intermediate_values": {"0": float("nan")}}, trials()[1]], "NaN|invalid"),
    ],
)
async def test_a_study_that_contradicts_itself_is_refused_whole(
    stored: HPORepository, header: dict[str, Any], rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ContractViolation, match=message):
        await stored.save_study(study(**header), rows)
    assert await stored.study("e2i_churn_lightgbm") is None


@pytest.mark.parametrize(
    ("header", "rows", "name"),
    [({"best_valu": 1.0}, [], "best_valu"), ({}, [{"number": 0}], "number")],
)
async def test_a_column_that_does_not_exist_is_named(
    stored: HPORepository, header: dict[str, Any], rows: list[dict[str, Any]], name: str
) -> None:
    with pytest.raises(UnknownColumn, match=f"'{name}'"):
        await stored.save_study(study(**header), rows)


async def test_an_unknown_study_is_none(stored: HPORepository) -> None:
    assert await stored.study("never") is None
