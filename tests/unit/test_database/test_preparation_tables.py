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
    assert await stored.plan(plan.split_config_id) == replace(plan, unit=None)


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


async def test_assignments_go_in_batches(stored: PreparationRepository, db: Database, made: Modelling) -> None:
    plan, _ = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    many = [UnitAssignment(f"p{number}", "train", date(2024, 1, 1)) for number in range(BATCH + 10)]
    assert await stored.add_assignments(plan.split_config_id, many) == BATCH + 10
    rows = await db.fetch("SELECT DISTINCT index_date, data_split::text FROM ml_patient_split_assignments")
    assert rows == [{"index_date": date(2024, 1, 1), "data_split": "train"}]


async def test_transforms_come_back_exactly(stored: PreparationRepository, made: Modelling) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    fitted = fit_transforms(made.frame, split, FEATURES)
    for _ in range(2):
        await stored.save_preprocessing(plan.split_config_id, fitted.parameters())
    assert from_parameters(await stored.preprocessing(plan.split_config_id)) == fitted


async def test_transforms_of_other_rows_are_refused_by_the_table(
    stored: PreparationRepository, made: Modelling
) -> None:
    plan, split = plan_splits(made.frame, time="at")
    await stored.register_plan(plan)
    rows = [row | {"computed_on_split": "test"} for row in fit_transforms(made.frame, split, ["strong"]).parameters()]
    with pytest.raises(ContractViolation, match="train_only"):
        await stored.save_preprocessing(plan.split_config_id, rows)


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
