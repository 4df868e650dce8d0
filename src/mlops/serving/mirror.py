"""How does a version prove itself beside the one that answers? It gets copies of requests; nobody sees its answers."""

from __future__ import annotations

import http.client
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from src.mlops.serving.latencies import Latencies

MOST_WAITING = 1_000
SECONDS_PER_REQUEST = 5.0
SAVE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """The version that gets the copies, and the file its evidence is kept in."""

    url: str
    evidence: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of a version in shadow: hours between the first and the last copy, copies, share that failed,
    the 99th percentile of milliseconds, and copies that were never sent because too many waited."""

    hours: float
    requests: int
    error_rate: float
    p99_ms: float
    dropped: int


class Evidence:
    """Counts of one version's answers, kept in a file; a file about another digest is begun anew."""

    def __init__(self, target: Target) -> None:
        self._target = target
        said = _stored(target.evidence)
        if said.get("digest") != target.digest:
            said = {}
        self._latencies = Latencies.from_json(said.get("latencies", {}))
        self._errors = int(said.get("errors", 0))
        self._dropped = int(said.get("dropped", 0))
        self._first: str | None = said.get("first_at")
        self._last: str | None = said.get("last_at")

    def add(self, milliseconds: float, *, ok: bool, now: datetime) -> None:
        """Count one copy that was sent."""
        self._latencies.add(milliseconds)
        self._errors += not ok
        self._last = now.isoformat()
        self._first = self._first or self._last

    def drop(self, count: int) -> None:
        """Count copies that were not sent."""
        self._dropped += count

    def save(self) -> None:
        """Replace the file."""
        said = {
            "digest": self._target.digest,
            "first_at": self._first,
            "last_at": self._last,
            "errors": self._errors,
            "dropped": self._dropped,
            "latencies": self._latencies.to_json(),
        }
        self._target.evidence.parent.mkdir(parents=True, exist_ok=True)
        half = self._target.evidence.with_suffix(".writing")
        half.write_text(json.dumps(said), "utf-8")
        os.replace(half, self._target.evidence)


def observed(evidence: Path) -> Observed | None:
    """What the file says of its version; None where no copy was sent."""
    said = _stored(evidence)
    latencies = Latencies.from_json(said.get("latencies", {}))
    p99 = latencies.quantile(0.99)
    if p99 is None:
        return None
    first, last = (datetime.fromisoformat(said[name]) for name in ("first_at", "last_at"))
    hours = (last - first) / timedelta(hours=1)
    return Observed(hours, latencies.count, said["errors"] / latencies.count, p99, said["dropped"])


class FileMirror:
    """Copies requests to the target that a file names, as long as it names one; the file may come and go.

    Sending happens in one background thread, so that neither a slow nor a dead target delays an answer.
    """

    def __init__(self, file: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file = file
        self._now = now
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._worker.start()

    def offer(self, body: bytes) -> None:
        """Queue a copy; when too many wait, it is dropped and counted."""
        if not self._file.exists():
            return
        try:
            self._waiting.put_nowait(body)
        except queue.Full:
            with self._lock:
                self._lost += 1

    def close(self) -> None:
        """Send what waits, and keep the evidence."""
        self._waiting.put(None)
        self._worker.join(SECONDS_PER_REQUEST * 2)

    def _work(self) -> None:
        current: tuple[Target, Evidence] | None = None
        saved = 0.0
        while True:
            body = self._next()
            target = read_target(self._file)
            if current is not None and current[0] != target:
                current[1].save()
                current = None
            if current is None and target is not None:
                current = (target, Evidence(target))
            if current is not None and body:
                self._send(body, *current)
            if current is not None and (body is None or time.monotonic() - saved >= SAVE_EVERY_S):
                current[1].save()
                saved = time.monotonic()
            if body is None:
                return

    def _next(self) -> bytes | None:
        try:
            return self._waiting.get(timeout=SAVE_EVERY_S)
        except queue.Empty:
            return b""

    def _send(self, body: bytes, target: Target, evidence: Evidence) -> None:
        began = time.monotonic()
        ok = _answers(target.url, body)
        evidence.add((time.monotonic() - began) * 1000.0, ok=ok, now=self._now())
        with self._lock:
            lost, self._lost = self._lost, 0
        evidence.drop(lost)


def write_target(file: Path, target: Target) -> None:
    """Begin to copy requests to ``target``."""
    half = file.with_suffix(".writing")
    said = {"url": target.url, "evidence": str(target.evidence), "digest": target.digest}
    half.write_text(json.dumps(said), "utf-8")
    os.replace(half, file)


def read_target(file: Path) -> Target | None:
    """Where copies go; None while they go nowhere."""
    try:
        said = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Target(said["url"], Path(said["evidence"]), said["digest"])


def _stored(file: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return said


def _answers(url: str, body: bytes) -> bool:
    """Whether the version answered a request that the one in service answered too."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS_PER_REQUEST)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == 200
