"""What could the server not take yet? A folder of fsynced lines and copied files, shared by processes.

``<store>-<key>.jsonl`` holds the entries of one run (or of one experiment) in order; the folder of the same name
holds what belongs to it: copied files, the lock of the process the run lives in, and the run's id once the server
gave one. ``<store>`` stands for the address: what one store could not take is never given to another.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from src.errors import SpoolUnusable

Entry = dict[str, Any]

# Lines that say what became of the others; they carry nothing to deliver.
CREATED, DELIVERED = "created", "delivered"
REFUSED = "refused"
# Lines that end or open a run are let in when the folder is full: without them nothing could be replayed.
_ALWAYS_ADMITTED = frozenset({"start", "end", CREATED, DELIVERED})


@dataclass(frozen=True, slots=True)
class Journal:
    """One file of the spool as read: entries in order, how many of them are delivered, lines beyond repair."""

    key: str
    entries: tuple[Entry, ...]
    delivered: int
    run_id: str | None
    damaged: int

    @property
    def start(self) -> Entry | None:
        """The entry that opened the run, if it was opened here."""
        return next((entry for entry in self.entries if entry["kind"] == "start"), None)

    @property
    def ended(self) -> bool:
        """Whether the run came to its end."""
        return any(entry["kind"] == "end" for entry in self.entries)

    @property
    def pending(self) -> int:
        """Entries still to deliver."""
        return len(self.entries) - self.delivered

    @property
    def last_at(self) -> int:
        """Milliseconds since 1970 of the last entry."""
        return max((int(entry["at"]) for entry in self.entries), default=0)


class Owner:
    """Held by the process a run lives in, so that others can tell a live run from one whose process died."""

    def __init__(self, file: Path) -> None:
        self._handle = open(file, "w")  # noqa: SIM115 - open as long as the run lives
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """The run has ended."""
        self._handle.close()


class Spool:
    """The folder. Every method blocks, and is safe across threads and processes.

    Raises SpoolUnusable where the folder cannot be used or ``max_bytes`` would be passed.
    """

    def __init__(self, folder: Path, max_bytes: int, *, address: str = "") -> None:
        self.folder = folder
        self._prefix = hashlib.sha256(address.encode()).hexdigest()[:12] + "-"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def file(self, key: str) -> Path:
        """The journal of ``key``."""
        return self.folder / f"{self._prefix}{key}.jsonl"

    def append(self, key: str, entry: Entry, *, copy: Path | None = None) -> None:
        """Add an entry, on disk when this returns; ``copy`` is a file or folder kept with it as ``entry["file"]``."""
        with self._usable():
            kept = self._copied(key, copy) if copy is not None else None
            try:
                with self._locked():
                    line = json.dumps(entry if kept is None else {**entry, "file": str(kept.relative_to(self.folder))})
                    self._admit(entry["kind"], len(line))
                    _write_line(self.file(key), line)
            except BaseException:
                if kept is not None:
                    shutil.rmtree(kept.parent, ignore_errors=True)
                raise

    def mark(self, key: str, entry: Entry) -> None:
        """Note what became of entries."""
        with self._usable(), self._locked():
            _write_line(self.file(key), json.dumps(entry))

    def read(self, key: str) -> Journal:
        """The journal of ``key`` as it is now; lines cut off by a crash are counted and left out."""
        with self._usable(), self._locked():
            return self._read(key)

    def keys(self) -> list[str]:
        """Keys of this store's journals, and of its runs that live here without a journal at the moment."""
        return [name.removeprefix(self._prefix) for name in self._names() if name.startswith(self._prefix)]

    def foreign(self) -> int:
        """How many journals wait for a store with another address."""
        return sum(not name.startswith(self._prefix) for name in self._names())

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        with self._usable():
            journals = {path.stem for path in self.folder.glob("*.jsonl")}
            owned = {path.parent.name for path in self.folder.glob("*/owner")}
            return sorted(journals | owned)

    def size_bytes(self) -> int:
        """Bytes in the folder, those of refused entries not counted."""
        return _bytes_in(self.folder) - _bytes_in(self.folder / REFUSED)

    def own(self, key: str) -> Owner:
        """Say that the run of ``key`` lives in this process."""
        with self._usable(), self._locked():
            self._companions(key).mkdir(parents=True, exist_ok=True)
            return Owner(self._companions(key) / "owner")

    def rejoin(self, key: str) -> str | None:
        """The run's id if everything kept for it was delivered meanwhile, else None."""
        with self._usable(), self._locked():
            given = self._companions(key) / "run_id"
            return given.read_text("utf-8") if given.exists() and not self.file(key).exists() else None

    def settle(self, key: str, seen: int, run_id: str) -> str:
        """Close a journal whose first ``seen`` entries are delivered; says what is left to do.

        ``more``: entries came in meanwhile. ``abandoned``: its process died before the run ended. ``live``: the
        run goes on, from now on with the server. ``done``: nothing is left of it here.
        """
        with self._usable(), self._locked():
            journal = self._read(key)
            if len(journal.entries) > seen:
                return "more"
            owner = self._companions(key) / "owner"
            if journal.ended or not owner.exists():
                self._remove(key)
                return "done"
            if not _is_held(owner):
                return "abandoned"
            (self._companions(key) / "run_id").write_text(run_id, "utf-8")
            self.file(key).unlink(missing_ok=True)
            shutil.rmtree(self._companions(key) / "files", ignore_errors=True)
            return "live"

    def forget(self, key: str) -> None:
        """Remove what belongs to a run that ended on the server."""
        with self._usable(), self._locked():
            if not self.file(key).exists():
                self._remove(key)

    def refuse(self, key: str, entry: Entry, reason: str) -> None:
        """Set aside an entry that the server will never take, with the reason and its files."""
        with self._usable(), self._locked():
            aside = self.folder / REFUSED
            aside.mkdir(exist_ok=True)
            kept = self.folder / entry["file"] if "file" in entry else None
            if kept is not None and kept.exists():
                (aside / key).mkdir(exist_ok=True)
                shutil.move(kept.parent, aside / key / kept.parent.name)
            _write_line(aside / f"{key}.jsonl", json.dumps({**entry, "refused_because": reason}))

    def discard(self, key: str) -> None:
        """Remove a journal of which nothing can be delivered, unless a run that just begins is about to write it."""
        with self._usable(), self._locked():
            owner = self._companions(key) / "owner"
            if self._read(key).entries or not owner.exists() or not _is_held(owner):
                self._remove(key)

    @contextmanager
    def replaying(self) -> Iterator[bool]:
        """Yield whether this process may replay now; one at a time may."""
        with self._usable():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = open(self.folder / ".replay", "a")  # noqa: SIM115 - closed below
        with handle:
            yield _lock_now(handle)

    def _companions(self, key: str) -> Path:
        return self.folder / f"{self._prefix}{key}"

    def _remove(self, key: str) -> None:
        shutil.rmtree(self._companions(key), ignore_errors=True)
        self.file(key).unlink(missing_ok=True)

    def _copied(self, key: str, source: Path) -> Path:
        if self.size_bytes() + _bytes_in(source) > self._max_bytes:
            raise self._full()
        target = self._companions(key) / "files" / uuid4().hex / source.name
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        for path in (target, *target.rglob("*")) if target.is_dir() else (target,):
            _sync(path)
        return target

    def _admit(self, kind: str, length: int) -> None:
        if kind not in _ALWAYS_ADMITTED and self.size_bytes() + length > self._max_bytes:
            raise self._full()

    def _full(self) -> SpoolUnusable:
        return SpoolUnusable(
            f"{self.folder} is full ({self._max_bytes / 1024 / 1024:.3g} MB of records wait for the MLflow server): "
            "replay them when the server is back, or raise spool.max_mb"
        )

    def _read(self, key: str) -> Journal:
        file = self.file(key)
        given = self._companions(key) / "run_id"
        run_id = given.read_text("utf-8") if given.exists() else None
        entries: list[Entry] = []
        delivered = damaged = 0
        for line in file.read_bytes().splitlines() if file.exists() else []:
            entry = _parsed(line)
            if entry is None:
                damaged += bool(line.strip())
            elif entry["kind"] == CREATED:
                run_id = entry["run_id"]
            elif entry["kind"] == DELIVERED:
                delivered = max(delivered, entry["count"])
            else:
                run_id = run_id or entry.get("run_id")
                entries.append(entry)
        return Journal(key, tuple(entries), delivered, run_id, damaged)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock, open(self.folder / ".lock", "a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolUnusable(
                f"{self.folder} cannot be used ({error.strerror or error}): make it writable"
            ) from error


def _write_line(file: Path, line: str) -> None:
    with open(file, "ab+") as handle:
        # A line cut off by a crash must not swallow this one.
        if handle.tell() and not _ends_with_newline(handle):
            handle.write(b"\n")
        handle.write(line.encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    _sync(file.parent)


def _ends_with_newline(handle: Any) -> bool:
    handle.seek(-1, os.SEEK_END)
    return bool(handle.read(1) == b"\n")


def _parsed(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "kind" in entry else None


def _is_held(file: Path) -> bool:
    with open(file) as handle:
        return not _lock_now(handle)


def _lock_now(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _bytes_in(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    # Files that another process removes meanwhile count nothing.
    return sum(_size(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
