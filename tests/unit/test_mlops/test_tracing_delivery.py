"""Does every record in the spool reach every sink, once, whatever fails in between?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from src.errors import ServiceOutage
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.dead_letters import DEAD_FOLDER
from src.mlops.tracing.records import MemorySink, Record, RecordRefused
from src.mlops.tracing.spool import segments
from tests.unit.test_mlops.recorded import Mirror, StubbornSink, StuckSink, connector_on


async def record_spans(connector: OpikConnector, *operations: str) -> None:
    for operation in operations:
        async with connector.trace_agent("orchestrator", operation):
            pass


def operations(sink: MemorySink) -> list[str]:
    """Of everything delivered, repeats included."""
    return [str(record.document()["operation_type"]) for record in sink.records]


def refusing(*poison: str, error: Callable[[str], Exception] = RecordRefused) -> Callable[..., Exception | None]:
    def refusal(records: Sequence[Record]) -> Exception | None:
        refused = [name for record in records if (name := record.document()["operation_type"]) in poison]
        return error(f"{len(refused)} of {len(records)} are poison") if refused else None

    return refusal


@pytest.mark.parametrize("error", [RecordRefused, TypeError, KeyError], ids=lambda kind: kind.__name__)
async def test_a_poisonous_record_is_found_and_buried_and_the_others_arrive(
    tmp_path: Path, error: Callable[[str], Exception]
) -> None:
    sink = StubbornSink(refusing("n13", "n77", error=error))
    connector = connector_on(tmp_path, sink)
    names = [f"n{number}" for number in range(100)]
    await record_spans(connector, *names)
    assert await connector.flush()
    numbers = connector.get_status()["sinks"]["memory"]
    assert await connector.shutdown()
    assert sorted(operations(sink)) == sorted(set(names) - {"n13", "n77"})
    assert (numbers["accepted"], numbers["delivered"], numbers["dead"]) == (100, 98, 2)
    assert numbers["adds_up"]
    buried = [orjson.loads(line) for line in (tmp_path / DEAD_FOLDER / "memory.jsonl").read_bytes().splitlines()]
    assert sorted(entry["record"]["operation_type"] for entry in buried) == ["n13", "n77"]
    assert all("1 of 1 are poison" in entry["reason"] for entry in buried)


async def test_dead_records_are_tried_again_on_request_and_counted_once(tmp_path: Path) -> None:
    sink = StubbornSink(refusing("poison"))
    connector = connector_on(tmp_path, sink)
    await record_spans(connector, "fine", "poison")
    assert await connector.flush()
    assert connector.replay_dead() == {"memory": 1}
    assert await connector.flush()
    assert connector.get_status()["sinks"]["memory"]["dead"] == 1
    sink.refusal = lambda _: None
    assert connector.replay_dead() == {"memory": 1}
    assert await connector.flush()
    numbers = connector.get_status()["sinks"]["memory"]
    assert connector.replay_dead() == {}
    assert await connector.shutdown()
    assert sorted(operations(sink)) == ["fine", "poison"]
    assert (numbers["accepted"], numbers["delivered"], numbers["dead"], numbers["adds_up"]) == (2, 2, 0, True)


@pytest.mark.parametrize("error", [ServiceOutage("away"), ConnectionResetError("reset"), OSError(5, "I/O error")])
async def test_an_outage_loses_nothing_and_delivers_once(tmp_path: Path, error: Exception) -> None:
    sink = StubbornSink(lambda _: error)
    connector = connector_on(tmp_path, sink)
    await record_spans(connector, "one", "two")
    assert not await connector.flush(0.4)
    status = connector.get_status()
    assert (status["spooled"], status["sinks"]["memory"]["dead"]) == (2, 0)
    assert type(error).__name__ in status["sinks"]["memory"]["last_error"]
    sink.refusal = lambda _: None
    assert await connector.flush()
    await record_spans(connector, "three")
    assert await connector.flush()
    assert connector.get_status()["sinks"]["memory"]["last_error"] is None
    assert await connector.shutdown()
    assert operations(sink) == ["one", "two", "three"]


@dataclass
class Answer:
    status_code: int
    headers: dict[str, str]


class Overloaded(ServiceOutage):
    """A server that says when to come back."""

    response = Answer(429, {"Retry-After": "0.7"})


async def test_a_server_is_not_asked_again_before_the_time_it_names(tmp_path: Path) -> None:
    asked: list[float] = []

    def twice_overloaded(_: Sequence[Record]) -> Exception | None:
        asked.append(time.monotonic())
        return Overloaded("come back later") if len(asked) < 3 else None

    sink = StubbornSink(twice_overloaded)
    connector = connector_on(tmp_path, sink)
    await record_spans(connector, "one")
    assert await connector.accepted(5)
    deadline = time.monotonic() + 20
    while not sink.records and time.monotonic() < deadline:
        time.sleep(0.02)
    await connector.shutdown()
    assert operations(sink) == ["one"]
    assert [later - earlier >= 0.7 for earlier, later in zip(asked, asked[1:], strict=False)] == [True, True]


async def test_a_mirror_that_is_away_does_not_keep_the_primary_waiting(tmp_path: Path) -> None:
    primary, mirror = MemorySink(), StubbornSink(lambda _: ServiceOutage("away"), "mirror")
    mirror.primary = False
    connector = connector_on(tmp_path, primary, mirror)
    await record_spans(connector, "one", "two")
    assert not await connector.flush(0.5)
    sinks = connector.get_status()["sinks"]
    assert (sinks["memory"]["pending"], sinks["mirror"]["pending"]) == (0, 2)
    assert all(numbers["adds_up"] for numbers in sinks.values())
    mirror.refusal = lambda _: None
    assert await connector.shutdown()
    assert operations(primary) == operations(mirror) == ["one", "two"]


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_no_batch_is_larger_than_configured(tmp_path: Path, size: int) -> None:
    batches: list[int] = []

    def note(records: Sequence[Record]) -> None:
        batches.append(len(records))

    connector = connector_on(tmp_path, StubbornSink(note), batching={"max_batch_size": size, "max_wait_seconds": 60})
    await record_spans(connector, *(["work"] * 50))
    assert await connector.flush()
    assert await connector.shutdown()
    assert sum(batches) == 50
    assert max(batches) <= size


async def test_a_batch_that_is_not_full_waits_for_more(tmp_path: Path) -> None:
    sink = StubbornSink(lambda _: None)
    connector = connector_on(tmp_path, sink, batching={"max_batch_size": 10, "max_wait_seconds": 300})
    await record_spans(connector, *(["work"] * 9))
    assert await connector.accepted(5)
    time.sleep(0.7)
    assert sink.attempts == 0
    await record_spans(connector, "tenth")
    deadline = time.monotonic() + 20
    while not sink.records and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (sink.attempts, len(sink.records)) == (1, 10)
    assert await connector.shutdown()


async def test_one_connector_delivers_from_a_spool_and_another_takes_over(tmp_path: Path) -> None:
    first_sink, second_sink = MemorySink(), MemorySink()
    first = connector_on(tmp_path, first_sink)
    await record_spans(first, "before")
    assert await first.flush()
    second = connector_on(tmp_path, second_sink)
    await record_spans(second, "by the second")
    assert await second.flush()
    assert (first.get_status()["leader"], second.get_status()["leader"]) == (True, False)
    assert (operations(first_sink), operations(second_sink)) == (["before", "by the second"], [])
    assert await first.shutdown()
    await record_spans(second, "after")
    assert await second.flush()
    status = second.get_status()
    assert await second.shutdown()
    assert operations(second_sink) == ["after"]
    assert status["leader"]
    assert (status["sinks"]["memory"]["delivered"], status["sinks"]["memory"]["adds_up"]) == (3, True)


async def test_what_a_sink_has_is_removed_from_the_spool(tmp_path: Path) -> None:
    connector = connector_on(tmp_path, MemorySink(), fallback={"segment_mb": 0.001})
    for number in range(10):
        await record_spans(connector, f"n{number}")
        assert await connector.flush()
    assert await connector.shutdown()
    assert segments(tmp_path) == []
    assert connector.get_status()["sinks"]["memory"]["delivered"] == 10


async def test_a_full_spool_costs_the_mirror_its_oldest_and_the_primary_nothing(tmp_path: Path) -> None:
    primary, mirror = MemorySink(), StubbornSink(lambda _: ServiceOutage("away"), "mirror")
    mirror.primary = False
    connector = connector_on(tmp_path, primary, mirror, fallback={"max_mb": 0.03, "segment_mb": 0.003})
    names = [f"n{number}" for number in range(80)]
    for name in names:
        await record_spans(connector, name)
        await connector.accepted(5)
        await connector.flush(0.02)
    deadline = time.monotonic() + 20
    while not connector.get_status()["dropped"] and time.monotonic() < deadline:
        time.sleep(0.05)
    mirror.refusal = lambda _: None
    await connector.accepted(5)
    assert await connector.flush()
    sinks, refused = connector.get_status()["sinks"], connector.get_status()["refused"]
    assert await connector.shutdown()
    assert sinks["mirror"]["dropped"] > 0
    assert sinks["memory"]["dropped"] == 0
    assert len(operations(primary)) + refused == 80
    assert all(numbers["adds_up"] for numbers in sinks.values())
    # The newest are the ones it got; what was under way when they were given up may arrive all the same.
    newest = sinks["mirror"]["delivered"]
    assert operations(mirror)[-newest:] == operations(primary)[-newest:]


async def test_a_sink_that_never_answers_holds_up_neither_flush_nor_close(tmp_path: Path) -> None:
    stuck = StuckSink()
    connector = connector_on(tmp_path, stuck)
    await record_spans(connector, "one")
    assert not await connector.flush(0.3)
    assert stuck.entered.is_set()
    assert not await connector.shutdown(0.3)
    assert connector.get_status()["sinks"]["memory"]["pending"] == 1
    assert len(segments(tmp_path)) == 1
    stuck.released.set()


async def test_an_answer_that_comes_after_the_close_does_not_disturb_the_next_leader(tmp_path: Path) -> None:
    stuck, sink = StuckSink(), MemorySink()
    first = connector_on(tmp_path, stuck)
    await record_spans(first, "one")
    assert not await first.flush(0.3)
    await first.shutdown(0.1)
    second = connector_on(tmp_path, sink)
    assert await second.flush()
    stuck.released.set()
    await record_spans(second, "two")
    assert await second.flush()
    numbers: dict[str, Any] = second.get_status()["sinks"]["memory"]
    assert await second.shutdown()
    assert operations(sink) == ["one", "two"]
    assert (numbers["accepted"], numbers["delivered"], numbers["adds_up"]) == (2, 2, True)


async def test_a_sink_that_is_new_gets_what_is_recorded_from_then_on(tmp_path: Path) -> None:
    alone = connector_on(tmp_path, MemorySink())
    await record_spans(alone, "before")
    assert await alone.shutdown()
    mirror = Mirror()
    both = connector_on(tmp_path, MemorySink(), mirror)
    await record_spans(both, "after")
    assert await both.shutdown()
    assert operations(mirror) == ["after"]
    assert all(numbers["adds_up"] for numbers in both.get_status()["sinks"].values())


async def test_records_of_a_sink_that_is_configured_no_more_wait_for_it(tmp_path: Path) -> None:
    away = StubbornSink(lambda _: ServiceOutage("away"), "mirror")
    away.primary = False
    both = connector_on(tmp_path, MemorySink(), away)
    await record_spans(both, "before")
    assert not await both.shutdown(0.5)
    alone = connector_on(tmp_path, MemorySink())
    await record_spans(alone, "between")
    assert await alone.shutdown()
    assert alone.get_status()["sinks"]["mirror"]["pending"] == 1
    mirror = Mirror()
    again = connector_on(tmp_path, MemorySink(), mirror)
    assert await again.flush()
    assert await again.shutdown()
    assert operations(mirror) == ["before"]
