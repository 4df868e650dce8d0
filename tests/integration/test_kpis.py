"""Do all KPIs compute on the tables, to the values found by hand or by another program?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.contracts.model import Dtype
from src.contracts.tables import TABLES
from src.domain.kpis import KpiStatus, get_kpi, load_kpis
from src.storage.kpi_repository import KpiValue, compute_kpi

NOON = datetime(2023, 6, 1, 12, tzinfo=UTC)
ORDER = (
    "hcp_profiles",
    "patient_journeys",
    "treatment_events",
    "triggers",
    "ml_predictions",
    "business_metrics",
    "causal_paths",
    "agent_activities",
)


async def load(db: Any, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = [dict(row) for row in rows]
    columns = sorted({name for row in rows for name in row})
    await db.copy_rows(table, columns, [[row.get(name) for name in columns] for row in rows])


def journey(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "patient_journey_id": f"pj_{number:04d}",
        "patient_id": f"pat_{number:04d}",
        "journey_start_date": date(2023, 1, 10),
        "journey_stage": "diagnosis",
        "journey_status": "active",
        "brand": "Kisqali",
        "geographic_region": "northeast",
    } | changes


def hcp(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "hcp_id": f"hcp_{number:06d}",
        "specialty": "Oncology",
        "geographic_region": "northeast",
        "sales_rep_id": f"rep_{number}",
    } | changes


def event(number: int, patient: int, **changes: Any) -> dict[str, Any]:
    return {
        "treatment_event_id": f"te_{number:05d}",
        "patient_journey_id": f"pj_{patient:04d}",
        "patient_id": f"pat_{patient:04d}",
        "event_date": date(2023, 2, 1),
        "event_type": "prescription",
        "brand": "Kisqali",
        "sequence_number": number + 1,
    } | changes


def trigger(number: int, patient: int, **changes: Any) -> dict[str, Any]:
    return {
        "trigger_id": f"trg_{number:05d}",
        "patient_id": f"pat_{patient:04d}",
        "trigger_timestamp": NOON,
        "trigger_type": "lab_result",
        "priority": "high",
        "brand": "Kisqali",
    } | changes


def prediction(number: int, value: float, **changes: Any) -> dict[str, Any]:
    return {
        "prediction_id": f"pred_{number:05d}",
        "model_version": "v1",
        "prediction_timestamp": NOON,
        "patient_id": f"pat_{number:04d}",
        "prediction_type": "propensity",
        "prediction_value": value,
    } | changes


def metric(name: str, value: float, month: int = 1, **changes: Any) -> dict[str, Any]:
    key = "_".join(str(changes.get(part)) for part in ("brand", "region"))
    return {
        "metric_id": f"bm_{name}_{month}_{key}",
        "metric_date": date(2023, month, 1),
        "metric_type": "kpi",
        "metric_name": name,
        "value": value,
    } | changes


async def test_shares_of_journeys_are_those_counted_by_hand(db: Any) -> None:
    await load(
        db,
        "patient_journeys",
        [
            journey(1, data_source="Veeva", data_sources_matched=["Veeva", "Komodo"], data_lag_hours=10.0),
            journey(2, data_source="Veeva", data_sources_matched=["Veeva"], data_lag_hours=50.0),
            journey(3, data_lag_hours=60.0),
            journey(4, data_source="Komodo", data_sources_matched=[], data_lag_hours=1000.0),
        ],
    )
    assert (await compute_kpi(db, get_kpi("DQ1"))).value == pytest.approx(2 / 4)
    match_rate = await compute_kpi(db, get_kpi("DQ3"))
    assert (match_rate.value, match_rate.n) == (pytest.approx(1 / 3), 3)
    lag = await compute_kpi(db, get_kpi("DQ7"))
    assert (lag.value, lag.status) == (pytest.approx(55.0), KpiStatus.BELOW_TARGET)
    # brand and region are set, the source in three of four: (2 + .75) of the 8 required fields
    assert (await compute_kpi(db, get_kpi("DQ5"))).value == pytest.approx((2 + 0.75) / 8)


async def test_stacking_lift_and_release_time(db: Any) -> None:
    arrived = {"source_timestamp": NOON, "ingestion_timestamp": NOON + timedelta(days=3)}
    await load(
        db,
        "patient_journeys",
        [
            journey(1, data_quality_score=0.9, source_stacking_flag=True, **arrived),
            journey(2, data_quality_score=0.6, source_stacking_flag=False, **arrived),
        ],
    )
    assert (await compute_kpi(db, get_kpi("DQ4"))).value == pytest.approx(0.5)
    released = await compute_kpi(db, get_kpi("DQ9"))
    assert (released.value, released.status) == (pytest.approx(3.0), KpiStatus.BELOW_TARGET)


async def test_model_quality_equals_scikit_learn(db: Any) -> None:
    from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

    rng = np.random.default_rng(3)
    scores = np.round(rng.random(300), 2)  # rounded: ties
    labels = (rng.random(300) < scores).astype(int)
    recorded = NOON + timedelta(days=9)
    await load(
        db,
        "ml_predictions",
        [
            prediction(i, float(p), actual_outcome=float(y), outcome_recorded_at=recorded)
            for i, (p, y) in enumerate(zip(scores, labels, strict=True))
        ],
    )
    expected = {
        "MQ1": roc_auc_score(labels, scores),
        "MQ2": average_precision_score(labels, scores),
        "MQ3": f1_score(labels, scores >= 0.5),
        "MQ5": brier_score_loss(labels, scores),
        "MQ6": np.polyfit(scores, labels, 1)[0],
    }
    order = sorted(range(300), key=lambda i: (-scores[i], f"pred_{i:05d}"))
    expected["MQ4"] = labels[order[: labels.sum()]].mean()
    for kpi_id, value in expected.items():
        found = await compute_kpi(db, get_kpi(kpi_id))
        assert (found.value, found.n) == (pytest.approx(value, abs=1e-12), 300), kpi_id


async def test_drift_is_near_zero_for_equal_halves_and_large_for_shifted_ones(db: Any) -> None:
    times = [NOON + timedelta(hours=i) for i in range(200)]
    await load(
        db, "ml_predictions", [prediction(i, (i % 100) / 100, prediction_timestamp=times[i]) for i in range(200)]
    )
    steady = await compute_kpi(db, get_kpi("MQ9"))
    assert (steady.value, steady.status) == (pytest.approx(0.0, abs=1e-9), KpiStatus.ON_TARGET)

    await db.execute(
        "UPDATE ml_predictions SET prediction_value = prediction_value / 4 WHERE prediction_timestamp < %s",
        [times[100]],
    )
    shifted = await compute_kpi(db, get_kpi("MQ9"))
    early, late = np.array([40, 40, 20] + [0] * 7), np.full(10, 10)
    p, q = (early + 0.5) / 105, (late + 0.5) / 105
    assert (shifted.value, shifted.status) == (
        pytest.approx(float(((q - p) * np.log(q / p)).sum())),
        KpiStatus.CRITICAL,
    )


async def test_fairness_gap_ignores_small_age_groups(db: Any) -> None:
    ages = ["18-34"] * 12 + ["65+"] * 12 + ["50-64"] * 3
    hits = [True] * 9 + [False] * 3 + [True] * 6 + [False] * 6 + [False] * 3
    await load(db, "patient_journeys", [journey(i, age_group=age) for i, age in enumerate(ages)])
    await load(
        db, "ml_predictions", [prediction(i, 0.8 if hit else 0.2, actual_outcome=1.0) for i, hit in enumerate(hits)]
    )
    gap = await compute_kpi(db, get_kpi("MQ8"))
    assert (gap.value, gap.n) == (pytest.approx(0.25), 24)


async def test_trigger_rates_are_those_counted_by_hand(db: Any) -> None:
    answered = [("accepted", "call", 1.0), ("rejected", None, 0.0), ("ignored", None, 0.0), ("accepted", "call", 0.0)]
    rows = [
        trigger(i, i, acceptance_status=answer, action_taken=action, outcome_tracked=True, outcome_value=outcome,
                false_positive_flag=i == 1, lead_time_days=4 * i, change_type="update", change_failed=i == 0)
        for i, (answer, action, outcome) in enumerate(answered)
    ]  # fmt: skip
    rows.append(trigger(9, 9, acceptance_status="pending", change_type="new"))
    await load(db, "triggers", rows)
    expected = {
        "TR1": 1 / 4,
        "TR3": 1 / 2,
        "TR4": 2 / 4,
        "TR5": 1 / 4,
        "TR6": 1 / 4,
        "TR7": 6.0,
        "TR8": 1 / 4,
        "DQ8": 2 / 4,
    }
    for kpi_id, value in expected.items():
        found = await compute_kpi(db, get_kpi(kpi_id))
        assert (found.value, found.n) == (pytest.approx(value), 4), kpi_id


async def test_trigger_recall_counts_only_triggers_shortly_before_the_first_prescription(db: Any) -> None:
    await load(db, "patient_journeys", [journey(i) for i in range(4)])
    first = date(2023, 6, 20)
    await load(db, "treatment_events", [event(i, i, event_date=first) for i in range(4)])
    at = [NOON, NOON - timedelta(days=90), NOON + timedelta(days=60)]
    await load(db, "triggers", [trigger(i, i, trigger_timestamp=when) for i, when in enumerate(at)])
    recall = await compute_kpi(db, get_kpi("TR2"))
    assert (recall.value, recall.n) == (pytest.approx(1 / 4), 4)


async def test_users_touch_and_reach_follow_the_triggers(db: Any) -> None:
    await load(db, "hcp_profiles", [hcp(1), hcp(2), hcp(3, specialty="Dermatology"), hcp(4, coverage_status=True)])
    await load(db, "patient_journeys", [journey(i) for i in range(5)])
    seen = {"delivery_timestamp": NOON, "view_timestamp": NOON}
    july = NOON + timedelta(days=35)
    later = {"delivery_timestamp": july, "view_timestamp": july, "trigger_timestamp": july}
    await load(
        db,
        "triggers",
        [
            trigger(1, 1, hcp_id="hcp_000001", **seen),
            trigger(2, 1, hcp_id="hcp_000002", **seen),
            trigger(3, 2, hcp_id="hcp_000002", **later),
            trigger(4, 3, hcp_id="hcp_000002"),
        ],
    )
    expected = {"BU1": (1.5, 2), "BU3": (2 / 5, 5), "BU4": (1.0, 1), "BR5": (2 / 3, 3)}
    for kpi_id, (value, n) in expected.items():
        found = await compute_kpi(db, get_kpi(kpi_id))
        assert (found.value, found.n) == (pytest.approx(value), n), kpi_id
    only_june = await compute_kpi(db, get_kpi("BU1"), start=date(2023, 6, 1), end=date(2023, 6, 30))
    assert (only_june.value, only_june.n) == (2.0, 1)


async def test_prescriptions_are_never_counted_twice(db: Any) -> None:
    parts = [("Kisqali", "west", 3.0), ("Kisqali", "south", 4.0), ("Fabhalta", "west", 5.0), ("Fabhalta", "south", 6.0)]
    rows = [metric("BU5", value, month, brand=b, region=r) for b, r, value in parts for month in (1, 2)]
    await load(db, "business_metrics", rows)
    trx = get_kpi("TRx")
    assert (await compute_kpi(db, trx)).value == 36.0
    assert (await compute_kpi(db, trx, "Kisqali")).value == 14.0
    assert (await compute_kpi(db, trx, region="west")).value == 16.0
    assert (await compute_kpi(db, trx, "Kisqali", "west", date(2023, 2, 1), date(2023, 2, 28))).value == 3.0

    totals = [metric("BU5", 18.0, month) for month in (1, 2)]
    totals += [metric("BU5", 7.0, month, brand="Kisqali") for month in (1, 2)]
    totals += [metric("BU5", 8.0, month, region="west") for month in (1, 2)]
    await load(db, "business_metrics", totals)
    assert (await compute_kpi(db, trx)).value == 36.0
    assert (await compute_kpi(db, trx, "Kisqali")).value == 14.0
    assert (await compute_kpi(db, trx, region="west")).value == 16.0


async def test_counts_are_rated_against_the_target_of_the_period(db: Any) -> None:
    await load(
        db,
        "business_metrics",
        [metric("BU6", 50.0, 1), metric("BU6", 40.0, 2, target=50.0), metric("BU6", 40.0, 3, target=50.0)],
    )
    nrx = await compute_kpi(db, get_kpi("NRx"))
    assert (nrx.value, nrx.target, nrx.status) == (130.0, pytest.approx(162.5), KpiStatus.WARNING)


async def test_conversion_needs_a_prescription_of_the_journey_s_own_brand(db: Any) -> None:
    await load(db, "patient_journeys", [journey(1), journey(2), journey(3, brand="Fabhalta"), journey(4)])
    await load(
        db,
        "treatment_events",
        [
            event(1, 1, days_from_diagnosis=30),
            event(2, 1, days_from_diagnosis=90),
            event(3, 2, event_type="lab_test"),
            event(4, 3, brand="competitor"),
            event(5, 3, brand="Fabhalta", event_type="lab_test"),
            event(6, 4, days_from_diagnosis=50),
        ],
    )
    assert (await compute_kpi(db, get_kpi("BU9"))).value == pytest.approx(2 / 4)
    assert (await compute_kpi(db, get_kpi("BR4"))).value == pytest.approx(40.0)
    assert (await compute_kpi(db, get_kpi("BR3"))).value == 1.0


async def test_uncontrolled_share_uses_the_latest_known_outcome_on_an_antihistamine(db: Any) -> None:
    await load(db, "patient_journeys", [journey(i, brand="Remibrutinib") for i in range(3)])
    before = {"brand": "Remibrutinib", "previous_treatment": "antihistamine"}
    after = {"event_date": date(2023, 3, 1)}
    await load(
        db,
        "treatment_events",
        [
            event(1, 0, outcome_indicator="worsened", **before),
            event(2, 0, outcome_indicator="improved", **before | after),
            event(3, 0, outcome_indicator="unknown", **before | {"event_date": date(2023, 4, 1)}),
            event(4, 1, outcome_indicator="stable", **before),
            event(5, 2, outcome_indicator="worsened", brand="Remibrutinib"),
        ],
    )
    share = await compute_kpi(db, get_kpi("BR1"))
    assert (share.value, share.n) == (pytest.approx(1 / 2), 2)


async def test_causal_kpis_carry_interval_verdict_and_subject(db: Any) -> None:
    path = {
        "discovery_date": date(2024, 1, 1), "causal_chain": json.dumps(["rep_calls", "nrx"]), "start_node": "rep_calls",
        "end_node": "nrx", "path_length": 1, "causal_effect_size": 0.2, "method_used": "twfe", "intermediate_nodes": [],
    }  # fmt: skip
    await load(
        db,
        "causal_paths",
        [
            path | {"path_id": "a", "effect_raw": 0.5, "effect_se": 0.1, "validation_status": "proceed",
                    "business_impact_estimate": 1000.0, "brand": "Kisqali"},
            path | {"path_id": "b", "effect_raw": 0.9, "effect_se": 0.1, "validation_status": "block",
                    "discovery_date": date(2024, 5, 1), "brand": "Kisqali"},
        ],
    )  # fmt: skip
    ate = await compute_kpi(db, get_kpi("CA1"), "Kisqali")
    assert (ate.value, ate.n, ate.verdict, ate.subject) == (0.5, 2, "proceed", "rep_calls on nrx Kisqali")
    assert (ate.ci_lower, ate.ci_upper) == (pytest.approx(0.304, abs=1e-3), pytest.approx(0.696, abs=1e-3))
    impact = await compute_kpi(db, get_kpi("CA3"), "Kisqali")
    assert (impact.value, impact.ci_lower) == (1000.0, pytest.approx(608.0, abs=0.1))
    assert (await compute_kpi(db, get_kpi("CA5"), "Kisqali")).value is None


@pytest.mark.parametrize("kpi_id", [kpi.id for kpi in load_kpis()])
def test_sql_reads_only_tables_it_declares(kpi_id: str) -> None:
    kpi = get_kpi(kpi_id)
    mentioned = {table for table in TABLES if table in kpi.sql}
    assert mentioned == set(kpi.tables)


@pytest.fixture(scope="module")
def panel_tables() -> dict[str, pd.DataFrame]:
    from src.synthetic.panel.generation import generate_panel

    return generate_panel(60, 11).tables


async def load_panel(db: Any, tables: Mapping[str, pd.DataFrame]) -> None:
    for name in ORDER:
        frame = tables[name]
        columns = list(frame.columns)
        dtypes = {column: TABLES[name].column(column).dtype for column in columns}
        values = [[_cell(value, dtypes[column]) for value in frame[column].tolist()] for column in columns]
        await db.copy_rows(name, columns, zip(*values, strict=True))


def _cell(value: Any, dtype: Dtype) -> Any:
    if dtype is Dtype.JSON:
        return None if value is None else json.dumps(value)
    if dtype is Dtype.LIST:
        return None if value is None or isinstance(value, float) else list(value)
    if pd.isna(value):
        return None
    return int(value) if dtype is Dtype.INT else value


async def test_all_46_compute_on_the_generated_panel_and_stay_empty_before_it(
    db: Any, panel_tables: dict[str, pd.DataFrame]
) -> None:
    await load_panel(db, panel_tables)
    values = {kpi.id: await compute_kpi(db, kpi) for kpi in load_kpis()}
    assert len(values) == 46
    assert [name for name, found in values.items() if found.value is None or found.n == 0] == []
    assert all(0 <= found.value <= 1 for name, found in values.items() if name in SHARES and found.value is not None)
    _check_against_frames(values, panel_tables)

    timeless = {"DQ2", "BU4", "BR5"}  # their denominator is the list of HCPs
    for kpi in load_kpis():
        before = await compute_kpi(db, kpi, start=date(2019, 1, 1), end=date(2019, 12, 31))
        if kpi.id not in timeless:
            assert (before.value, before.n) == (None, 0), kpi.id


SHARES = {
    *("DQ1", "DQ2", "DQ3", "DQ5", "DQ6", "DQ8", "MQ1", "MQ2", "MQ3", "MQ4", "MQ5", "MQ7", "MQ8"),
    *("TR1", "TR2", "TR4", "TR5", "TR6", "TR8", "BU3", "BU4", "BU8", "BU9", "BR1", "BR3", "BR5"),
}


def _check_against_frames(values: Mapping[str, KpiValue], tables: Mapping[str, pd.DataFrame]) -> None:
    events, journeys, triggers = tables["treatment_events"], tables["patient_journeys"], tables["triggers"]
    scripts = events[events["event_type"] == "prescription"]
    expected = {
        "BU5": len(scripts),
        "BU3": len(set(triggers["patient_id"]) & set(journeys["patient_id"])) / journeys["patient_id"].nunique(),
        "TR7": triggers["lead_time_days"].median(),
        "DQ7": journeys["data_lag_hours"].median(),
        "CA4": tables["ml_predictions"]["counterfactual_outcome"].mean(),
    }
    assert {name: values[name].value for name in expected} == pytest.approx(expected)


async def test_a_kpi_of_one_brand_finds_nothing_for_another(db: Any) -> None:
    await load(db, "patient_journeys", [journey(1), journey(2, brand="Fabhalta")])
    assert (await compute_kpi(db, get_kpi("BR3"))).n == 1
    asked = await compute_kpi(db, get_kpi("BR3"), "Kisqali")
    assert (asked.value, asked.n, asked.status) == (None, 0, KpiStatus.NO_THRESHOLD)
