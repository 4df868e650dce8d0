"""Does tracing hold where it is rarely looked at: damaged files, children, generators, odd processes?"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from src.cli.main import _command_name
from src.errors import ConfigError, SpoolUnusable
from src.mlops.opik_connector import OpikConnector, destination
from src.mlops.tracing import delivery
from src.mlops.tracing.census import count
from src.mlops.tracing.dead_letters import DEAD_FOLDER, append_dead
from src.mlops.tracing.ledger import LEDGER
from src.mlops.tracing.records import MemorySink, RecordRefused
from src.mlops.tracing.sampling import share
from src.mlops.tracing.spool import DRAFT, SegmentWriter, segments
from tests.unit.test_mlops.recorded import Mirror, StubbornSink, connector_on, settings


def work(number: int) -> int:
    with _connector.trace_agent("orchestrator", f"child {number}"):
        return number


_connector: OpikConnector


async def test_what_a_pool_of_child_processes_records_arrives(tmp_path: Path) -> None:
    global _connector
    sink = MemorySink()
    _connector = connector_on(tmp_path, sink)
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(number,)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert await _connector.flush()
    assert sorted(span["operation_type"] for span in sink.spans) == [f"child {number}" for number in range(6)]
    await _connector.shutdown()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"positions": 1}', b"not json", b'{"retired": {}}'])
async def test_a_spoiled_ledger_is_begun_anew_and_everything_still_arrives(tmp_path: Path, content: bytes) -> None:
    away = StubbornSink(lambda _: ConnectionError("away"))
    first = connector_on(tmp_path, away)
    with first.trace_agent("orchestrator", "kept"):
        pass
    assert await first.accepted()
    await first.shutdown(0.2)
    (tmp_path / LEDGER).write_bytes(content)
    sink = MemorySink()
    second = connector_on(tmp_path, sink)
    assert await second.flush()
    assert [span["operation_type"] for span in sink.spans] == ["kept"]
    assert second.get_status()["sinks"]["memory"]["adds_up"]
    await second.shutdown()


def test_a_ledger_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / LEDGER).mkdir()
    with pytest.raises(SpoolUnusable, match="ledger"):
        count(tmp_path)


async def test_a_torn_dead_letter_spoils_no_other(tmp_path: Path) -> None:
    refusing = StubbornSink(lambda _: RecordRefused("never"))
    connector = connector_on(tmp_path, refusing)
    for name in ("one", "two"):
        with connector.trace_agent("orchestrator", name):
            pass
    assert await connector.flush()
    letters = tmp_path / DEAD_FOLDER / "memory.jsonl"
    letters.write_bytes(letters.read_bytes() + b'{"kind": "s", "rec')
    append_dead(tmp_path, "memory", letters.read_bytes().splitlines()[0] + b"\n")
    refusing.refusal = lambda _: None
    assert connector.replay_dead() == {"memory": 2}
    assert await connector.flush()
    assert sorted(span["operation_type"] for span in refusing.spans) == ["one", "two"]
    assert (tmp_path / DEAD_FOLDER / "memory.unreadable.jsonl").read_bytes() == b'{"kind": "s", "rec\n'
    assert connector.get_status()["sinks"]["memory"]["adds_up"]
    await connector.shutdown()


def test_files_of_the_spool_are_for_their_owner_alone(tmp_path: Path) -> None:
    append_dead(tmp_path, "memory", b"{}\n")
    writer = SegmentWriter(tmp_path / "spool", {"memory": True})
    files = [writer.path, tmp_path / DEAD_FOLDER / "memory.jsonl"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.parent.stat().st_mode & 0o077 for file in files} == {0}
    writer.close()


def test_a_segment_has_its_name_only_with_its_header_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    append = SegmentWriter.append

    def watched(self: SegmentWriter, lines: bytes) -> None:
        seen.append(len(segments(tmp_path)))
        append(self, lines)

    monkeypatch.setattr(SegmentWriter, "append", watched)
    writer = SegmentWriter(tmp_path, {"memory": True})
    assert seen == [0]
    assert [segment.sinks() for segment in segments(tmp_path)] == [{"memory": True}]
    assert not segments(tmp_path)[0].is_closed()
    assert not list(tmp_path.glob(f"*{DRAFT}"))
    writer.close()


@pytest.mark.parametrize("refused", ["e2i-spool-writer", "e2i-delivery", "e2i-deliver-memory", "e2i-"])
async def test_no_thread_to_be_had_costs_the_body_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    sink = MemorySink()
    start, asked = threading.Thread.start, threading.Event()

    def refuses(self: threading.Thread) -> None:
        if self.name.startswith(refused):
            asked.set()
            raise RuntimeError("can't start new thread")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuses)
        connector = connector_on(tmp_path, sink)
        assert asked.wait(5) or refused == "e2i-spool-writer"
        with connector.trace_agent("orchestrator", "kept"):
            answer = 42
    assert answer == 42
    assert await connector.flush()
    assert [span["operation_type"] for span in sink.spans] == ["kept"]
    await connector.shutdown()


async def test_a_generator_closed_elsewhere_leaves_the_open_span_in_place(tmp_path: Path) -> None:
    sink = MemorySink()
    connector = connector_on(tmp_path, sink)

    def stream() -> Iterator[int]:
        with connector.trace_agent("orchestrator", "stream"):
            yield 1
            yield 2

    pieces = stream()
    next(pieces)
    with connector.trace_agent("explainer", "outer") as outer:
        pieces.close()
        with connector.trace_agent("explainer", "inner") as inner:
            pass
    assert await connector.flush()
    spans = {span["operation_type"]: span for span in sink.spans}
    assert inner.parent_span_id == outer.span_id
    assert spans["stream"]["status"] == "success"
    assert connector.current_span() is None
    await connector.shutdown()


async def test_two_requests_of_one_remote_parent_are_siblings(tmp_path: Path) -> None:
    connector = connector_on(tmp_path, MemorySink())
    with connector.trace_agent("orchestrator", "caller") as caller:
        headers = caller.headers()

    async def request(name: str) -> str | None:
        async with connector.trace_agent("explainer", name, headers=headers) as span:
            await asyncio.sleep(0.01)
            return span.parent_span_id

    parents = await asyncio.gather(request("a"), request("b"))
    assert parents == [caller.span_id, caller.span_id]
    await connector.shutdown()


@pytest.mark.parametrize(
    "arguments",
    [
        {"trace_id": UUID(int=5)},
        {"trace_id": 17},
        {"trace_id": "\ud800"},
        {"parent_span_id": UUID(int=6)},
        {"headers": {"traceparent": None}},
        {"tags": None},
        {"metadata": [1, 2]},
        {"agent_name": ["unhashable"]},
    ],
    ids=str,
)
async def test_odd_arguments_never_reach_the_body(tmp_path: Path, arguments: dict[str, Any]) -> None:
    sink = MemorySink()
    connector = connector_on(tmp_path, sink)
    with connector.trace_agent(**{"agent_name": "orchestrator", **arguments}) as span:
        span.set_attribute(["no", "text"], 1)  # type: ignore[arg-type]
    assert await connector.flush()
    assert len(sink.spans) == 1
    await connector.shutdown()


async def test_a_trace_unwanted_at_its_head_is_decided_once(tmp_path: Path) -> None:
    mirror = Mirror()
    sampling = {"default_rate": 0.5, "always_sample_errors": False, "always_sample_agents": [], "tier_rates": {}}
    connector = connector_on(tmp_path, mirror, sampling=sampling)
    wanted = 0
    for number in range(200):
        trace = str(UUID(int=number + 1))
        wanted += share(trace) < 0.5
        with connector.trace_agent("explainer", "root", trace_id=trace), connector.trace_agent("explainer", "leaf"):
            pass
    for _ in range(300):
        with connector.trace_agent("explainer", "own"):
            pass
    assert await connector.flush()
    names = [span["operation_type"] for span in mirror.spans]
    assert (names.count("root"), names.count("leaf")) == (wanted, wanted)
    assert 100 < names.count("own") < 200
    await connector.shutdown()


async def test_a_leader_that_lacks_a_sink_makes_room_for_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "YIELD_EVERY_S", 0.2)
    plain, primary, mirror = MemorySink(), MemorySink(), Mirror()
    without = connector_on(tmp_path, plain)
    with without.trace_agent("orchestrator", "first"):
        pass
    assert await without.flush()
    complete = OpikConnector(settings(), sinks=[primary, mirror], spool=tmp_path)
    with complete.trace_agent("orchestrator", "second"):
        pass
    assert await complete.accepted()
    for _ in range(200):
        if mirror.spans:
            break
        await asyncio.sleep(0.05)
    assert [span["operation_type"] for span in mirror.spans] == ["second"]
    await without.shutdown()
    await complete.shutdown()


def test_a_malformed_address_is_one_line_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres//svc:TopSecret99@db/x")
    with pytest.raises(ConfigError, match="DATABASE_URL is not a PostgreSQL URL") as caught:
        destination()
    assert "TopSecret99" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["effect"], "effect"),
        (["observe", "latency"], "observe latency"),
        (["observe", "Dr. Smith"], "observe"),
        (["why did Dr. A. Smith stop"], "(unknown command)"),
    ],
)
def test_a_span_of_the_command_line_is_named_by_commands_only(words: list[str], name: str) -> None:
    assert _command_name(words) == name


@pytest.mark.parametrize(("batches", "largest"), [(1, 10), (4, 40)])
async def test_a_backlog_goes_in_as_many_batches_at_once_as_the_sink_takes(
    tmp_path: Path, batches: int, largest: int
) -> None:
    class Counting(MemorySink):
        backlog_batches = batches
        sizes: list[int]

        def deliver(self, records: Any) -> None:
            self.sizes.append(len(records))
            super().deliver(records)

    away = StubbornSink(lambda _: ConnectionError("away"))
    first = connector_on(tmp_path, away)
    for number in range(100):
        with first.trace_agent("orchestrator", f"n{number}"):
            pass
    assert await first.accepted()
    await first.shutdown(0.2)
    sink = Counting()
    sink.sizes = []
    second = connector_on(tmp_path, sink, batching={"max_batch_size": 10})
    assert await second.flush()
    await second.shutdown()
    assert max(sink.sizes) == largest
    assert len(sink.spans) == 100
