"""How does a fault test run processes that die, and how does it judge what they left? See ``Rig``."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from src.mlops.tracing.spool import segments
from src.scripted_servers.opik import ScriptedOpik
from src.settings import PROJECT_ROOT
from tests.faults.numbered import recognised

PATIENCE_S = 120.0
QUICK = {
    "batching": {"max_batch_size": 20, "max_wait_seconds": 0.02, "max_retries": 3, "retry_delay_seconds": 0.02},
    "circuit_breaker": {"reset_timeout_seconds": 0.1},
    "fallback": {"segment_mb": 0.01},
}


class Process:
    """One process of the fork server, by its id."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = None

    def is_alive(self, within_s: float = 0.0) -> bool:
        """Whether it still runs after at most ``within_s`` seconds."""
        if self._handle is None:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(within_s * 1000)

    def wait(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for its end, however it comes."""
        assert not self.is_alive(patience_s), f"process {self.pid} does not end"
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, if it has not ended by itself."""
        if self._handle is not None and self.is_alive():
            signal.pidfd_send_signal(self._handle, number)
        self.wait()


class ForkServer:
    """Forks processes of ``tests.faults.span_child`` that have imported everything already."""

    def __init__(self, var: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.span_child"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "E2I_VAR_DIR": str(var)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def start(self, command: dict[str, Any]) -> Process:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        return Process(int(self._line()))

    def close(self) -> None:
        self._server.communicate()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()


@dataclass(slots=True)
class Known:
    """What processes said about themselves: spans begun, accepted (number → id), final statuses, forked children."""

    started: set[str] = field(default_factory=set)
    accepted: dict[str, str] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    forked: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def read(self, text: str) -> None:
        # The last line may be only half written yet.
        for line in text[: text.rfind("\n") + 1].splitlines():
            mark, _, rest = line.partition(" ")
            if mark == "S":
                self.started.add(rest)
            elif mark == "A":
                number, identity = rest.split()
                self.accepted[number] = identity
            elif mark == "D":
                self.statuses.append(json.loads(rest))
            elif mark == "F":
                self.forked.append(int(rest))
            else:
                self.errors.append(rest)


@dataclass(frozen=True, slots=True)
class Stored:
    """A span as a store has it: its id, and whether number, digest and payload still belong together."""

    identity: str
    whole: bool


class Rig:
    """One spool, PostgreSQL and Opik, and the processes that use them.

    Its own labels tell its spans from those of others in the same database.
    """

    _numbers = itertools.count(1)

    def __init__(self, server: ForkServer, folder: Path, dsn: str, opik: ScriptedOpik) -> None:
        self.server = server
        self.label = f"run{next(self._numbers)}/"
        self.spool = folder / "spool"
        self.evidence = folder / "evidence"
        self.dsn = dsn
        self.opik = opik
        self._processes: list[Process] = []

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self._processes:
            process.kill()

    def settings(self, **changes: dict[str, Any]) -> dict[str, Any]:
        opik = {"enabled": True, "local_endpoint": self.opik.url, "request_timeout_seconds": 60.0}
        merged: dict[str, Any] = {"opik": opik | {"flush_interval_seconds": 0.02}, **QUICK}
        return merged | {name: merged.get(name, {}) | part for name, part in changes.items()}

    def command(self, do: str = "log", **more: Any) -> dict[str, Any]:
        """A command for a process on this spool; ``database=False`` keeps PostgreSQL out of its reach."""
        settings = more.pop("settings", None) or self.settings()
        dsn = {"dsn": self.dsn} if more.pop("database", True) else {}
        return {
            "do": do,
            "label": self.label + more.pop("label", "a"),
            "spool": str(self.spool),
            "evidence": str(self.evidence),
            "settings": settings,
            **dsn,
            **more,
        }

    def start(self, do: str = "log", **more: Any) -> Process:
        process = self.server.start(self.command(do, **more))
        self._processes.append(process)
        return process

    def run(self, do: str = "log", **more: Any) -> None:
        self.start(do, **more).wait()

    def known(self) -> Known:
        known = Known()
        if self.evidence.exists():
            known.read(self.evidence.read_text(encoding="utf-8"))
        return known

    def wait_until_accepted(self, count: int, patience_s: float = PATIENCE_S) -> None:
        """Wait until processes said that so many spans are accepted."""
        deadline = time.monotonic() + patience_s
        while len(self.known().accepted) < count:
            assert time.monotonic() < deadline, f"{len(self.known().accepted)} of {count} spans were accepted"
            time.sleep(0.01)

    def in_database(self) -> dict[str, Stored]:
        """Numbered spans in PostgreSQL. A number stored twice is an error."""
        query = "SELECT span_id, attributes FROM ml_observability_spans WHERE starts_with(attributes->>'number', %s)"
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(query, (self.label,)).fetchall()
        return _by_number((identity, attributes, attributes.get("input")) for identity, attributes in rows)

    def in_opik(self) -> dict[str, Stored]:
        """Numbered spans in Opik. A span without its trace is an error."""
        rows = list(self.opik.spans.values())
        assert {row["trace_id"] for row in rows} <= self.opik.traces.keys()
        return _by_number((row["id"], row["metadata"]["attributes"], row.get("input")) for row in rows)

    def replayed(self) -> dict[str, Any]:
        """The status after a fresh process delivered what the others left."""
        self.run("replay", evidence=str(self.evidence) + ".replay")
        known = Known()
        known.read(Path(str(self.evidence) + ".replay").read_text(encoding="utf-8"))
        assert known.errors == []
        return known.statuses[-1]

    def assert_nothing_lost(self) -> dict[str, Any]:
        """Replay, then: accepted ⊆ stored ⊆ started in both stores, rows as they were logged, counters that agree."""
        status = self.replayed()
        known, database, opik = self.known(), self.in_database(), self.in_opik()
        assert known.errors == []
        for stored in (database, opik):
            assert known.accepted.keys() <= stored.keys() <= known.started
            assert [number for number, row in stored.items() if not row.whole] == []
            assert {number: stored[number].identity for number in known.accepted} == known.accepted
        assert [request for request in self.opik.requests if request.method == "PATCH"] == []
        assert_counters(status, database=len(database), opik=len(opik))
        assert segments(self.spool) == []
        return status


def assert_counters(status: dict[str, Any], **stored: int) -> None:
    """Every accepted record is delivered, once."""
    for name, numbers in status["sinks"].items():
        assert numbers["adds_up"], (name, numbers)
        assert (numbers["pending"], numbers["dead"], numbers["dropped"]) == (0, 0, 0), (name, numbers)
        assert numbers["accepted"] == numbers["delivered"] == stored[name], (name, numbers)
    assert status["damaged"] == 0


def _by_number(rows: Any) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for identity, attributes, given in rows:
        number, whole = recognised(attributes, given)
        assert number not in stored, f"{number} is stored twice"
        stored[number] = Stored(identity, whole)
    return stored
