"""What did a run already pay for? A file of replies by the digest of what was asked, so that a killed run goes on.

gepa can save its own state, but not that of its random generators: a run resumed from it takes other turns than an
unbroken one. Here a resumed run starts from the beginning with the same seed and is given the replies it had.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from src.errors import HPOError


class Journal:
    """Replies by kind and key, appended one line at a time and flushed to disk before they are used.

    Raises HPOError where another process has the file open. A last line that was cut off by a kill is dropped.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._open = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            fcntl.flock(self._open, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._open.close()
            raise HPOError(f"{file.parent.name}: another process is working on this run; wait for its end") from error
        self._replies: dict[tuple[str, str], dict[str, Any]] = {}
        self.last: dict[str, Any] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The reply kept under that key."""
        return self._replies.get((kind, key))

    def put(self, kind: str, key: str, reply: Mapping[str, Any], **so_far: Any) -> None:
        """Keep a reply and what the run has used so far."""
        self._write({"kind": kind, "key": key, "reply": dict(reply), "so_far": so_far})

    def note(self, **so_far: Any) -> None:
        """Keep what the run has used so far: a kill must not make it forget what is not answered yet.

        Nothing is kept after the end: what a call that was cancelled had set aside is kept already.
        """
        if not self._open.closed:
            self._write({"so_far": so_far})

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._open.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            self._open.flush()
            if "kind" in entry:
                os.fsync(self._open.fileno())
            self._take(entry)

    def close(self) -> None:
        """Let another process have it."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        good = 0
        for line in self._open:
            entry = _entry(line)
            if entry is None:
                break
            good += len(line)
            self._take(entry)
        self._open.seek(good)
        self._open.truncate()

    def _take(self, entry: dict[str, Any]) -> None:
        if "kind" in entry:
            self._replies[(entry["kind"], entry["key"])] = entry["reply"]
        self.last = entry["so_far"]


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
