"""Is what stands in a segment what was written, and is everything else recognised as damage?"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.errors import SpoolUnusable
from src.mlops.tracing import spool
from src.mlops.tracing.records import Kind, Record, Route
from src.mlops.tracing.spool import HEADER, Segment, SegmentWriter, framed, segments, spool_bytes, unframed
from tests.unit.test_mlops.recorded import StubbornSink, connector_on

BODY = st.binary(min_size=1, max_size=60).filter(lambda body: b"\n" not in body)
MARK = st.text("smfapx", min_size=1, max_size=3)


def written(folder: Path, *bodies: bytes, kind: Kind = Kind.SPAN, route: Route = Route.ALL) -> Segment:
    """A closed segment with these records."""
    writer = SegmentWriter(folder, {"memory": True}, fsync=False)
    for body in bodies:
        writer.append(framed(kind.value + route.value, body))
    writer.close()
    return Segment(writer.path)


@given(MARK, BODY)
def test_a_line_is_read_as_it_was_written(mark: str, body: bytes) -> None:
    line = framed(mark, body)
    assert line.count(b"\n") == 1
    assert unframed(line[:-1]) == (mark, body)


@given(MARK, BODY, st.data())
def test_a_line_cut_short_is_damaged(mark: str, body: bytes, data: st.DataObject) -> None:
    line = framed(mark, body)[:-1]
    assert unframed(line[: data.draw(st.integers(0, len(line) - 1))]) is None


@given(MARK, BODY, st.data())
def test_a_line_with_other_bits_is_damaged_or_the_same(mark: str, body: bytes, data: st.DataObject) -> None:
    line = bytearray(framed(mark, body)[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    assert unframed(bytes(line)) in (None, (mark, body))


@given(st.binary(max_size=80))
def test_noise_is_damage(noise: bytes) -> None:
    assert unframed(b"00000000 " + noise) is None or noise == b""
    assert unframed(noise) is None


@given(st.lists(BODY, max_size=8))
@examples(max_examples=30)
def test_a_segment_can_be_read_on_from_the_end_of_any_line(
    tmp_path_factory: pytest.TempPathFactory, bodies: Any
) -> None:
    segment = written(tmp_path_factory.mktemp("spool"), *bodies)
    lines = list(segment.lines())
    assert [line.record for line in lines[1:]] == [Record(Kind.SPAN, body) for body in bodies]
    assert lines[-1].end == segment.size()
    for number, line in enumerate(lines, 1):
        assert list(segment.lines(line.end)) == lines[number:]


def test_lines_longer_than_what_is_read_at_once_are_whole(tmp_path: Path) -> None:
    bodies = [b"x" * size for size in (spool._READ_BYTES - 30, spool._READ_BYTES, 3 * spool._READ_BYTES)]
    assert [line.record.body for line in written(tmp_path, *bodies).lines() if line.record] == bodies


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    segment = written(tmp_path, b"{}", b"{}")
    whole = [line.end for line in segment.lines()]
    with segment.path.open("ab") as file:
        file.write(framed("sa", b'{"torn": true}')[:-5])
    assert [line.end for line in segment.lines()] == whole


def test_damage_in_the_middle_costs_its_own_line_only(tmp_path: Path) -> None:
    segment = written(tmp_path, b'{"n":1}', b'{"n":2}', b'{"n":3}')
    content = segment.path.read_bytes()
    segment.path.write_bytes(content.replace(b'{"n":2}', b'{"n":7}'))
    lines = list(segment.lines())
    assert [line.record.body for line in lines if line.record] == [b'{"n":1}', b'{"n":3}']
    assert [line.damaged is not None for line in lines] == [False, False, True, False]


@pytest.mark.parametrize("mark", ["zz", "s", "sx", "q!"])
def test_a_line_of_an_unknown_kind_is_damage_not_a_record(tmp_path: Path, mark: str) -> None:
    writer = SegmentWriter(tmp_path, {"memory": True})
    writer.append(framed(mark, b"{}"))
    writer.close()
    assert [line.damaged is not None for line in Segment(writer.path).lines()] == [False, True]


def test_a_segment_names_its_sinks_and_is_closed_when_its_writer_lets_go(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, {"database": True, "opik": False})
    segment = Segment(writer.path)
    assert segment.sinks() == {"database": True, "opik": False}
    assert not segment.is_closed()
    writer.close()
    assert segment.is_closed()
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "sinks"),
    [(b"", None), (framed(HEADER, b'{"sinks":{}}')[:-1], None), (b"garbage\n", {}), (framed("sa", b"{}"), {})],
)
def test_a_header_is_missing_or_unreadable(tmp_path: Path, content: bytes, sinks: Any) -> None:
    path = tmp_path / "1-1-1.spool"
    path.write_bytes(content)
    assert Segment(path).sinks() == sinks


def test_what_a_full_disk_took_of_a_group_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path, {"memory": True})
    writer.append(framed("sa", b'{"n":1}'))
    real = os.write

    def fills_up(file: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "write", fills_up)
        with pytest.raises(OSError, match="No space"):
            writer.append(framed("sa", b'{"n":2}') * 5)
    writer.append(framed("sa", b'{"n":3}'))
    writer.close()
    bodies = [line.record.body for line in Segment(writer.path).lines() if line.record]
    assert bodies == [b'{"n":1}', b'{"n":3}']
    assert writer.size == writer.path.stat().st_size


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SpoolUnusable, match=r"file/spool cannot be written"):
        SegmentWriter(tmp_path / "file" / "spool", {"memory": True})


def test_segments_come_oldest_first_and_other_files_do_not_count(tmp_path: Path) -> None:
    for name in ("2-9-a.spool", "1-9-b.spool", "ledger.json"):
        (tmp_path / name).write_bytes(b"12345")
    assert [segment.name for segment in segments(tmp_path)] == ["1-9-b.spool", "2-9-a.spool"]
    assert spool_bytes(tmp_path) == 10
    assert segments(tmp_path / "absent") == []
    assert spool_bytes(tmp_path / "absent") == 0


async def test_damaged_lines_are_counted_and_the_rest_is_delivered(tmp_path: Path) -> None:
    away = connector_on(tmp_path, StubbornSink(lambda _: ConnectionError("away")))
    for operation in ("one", "two", "three"):
        async with away.trace_agent("orchestrator", operation):
            pass
    assert not await away.shutdown(0.3)
    (segment,) = segments(tmp_path)
    segment.path.write_bytes(segment.path.read_bytes().replace(b'"two"', b'"twO"') + b"torn")
    sink = StubbornSink(lambda _: None)
    connector = connector_on(tmp_path, sink)
    assert await connector.flush()
    assert await connector.shutdown()
    assert {span["operation_type"] for span in sink.spans} == {"one", "three"}
    status = connector.get_status()
    assert status["damaged"] == 1
    numbers = status["sinks"]["memory"]
    assert (numbers["accepted"], numbers["delivered"], numbers["adds_up"]) == (2, 2, True)
    assert segments(tmp_path) == []
