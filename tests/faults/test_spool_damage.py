"""What a full disk, a torn record, a flipped bit or the bound of the spool costs is exactly what is counted."""

from __future__ import annotations

import errno
import pathlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.records import MemorySink, Record
from src.mlops.tracing.spool import Segment, segments, spool_bytes
from tests.faults.harness import Rig, assert_counters
from tests.faults.numbered import log_work

PIECES, SPANS = 60, 80
BOUND_MB = 0.3


def test_a_disk_that_is_full_for_a_while_delays_spans_and_loses_none(rig: Rig) -> None:
    rig.run(pieces=PIECES, disk="full for a while")
    assert len(rig.known().accepted) == SPANS
    rig.assert_nothing_lost()


@pytest.mark.parametrize("disk", ["full for good", "limited by the kernel"])
def test_what_a_full_disk_never_took_is_not_accepted_and_the_rest_is_whole(rig: Rig, disk: str) -> None:
    process = rig.start(disk=disk, settings=rig.settings(fallback={"segment_mb": 10}), leave="stay")
    rig.wait_until_accepted(4)
    assert process.is_alive(within_s=1.0)
    accepted = len(rig.known().accepted)
    process.kill()
    assert 0 < accepted == len(rig.known().accepted)
    rig.assert_nothing_lost()


async def test_a_segment_torn_at_any_byte_of_its_last_record_keeps_all_others(tmp_path: Path) -> None:
    whole, records = await one_segment(tmp_path / "whole")
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for cuts in batched(range(last, len(whole))):
        sink, status = await delivered(tmp_path / f"torn-{cuts[0]}", [whole[:cut] for cut in cuts])
        assert counted(sink) == dict.fromkeys(records[:-1], len(cuts))
        assert_counters(status, memory=len(cuts) * (len(records) - 1))


@pytest.mark.parametrize(
    ("bit", "step"), [(0, 7), *(pytest.param(bit, 1, marks=[pytest.mark.slow]) for bit in range(8))]
)
async def test_a_flipped_bit_costs_the_record_it_hits_and_is_counted(tmp_path: Path, bit: int, step: int) -> None:
    whole, records = await one_segment(tmp_path / "whole")
    header = whole.index(b"\n")
    # Beside: a newline that is gone makes one damaged line of two, and the last one looks like a torn record.
    places = [place for place in range(0, len(whole) - 1, step) if whole[place : place + 1] != b"\n"]
    for flips in batched(places):
        sink, status = await delivered(tmp_path / f"{bit}-{flips[0]}", [flipped(whole, at, bit) for at in flips])
        arrived = counted(sink)
        assert arrived.keys() <= set(records)
        lost = len(flips) * len(records) - sum(arrived.values())
        assert lost == sum(at > header for at in flips)
        assert status["damaged"] >= len(flips)
        assert all(numbers["adds_up"] for numbers in status["sinks"].values())


async def test_a_newline_that_is_gone_costs_the_two_records_beside_it(tmp_path: Path) -> None:
    whole, records = await one_segment(tmp_path / "whole")
    inner = whole.index(b"\n", whole.index(b"\n") + 1)
    sink, status = await delivered(tmp_path / "flipped", [flipped(whole, inner, 0)])
    assert sink.records == records[2:]
    assert status["damaged"] == 1


async def test_a_ledger_that_the_disk_refuses_once_makes_nothing_be_sent_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes, refusals = pathlib.Path.write_bytes, iter([False, True])

    def write(path: Path, data: bytes) -> int:
        if path.name == "ledger.new" and next(refusals, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", write)
    whole, records = await one_segment(tmp_path / "whole")
    sink, status = await delivered(tmp_path / "spool", [whole])
    assert next(refusals, None) is None
    assert sink.records == records
    assert_counters(status, memory=len(records))


def test_a_full_spool_gives_up_for_the_mirror_what_the_database_has_and_counts_it(rig: Rig) -> None:
    settings = rig.settings(fallback={"max_mb": BOUND_MB, "segment_mb": 0.02})
    with rig.opik.down():
        process = rig.start(settings=settings, pause_s=0.03, leave="stay", bounded=True)
        for count in range(100, 600, 20):
            rig.wait_until_accepted(count)
            assert spool_bytes(rig.spool) <= BOUND_MB * 1e6
        process.kill()
    status = rig.replayed()
    known, database, opik = rig.known(), rig.in_database(), rig.in_opik()
    assert known.accepted.keys() <= database.keys() <= known.started
    mirror = status["sinks"]["opik"]
    assert mirror["adds_up"]
    assert mirror["dropped"] > 0
    assert mirror["delivered"] == len(opik) < len(database)
    assert mirror["dropped"] == status["sinks"]["database"]["accepted"] - len(opik)


def test_a_full_spool_refuses_and_counts_what_the_database_could_not_take_yet(rig: Rig) -> None:
    settings = rig.settings(fallback={"max_mb": BOUND_MB, "segment_mb": 0.01})
    rig.run(settings=settings, database=False, pieces=500, bounded=True, group=20)
    known = rig.known()
    (before,) = known.statuses
    assert spool_bytes(rig.spool) <= BOUND_MB * 1e6
    assert before["refused"] > 0
    assert before["sinks"]["database"]["accepted"] + before["refused"] == len(known.started)
    assert before["sinks"]["database"]["dropped"] == 0
    status = rig.replayed()
    assert_counters(status, database=len(rig.in_database()), opik=len(rig.in_opik()))
    assert status["sinks"]["database"]["delivered"] == before["sinks"]["database"]["accepted"]
    assert status["refused"] == before["refused"]
    assert known.accepted.keys() <= rig.in_database().keys() <= known.started


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


def batched(places: Sequence[int], size: int = 100) -> Iterator[Sequence[int]]:
    """A spool with thousands of segments takes longer than several with a hundred."""
    return (places[start : start + size] for start in range(0, len(places), size))


def counted(sink: MemorySink) -> dict[Record, int]:
    return dict(Counter(sink.records))


async def one_segment(spool: Path) -> tuple[bytes, list[Record]]:
    """The segment of a process that logged a few spans and was killed, and the records in it."""
    connector = OpikConnector(sinks=[MemorySink()], spool=spool)
    for sequence in (1, 2, 4):
        list(log_work(connector, "a", sequence))
    assert await connector.accepted()
    (segment,) = segments(spool)
    whole = segment.path.read_bytes()
    await connector.shutdown()
    copy = spool / "copy.spool"
    copy.write_bytes(whole)
    return whole, [line.record for line in Segment(copy).lines() if line.record is not None]


async def delivered(spool: Path, contents: list[bytes], within_s: float = 60.0) -> tuple[MemorySink, dict[str, Any]]:
    """What arrives from a spool with these segments, and the status once the spool is empty."""
    spool.mkdir()
    for number, content in enumerate(contents):
        (spool / f"{number:06d}.spool").write_bytes(content)
    sink = MemorySink()
    connector = OpikConnector(sinks=[sink], spool=spool)
    deadline = time.monotonic() + within_s
    await connector.flush(within_s)
    while segments(spool):
        assert time.monotonic() < deadline, f"{len(segments(spool))} segments stay in the spool"
        time.sleep(0.05)
    status = connector.get_status()
    await connector.shutdown()
    return sink, status
