"""Is a record in the spool when it counts as accepted, and is every one that is not counted as refused?"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from src.errors import ConfigError
from src.mlops.tracing import recorder as recording
from src.mlops.tracing import writer as writing
from src.mlops.tracing.census import count
from src.mlops.tracing.configuration import FallbackSettings
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.recorder import SpanRecorder
from src.mlops.tracing.records import MemorySink
from src.mlops.tracing.sampling import TraceRouter
from src.mlops.tracing.spool import segments
from src.mlops.tracing.writer import SpoolWriter
from tests.unit.test_mlops.recorded import connector_on, ended_span, settings

SINKS = {"memory": True}


def writer_on(folder: Path, **fallback: Any) -> tuple[SpoolWriter, SpanRecorder]:
    config = settings()
    recorder = SpanRecorder()
    router = TraceRouter(config.sampling, primary=True, mirrors=False)
    bounds = FallbackSettings(**{"fsync": False, **fallback})
    return SpoolWriter(recorder, Encoder(config.spans), router, folder, SINKS, bounds), recorder


def stored(folder: Path) -> int:
    return sum(line.record is not None for segment in segments(folder) for line in segment.lines())


def test_what_is_accepted_can_be_read_by_anybody(tmp_path: Path) -> None:
    writer, recorder = writer_on(tmp_path)
    for number in range(1, 40):
        ended_span(recorder=recorder)
        assert writer.barrier(5)
        assert stored(tmp_path) == writer.accepted == number
    assert writer.close()


def test_no_thread_and_no_file_before_the_first_record(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    writer, _ = writer_on(tmp_path / "spool")
    assert set(threading.enumerate()) == before
    assert writer.close()
    assert not (tmp_path / "spool").exists()


def test_a_group_is_forced_to_the_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for fsync, calls in ((False, 0), (True, 1)):
        writer, recorder = writer_on(tmp_path, fsync=fsync)
        recorder.writer_sleeps = False
        for _ in range(200):
            ended_span(recorder=recorder)
        assert writer.barrier(5)
        assert len(synced) == calls
        assert writer.close()
    assert stored(tmp_path) == 400


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    writer, recorder = writer_on(tmp_path)
    for _ in range(3_000):
        ended_span(recorder=recorder)
    assert writer.close(20)
    assert stored(tmp_path) == writer.accepted == 3_000
    assert all(segment.is_closed() for segment in segments(tmp_path))


def test_a_segment_that_is_full_is_followed_by_another(tmp_path: Path) -> None:
    writer, recorder = writer_on(tmp_path, segment_mb=0.001)
    for _ in range(5):
        ended_span(recorder=recorder)
        assert writer.barrier(5)
    assert writer.close()
    assert len(segments(tmp_path)) > 2
    assert stored(tmp_path) == 5


def test_a_full_spool_refuses_and_tells_other_processes_how_often(tmp_path: Path) -> None:
    writer, recorder = writer_on(tmp_path, max_mb=0.002)
    for _ in range(50):
        ended_span(recorder=recorder)
        writer.barrier(5)
    assert writer.accepted == stored(tmp_path) > 0
    assert writer.total_refused == 50 - writer.accepted
    assert writer.last_error == "the spool holds its bound of 0.002 MB"
    assert writer.close()
    _, lost = count(tmp_path)
    assert lost["refused"] == writer.total_refused


async def test_a_full_spool_takes_records_again_when_there_is_room(tmp_path: Path) -> None:
    sink = MemorySink()
    connector = connector_on(tmp_path, sink, fallback={"max_mb": 0.01, "segment_mb": 0.002})
    for _ in range(100):
        async with connector.trace_agent("orchestrator"):
            pass
        await connector.flush()
    status = connector.get_status()
    assert await connector.shutdown()
    assert len(sink.spans) + status["refused"] == 100
    assert len(sink.spans) > 20


def test_more_than_memory_may_hold_is_refused_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_WAITING", 10)
    writer, recorder = writer_on(tmp_path)
    recorder.writer_sleeps = False  # nobody takes anything out meanwhile
    for _ in range(25):
        ended_span(recorder=recorder)
    assert (len(recorder.queue), writer.total_refused) == (10, 15)
    assert writer.close()
    assert stored(tmp_path) == 10


def test_one_record_that_cannot_be_encoded_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError("secret-of-mine")

    writer, recorder = writer_on(tmp_path)
    recorder.feedback("t", Unspeakable(), 1.0)  # type: ignore[arg-type]
    ended_span(recorder=recorder)
    assert not writer.barrier(5)
    assert writer.close()
    assert (stored(tmp_path), writer.total_refused) == (1, 1)
    assert "could not be encoded" in caplog.text
    assert "secret-of-mine" not in caplog.text


def test_while_the_disk_refuses_records_wait_and_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, recorder = writer_on(tmp_path)
    failures = iter([OSError(28, "No space left on device")] * 3)

    def refuses(self: Any, lines: bytes) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        real(self, lines)

    real = writing.SegmentWriter.append
    monkeypatch.setattr(writing.SegmentWriter, "append", refuses)
    for _ in range(5):
        ended_span(recorder=recorder)
    assert writer.barrier(10)
    assert writer.close()
    assert (stored(tmp_path), writer.accepted, writer.total_refused, writer.last_error) == (5, 5, 0, None)


@pytest.mark.parametrize("key", ["max_mb", "segment_mb"])
def test_a_bound_must_be_positive(key: str) -> None:
    with pytest.raises(ConfigError, match=f"fallback.{key}"):
        settings(fallback={key: 0})
