"""Which records has each sink, and do the numbers add up? Kept in one file beside the segments."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from src.mlops.tracing.records import Route
from src.mlops.tracing.spool import Line, Segment, segments

LEDGER = "ledger.json"
LEADER = "leader.lock"


@dataclass(slots=True)
class Tally:
    """What became of the records of one sink."""

    delivered: int = 0
    dead: int = 0
    dropped: int = 0

    def add(self, other: Tally) -> None:
        """Count what ``other`` counts as well."""
        self.delivered += other.delivered
        self.dead += other.dead
        self.dropped += other.dropped


@dataclass(slots=True)
class Position:
    """How far a sink has come in a segment, and what became of the records before."""

    offset: int = 0
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class Retired:
    """Totals of segments that are gone; ``accepted`` was counted from the segments themselves."""

    accepted: int = 0
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """accepted = delivered + pending + dead + dropped, each counted on its own."""

    accepted: int
    delivered: int
    pending: int
    dead: int
    dropped: int

    @property
    def adds_up(self) -> bool:
        """Whether the equation holds."""
        return self.accepted == self.delivered + self.pending + self.dead + self.dropped


class Ledger:
    """Positions and totals; written by the leader only, replaced as a whole, readable by anybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LEDGER
        self.lock = threading.RLock()
        self.positions: dict[str, dict[str, Position]] = {}
        self.retired: dict[str, Retired] = {}
        self.removing: list[str] = []
        self.damaged = 0
        self.refused = 0
        self._closed = False
        self._gone: set[str] = set()

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger as last written; a new one where there is none or a power cut spoiled it."""
        ledger = cls(folder)
        try:
            stored = orjson.loads(ledger._path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
            return ledger
        for name, sinks in stored["positions"].items():
            ledger.positions[name] = {
                sink: Position(place["offset"], Tally(**place["tally"])) for sink, place in sinks.items()
            }
        ledger.retired = {
            sink: Retired(total["accepted"], Tally(**total["tally"])) for sink, total in stored["retired"].items()
        }
        ledger.removing = stored["removing"]
        ledger.damaged, ledger.refused = stored["damaged"], stored["refused"]
        return ledger

    def write(self) -> None:
        """Replace the file. Raises OSError."""
        with self.lock:
            if self._closed:
                return
            document = {
                "positions": {
                    name: {sink: asdict(place) for sink, place in sinks.items()}
                    for name, sinks in self.positions.items()
                },
                "retired": {sink: asdict(total) for sink, total in self.retired.items()},
                "removing": self.removing,
                "damaged": self.damaged,
                "refused": self.refused,
            }
            encoded = orjson.dumps(document)
            temporary = self._path.with_suffix(".new")
            temporary.write_bytes(encoded)
            os.replace(temporary, self._path)

    def offset(self, segment: str, sink: str) -> int:
        """How far a sink has come in a segment."""
        with self.lock:
            if segment in self._gone:  # added up, and about to be removed
                return sys.maxsize
            place = self.positions.get(segment, {}).get(sink)
            return place.offset if place is not None else 0

    def advance(self, segment: str, sink: str, start: int, end: int, tally: Tally) -> None:
        """A sink has come from ``start`` to ``end``; ``tally`` says what became of the records in between.

        Nothing happens where the sink is not at ``start`` any more: somebody else has counted these records.
        """
        with self.lock:
            if self._closed or segment in self._gone:
                return
            place = self.positions.setdefault(segment, {}).setdefault(sink, Position())
            if place.offset == start and end > start:
                place.offset = end
                place.tally.add(tally)

    def close(self) -> None:
        """Change nothing from now on: another process may lead."""
        with self.lock:
            self._closed = True

    def retire(self, segment: Segment, sinks: Mapping[str, bool]) -> None:
        """Add up a segment that every sink has, then remove it; a kill in between finishes at the next start."""
        accepted = dict.fromkeys(sinks, 0)
        damaged = refused = 0
        for line in segment.lines():
            damaged += line.damaged is not None
            refused += (line.note or {}).get("refused", 0)
            for sink, primary in sinks.items():
                accepted[sink] += concerns(line, primary)
        with self.lock:
            if self._closed:
                return
            if segment.name not in self._gone:
                self._add_up(segment.name, accepted)
                self.damaged += damaged
                self.refused += refused
        self.write()
        self.finish_removals()

    def _add_up(self, segment: str, accepted: Mapping[str, int]) -> None:
        places = self.positions.pop(segment, {})
        for sink, count in accepted.items():
            total = self.retired.setdefault(sink, Retired())
            total.accepted += count
            total.tally.add(places.get(sink, Position()).tally)
        self._gone.add(segment)
        self.removing.append(segment)

    def finish_removals(self) -> None:
        """Remove the files of segments that are already added up."""
        with self.lock:
            for name in self.removing:
                (self._folder / name).unlink(missing_ok=True)
            self.removing = []

    def requeued(self, sink: str, count: int) -> None:
        """Dead records were written to the spool again: they are neither dead nor counted twice."""
        with self.lock:
            total = self.retired.setdefault(sink, Retired())
            total.accepted -= count
            total.tally.dead -= count
        self.write()


def concerns(line: Line, primary: bool) -> bool:
    """Whether a line holds a record for the primary sink, or for the mirrors."""
    if line.record is None:
        return False
    return line.route in (Route.ALL, Route.PRIMARY if primary else Route.MIRRORS)


def count(folder: Path, ledger: Ledger | None = None) -> tuple[dict[str, SinkCounts], dict[str, int]]:
    """Counts by sink, and damaged lines and refused records, from the spool as it is now.

    Without the leader's own ledger the file is read; a segment retired in between starts the count anew.
    """
    for _ in range(10):
        known = ledger or Ledger.read(folder)
        try:
            with known.lock:
                return _count(folder, known)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"the spool {folder} changes faster than it can be counted")


def _count(folder: Path, ledger: Ledger) -> tuple[dict[str, SinkCounts], dict[str, int]]:
    names = set(ledger.retired)
    scanned: dict[str, list[int]] = {}
    tallies: dict[str, Tally] = {}
    damaged, refused = ledger.damaged, ledger.refused
    for segment in segments(folder):
        if segment.name in ledger.removing:
            continue
        sinks = segment.sinks() or {}
        places = ledger.positions.get(segment.name, {})
        names.update(sinks)
        for sink in sinks:
            tallies.setdefault(sink, Tally()).add(places.get(sink, Position()).tally)
        for line in segment.lines():
            damaged += line.damaged is not None
            refused += (line.note or {}).get("refused", 0)
            for sink, primary in sinks.items():
                if concerns(line, primary):
                    numbers = scanned.setdefault(sink, [0, 0])
                    numbers[0] += 1
                    numbers[1] += line.end > places.get(sink, Position()).offset
    counts: dict[str, SinkCounts] = {}
    for sink in sorted(names):
        before = ledger.retired.get(sink, Retired())
        accepted, pending = scanned.get(sink, [0, 0])
        total = Tally()
        total.add(before.tally)
        total.add(tallies.get(sink, Tally()))
        counts[sink] = SinkCounts(before.accepted + accepted, total.delivered, pending, total.dead, total.dropped)
    return counts, {"damaged": damaged, "refused": refused}


class Leadership:
    """At most one process delivers from a spool."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEADER
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process is the leader."""
        return self._file is not None

    def acquire(self) -> bool:
        """Try to become the leader."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            self._file = file
        return True

    def release(self) -> None:
        """Let another process lead; in a child process this leaves the parent's lock alone."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def document(counts: Mapping[str, SinkCounts]) -> dict[str, Any]:
    """Counts as JSON."""
    return {sink: asdict(numbers) for sink, numbers in counts.items()}
