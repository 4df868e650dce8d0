"""Is every spelling of a value read as what it means, and nothing else?"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.contracts.checking import HIDDEN, LONGEST_VALUE, check_frame
from src.contracts.coercion import coerce_series, unreadable
from src.contracts.model import Dtype
from src.contracts.tables import TABLES
from src.contracts.values import NOT_A_VALUE, as_json, as_list, json_text
from src.mlops.quality.reading import read
from tests.unit.test_contracts.frames import clean_frame


@pytest.mark.parametrize(
    ("dtype", "given_value", "meaning"),
    [
        (Dtype.STR, 21, "21"),
        (Dtype.INT, "7", 7),
        (Dtype.INT, 7.0, 7),
        (Dtype.INT, np.int32(7), 7),
        (Dtype.FLOAT, "2.5", 2.5),
        (Dtype.FLOAT, Decimal("2.5"), 2.5),
        (Dtype.FLOAT, np.float32(2.5), 2.5),
        (Dtype.BOOL, "False", False),
        (Dtype.BOOL, 1, True),
        (Dtype.BOOL, np.True_, True),
        (Dtype.DATE, "2024-03-01", pd.Timestamp("2024-03-01")),
        (Dtype.DATE, pd.Timestamp("2024-03-01").date(), pd.Timestamp("2024-03-01")),
        (Dtype.TS, "2024-03-01T01:00:00+02:00", pd.Timestamp("2024-02-29T23:00:00Z")),
        (Dtype.TS, "2024-03-01 01:00:00", pd.Timestamp("2024-03-01T01:00:00Z")),
        (Dtype.JSON, '{"a": [1]}', {"a": [1]}),
        (Dtype.JSON, np.array([1, 2]), [1, 2]),
        (Dtype.LIST, '["a", "b"]', ["a", "b"]),
        (Dtype.LIST, ("a", "b"), ["a", "b"]),
        (Dtype.LIST, np.array(["a"], dtype=object), ["a"]),
    ],
)
def test_a_value_is_read_as_what_it_means(dtype: Dtype, given_value: Any, meaning: Any) -> None:
    raw = pd.Series([given_value, None], dtype=object)
    read = coerce_series(raw, dtype)
    assert read[0] == meaning
    assert not unreadable(raw, dtype).any()
    assert read.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (Dtype.INT, 1.5),
        (Dtype.INT, "x"),
        (Dtype.FLOAT, "1,5"),
        (Dtype.FLOAT, "1e400"),
        (Dtype.FLOAT, "nan"),
        (Dtype.FLOAT, True),
        (Dtype.FLOAT, np.True_),
        (Dtype.FLOAT, pd.Timestamp("2024-03-01")),
        (Dtype.FLOAT, pd.Timestamp("2024-03-01T08:00Z")),
        (Dtype.FLOAT, pd.Timedelta("1D")),
        (Dtype.FLOAT, np.timedelta64(1, "D")),
        (Dtype.FLOAT, pd.Period("2024-03")),
        (Dtype.FLOAT, 1 + 2j),
        (Dtype.INT, True),
        (Dtype.INT, pd.Timestamp("2024-03-01")),
        (Dtype.INT, "9007199254740993"),
        (Dtype.BOOL, "yes please"),
        (Dtype.BOOL, 2),
        (Dtype.DATE, "2024-02-30"),
        (Dtype.DATE, 20240301),
        (Dtype.TS, "yesterday"),
        *(
            (dtype, text)
            for dtype in (Dtype.DATE, Dtype.TS)
            for text in ("now", "today", "2024", "2024-03", "2024/03/01")
        ),
        (Dtype.TS, pd.Timedelta("1D")),
        (Dtype.TS, pd.Period("2024-03")),
        (Dtype.JSON, "NaN"),
        (Dtype.JSON, '{"a": NaN}'),
        (Dtype.JSON, "3"),
        (Dtype.LIST, '{"a": 1}'),
        (Dtype.LIST, [1, 2]),
    ],
)
def test_a_value_that_cannot_be_read_stays_and_is_reported(dtype: Dtype, value: Any) -> None:
    raw = pd.Series([value, None], dtype=object)
    assert unreadable(raw, dtype).tolist() == [True, False]
    assert coerce_series(raw, dtype)[0] == value


@pytest.mark.parametrize("dtype", [Dtype.FLOAT, Dtype.INT])
@pytest.mark.parametrize(
    "raw",
    [
        pd.Series(pd.to_datetime(["2024-03-01", None])),
        pd.Series(pd.to_datetime(["2024-03-01", None], utc=True)),
        pd.Series(pd.to_timedelta(["1D", None])),
        pd.Series(pd.PeriodIndex(["2024-03", None], freq="M")),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(pd.to_datetime(["2024-03-01", None])).astype("category"),
    ],
    ids=lambda raw: str(raw.dtype),
)
def test_times_and_truth_values_are_no_numbers_and_missing_ones_stay_missing(dtype: Dtype, raw: pd.Series[Any]) -> None:
    assert unreadable(raw, dtype).tolist() == [True, False]
    read = coerce_series(raw, dtype)
    assert read[0] == raw[0]
    assert pd.isna(read[1])


def test_complex_numbers_are_no_numbers_of_the_contract() -> None:
    assert unreadable(pd.Series([1 + 2j, None]), Dtype.FLOAT).tolist() == [True, False]


MOMENTS = {
    "2025-02-01T06:00:00": "2025-02-01T06:00Z",
    "2025-02-01": "2025-02-01T00:00Z",
    "20250201": "2025-02-01T00:00Z",
    "2025-02-01T00:00:00+05:30": "2025-01-31T18:30Z",
    "2025-02-01 06:00:00-08": "2025-02-01T14:00Z",
    "2025-02-01T00:00:00Z": "2025-02-01T00:00Z",
    datetime(2025, 2, 1, 6): "2025-02-01T06:00Z",  # noqa: DTZ001
    datetime(2025, 2, 1, 6, tzinfo=timezone(timedelta(hours=5))): "2025-02-01T01:00Z",
    date(2025, 2, 1): "2025-02-01T00:00Z",
}


@pytest.mark.parametrize("first", MOMENTS, ids=str)
@pytest.mark.parametrize("second", MOMENTS, ids=str)
def test_a_time_means_the_same_whatever_stands_before_it(first: Any, second: Any) -> None:
    for texts in ([first, second, first], [second, first, "no time", second, None, first]):
        read = coerce_series(pd.Series(texts, dtype=object), Dtype.TS)
        known = [(text, found) for text, found in zip(texts, read, strict=True) if text in MOMENTS]
        assert [found for _, found in known] == [pd.Timestamp(MOMENTS[text]) for text, _ in known]


def test_a_time_beyond_what_nanoseconds_hold_is_refused() -> None:
    raw = pd.Series(np.array(["9999-12-31", "2024-03-01"], dtype="datetime64[s]"))
    assert unreadable(raw, Dtype.TS).tolist() == [True, False]


def test_a_whole_number_too_large_for_the_database_is_refused() -> None:
    assert unreadable(pd.Series([2**63, 2**63 - 1], dtype="uint64"), Dtype.INT).tolist() == [True, False]


def test_missing_times_in_a_number_column_break_not_null() -> None:
    frame = clean_frame("business_metrics").assign(value=pd.to_datetime(["2024-03-01", None, None, None]))
    failures = check_frame(TABLES["business_metrics"], frame).failures
    assert {(failure.index, failure.rule) for failure in failures} == {
        (0, "value_type"), (1, "value_not_null"), (2, "value_not_null"), (3, "value_not_null"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("roi", "1e400"), ("roi", "nan"), ("roi", "inf"), ("roi", True), ("roi", pd.Timestamp("2024-03-01")),
        ("sample_size", "9007199254740993"), ("sample_size", 2.5), ("sample_size", pd.Timedelta("1D")),
        ("metric_date", "now"), ("metric_date", "2024"), ("metric_date", 20240301), ("metric_date", "01.03.2024"),
        ("value", None), ("achievement_rate", pd.Timestamp("2024-03-01")),
    ],
)  # fmt: skip
def test_both_ways_of_checking_name_the_same_rows_and_rules(column: str, value: Any) -> None:
    table = TABLES["business_metrics"]
    frame = clean_frame(table.name).astype({column: object})
    frame.at[1, column] = value
    named = {(failure.index, failure.rule) for failure in check_frame(table, frame).failures}
    counted = {(int(row), rule) for rule, rows in read(table, frame).broken.items() for row in rows}
    assert named - {(1, f"{column}_not_null")} == counted
    assert {row for row, _ in named} == {1}


def test_a_long_value_is_shown_shortened() -> None:
    frame = clean_frame("triggers").assign(priority="x" * 10_000)
    for failure in check_frame(TABLES["triggers"], frame).failures:
        assert failure.value == "x" * (LONGEST_VALUE - 1) + "…"


def test_a_date_with_a_time_of_day_is_refused_not_cut() -> None:
    frame = clean_frame("hcp_profiles").assign(last_interaction_date=pd.Timestamp("2024-03-01T10:00:00"))
    assert {failure.rule for failure in check_frame(TABLES["hcp_profiles"], frame).failures} == {
        "last_interaction_date_type"
    }


def test_unknown_columns_are_allowed_and_left_alone() -> None:
    frame = clean_frame("triggers").assign(extra=[object()] * 4)
    check = check_frame(TABLES["triggers"], frame)
    assert check.passed
    assert check.frame["extra"].tolist() == frame["extra"].tolist()


def test_checking_does_not_change_the_frame_it_is_given() -> None:
    frame = clean_frame("patient_journeys").astype({"journey_start_date": str})
    before = frame.copy(deep=True)
    check_frame(TABLES["patient_journeys"], frame)
    pd.testing.assert_frame_equal(frame, before)


def test_personal_values_are_hidden_in_failures() -> None:
    frame = clean_frame("hcp_profiles").assign(npi="12345")
    failures = check_frame(TABLES["hcp_profiles"], frame).failures
    assert {failure.rule for failure in failures} == {"npi_pattern", "npi_unique"}
    assert {failure.value for failure in failures} == {HIDDEN}


def test_personal_values_are_hidden_in_failures_between_columns() -> None:
    frame = clean_frame("patient_journeys").assign(data_split=["train", "test", "train", "train"])
    (failure,) = check_frame(TABLES["patient_journeys"], frame).failures
    assert failure.value == f"patient_id={HIDDEN}, data_split=test"
    assert failure.critical


def test_row_labels_of_the_frame_are_kept_in_failures() -> None:
    frame = clean_frame("triggers").set_index(pd.Index(["a", "b", "c", "d"])).assign(priority="urgent")
    assert [failure.index for failure in check_frame(TABLES["triggers"], frame).failures] == ["a", "b", "c", "d"]


def test_repeated_row_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        check_frame(TABLES["triggers"], clean_frame("triggers").set_index(pd.Index([0, 0, 1, 2])))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values) | st.dictionaries(st.text(), json_values))
def test_json_text_reads_back_as_the_same_value(value: Any) -> None:
    assert as_json(json_text(value)) == value


@given(st.lists(st.text()))
def test_lists_of_text_read_back_from_json_text(items: list[str]) -> None:
    assert as_list(json_text(items)) == items


@given(st.text())
def test_arbitrary_text_is_read_or_refused_never_an_error(text: str) -> None:
    assert as_json(text) is NOT_A_VALUE or isinstance(as_json(text), dict | list)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text(value)
