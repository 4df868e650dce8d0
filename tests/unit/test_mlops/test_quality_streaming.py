"""Does a table seen batch by batch get the verdict, counts and scores of one look at all of it?"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.contracts.checking import check_frame
from src.contracts.expectations import ExpectationDeclaration
from src.contracts.rules import Scope
from src.contracts.tables import TABLES
from src.errors import ContractViolation, DataUnavailable
from src.mlops.data_quality import (
    DataQualityResult,
    DataQualityValidator,
    ExpectationSuite,
    ExpectationSuiteBuilder,
    QualityStatus,
)
from src.mlops.quality import uniqueness
from src.mlops.quality.configuration import BatchSettings, DataQualityConfig, load_data_quality_config
from src.mlops.quality.streaming import NOT_BY_BATCH, Moments
from src.mlops.quality.uniqueness import KeyLedger, ValueLedger, hash_rows
from tests.unit.test_contracts.corruptions import corrupted_rows, corruptions
from tests.unit.test_contracts.frames import clean_frame

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Keys of one column and of several, foreign keys, lists and JSON; the other tables have the same kinds of rules.
FEW = ("business_metrics", "patient_journeys", "causal_paths")


def _validator(rows: int = 250_000, rows_named: int = 100) -> DataQualityValidator:
    batches = BatchSettings(rows=rows, rows_named=rows_named)
    config = load_data_quality_config().model_copy(update={"batches": batches})
    assert isinstance(config, DataQualityConfig)
    return DataQualityValidator(config=config, clock=lambda: NOW)


def _essence(result: DataQualityResult) -> dict[str, Any]:
    """All that must not depend on how the table was cut; figures that are put together may differ by rounding."""
    failed = {
        one.id: (one.count, one.rows, one.error is None, one.observed if one.count is not None else None)
        for one in result.failed_expectations
    }
    return {
        "status": result.overall_status,
        "counts": result.expectations,
        "failed": failed,
        "scores": result.scores,
        "rows": result.rows_validated,
    }


def _cut(frame: pd.DataFrame, cuts: list[int]) -> Iterator[pd.DataFrame]:
    ends = [0, *sorted(cut % (len(frame) + 1) for cut in cuts), len(frame)]
    for start, end in zip(ends, ends[1:], strict=False):
        yield frame.iloc[start:end]


def _corrupted(name: str) -> pd.DataFrame:
    """Every rule of the table broken once or more, repeated keys included."""
    table = TABLES[name]
    chosen = [corruption for corruption in corruptions(table) if corruption.rule.scope is not Scope.DATABASE]
    rows, _ = corrupted_rows(table, chosen)
    return pd.DataFrame(rows, columns=list(table.column_names)).astype(object)


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in TABLES]
)
async def test_slices_of_a_frame_give_the_result_of_the_whole(name: str) -> None:
    frame = _corrupted(name).set_axis([f"row {i}" for i in range(len(_corrupted(name)))])
    whole = await _validator().validate(frame, name)
    sliced = await _validator(rows=59).validate(frame, name)
    assert _essence(sliced) == _essence(whole)
    checked = await _validator(rows=59).validate(frame, name, check=check_frame(TABLES[name], frame))
    assert _essence(checked) == _essence(whole)


@settings(max_examples=6)
@given(
    name=st.sampled_from(["business_metrics", "patient_journeys", "agent_activities"]),
    order=st.randoms(use_true_random=False),
    kept=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
async def test_any_cut_of_any_rows_gives_the_result_of_the_whole(
    name: str, order: Any, kept: int, cuts: list[int]
) -> None:
    frame = pd.concat([_corrupted(name), clean_frame(name, 20).astype(object)], ignore_index=True)
    chosen = order.sample(range(len(frame)), kept)
    frame = frame.iloc[chosen].reset_index(drop=True)
    whole = await _validator().validate(frame, name)
    streamed = await _validator().validate_batches(lambda: _cut(frame, cuts), name)
    assert _essence(streamed) == _essence(whole)


async def test_a_key_repeated_in_a_later_batch_is_found_and_named() -> None:
    frame = clean_frame("business_metrics", 12)
    frame.loc[[5, 11], "metric_id"] = frame.loc[0, "metric_id"]
    result = await _validator().validate_batches(lambda: _cut(frame, [3, 6, 9]), "business_metrics")
    (failure,) = result.failed_expectations
    assert (failure.id, failure.count, failure.rows) == ("business_metrics.metric_id_unique", 2, (5, 11))
    assert failure.observed == "3 of 12 rows share their value with another row"
    assert result.overall_status is QualityStatus.FAILED
    assert result.scores.uniqueness == pytest.approx(10 / 12)


@pytest.mark.parametrize("absent", [["brand"], ["brand", "region"]])
async def test_a_key_with_absent_columns_repeated_in_a_later_batch_is_found(absent: list[str]) -> None:
    frame = clean_frame("business_metrics", 12).drop(columns=absent)
    key = ["metric_name", "metric_date", *(name for name in ("brand", "region") if name not in absent)]
    frame.loc[[5, 11], key] = frame.loc[[0, 0], key].to_numpy()
    whole = await _validator().validate(frame, "business_metrics")
    streamed = await _validator().validate_batches(lambda: _cut(frame, [3, 6, 9]), "business_metrics")
    assert _essence(streamed) == _essence(whole)
    (failure,) = streamed.failed_expectations
    assert (failure.id, failure.count, failure.rows) == ("business_metrics.metric_key", 2, (5, 11))
    assert streamed.scores.uniqueness == pytest.approx(10 / 12)


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_column_values_to_be_increasing", {"column": "value"}),
        ("expect_column_max_to_be_between", {"column": "value", "max_value": -1}),
        ("expect_column_median_to_be_between", {"column": "value", "min_value": -1e9}),
    ],
)
async def test_what_slices_cannot_tell_is_asked_of_the_whole_frame(kind: str, kwargs: dict[str, Any]) -> None:
    frame = clean_frame("business_metrics", 40)
    frame["value"] = [float(40 - row) for row in range(40)]
    base = ExpectationSuiteBuilder.contract_suite("business_metrics")
    suite = ExpectationSuiteBuilder("mine", "business_metrics", base=base).add(kind, kwargs, id="own").build()
    whole = await _validator().validate(frame, suite)
    assert _essence(await _validator(rows=15).validate(frame, suite)) == _essence(whole)
    assert all(failure.error is None for failure in whole.failed_expectations)


async def test_rows_of_batches_with_a_default_index_are_named_by_their_place_in_the_table() -> None:
    frame = clean_frame("triggers", 10)
    frame.loc[7, "confidence_score"] = 2.0
    pieces = [piece.reset_index(drop=True) for piece in _cut(frame, [4])]
    result = await _validator().validate_batches(lambda: iter(pieces), "triggers")
    assert [one.rows for one in result.failed_expectations] == [(7,)]


async def test_only_the_first_broken_rows_are_named_over_all_batches() -> None:
    frame = clean_frame("triggers", 12).assign(priority="urgent")
    result = await _validator(rows_named=5).validate_batches(lambda: _cut(frame, [4, 8]), "triggers")
    (failure,) = result.failed_expectations
    assert (failure.rows, failure.count) == ((0, 1, 2, 3, 4), 12)


@pytest.mark.parametrize(("mostly", "holds"), [(0.75, True), (0.76, False)])
async def test_a_share_is_taken_over_all_batches(mostly: float, holds: bool) -> None:
    kwargs = {"column": "confidence_score", "max_value": 1, "mostly": mostly}
    declared = ExpectationDeclaration("expect_column_values_to_be_between", kwargs, False, "triggers.share")
    frame = clean_frame("triggers", 12)
    frame.loc[0:2, "confidence_score"] = 2.0
    suite = ExpectationSuite("mine", "triggers", (declared,))
    result = await _validator().validate_batches(lambda: _cut(frame, [3]), suite)
    assert (result.failed_expectations == ()) is holds


@pytest.mark.parametrize(
    ("kind", "column", "below", "above"),
    [
        ("expect_column_mean_to_be_between", "value", 54.4, 54.6),
        ("expect_column_stdev_to_be_between", "value", 3.02, 3.03),
        ("expect_column_proportion_of_unique_values_to_be_between", "brand", 0.49, 0.51),
    ],
)
async def test_figures_of_the_whole_table_are_put_together(kind: str, column: str, below: float, above: float) -> None:
    frame = clean_frame("business_metrics", 10)  # values 50 … 59, five brands
    for holds, kwargs in (
        (True, {"min_value": below, "max_value": above}),
        (False, {"min_value": above}),
        (False, {"max_value": below}),
    ):
        declared = ExpectationDeclaration(kind, {"column": column, **kwargs}, False, "business_metrics.figure")
        suite = ExpectationSuite("mine", "business_metrics", (declared,))
        for result in (
            await _validator().validate(frame, suite),
            await _validator().validate_batches(lambda: _cut(frame, [1, 4]), suite),
        ):
            assert (result.failed_expectations == ()) is holds


async def test_a_merged_standard_deviation_is_stated_as_approximate() -> None:
    frame = clean_frame("ml_predictions", 40)
    sliced = await _validator(rows=15).validate(frame, "ml_predictions")
    assert sliced.approximate == ("ml_predictions.stat_prediction_value_stdev_to_be_between",)
    assert (await _validator().validate(frame, "ml_predictions")).approximate == ()


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        ("expect_column_values_to_be_increasing", {"column": "value"}, NOT_BY_BATCH),
        ("expect_column_median_to_be_between", {"column": "value", "min_value": 0}, NOT_BY_BATCH),
        ("expect_column_values_to_be_unique", {"column": "nowhere"}, "the column nowhere is not in the data"),
        ("expect_column_mean_to_be_between", {"column": "brand", "min_value": 0}, "not numbers"),
        ("expect_wonders", {}, "cannot be built"),
    ],
)
async def test_what_cannot_be_put_together_from_batches_fails(kind: str, kwargs: dict[str, Any], said: str) -> None:
    declared = ExpectationDeclaration(kind, kwargs, False, "business_metrics.x")
    suite = ExpectationSuite("mine", "business_metrics", (declared,))
    frame = clean_frame("business_metrics", 10)
    result = await _validator().validate_batches(lambda: _cut(frame, [5]), suite)
    (failure,) = result.failed_expectations
    assert said in str(failure.error)
    assert result.overall_status is QualityStatus.FAILED


async def test_what_is_usual_is_asked_once_all_batches_together_are_enough_rows() -> None:
    frame = clean_frame("triggers", 30).assign(lead_time_days=1_000)
    few = await _validator().validate_batches(lambda: _cut(frame.iloc[:29], [10, 20]), "triggers")
    enough = await _validator().validate_batches(lambda: _cut(frame, [10, 20]), "triggers")
    assert few.failed_expectations == ()
    assert [one.id for one in enough.failed_expectations] == ["triggers.stat_lead_time_days_values_to_be_between"]


async def test_frames_may_come_from_an_asynchronous_source() -> None:
    async def frames() -> AsyncIterator[pd.DataFrame]:
        for piece in _cut(clean_frame("triggers", 10), [5]):
            yield piece

    result = await _validator().validate_batches(frames, "triggers", data_split="test")
    assert (result.passed, result.rows_validated, result.data_split) == (True, 10, "test")


async def test_an_ordinary_source_is_read_outside_the_event_loop() -> None:
    seen: list[int] = []

    def frames() -> Iterator[pd.DataFrame]:
        for piece in _cut(clean_frame("triggers", 10), [5]):
            seen.append(threading.get_ident())
            yield piece

    await _validator().validate_batches(frames, "triggers")
    assert seen
    assert threading.get_ident() not in seen


@pytest.mark.parametrize("frames", [[], [pd.DataFrame()]])
async def test_no_rows_at_all_are_a_failure(frames: list[pd.DataFrame]) -> None:
    result = await _validator().validate_batches(lambda: iter(frames), "triggers")
    assert result.overall_status is QualityStatus.FAILED
    assert "triggers.row_count" in {one.id for one in result.failed_expectations}


async def test_batches_with_other_columns_are_refused() -> None:
    frame = clean_frame("triggers", 10)
    frames = [frame.iloc[:5], frame.iloc[5:].drop(columns="brand")]
    with pytest.raises(ContractViolation, match="not all batches have the same columns; from row 5 on: brand"):
        await _validator().validate_batches(lambda: iter(frames), "triggers")


async def test_rows_that_change_between_the_two_looks_are_an_error() -> None:
    frame = clean_frame("triggers", 10)
    frame["trigger_id"] = "the same"
    looks = iter([frame, frame.iloc[:8]])
    with pytest.raises(DataUnavailable, match="changed while it was validated: 10 rows, then 8"):
        await _validator().validate_batches(lambda: _cut(next(looks), [5]), "triggers")


async def test_more_repetitions_than_are_compared_are_stated_as_approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniqueness, "MOST_COMPARED", 3)
    frame = clean_frame("triggers", 10)
    frame["trigger_id"] = "the same"
    result = await _validator(rows=4).validate(frame, "triggers")
    (failure,) = result.failed_expectations
    assert (failure.count, failure.rows, failure.approximate) == (9, tuple(range(1, 10)), True)
    assert result.approximate == ("triggers.trigger_id_unique",)


# Keys ---------------------------------------------------------------------------------------------

KEYS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([1.0, 2.0, np.nan])), max_size=12)


def _alike(series: pd.Series[Any]) -> Any:
    """A hash on which everything collides."""
    return np.zeros(len(series), np.uint64)


@pytest.mark.parametrize("column_hash", [None, _alike])
@pytest.mark.parametrize("ignore", ["never", "any_value_is_missing", "all_values_are_missing"])
@given(rows=KEYS, cut=st.integers(0, 12))
def test_repeated_keys_are_those_that_pandas_finds(
    ignore: Any, column_hash: Any, rows: list[tuple[Any, Any]], cut: int
) -> None:
    frame = pd.DataFrame(rows, columns=["text", "number"]).astype({"text": object, "number": float})
    empty = frame.isna()
    left_out = {
        "never": pd.Series(False, index=frame.index),
        "any_value_is_missing": empty.any(axis=1),
        "all_values_are_missing": empty.all(axis=1),
    }[ignore]
    counted = frame[~left_out]
    ledger = KeyLedger(["text", "number"], ignore, column_hash=column_hash)
    pieces = list(_cut(frame, [cut]))
    for piece in pieces:
        ledger.add(piece)
    offset = 0
    for piece in pieces if ledger.has_suspects else []:
        ledger.compare(offset, piece, piece.index)
        offset += len(piece)
    found = ledger.result()
    assert found.repeated.tolist() == counted.index[counted.duplicated()].tolist()
    assert found.members == counted.duplicated(keep=False).sum()
    assert found.considered == len(counted)
    assert list(ledger.labels(found, 100)) == found.repeated.tolist()


@given(rows=st.lists(st.tuples(st.sampled_from("abc") | st.none(), st.sampled_from("xy") | st.none()), max_size=12))
def test_contradictions_are_those_to_the_first_value_of_a_key(rows: list[tuple[Any, Any]]) -> None:
    frame = pd.DataFrame(rows, columns=["key", "value"], dtype=object)
    first: dict[str, str] = {}
    expected = []
    for position, (key, value) in enumerate(rows):
        if key is not None and value is not None and first.setdefault(key, value) != value:
            expected.append(position)
    ledger = ValueLedger("key", "value")
    for piece in _cut(frame, [5]):
        ledger.add(piece)
    assert ledger.contradicting().tolist() == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series([1, 2]), pd.Series([1.0, 2.0])),
        (pd.Series([1, 2]), pd.Series([1, 2.0], dtype=object)),
        (pd.Series([1, None], dtype="Int64"), pd.Series([1.0, np.nan])),
        (pd.Series([0.0]), pd.Series([-0.0])),
        (pd.to_datetime(pd.Series(["2024-01-01"])), pd.Series([pd.Timestamp("2024-01-01")], dtype=object)),
        (pd.Series(["a", "b"]), pd.Series(["a", "b"], dtype="category")),
    ],
)
def test_equal_values_hash_alike_whatever_type_holds_them(one: pd.Series[Any], other: pd.Series[Any]) -> None:
    assert hash_rows(one.to_frame("x"), ["x"]).tolist() == hash_rows(other.to_frame("x"), ["x"]).tolist()


def test_hashes_of_different_keys_differ() -> None:
    frame = pd.DataFrame([(a, b) for a in ("x", "y", None) for b in ("x", "y", None)], columns=["a", "b"])
    assert len(set(hash_rows(frame, ["a", "b"]).tolist())) == 9


@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.none(), max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=4),
)
def test_mean_and_deviation_are_those_of_all_values(values: list[float | None], cuts: list[int]) -> None:
    series = pd.Series(values, dtype=float)
    moments = Moments()
    for piece in _cut(series.to_frame("x"), cuts):
        moments.add(piece["x"])
    expected = {"mean": series.mean(), "stdev": series.std()}
    for figure, value in expected.items():
        found = moments.figure(f"expect_column_{figure}_to_be_between")
        assert (found is None) is bool(np.isnan(value))
        if found is not None:
            assert found == pytest.approx(value, rel=1e-9, abs=1e-6)
