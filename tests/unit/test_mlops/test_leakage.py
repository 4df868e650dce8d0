"""Is leakage found however it is planted, and is honest data left in peace?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.contracts.tables import TABLES
from src.domain.alerts import AlertSeverity
from src.errors import ContractViolation, UnknownColumn
from src.mlops.preparation.leakage import find_leakage, find_preprocessing_leakage, report_of
from src.mlops.preparation.transforms import fit_transforms
from src.synthetic.panel.generation import generate_panel
from tests.unit.test_mlops.modelling_frames import COARSE_FEATURES, LEAKS, honest

DRAWS = 20


@pytest.mark.parametrize("state", range(4))
@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found_and_nothing_else(name: str, state: int) -> None:
    check, plant, told = LEAKS[name]
    made = plant(honest(state, rows=80 if state == 0 else None), np.random.default_rng(state))
    report = made.search(**told)
    found = {finding.check for finding in report.findings}
    # A copied row brings its patient and its time into the other split.
    assert found - {"group", "temporal"} == {check} if name == "rows copied" else found == {check}
    assert report.detected
    assert report.blocking == report.findings


@pytest.mark.parametrize("state", range(DRAWS))
def test_honest_data_raises_nothing(state: int) -> None:
    report = honest(1_000 + state).search()
    assert report.findings == ()
    assert {"target", "temporal", "duplicate", "preprocessing"} <= set(report.checked)


@pytest.mark.parametrize("state", range(12))
def test_rows_alike_by_chance_are_no_copies(state: int) -> None:
    made = replace(honest(2_000 + state), features=COARSE_FEATURES, time=None, unit=None, fitted=None)
    assert made.search().findings == ()


def test_copies_among_coarse_rows_are_found_when_there_are_more_than_chance_gives() -> None:
    rng = np.random.default_rng(1)
    codes = pd.DataFrame(rng.integers(0, 12, (400, 4)), columns=list("abcd")).drop_duplicates().reset_index(drop=True)
    half = len(codes) // 2
    frame = pd.concat([codes.iloc[:half], codes.iloc[:half]], ignore_index=True).assign(target=0.5)
    split = pd.Series(["train"] * half + ["test"] * half)
    found = find_leakage(frame, features=list("abcd"), target="target", split=split).findings
    assert [(finding.check, finding.affected_rows) for finding in found] == [("duplicate", half)]
    shuffled = frame.apply(rng.permutation)
    assert find_leakage(shuffled, features=list("abcd"), target="target", split=split).findings == ()


def test_coarse_rows_alike_but_for_their_key_leave_the_check_made_and_say_so() -> None:
    made = replace(honest(2_001, target="binary", by_unit=False), features=COARSE_FEATURES, fitted=None)
    report = made.search()
    assert "duplicate" in report.checked
    (said,) = [item for item in report.skipped if item.check == "duplicate"]
    assert said.columns == (*COARSE_FEATURES, "target")
    assert "alike across splits but for their key, which chance may explain" in said.reason


def test_coarse_copies_under_another_key_are_found_when_there_are_more_than_chance_gives() -> None:
    rng = np.random.default_rng(2)
    codes = pd.DataFrame(rng.integers(0, 12, (400, 4)), columns=list("abcd")).drop_duplicates().reset_index(drop=True)
    half = len(codes) // 2
    frame = pd.concat([codes.iloc[:half], codes.iloc[:half]], ignore_index=True).assign(
        target=0.5, at=pd.date_range("2024-01-01", periods=2 * half, tz="UTC")
    )
    split = pd.Series(["train"] * half + ["test"] * half)
    told: dict[str, Any] = {"features": list("abcd"), "target": "target", "split": split, "time": "at"}
    found = find_leakage(frame, **told).findings
    assert [(finding.check, finding.affected_rows) for finding in found] == [("duplicate", half)]
    assert "under another key" in found[0].message
    shuffled = frame.assign(**frame[list("abcd")].apply(rng.permutation))
    assert find_leakage(shuffled, **told).findings == ()


def coarse_rows(n: int, columns: int, state: int) -> pd.DataFrame:
    """Rows of few values; the second column follows from the first, the third depends on it."""
    rng = np.random.default_rng(state)
    rows = pd.DataFrame({f"c{i}": rng.integers(0, 2 + i % 4, n) for i in range(columns)})
    third = np.where(rng.random(n) < 0.3, rows["c0"], rows["c2"])
    return rows.assign(c1=10 * rows["c0"], c2=third, target=rng.integers(0, 2, n))


def spread(rows: pd.DataFrame, state: int) -> tuple[pd.DataFrame, pd.Series]:
    """The rows, shuffled and split without regard to which are alike."""
    rng = np.random.default_rng(state)
    frame = rows.sample(frac=1, random_state=state).reset_index(drop=True)
    return frame, pd.Series(
        rng.choice(["train", "validation", "test", "holdout"], len(frame), p=[0.6, 0.2, 0.15, 0.05])
    )


@pytest.mark.parametrize("state", range(4))
@pytest.mark.parametrize("columns", [4, 7])
def test_rows_of_few_columns_that_are_alike_by_chance_leave_the_check_made(columns: int, state: int) -> None:
    frame, split = spread(coarse_rows(800, columns, state), state)
    features = [name for name in frame.columns if name != "target"]
    report = find_leakage(frame, features=features, target="target", split=split)
    assert "duplicate" in report.checked
    assert not [finding for finding in report.findings if finding.check == "duplicate"]
    (said,) = [item for item in report.skipped if item.check == "duplicate"]
    assert said.columns == (*features, "target")


@pytest.mark.parametrize("state", range(4))
@pytest.mark.parametrize("columns", [14, 30])
def test_rows_of_many_columns_entered_twice_are_not_put_down_to_chance(columns: int, state: int) -> None:
    once = coarse_rows(200, columns, state)
    frame, split = spread(pd.concat([once, once], ignore_index=True), state)
    features = [name for name in frame.columns if name != "target"]
    report = find_leakage(frame, features=features, target="target", split=split)
    # As many are alike within a split as across: how often they are alike does not give them away.
    assert "duplicate" not in report.checked
    (said,) = [item for item in report.skipped if item.check == "duplicate"]
    assert "keep one of each before splitting" in said.reason
    apart, split = spread(once, state)
    assert "duplicate" in find_leakage(apart, features=features, target="target", split=split).checked


@pytest.mark.parametrize("state", range(3))
@pytest.mark.parametrize("n", [300, 2_000])
@pytest.mark.parametrize("shape", ["far from the middle", "wave", "tooth"])
def test_a_number_that_tells_the_target_need_not_rise_with_it(shape: str, n: int, state: int) -> None:
    rng = np.random.default_rng(state)
    x = rng.uniform(0.0, 6.0, n)
    y = {
        "far from the middle": (np.abs(x - 3.0) > 1.5).astype(float),
        "wave": np.sin(x),
        "tooth": np.floor(x) % 2,
    }[shape]
    # Some distance between the ranges: where they touch, a few rows fall on the wrong side.
    kept = np.abs(x - np.round(x * 2) / 2) > 0.03
    frame = pd.DataFrame({"target": y, "x": x, "noise": rng.standard_normal(n)})[kept].reset_index(drop=True)
    split = pd.Series(np.where(frame.index < len(frame) // 2, "train", "test"))
    found = find_leakage(frame, features=["x", "noise"], target="target", split=split).findings
    assert [finding.columns for finding in found if finding.check == "target"] == [("x",)]


def test_what_was_not_yet_fitted_is_known_once_it_was_checked() -> None:
    made = honest(7, by_unit=False)
    before = replace(made, fitted=None).search()
    assert made.fitted is not None
    outcome = find_preprocessing_leakage(made.frame, made.split, made.fitted)
    after = before.joined(report_of({"preprocessing": outcome}))
    assert after.checked == (*before.checked, "preprocessing")
    assert "preprocessing" not in {item.check for item in after.skipped}
    wrong = fit_transforms(made.frame, made.split.map(lambda _: "train"), made.features)
    leaked = before.joined(report_of({"preprocessing": find_preprocessing_leakage(made.frame, made.split, wrong)}))
    assert [finding.check for finding in leaked.blocking] == ["preprocessing"]


def test_too_little_data_is_reported_as_unknown_and_not_as_clean() -> None:
    made = honest(1, target="binary", rows=45, by_unit=False)
    report = made.search()
    assert "target" not in report.checked
    assert [item.reason for item in report.skipped if item.check == "target"] == [
        "45 rows have a target; 50 are needed to tell a leak from chance"
    ]
    rare = honest(1, target="binary", rows=400, by_unit=False)
    few = rare.changed(target=(np.arange(400) < 9).astype(float)).search()
    assert "target" not in few.checked
    sparse = rare.changed(weak=rare.frame["weak"].where(np.arange(400) < 30)).search(fitted=None)
    assert [item.columns for item in sparse.skipped if item.check == "target"] == [("weak",)]


def test_an_outcome_is_refused_by_its_role_however_few_rows_there_are() -> None:
    frame = pd.DataFrame({"actual_outcome": [0.0, 1.0], "counterfactual_outcome": [0.1, 0.2], "confidence_score": 0.5})
    report = find_leakage(
        frame,
        features=["counterfactual_outcome", "confidence_score", "actual_outcome"],
        target="actual_outcome",
        split=pd.Series(["train", "test"]),
        table=TABLES["ml_predictions"],
    )
    assert [finding.columns for finding in report.findings] == [("counterfactual_outcome",), ("actual_outcome",)]
    assert all(finding.severity is AlertSeverity.CRITICAL for finding in report.findings)


@pytest.mark.parametrize(
    ("target", "features", "found"),
    [
        ("achievement_rate", ["value", "target"], [("value", "target")]),
        ("value", ["achievement_rate", "target", "sample_size"], [("achievement_rate", "target")]),
        ("achievement_rate", ["value", "sample_size"], []),
        ("sample_size", ["value", "target", "achievement_rate"], []),
    ],
)
def test_a_target_that_the_contract_computes_from_the_features_is_found(
    target: str, features: list[str], found: list[tuple[str, ...]]
) -> None:
    rng = np.random.default_rng(5)
    n = 200
    frame = pd.DataFrame({"value": rng.uniform(50, 150, n), "target": rng.uniform(50, 150, n)})
    frame = frame.assign(achievement_rate=frame["value"] / frame["target"], sample_size=rng.integers(10, 99, n))
    split = pd.Series(np.where(np.arange(n) < 120, "train", "test"))
    report = find_leakage(frame, features=features, target=target, split=split, table=TABLES["business_metrics"])
    assert [finding.columns for finding in report.blocking] == found


def test_a_length_is_given_away_by_its_list() -> None:
    frame = pd.DataFrame({"path_length": [1, 2, 3], "intermediate_nodes": [[], ["a"], ["a", "b"]]})
    report = find_leakage(
        frame,
        features=["intermediate_nodes"],
        target="path_length",
        split=pd.Series(["train", "train", "test"]),
        table=TABLES["causal_paths"],
    )
    assert [finding.columns for finding in report.blocking] == [("intermediate_nodes",)]


@pytest.mark.parametrize("late", [False, True])
def test_features_that_were_not_yet_available_at_prediction_are_found(late: bool) -> None:
    predictions = generate_panel(40, 3).tables["ml_predictions"].copy()
    known = predictions["features_available_at_prediction"].copy()
    if late:
        known.iloc[3] = known.iloc[3] | {"risk_score": "2099-01-01T00:00:00Z"}
    report = find_leakage(
        predictions.assign(features_available_at_prediction=known),
        features=["prediction_value", "confidence_score"],
        target="actual_outcome",
        split=predictions["data_split"],
        time="prediction_timestamp",
        unit="patient_id",
        table=TABLES["ml_predictions"],
    )
    assert [(found.check, found.affected_rows) for found in report.findings] == ([("temporal", 1)] if late else [])


def test_generated_journeys_hold_no_leak() -> None:
    journeys = generate_panel(60, 7).tables["patient_journeys"]
    features = ["age_group", "gender", "insurance_type", "comorbidities", "risk_score"]
    table = TABLES["patient_journeys"]
    report = find_leakage(
        journeys,
        features=features,
        target="journey_status",
        split=journeys["data_split"],
        time="journey_start_date",
        unit="patient_id",
        table=table,
        fitted=fit_transforms(journeys, journeys["data_split"], features, table),
    )
    assert report.findings == ()
    assert set(report.checked) == {"target", "temporal", "group", "duplicate", "preprocessing"}


def test_a_date_on_the_day_of_a_timestamp_is_not_later() -> None:
    made = honest(3)
    report = replace(made.changed(day=made.frame["at"].dt.ceil("D") - pd.Timedelta(days=1)), features=("day",))
    assert report.search(fitted=None).findings == ()


def test_units_in_a_gap_are_in_no_split() -> None:
    made = honest(4, by_unit=True)
    loose = made.split.copy()
    loose[made.frame["patient_id"] == made.frame["patient_id"][0]] = "unassigned"
    loose.iloc[0] = "train"
    assert replace(made, split=loose, fitted=None).search().findings == ()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_transforms_fitted_on_any_other_rows_are_found(part: str) -> None:
    made = honest(5)
    wrong = fit_transforms(made.frame, made.split.replace({part: "train"}), made.features)
    found = made.search(fitted=wrong).findings
    assert [finding.check for finding in found] == ["preprocessing"]
    assert "rows other than the training rows" in found[0].message


def test_findings_show_no_value_of_a_cell() -> None:
    made = honest(6, target="classes", by_unit=True)
    for check, plant, told in LEAKS.values():
        report = plant(made, np.random.default_rng(6)).search(**told)
        text = json.dumps([report.to_dict(), report.audit_rows("triggers")])
        assert check in text
        assert not any(f'"{word}"' in text or f" {word} " in text for word in made.frame["patient_id"])
        assert "class low" not in text


def test_what_was_not_checked_leaves_no_row_in_the_audit() -> None:
    made = honest(7, by_unit=False)
    report = replace(made, fitted=None).search()
    rows = report.audit_rows("triggers", split_config_id="s1", trace_id="t1")
    assert [row["details"]["check"] for row in rows] == list(report.checked) == ["target", "temporal", "duplicate"]
    assert {row["check_type"] for row in rows} == {"target", "temporal", "train_test_overlap"}
    assert not any(row["leakage_detected"] for row in rows)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"target": "targt"}, UnknownColumn, "did you mean 'target'"),
        ({"features": ["strng"]}, UnknownColumn, "did you mean 'strong'"),
        ({"unit": "patient"}, UnknownColumn, "or 'patient_id'"),
        ({"known_at": {"weak": "known"}}, UnknownColumn, "'known' is not in the data"),
        ({"split": pd.Series(["train"])}, ContractViolation, "they must be as many"),
        ({"target": "topics"}, ContractViolation, "holds lists"),
    ],
)
def test_wrong_arguments_are_told(changes: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        honest(8, rows=100).search(**changes)
