"""What became of every record in a spool? Counted from the files, each number on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.errors import SpoolUnusable
from src.mlops.tracing.ledger import Ledger, Position, Retired, Tally, concerns
from src.mlops.tracing.spool import segments

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """accepted = delivered + pending + dead + dropped, each counted on its own."""

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    dead: int = 0
    dropped: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether the equation holds."""
        return self.accepted == self.delivered + self.pending + self.dead + self.dropped


def count(folder: Path, ledger: Ledger | None = None) -> tuple[dict[str, SinkCounts], dict[str, int]]:
    """Counts by sink, and damaged lines and refused records, from the spool as it is now; blocking.

    ``ledger`` is the leader's own, otherwise the file is read. Positions are taken first and the segments
    read afterwards, so what arrives meanwhile counts as pending; a segment that is added up meanwhile starts
    the count anew. Raises SpoolUnusable.
    """
    for _ in range(_ATTEMPTS):
        known = Ledger.read(folder) if ledger is None else ledger.copy()
        try:
            counted = _count(folder, known)
        except FileNotFoundError:  # removed since its name was read
            continue
        now = Ledger.read(folder) if ledger is None else ledger
        if now.retirements == known.retirements:
            return counted
    raise SpoolUnusable(f"the spool {folder} changes faster than it can be counted; try again")


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


def document(counts: Mapping[str, SinkCounts]) -> dict[str, Any]:
    """Counts as JSON, and whether they add up."""
    return {sink: {**asdict(numbers), "adds_up": numbers.adds_up} for sink, numbers in counts.items()}
