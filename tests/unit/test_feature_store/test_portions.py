"""Does a plan write every entity exactly once, with its latest row, in windows without gap?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.feature_store.carrying import join
from src.feature_store.portions import EARLIEST, Portion, Reading, SourceIndex, plan_portions
from src.storage.feature_jobs import TICK

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=60)

# Few entities, times and delays, so that ties are common.
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 70), st.integers(0, 30)), max_size=40)
SIZES = st.integers(1, 12)
Row = tuple[int, int, int]


def indexed(rows: list[Row]) -> SourceIndex:
    """Rows of (entity, hour of the event, hours until it is known)."""
    table = pa.table(
        {
            "key": pa.array([f"K{key}" for key, _, _ in rows], pa.string()),
            "event": pa.array([START + timedelta(hours=hour) for _, hour, _ in rows], pa.timestamp("us", "UTC")),
            "created": pa.array(
                [START + timedelta(hours=hour + late) for _, hour, late in rows], pa.timestamp("us", "UTC")
            ),
        }
    )
    return SourceIndex.of(table, ["key"], "event", "created")


def entities(index: SourceIndex, reading: Reading) -> set[str]:
    return set(index.key_names(reading.codes).to_pylist())


def latest(rows: list[Row], first_hour: int) -> dict[str, Row]:
    """The row of every entity with the highest event time, then the highest created time, known in the window."""
    inside = [row for row in rows if first_hour <= row[1] and row[1] + row[2] <= 60]
    return {f"K{row[0]}": row for row in sorted(inside, key=lambda row: (row[1], row[2]))}


def assert_covers(portions: list[Portion], start: datetime) -> None:
    assert portions[0].start == start
    assert portions[-1].end == END
    assert all(after.start == before.end + TICK for before, after in zip(portions, portions[1:], strict=False))


def assert_written(index: SourceIndex, portions: list[Portion], expected: dict[str, Row]) -> None:
    """Every entity once, where its row is read, and no later than its portion says."""
    readings = [reading for portion in portions for reading in portion.readings]
    assert sorted(name for reading in readings for name in entities(index, reading)) == sorted(expected)
    for portion in portions:
        for reading in portion.readings:
            for name in entities(index, reading):
                event = START + timedelta(hours=expected[name][1])
                assert reading.first <= event <= reading.last
                assert event <= portion.end
                assert reading.may_be_there == (event < portions[0].start)


@given(ROWS, SIZES)
def test_a_full_plan_writes_every_entity_once_with_the_latest_row_that_is_known(rows: list[Row], size: int) -> None:
    index = indexed([row for row in rows if row[1] >= 0])
    portions = plan_portions(index, START, END, size)
    assert_covers(portions, START)
    assert_written(index, portions, latest(rows, 0))


@given(ROWS, SIZES, st.integers(0, 60), st.integers(0, 9))
def test_an_incremental_plan_writes_entities_whose_latest_row_is_new(
    rows: list[Row], size: int, since: int, overlap: int
) -> None:
    index = indexed(rows)
    start = START + timedelta(hours=since)
    portions = plan_portions(index, start, END, size, late_since=start - timedelta(hours=overlap))
    assert_covers(portions, start)
    known = latest(rows, -5)
    expected = {name: row for name, row in known.items() if row[1] >= since or row[1] + row[2] >= since - overlap}
    assert_written(index, portions, expected)


@given(ROWS, SIZES)
def test_no_late_reading_spans_more_rows_than_a_portion_holds(rows: list[Row], size: int) -> None:
    index = indexed(rows)
    start = START + timedelta(hours=65)
    portions = plan_portions(index, start, start + timedelta(hours=40), size, late_since=EARLIEST)
    for reading in portions[0].readings:
        if reading.may_be_there:
            hours = [START + timedelta(hours=hour) for _, hour, late in rows if hour + late <= 105]
            assert sum(reading.first < hour < reading.last for hour in hours) < size


@given(ROWS)
def test_the_latest_row_of_an_entity_is_the_one_that_is_known(rows: list[Row]) -> None:
    index = indexed(rows)
    found = index.latest(pa.array(["K1", "K2", "absent"]), END)
    expected = {name: row for name, row in latest(rows, -5).items() if name in ("K1", "K2")}
    assert sorted(index.names.take(pa.array(index.codes[found])).to_pylist()) == sorted(expected)
    times = {name: START + timedelta(hours=row[1]) for name, row in expected.items()}
    for position in found:
        assert EARLIEST + int(index.events[position]) * TICK == times[index.names[int(index.codes[position])].as_py()]


def test_portions_hold_about_the_asked_number_of_rows_and_never_split_a_time() -> None:
    rows = [(hour * 10 + number, hour, 0) for hour in range(6) for number in range(10)]
    portions = plan_portions(indexed(rows), START, END, 15)
    assert [portion.rows for portion in portions] == [20, 20, 20]


def test_rows_that_later_ones_replace_are_not_even_read() -> None:
    history = [(1, hour, 0) for hour in range(50)]
    portions = plan_portions(indexed([*history, (2, 3, 0)]), START, END, 1)
    assert [(portion.rows, portion.readings[0].first) for portion in portions] == [
        (1, START + timedelta(hours=3)),
        (1, START + timedelta(hours=49)),
    ]


def test_an_empty_source_leaves_one_window_without_rows() -> None:
    assert plan_portions(indexed([]), EARLIEST, END, 10) == [Portion(EARLIEST, END, ())]


def test_entities_of_several_keys_are_told_apart() -> None:
    table = pa.table(
        {
            "a": ["1", "1", "11"],
            "b": [12, 2, 2],
            "at": pa.array([START] * 3, pa.timestamp("us", "UTC")),
        }
    )
    index = SourceIndex.of(table, ["a", "b"], "at", None)
    assert len(set(index.codes.tolist())) == 3
    assert len(index.latest(index.key_names(np.array([0])), END)) == 1


@pytest.mark.parametrize(
    ("hours", "joined"),
    [
        ([], []),
        ([(0, 1), (2, 3)], [(0, 1), (2, 3)]),
        ([(2, 3), (0, 2)], [(0, 3)]),
        ([(0, 9), (1, 2), (3, 4)], [(0, 9)]),
    ],
)
def test_intervals_that_meet_are_joined(hours: list[tuple[int, int]], joined: list[tuple[int, int]]) -> None:
    def times(pairs: list[tuple[int, int]]) -> list[tuple[datetime, datetime]]:
        return [(START + timedelta(hours=first), START + timedelta(hours=last)) for first, last in pairs]

    assert join(times(hours)) == times(joined)


def test_intervals_a_tick_apart_are_joined() -> None:
    assert join([(START, END), (END + TICK, END + 2 * TICK)]) == [(START, END + 2 * TICK)]
