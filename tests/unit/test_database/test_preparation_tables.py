"""Are split plans, patients' splits, transformations and audits stored once and read back as they were?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from src.domain.splits import SplitRatios, UnitAssignment
from src.errors import ContractViolation, DataUnavailable
from src.mlops.preparation.splitting import plan_splits, splits_of_plan, unit_assignments
from src.mlops.preparation.transforms import fit_transforms, from_parameters
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.preparation import BATCH, PreparationRepository
from tests.unit.test_mlops.modelling_frames import FEATURES, LEAKS, Modelling, honest

pytestmark = pytest.mark.integration


@pytest.fixture
def stored(db: Database) -> PreparationRepository:
    return PreparationRepository(PostgresGateway(db))


@pytest.fixture(scope="module")
def made() -> Modelling:
    return honest(3, target="binary", rows=1_500, by_unit=True)


@pytest.mark.parametrize("strategy", ["chronological", "patient_stratified"])
async def test_a_plan_is_registered_once(stored: PreparationRepository, made: Modelling, strategy: str) -> None:
    plan, _ = plan_splits(
        made.frame, time="at", unit="row_id", strategy=strategy, source="triggers", random_state=7, gap_days=5
    )
    assert await stored.register_plan(plan, created_by="data_preparer")
    assert not await stored.register_plan(plan)
    assert await stored.plan(plan.split_config_id) == plan
    assert plan.unit == "row_id"


async def test_processes_that_plan_the_same_split_at_once_register_it_once(
    stored: PreparationRepository, db: Database, made: Modelling
) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await asyncio.gather(*(stored.register_plan(plan) for _ in range(5)))
    assert len(await db.fetch("SELECT * FROM ml_split_registry")) == 1


async def test_another_plan_of_the_same_id_and_an_unknown_id_are_refused(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    with pytest.raises(ContractViolation, match="another holdout_ratio"):
        await stored.register_plan(replace(plan, ratios=SplitRatios(0.6, 0.2, 0.1, 0.1)))
    with pytest.raises(DataUnavailable, match="no split 'spring'"):
        await stored.plan("spring")


async def test_patients_keep_the_split_they_were_given(stored: PreparationRepository, made: Modelling) -> None:
    plan, split = plan_splits(made.frame, time="at", unit="patient_id", strategy="patient_stratified")
    await stored.register_plan(plan)
    patients = unit_assignments(made.frame, split, unit="patient_id", time="at")
    assert await stored.add_assignments(plan.split_config_id, patients) == len(patients)
    assert await stored.add_assignments(plan.split_config_id, patients) == 0
    kept = await stored.assignments(plan.split_config_id)
    assert kept == {item.unit: item.split for item in patients}
    assert splits_of_plan(made.frame, plan, unit="patient_id", assignments=kept).equals(split)
    moved = [replace(patients[0], split="holdout" if patients[0].split != "holdout" else "train")]
    with pytest.raises(ContractViolation, match="1 patients have another split"):
        await stored.add_assignments(plan.split_config_id, moved)
    assert await stored.assignments(plan.split_config_id) == kept


def patients(n: int, split: str = "train") -> list[UnitAssignment]:
    return [UnitAssignment(f"p{number}", split, date(2024, 1, 1) if number else None) for number in range(n)]


async def test_many_patients_are_stored_and_asked_for(stored: PreparationRepository, made: Modelling) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    many = patients(BATCH + 10)
    assert await stored.add_assignments(plan.split_config_id, many) == BATCH + 10
    assert await stored.add_assignments(plan.split_config_id, []) == 0
    kept = await stored.assignments(plan.split_config_id, [item.unit for item in many])
    assert len(kept) == BATCH + 10


async def test_an_assignment_keeps_its_split_and_its_day_or_none(
    stored: PreparationRepository, db: Database, made: Modelling
) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    await stored.add_assignments(plan.split_config_id, patients(2, "test"))
    rows = await db.fetch("SELECT index_date, data_split::text FROM ml_patient_split_assignments ORDER BY patient_id")
    assert rows == [
        {"index_date": None, "data_split": "test"},
        {"index_date": date(2024, 1, 1), "data_split": "test"},
    ]


async def test_runs_that_assign_the_same_patients_at_once_agree(
    stored: PreparationRepository, db: Database, made: Modelling
) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    some = patients(3_000)
    added = await asyncio.gather(
        *(stored.add_assignments(plan.split_config_id, turned) for turned in (some, some[::-1], some[1_000:]))
    )
    assert sum(added) == 3_000
    assert len(await stored.assignments(plan.split_config_id)) == 3_000


async def test_one_patient_of_another_split_leaves_none_of_the_others(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    await stored.add_assignments(plan.split_config_id, patients(1, "holdout"))
    with pytest.raises(ContractViolation, match=f"1 patients have another split in '{plan.split_config_id}'"):
        await stored.add_assignments(plan.split_config_id, patients(2 * BATCH)[::-1])
    assert await stored.assignments(plan.split_config_id) == {"p0": "holdout"}


async def test_patients_of_a_plan_that_is_not_registered_are_refused(stored: PreparationRepository) -> None:
    with pytest.raises(ContractViolation, match="config_fk"):
        await stored.add_assignments("spring", patients(3))


async def test_transforms_come_back_exactly(stored: PreparationRepository, made: Modelling) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    fitted = fit_transforms(made.frame, split, FEATURES)
    for _ in range(2):
        await stored.save_preprocessing(plan.split_config_id, fitted.parameters())
    assert from_parameters(await stored.preprocessing(plan.split_config_id)) == fitted


async def test_transforms_take_the_place_of_all_that_an_earlier_run_left(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    await stored.save_preprocessing(
        plan.split_config_id, fit_transforms(made.frame, split, ["strong", "word"]).parameters()
    )
    later = fit_transforms(made.frame, split, ["word", "weak"])
    await stored.save_preprocessing(plan.split_config_id, later.parameters())
    assert from_parameters(await stored.preprocessing(plan.split_config_id)) == later


async def test_runs_that_store_transforms_at_once_leave_those_of_one(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    fitted = [fit_transforms(made.frame, split, names) for names in (["strong", "word"], ["word", "weak"], ["weak"])]
    await asyncio.gather(*(stored.save_preprocessing(plan.split_config_id, one.parameters()) for one in fitted))
    assert from_parameters(await stored.preprocessing(plan.split_config_id)) in fitted


async def test_transforms_of_other_rows_are_refused_by_the_table(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    rows = [row | {"computed_on_split": "test"} for row in fit_transforms(made.frame, split, ["strong"]).parameters()]
    kept = fit_transforms(made.frame, split, ["weak"])
    await stored.save_preprocessing(plan.split_config_id, kept.parameters())
    with pytest.raises(ContractViolation, match="train_only"):
        await stored.save_preprocessing(plan.split_config_id, rows)
    assert from_parameters(await stored.preprocessing(plan.split_config_id)) == kept


@pytest.mark.parametrize("name", LEAKS)
async def test_every_kind_of_finding_is_written_to_the_audit(
    stored: PreparationRepository, made: Modelling, name: str
) -> None:
    check, plant, told = LEAKS[name]
    report = plant(made, np.random.default_rng(1)).search(**told)
    rows = report.audit_rows("triggers", trace_id="t1")
    assert await stored.add_audit(rows) == len(rows) >= len(report.checked)
    written = await stored.audits("triggers")
    found = [row for row in written if row["leakage_detected"]]
    assert check in {row["details"]["check"] for row in found}
    assert sum(row["affected_rows"] for row in found) == sum(finding.affected_rows for finding in report.findings) > 0
    assert {row["severity"] for row in written if not row["leakage_detected"]} <= {"info"}
