"""data_preparer: which rows are for training, and when is a split kept, planned or refused?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from src.agents.ml_foundation.data_preparer.graph import STEPS
from src.agents.quality_gate import LAYERS, LayerStatus
from src.domain.splits import SPLIT_NAMES
from src.mlops.preparation.splitting import plan_splits

from .parts import Preparation, alerts, world

PASSED = dict.fromkeys(LAYERS, LayerStatus.PASSED)


async def test_a_patient_with_unassigned_rows_keeps_the_split_of_the_others() -> None:
    frame = alerts()
    names = pd.Series(["train", "validation", "test", "holdout"])
    given = names[pd.cut(frame.index // 2, [-1, 179, 239, 284, 299], labels=False)].to_numpy()
    given[::2] = "unassigned"
    around = world(frame.assign(data_split=given))
    result = await around.run()
    assert (result.error, result.gate.blockers) == (None, ())
    ((_, assigned),) = around.store.assigned.items()
    assert pd.Series(assigned).value_counts().to_dict() == {"train": 180, "validation": 60, "test": 45, "holdout": 15}


async def test_another_scope_or_other_rows_are_another_plan() -> None:
    shared: Any = Preparation()
    other = alerts().assign(trigger_id=lambda rows: "x" + rows["trigger_id"])
    for frame, changes in ((alerts(), {}), (alerts(), {"brand": "Kisqali"}), (other, {})):
        for _ in range(2):
            assert (await world(frame, store=shared).run(**changes)).gate.passed
    assert len(shared.plans) == len(shared.transforms) == 3


async def test_patients_are_split_in_order_of_time_and_registered_once() -> None:
    around = world()
    first, second = await around.run(), await around.run()
    assert first.splits == second.splits
    assert first.splits is not None
    assert (first.splits.unit, first.splits.gap_days) == ("patient_id", 7)
    assert list(around.store.plans) == [first.splits.split_config_id]
    assigned = around.store.assigned[first.splits.split_config_id]
    assert len(assigned) == 300
    assert sum(first.splits.rows.values()) == 600
    assert set(assigned.values()) == set(SPLIT_NAMES)


async def test_a_registered_split_is_used_again() -> None:
    around = world()
    first = await around.run()
    assert first.splits is not None
    again = await around.run(split_id=first.splits.split_config_id)
    assert again.splits == first.splits
    assert again.target_rate == first.target_rate
    assert again.gate.passed


async def test_a_registered_split_of_rows_does_not_tear_patients_apart_unseen() -> None:
    around = world()
    plan, _ = plan_splits(alerts(), time="trigger_timestamp", source="triggers")
    await around.store.register_plan(plan)
    result = await around.run(split_id=plan.split_config_id)
    assert result.splits is not None
    assert (result.splits.unit, result.gate.layers["leakage"]) == (None, LayerStatus.FAILED)
    assert any("'patient_id' have rows in more than one split" in line for line in result.gate.blockers)


async def test_an_unknown_split_fails_the_run() -> None:
    result = await world().run(split_id="chronological-none")
    assert (result.meta.status, result.gate.passed, result.is_ready) == ("failed", False, False)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DataUnavailable", "detect_leakage")
    assert result.gate.blockers[0] == f"detect_leakage: {result.error.message}"


async def test_rows_too_few_to_be_split_fail_the_run_and_keep_the_report() -> None:
    around = world(alerts(40))
    result = await around.run()
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DataUnavailable", "detect_leakage")
    assert (result.gate.passed, len(around.reports.kept)) == (False, 1)
    assert around.route() == [*(name for name, _ in STEPS[:5]), "finalize_output", "run"]


async def test_rows_that_bring_their_split_keep_it() -> None:
    frame = alerts()
    patient = frame.index // 2
    names = pd.Series(["train", "validation", "test", "holdout"])
    given = names[pd.cut(patient, [-1, 179, 239, 284, 299], labels=False)].to_numpy()
    result = await world(frame.assign(data_split=given)).run()
    assert result.splits is not None
    assert result.splits.rows["train"] == 360
    assert {name: n for name, n in result.splits.rows.items() if n} == pd.Series(given).value_counts().to_dict()
