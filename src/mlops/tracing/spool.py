"""Where do records wait until every sink has them? Append-only segments that survive the process.

A spool is a folder. Each process appends to segments of its own; one process at a time (the leader)
delivers from all of them. A segment is text: a header line, then one line per record::

    <crc32 of the rest, 8 hex digits> <kind><route> <JSON>

A line counts when it is complete and its checksum holds, so a record torn by a kill is recognised.
The writer holds a lock on its segment; when nobody does, no more lines will come.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from src.errors import SpoolUnusable
from src.mlops.tracing.records import Kind, Record, Route

SUFFIX = ".spool"
DRAFT = ".draft"
HEADER = "h"
REFUSALS = "r"
_READ_BYTES = 256 * 1024


def framed(mark: str, body: bytes) -> bytes:
    """One line of a segment; ``mark`` is kind and route."""
    content = mark.encode() + b" " + body
    return b"%08x %b\n" % (zlib.crc32(content), content)


def unframed(line: bytes) -> tuple[str, bytes] | None:
    """Mark and body of a line without its newline; None when it is damaged."""
    if len(line) < 12 or line[8:9] != b" ":
        return None
    content = line[9:]
    if line[:8] != b"%08x" % zlib.crc32(content):  # as written: a number read from it could be spelled otherwise
        return None
    mark, separator, body = content.partition(b" ")
    return (mark.decode("ascii", "replace"), body) if separator else None


class SegmentWriter:
    """Appends to one new segment. ``sinks`` are the names that have to take its records, True for the primary.

    It gets its name only when it is locked and has its header: nobody ever sees one that looks abandoned.
    """

    def __init__(self, folder: Path, sinks: Mapping[str, bool], *, fsync: bool = True) -> None:
        self._fsync = fsync
        self.path = folder / f"{time.time_ns() // 1_000_000:013d}-{os.getpid()}-{secrets.token_hex(3)}{SUFFIX}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.path.with_suffix(DRAFT)
            self._file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolUnusable(f"the spool {folder} cannot be written: {error.strerror}") from error
        self.size = 0
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self.append(framed(HEADER, orjson.dumps({"sinks": dict(sinks)})))
            draft.rename(self.path)
            self._sync_folder(folder)
        except OSError:
            os.close(self._file)
            draft.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            raise

    def _sync_folder(self, folder: Path) -> None:
        """A file whose name is lost in a power cut is lost."""
        if self._fsync:
            file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def append(self, lines: bytes) -> None:
        """Write whole lines, or nothing: what a full disk took of them is cut off again. Raises OSError."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._file, memoryview(lines)[written:])
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += written

    def sync(self) -> None:
        """Force what was appended to the disk. Raises OSError."""
        if self._fsync:
            getattr(os, "fdatasync", os.fsync)(self._file)

    def close(self) -> None:
        """Let go of the segment: no more lines will come."""
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment; ``record`` is None for headers, notes and damaged lines."""

    end: int
    record: Record | None
    route: Route | None
    note: dict[str, int] | None = None
    damaged: bytes | None = None


class Segment:
    """Reads one segment from any offset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def sinks(self) -> dict[str, bool] | None:
        """Names that have to take the records, True for the primary; None while the header is not complete."""
        with self.path.open("rb") as file:
            line = file.readline()
        parsed = unframed(line[:-1]) if line.endswith(b"\n") else None
        if parsed is None or parsed[0] != HEADER:
            return {} if line.endswith(b"\n") else None
        return dict(orjson.loads(parsed[1])["sinks"])

    def size(self) -> int:
        """Bytes now."""
        return self.path.stat().st_size

    def is_closed(self) -> bool:
        """Whether its writer has let go of it or is gone."""
        return is_unlocked(self.path)

    def lines(self, offset: int = 0) -> Iterator[Line]:
        """Complete lines from ``offset`` to the end there is now."""
        rest = b""
        with self.path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_READ_BYTES):
                *complete, rest = (rest + chunk).split(b"\n")
                for raw in complete:
                    offset += len(raw) + 1
                    yield _line(raw, offset)


def _line(raw: bytes, end: int) -> Line:
    parsed = unframed(raw)
    if parsed is None:
        return Line(end, None, None, damaged=raw)
    mark, body = parsed
    if mark == HEADER:
        return Line(end, None, None)
    if mark == REFUSALS:
        return Line(end, None, None, note=orjson.loads(body))
    try:
        return Line(end, Record(Kind(mark[:1]), body), Route(mark[1:]))
    except ValueError:
        return Line(end, None, None, damaged=raw)


def segments(folder: Path) -> list[Segment]:
    """All segments of a spool, oldest first."""
    try:
        return [Segment(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    except FileNotFoundError:
        return []


def is_unlocked(path: Path) -> bool:
    """Whether no process holds its lock on a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
    return True


def remove_drafts(folder: Path, older_than_s: float = 60.0) -> None:
    """Remove beginnings of segments whose process was killed before they had a name; they hold no record."""
    for draft in folder.glob(f"*{DRAFT}"):
        try:
            if time.time() - draft.stat().st_mtime > older_than_s and is_unlocked(draft):
                draft.unlink(missing_ok=True)
        except FileNotFoundError:  # it has its name now
            continue


def spool_bytes(folder: Path) -> int:
    """Bytes that the segments of a spool take."""
    total = 0
    for segment in segments(folder):
        try:
            total += segment.size()
        except FileNotFoundError:  # delivered and removed meanwhile
            continue
    return total
