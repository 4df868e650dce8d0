"""Do the numbers of every sink add up, at every moment and after every interruption?"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.mlops.tracing import ledger as ledgers
from src.mlops.tracing.census import SinkCounts, count, document
from src.mlops.tracing.ledger import LEDGER, Leadership, Ledger, Tally, concerns
from src.mlops.tracing.records import Route
from src.mlops.tracing.spool import REFUSALS, Segment, SegmentWriter, framed, segments

SINKS = {"database": True, "opik": False}
# A sink takes some lines of a segment; then the process may be restarted.
STEP = st.tuples(st.sampled_from(sorted(SINKS)), st.integers(0, 3), st.integers(0, 6), st.booleans())


def segment_of(folder: Path, routes: str, *, refused: int = 0, extra: bytes = b"") -> Segment:
    """A closed segment with one record per letter of ``routes``."""
    writer = SegmentWriter(folder, SINKS, fsync=False)
    for number, route in enumerate(routes):
        writer.append(framed("s" + route, b'{"n":%d}' % number))
    if refused:
        writer.append(framed(REFUSALS, b'{"refused":%d}' % refused))
    writer.append(extra)
    writer.close()
    return Segment(writer.path)


def deliver_all(ledger: Ledger, segment: Segment, sink: str, primary: bool, *, dead: int = 0) -> None:
    records = sum(concerns(line, primary) for line in segment.lines())
    ledger.advance(segment.name, sink, 0, segment.size(), Tally(delivered=records - dead, dead=dead))


@pytest.mark.parametrize(
    ("route", "primary", "mirror"), [(Route.ALL, 1, 1), (Route.PRIMARY, 1, 0), (Route.MIRRORS, 0, 1)]
)
def test_a_record_counts_for_the_sinks_of_its_route(tmp_path: Path, route: Route, primary: int, mirror: int) -> None:
    segment_of(tmp_path, route.value)
    counts, _ = count(tmp_path)
    assert (counts["database"].accepted, counts["opik"].accepted) == (primary, mirror)
    assert (counts["database"].pending, counts["opik"].pending) == (primary, mirror)


@given(
    st.lists(st.text("apm", max_size=6), max_size=4),
    st.lists(
        st.tuples(st.sampled_from(sorted(SINKS)), st.integers(0, 3), st.integers(0, 6), st.booleans()), max_size=12
    ),
)
@examples(max_examples=40)
def test_the_numbers_add_up_after_any_deliveries_retirements_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, contents: list[str], steps: list[tuple[str, int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    written = [segment_of(folder, routes) for routes in contents]
    expected = {
        "database": sum(text.count("a") + text.count("p") for text in contents),
        "opik": sum(text.count("a") + text.count("m") for text in contents),
    }
    ledger = Ledger.read(folder)
    for sink, number, lines, restart in steps:
        if number >= len(written) or not written[number].path.exists():
            continue
        segment = written[number]
        start = ledger.offset(segment.name, sink)
        taken = list(segment.lines(start))[:lines]
        if taken:
            records = sum(concerns(line, SINKS[sink]) for line in taken)
            ledger.advance(segment.name, sink, start, taken[-1].end, Tally(delivered=records))
        if all(ledger.offset(segment.name, name) == segment.size() for name in SINKS):
            ledger.retire([(segment, SINKS)])
        ledger.write()
        if restart:
            ledger = Ledger.read(folder)
        for counts in (count(folder, ledger)[0], count(folder)[0]):
            assert all(numbers.adds_up for numbers in counts.values())
            assert {name: counts[name].accepted for name in counts} == {name: expected[name] for name in counts}


def test_a_retired_segment_leaves_its_numbers(tmp_path: Path) -> None:
    segment = segment_of(tmp_path, "aapm", refused=4, extra=b"damaged line\n")
    ledger = Ledger.read(tmp_path)
    deliver_all(ledger, segment, "database", True, dead=1)
    deliver_all(ledger, segment, "opik", False)
    before = count(tmp_path, ledger)
    ledger.retire([(segment, SINKS)])
    assert not segment.path.exists()
    assert count(tmp_path, ledger) == before == count(tmp_path)
    assert before == (
        {"database": SinkCounts(3, 2, 0, 1, 0), "opik": SinkCounts(3, 3, 0, 0, 0)},
        {"damaged": 1, "refused": 4},
    )


def test_a_kill_between_adding_up_and_removing_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = segment_of(tmp_path, "aa", refused=2)
    ledger = Ledger.read(tmp_path)
    for sink, primary in SINKS.items():
        deliver_all(ledger, segment, sink, primary)
    before = count(tmp_path, ledger)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish_removals", lambda self: None)
        ledger.retire([(segment, SINKS)])
    assert segment.path.exists()
    assert count(tmp_path) == before
    following = Ledger.read(tmp_path)
    assert count(tmp_path, following) == before
    following.finish_removals()
    following.write()
    assert segments(tmp_path) == []
    assert count(tmp_path) == before


def test_a_kill_before_the_ledger_is_written_repeats_the_delivery_and_counts_once(tmp_path: Path) -> None:
    segment = segment_of(tmp_path, "aa")
    lost = Ledger.read(tmp_path)
    deliver_all(lost, segment, "database", True)
    following = Ledger.read(tmp_path)
    assert following.offset(segment.name, "database") == 0
    deliver_all(following, segment, "database", True)
    assert count(tmp_path, following)[0]["database"] == SinkCounts(2, 2, 0, 0, 0)


def test_what_somebody_else_has_counted_is_not_counted_again(tmp_path: Path) -> None:
    segment = segment_of(tmp_path, "aa")
    ledger = Ledger.read(tmp_path)
    for _ in range(3):
        deliver_all(ledger, segment, "database", True)
    assert count(tmp_path, ledger)[0]["database"].delivered == 2


def test_a_request_that_comes_back_after_its_segment_is_gone_changes_nothing(tmp_path: Path) -> None:
    segment = segment_of(tmp_path, "a")
    ledger = Ledger.read(tmp_path)
    size = segment.size()
    for sink, primary in SINKS.items():
        deliver_all(ledger, segment, sink, primary)
    ledger.retire([(segment, SINKS)])
    ledger.advance(segment.name, "database", 0, size, Tally(delivered=1))
    assert ledger.positions == {}
    assert ledger.offset(segment.name, "database") > size
    assert count(tmp_path, ledger)[0]["database"] == SinkCounts(1, 1, 0, 0, 0)


def test_a_closed_ledger_changes_nothing(tmp_path: Path) -> None:
    segment = segment_of(tmp_path, "a")
    ledger = Ledger.read(tmp_path)
    ledger.write()
    ledger.close()
    deliver_all(ledger, segment, "database", True)
    ledger.retire([(segment, SINKS)])
    ledger.write()
    assert segment.path.exists()
    assert count(tmp_path)[0]["database"] == SinkCounts(1, 0, 1, 0, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 40])
def test_a_spoiled_ledger_means_that_everything_is_delivered_again(tmp_path: Path, content: bytes) -> None:
    segment_of(tmp_path, "aa")
    (tmp_path / LEDGER).write_bytes(content)
    assert count(tmp_path)[0]["database"] == SinkCounts(2, 0, 2, 0, 0)


def test_the_ledger_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = segment_of(tmp_path, "aa")
    ledger = Ledger.read(tmp_path)
    ledger.write()
    before = (tmp_path / LEDGER).read_bytes()
    deliver_all(ledger, segment, "database", True)

    def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(ledgers.os, "replace", killed)
        with pytest.raises(OSError, match="killed"):
            ledger.write()
    assert (tmp_path / LEDGER).read_bytes() == before


def test_one_process_leads_and_another_may_follow(tmp_path: Path) -> None:
    first, second = Leadership(tmp_path), Leadership(tmp_path)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert (first.held, second.held) == (False, True)
    second.release()


def test_counts_are_json(tmp_path: Path) -> None:
    segment_of(tmp_path, "a")
    counts, _ = count(tmp_path)
    assert orjson.loads(orjson.dumps(document(counts)))["opik"] == {
        "accepted": 1, "delivered": 0, "pending": 1, "dead": 0, "dropped": 0, "adds_up": True,
    }  # fmt: skip
