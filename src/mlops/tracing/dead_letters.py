"""Where are records kept that a sink will never take?"""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from src.mlops.tracing.records import Kind, Record

DEAD_FOLDER = "dead"


def append_dead(folder: Path, sink: str, lines: bytes) -> None:
    """Add lines to the dead letters of a sink; a line torn before does not spoil them. Raises OSError."""
    place = folder / DEAD_FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    file = os.open(place / f"{sink}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, (b"\n" if torn else b"") + lines)
    finally:
        os.close(file)


def dead_records(path: Path) -> tuple[list[Record], bytes]:
    """The records of a dead-letter file, each once, and the lines that cannot be read."""
    records: dict[bytes, Record] = {}
    unreadable: list[bytes] = []
    for line in filter(None, path.read_bytes().split(b"\n")):
        try:
            entry = orjson.loads(line)
            body = orjson.dumps(entry["record"])
            records[body] = Record(Kind(entry["kind"]), body)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            unreadable.append(line + b"\n")
    return list(records.values()), b"".join(unreadable)
