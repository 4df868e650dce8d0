"""Does a split keep its ratios, its gaps and its units together, and refuse what it cannot keep?"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.contracts.enums import DataSplit, SplitStrategy
from src.domain.splits import (
    ASSIGNED,
    SPLIT_NAMES,
    SplitRatios,
    chronological,
    hash_cuts,
    hash_place,
    place_by_cuts,
)
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.preparation.splitting import (
    given_splits,
    plan_of_given,
    plan_splits,
    splits_of_plan,
    unit_assignments,
)
from src.synthetic.panel.generation import generate_panel

FIRST = pd.Timestamp("2023-01-01", tz="UTC")


def visits(random_state: int, patients: int = 400, period: int = 900, most: int = 4) -> pd.DataFrame:
    """Rows of patients, some with several, in no order."""
    rng = np.random.default_rng(random_state)
    patient = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    start = rng.integers(0, period, patients)[patient]
    day = start + rng.integers(0, 60, len(patient))
    frame = pd.DataFrame(
        {"patient_id": [f"p{code:05d}" for code in patient], "seen": FIRST + pd.to_timedelta(day, "D")}
    )
    return frame.sample(frac=1, random_state=random_state).reset_index(drop=True)


def first_seen(frame: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    return frame.groupby("patient_id")["seen"].transform("min")


def shares(split: pd.Series[str]) -> dict[str, float]:
    assigned = split[split.isin(ASSIGNED)]
    return assigned.value_counts(normalize=True).to_dict()


def test_days_are_cut_at_the_stated_points_with_a_week_after_each_unassigned() -> None:
    found = chronological(np.arange(1_000))
    assert found.cuts == (599, 799, 949)
    names = np.array(SPLIT_NAMES)[found.codes]
    assert set(names[:599]) == {"train"}
    assert set(names[599:606]) == {"unassigned"}
    assert set(names[606:799]) == {"validation"}
    assert set(names[806:949]) == {"test"}
    assert set(names[956:]) == {"holdout"}


def test_the_generator_splits_its_patients_by_the_same_rule() -> None:
    journeys = generate_panel(60, 5).tables["patient_journeys"]
    days = pd.to_datetime(journeys["journey_start_date"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    assert [SPLIT_NAMES[code] for code in chronological(days).codes] == journeys["data_split"].tolist()


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2, 0.0), (0.6, 0.2, 0.15, 0.06), (1.2, -0.2, 0.1, -0.1)])
def test_ratios_that_are_no_shares_of_a_whole_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ContractViolation, match="together 1"):
        SplitRatios(*shares)


def test_no_dates_and_negative_gaps_are_refused() -> None:
    with pytest.raises(DataUnavailable, match="no date"):
        chronological(np.array([], dtype=np.int64))
    with pytest.raises(ContractViolation, match="0 or more"):
        chronological(np.arange(10), gap_days=-1)


def test_a_hash_place_is_the_beginning_of_sha_256() -> None:
    assert hash_place("p1") == int(hashlib.sha256(b"p1").hexdigest()[:16], 16) // 2
    assert hash_place("p1", 3) == int(hashlib.sha256(b"3:p1").hexdigest()[:16], 16) // 2


@given(st.lists(st.integers(1, 9), min_size=200, max_size=400), st.integers(0, 2**31))
@settings(max_examples=30)
def test_hash_cuts_share_out_the_rows_as_the_ratios_say(sizes: list[int], salt: int) -> None:
    rows = np.array(sizes)
    places = np.array([hash_place(str(number), salt) for number in range(len(sizes))], dtype=np.int64)
    codes = place_by_cuts(places, hash_cuts(places, rows), 0)
    found = np.bincount(codes, weights=rows, minlength=4) / rows.sum()
    # A cut lies between two units: each split is off by at most one unit at either end.
    np.testing.assert_allclose(found, SplitRatios().shares, atol=9 / rows.sum())


@given(
    st.lists(st.integers(1, 120), min_size=1, max_size=20),
    st.integers(300, 600),
    st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_every_class_is_in_each_split_as_often_as_in_all_rows(weights: list[int], n: int, salt: int) -> None:
    rng = np.random.default_rng(salt)
    classes = rng.choice(len(weights), n, p=np.array(weights) / sum(weights))
    frame = pd.DataFrame({"row": [f"r{i}-{salt}" for i in range(n)], "target": classes})
    plan, split = plan_splits(frame, time=None, unit="row", strategy="patient_stratified", strata="target")
    assert sum(plan.rows.values()) == n
    for name, share in zip(ASSIGNED, SplitRatios().shares, strict=True):
        mine = np.bincount(classes[split == name], minlength=len(weights))
        # Off by one for the class's own rounding, and by what the cuts through all rows miss.
        assert np.all(np.abs(mine - share * np.bincount(classes, minlength=len(weights))) <= 2.5)


def test_a_quantity_is_no_set_of_classes_and_changes_nothing() -> None:
    rows = pd.DataFrame({"row": [f"r{i}" for i in range(300)], "target": np.linspace(0, 1, 300)})
    told: dict[str, Any] = {"time": None, "unit": "row", "strategy": "patient_stratified"}
    assert plan_splits(rows, **told, strata="target")[0] == plan_splits(rows, **told)[0]


def test_the_order_of_the_rows_does_not_change_who_is_in_which_split() -> None:
    rows = pd.DataFrame({"row": [f"r{i}" for i in range(300)], "target": ["b", "a", None] * 100})
    told: dict[str, Any] = {"time": None, "unit": "row", "strategy": "patient_stratified", "strata": "target"}
    (one, split), (other, turned) = plan_splits(rows, **told), plan_splits(rows[::-1], **told)
    assert one == other
    assert split.equals(turned.sort_index())


@given(st.integers(0, 10_000), st.integers(250, 500), st.integers(500, 1_500), st.integers(1, 5))
@settings(max_examples=30)
def test_every_planned_split_keeps_its_promises(state: int, patients: int, period: int, most: int) -> None:
    frame = visits(state, patients, period, most)
    try:
        plan, split = plan_splits(frame, time="seen", unit="patient_id")
    except DataUnavailable:
        return  # how often that may happen is the next test's question
    index_date = first_seen(frame).dt.date
    assert (split.groupby(frame["patient_id"]).nunique() == 1).all()
    for name, share in zip(ASSIGNED, plan.ratios.shares, strict=True):
        assert shares(split)[name] == pytest.approx(share, abs=0.02)
        assert plan.rows[name] == (split == name).sum() >= 10
    assert (index_date[split == "train"] < plan.cuts[0]).all()
    for cut, name in zip(plan.cuts, ASSIGNED[1:], strict=True):
        assert ((index_date[split == name] - cut).map(lambda gap: gap.days) >= 7).all()
        waiting = index_date.map(lambda day, cut=cut: 0 <= (day - cut).days < 7)
        assert set(split[waiting]) <= {"unassigned"}


@pytest.mark.parametrize("period", [365, 900])
@pytest.mark.parametrize("state", range(10))
def test_a_year_of_patients_is_enough_to_split_by_time(state: int, period: int) -> None:
    frame = visits(state, 600, period)
    plan, split = plan_splits(frame, time="seen", unit="patient_id")
    assert plan.strategy is SplitStrategy.CHRONOLOGICAL
    assert shares(split) == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.15, "holdout": 0.05}, abs=0.02)
    assert sum(plan.rows.values()) == len(frame)


def test_cuts_are_the_points_of_all_dates_where_the_gaps_leave_the_ratios_alone() -> None:
    frame = visits(1, 2_000, period=1_500, most=1)
    plan, _ = plan_splits(frame, time="seen", unit="patient_id")
    days = (frame["seen"] - pd.Timestamp(0, tz="UTC")).dt.days
    assert [(cut - date(1970, 1, 1)).days for cut in plan.cuts] == [int(day) for day in days.quantile([0.6, 0.8, 0.95])]


@pytest.mark.parametrize("strategy", ["chronological", "patient_stratified"])
def test_the_order_and_labels_of_rows_change_nothing(strategy: str) -> None:
    frame = visits(3)
    plan, split = plan_splits(frame, time="seen", unit="patient_id", strategy=strategy)
    turned = frame.set_index(frame.index + 10_000).iloc[::-1]
    again, other = plan_splits(turned, time="seen", unit="patient_id", strategy=strategy)
    assert again == plan
    assert other.index.equals(turned.index)
    assert other.tolist() == split.iloc[::-1].tolist()


def test_a_hashed_patient_keeps_its_split_when_dates_change_and_moves_with_the_random_state() -> None:
    frame = visits(4)
    later = frame.assign(seen=frame["seen"] + pd.Timedelta(days=90))
    plan, split = plan_splits(frame, time="seen", unit="patient_id", strategy="patient_stratified", random_state=1)
    moved, same = plan_splits(later, time="seen", unit="patient_id", strategy="patient_stratified", random_state=1)
    assert split.equals(same)
    assert moved.split_config_id == plan.split_config_id
    assert not (split == "unassigned").any()
    another, other = plan_splits(frame, time=None, unit="patient_id", strategy="patient_stratified", random_state=2)
    assert another.split_config_id != plan.split_config_id
    assert not split.equals(other)


def test_rows_are_split_by_their_own_time_without_a_unit() -> None:
    frame = visits(5)
    plan, split = plan_splits(frame, time="seen")
    assert plan.unit is None
    assert frame.loc[split == "train", "seen"].max() < frame.loc[split == "validation", "seen"].min()


@pytest.mark.parametrize(
    "changes", [{"gap_days": 3}, {"ratios": SplitRatios(0.5, 0.2, 0.2, 0.1)}, {"source": "triggers"}, {"unit": None}]
)
def test_another_content_is_another_plan(changes: dict[str, object]) -> None:
    usual: dict[str, object] = {"time": "seen", "unit": "patient_id"}
    plan, _ = plan_splits(visits(6), **usual)  # type: ignore[arg-type]
    other, _ = plan_splits(visits(6), **usual | changes)  # type: ignore[arg-type]
    assert other.split_config_id != plan.split_config_id


def test_other_rows_with_the_same_dates_are_another_plan() -> None:
    frame = visits(6)
    renamed = frame.assign(patient_id="x" + frame["patient_id"])
    told: dict[str, Any] = {"time": "seen", "unit": "patient_id", "source": "triggers"}
    plan, _ = plan_splits(frame, **told)
    other, _ = plan_splits(renamed, **told)
    assert other.cuts == plan.cuts
    assert other.split_config_id != plan.split_config_id
    scoped = {
        plan_splits(frame, **told, scope={"brand": brand})[0].split_config_id for brand in ("Kisqali", "Fabhalta")
    }
    assert len(scoped | {plan.split_config_id}) == 3
    keyed = frame.assign(row=range(len(frame)))
    by_key, _ = plan_splits(keyed, **told, key=["row"])
    assert plan_splits(keyed.sample(frac=1, random_state=1), **told, key=["row"])[0] == by_key
    assert plan_splits(keyed.assign(row=keyed["row"] + 1), **told, key=["row"])[0] != by_key
    other_patients = keyed.assign(patient_id=renamed["patient_id"])
    assert plan_splits(other_patients, **told, key=["row"])[0].split_config_id != by_key.split_config_id


def test_two_divisions_of_the_same_sizes_are_two_plans() -> None:
    one = pd.Series(["train"] * 5 + ["validation", "test", "holdout"])
    other = one[::-1].reset_index(drop=True)
    frame = pd.DataFrame({"row": list("abcdefgh"), "patient_id": list("stuvwxyz")})
    for told in ({}, {"key": ["row"]}, {"unit": "patient_id"}):
        plan = plan_of_given(frame, one, source="triggers", **told)
        assert plan_of_given(frame, other, source="triggers", **told).split_config_id != plan.split_config_id
        assert plan_of_given(frame, one.copy(), source="triggers", **told) == plan
    turned = frame.iloc[::-1].reset_index(drop=True)
    assert plan_of_given(turned, other, key=["row"]) == plan_of_given(frame, one, key=["row"])


def test_rows_without_a_date_or_patient_are_unassigned() -> None:
    frame = visits(7, 600)
    undated = frame["patient_id"] == frame["patient_id"].iloc[0]
    frame.loc[undated, "seen"] = pd.NaT
    frame.loc[frame.index[50:53], "patient_id"] = None
    _, split = plan_splits(frame, time="seen", unit="patient_id")
    assert set(split[undated]) == {"unassigned"}
    assert set(split[50:53]) == {"unassigned"}


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (visits(1, 60), "rows, and needs 10"),
        (visits(1, 400, period=40), "a period short beside the gaps"),
        (visits(1, 300).assign(seen=FIRST), "share their date"),
    ],
)
def test_a_split_that_cannot_keep_its_ratios_is_refused_with_a_way_out(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(DataUnavailable, match=says) as caught:
        plan_splits(frame, time="seen", unit="patient_id")
    assert "patient_stratified" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"time": "sen"}, UnknownColumn, "did you mean 'seen'"),
        ({"time": "seen", "unit": "patient"}, UnknownColumn, "did you mean 'patient_id'"),
        ({"time": None}, ContractViolation, "needs a time column"),
        ({"time": "patient_id"}, ContractViolation, "cannot be read as ts"),
        ({"time": "seen", "strategy": "cronological"}, ContractViolation, "did you mean 'chronological'"),
        ({"time": "seen", "strategy": "patient_stratified"}, ContractViolation, "needs a unit column"),
    ],
)
def test_wrong_names_are_told_with_the_nearest(arguments: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        plan_splits(visits(1), **arguments)  # type: ignore[arg-type]


def test_a_registered_plan_splits_other_rows_by_its_dates_or_its_patients() -> None:
    frame = visits(8, 600)
    plan, split = plan_splits(frame, time="seen", unit="patient_id")
    assert splits_of_plan(frame, plan, time="seen", unit="patient_id").equals(split)
    assigned = {item.unit: item.split for item in unit_assignments(frame, split, unit="patient_id", time="seen")}
    newcomers = pd.DataFrame({"patient_id": [frame["patient_id"][0], "new", None]})
    found = splits_of_plan(newcomers, plan, unit="patient_id", assignments=assigned)
    assert found.tolist() == [split[0], "unassigned", "unassigned"]
    with pytest.raises(DataUnavailable, match="plan a new split"):
        splits_of_plan(newcomers, plan)


def test_each_patient_is_assigned_once_with_its_first_day() -> None:
    frame = visits(9)
    _, split = plan_splits(frame, time="seen", unit="patient_id")
    found = unit_assignments(frame, split, unit="patient_id", time="seen")
    assert [item.unit for item in found] == sorted(frame["patient_id"].unique())
    assert {item.unit: item.index_date for item in found} == frame.groupby("patient_id")["seen"].min().dt.date.to_dict()
    loose = split.copy()
    loose[frame["patient_id"].duplicated()] = "unassigned"
    assert unit_assignments(frame, loose, unit="patient_id", time="seen") == found
    split[frame["patient_id"].duplicated()] = "holdout"
    with pytest.raises(ContractViolation, match="in more than one split"):
        unit_assignments(frame, split, unit="patient_id")


def test_a_split_that_rows_bring_along_is_used_after_its_names_were_checked() -> None:
    frame = pd.DataFrame({"data_split": ["train"] * 12 + ["validation", "test", "holdout", None]})
    split = given_splits(frame)
    assert split.tolist() == ["train"] * 12 + ["validation", "test", "holdout", "unassigned"]
    plan = plan_of_given(frame, split, source="triggers")
    assert (plan.ratios.train, plan.cuts, plan.gap_days) == (12 / 15, (), 0)
    with pytest.raises(ContractViolation, match="did you mean 'train'"):
        given_splits(pd.DataFrame({"data_split": ["trian"]}))
    with pytest.raises(DataUnavailable, match="no row is for training"):
        given_splits(pd.DataFrame({"data_split": [None, DataSplit.TEST]}))
    with pytest.raises(DataUnavailable, match="no holdout rows"):
        plan_of_given(frame[split != "holdout"], split[split != "holdout"])


def test_cuts_are_dates() -> None:
    plan, _ = plan_splits(visits(2, 600), time="seen", unit="patient_id")
    assert all(type(cut) is date for cut in plan.cuts)
