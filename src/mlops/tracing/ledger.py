"""Which records has each sink, and do the numbers add up? Kept in one file beside the segments."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from src.errors import SpoolUnusable
from src.mlops.tracing.records import Route
from src.mlops.tracing.spool import Line, Segment

LEDGER = "ledger.json"
LEADER = "leader.lock"
_REMEMBERED = 10_000

_log = logging.getLogger(__name__)


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


class Ledger:
    """Positions and totals; written by the leader only, replaced as a whole, readable by anybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LEDGER
        self.lock = threading.RLock()
        self.positions: dict[str, dict[str, Position]] = {}
        self.retired: dict[str, Retired] = {}
        self.removing: list[str] = []
        # Grows with every segment that is added up, so that a reader notices that one moved into the totals.
        self.retirements = 0
        self.damaged = 0
        self.refused = 0
        self._closed = False
        self._gone: dict[str, None] = {}

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger as last written; a new one where there is none or something spoiled it.

        Without its ledger a spool is delivered again from the start, which stores nothing twice. Raises SpoolUnusable.
        """
        try:
            stored = (folder / LEDGER).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return cls(folder)
        except OSError as error:
            raise SpoolUnusable(f"the ledger of the spool {folder} cannot be read: {error.strerror}") from error
        try:
            return cls._parsed(folder, stored)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            _log.warning("the ledger of the spool %s is damaged: its counts begin anew", folder)
            return cls(folder)

    @classmethod
    def _parsed(cls, folder: Path, encoded: bytes) -> Ledger:
        ledger, stored = cls(folder), orjson.loads(encoded)
        for name, sinks in stored["positions"].items():
            ledger.positions[name] = {
                sink: Position(place["offset"], Tally(**place["tally"])) for sink, place in sinks.items()
            }
        ledger.retired = {
            sink: Retired(total["accepted"], Tally(**total["tally"])) for sink, total in stored["retired"].items()
        }
        ledger.removing, ledger.retirements = list(stored["removing"]), stored["retirements"]
        ledger.damaged, ledger.refused = stored["damaged"], stored["refused"]
        return ledger

    def copy(self) -> Ledger:
        """The ledger as it is now, for somebody who only reads."""
        return self._parsed(self._folder, self._encoded())

    def _encoded(self) -> bytes:
        with self.lock:
            return orjson.dumps(
                {
                    "positions": self.positions,
                    "retired": self.retired,
                    "removing": self.removing,
                    "retirements": self.retirements,
                    "damaged": self.damaged,
                    "refused": self.refused,
                }
            )

    def write(self) -> None:
        """Replace the file. Raises OSError."""
        with self.lock:
            if self._closed:
                return
            temporary = self._path.with_suffix(".new")
            temporary.touch(mode=0o600)
            temporary.write_bytes(self._encoded())
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

    def retire(self, finished: Iterable[tuple[Segment, Mapping[str, bool]]]) -> None:
        """Add up segments that every sink has, then remove them; a kill in between finishes at the next start.

        Raises OSError where the totals cannot be written: nothing is removed then.
        """
        for segment, sinks in finished:
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
        if self.removing:
            self.write()
            self.finish_removals()

    def _add_up(self, segment: str, accepted: Mapping[str, int]) -> None:
        places = self.positions.pop(segment, {})
        for sink, count in accepted.items():
            total = self.retired.setdefault(sink, Retired())
            total.accepted += count
            total.tally.add(places.get(sink, Position()).tally)
        self.retirements += 1
        self.removing.append(segment)
        self._gone[segment] = None
        while len(self._gone) > _REMEMBERED:
            self._gone.pop(next(iter(self._gone)))

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
            self.retirements += 1
        self.write()


def concerns(line: Line, primary: bool) -> bool:
    """Whether a line holds a record for the primary sink, or for the mirrors."""
    if line.record is None:
        return False
    return line.route in (Route.ALL, Route.PRIMARY if primary else Route.MIRRORS)


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
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
