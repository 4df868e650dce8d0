"""What does a span cost, and is it there afterwards? E2I next to OpenTelemetry and Opik's own SDK.

One run, everything in processes of its own on the same machine: CPU microseconds on the caller's thread per span
(the median of blocks of 200), the longest single span across batches, spans per second into PostgreSQL, the lag of
an event loop, the time a process needs to end while Opik does not answer, and how many of the traces that were
logged each system stored under the same faults. A local server stands in for Opik.
SIGKILL shows what survives the death of a process, not a power cut.

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tracing_subjects import SUBJECTS
from src.scripted_servers import faults
from src.scripted_servers.http import ScriptedServer, json_answer
from src.scripted_servers.opik import ScriptedOpik
from src.storage.connection import MIGRATIONS
from src.storage.database import Database
from src.storage.embedded_postgres import EmbeddedPostgres
from src.storage.migrate import migrate

SYSTEMS = ("Opik SDK", "ours")
PATIENCE_S = 60.0
# A process that has not ended by itself after this time is ended, and counts as one that never does.


@dataclass(frozen=True)
class Target:
    """One requirement: what was measured, and whether it holds."""

    text: str
    value: str
    met: bool


class Machine:
    """Runs one measurement after the other, each in a new process with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def new_folder(self) -> str:
        self._count += 1
        folder = self._folder / f"{self._count}"
        folder.mkdir()
        return str(folder)

    def start(self, measure: str, *, disabled: bool = False, **arguments: Any) -> subprocess.Popen[str]:
        call = [sys.executable, "-m", "benchmarks.tracing_subjects", measure, json.dumps(arguments)]
        return subprocess.Popen(
            call,
            env=self._environment(arguments.get("url", ""), disabled),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def measure(self, measure: str, **arguments: Any) -> dict[str, Any]:
        process = self.start(measure, **arguments)
        said, errors = process.communicate(timeout=300)
        if process.returncode != 0:
            raise SystemExit(f"{measure} {arguments} failed:\n{errors}")
        result: dict[str, Any] = json.loads(said.splitlines()[-1])
        return result

    def _environment(self, url: str, disabled: bool) -> dict[str, str]:
        """No telemetry, nothing of the user's own configuration, Opik's SDK at the local server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPIK_", "OTEL_"))}
        return kept | {
            "HOME": str(self._folder),
            "E2I_VAR_DIR": str(self._folder / "var"),
            "OPIK_URL_OVERRIDE": f"{url or 'http://127.0.0.1:9'}/api/",
            "OPIK_WORKSPACE": "default",
            "OPIK_SENTRY_ENABLE": "false",
            "OPIK_ANALYTICS_ENABLE": "false",
            "OPIK_TRACK_DISABLE": str(disabled).lower(),
            "OPIK_CONSOLE_LOGGING_LEVEL": "CRITICAL",
            "DO_NOT_TRACK": "true",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer spans, shorter faults")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        costs = measure_costs(machine, spans=4_000 if arguments.quick else 20_000)
        rest = measure_the_rest(machine, quick=arguments.quick)
        losses = measure_losses(machine, traces=30 if arguments.quick else 150)
    targets = judge(costs, rest)
    if arguments.json:
        told = [{"target": target.text, "value": target.value, "met": target.met} for target in targets]
        print(json.dumps({"cost": costs, **rest, "stored": losses, "targets": told}))
    else:
        print_tables(costs, rest, losses, targets)
    sys.exit(0 if all(target.met for target in targets) else 1)


def measure_costs(machine: Machine, spans: int) -> dict[str, dict[str, float]]:
    """CPU per span and longest span of every subject."""
    costs = {}
    with ScriptedOpik(strict=False) as opik, ScriptedServer(lambda request: json_answer({})) as collector:
        for subject in SUBJECTS:
            server = collector.url if "OTLP" in subject else opik.url
            slow = "track" in subject and "disabled" not in subject
            costs[subject] = machine.measure(
                "cost",
                subject=subject,
                spans=min(spans, 4_000) if slow else spans,
                folder=machine.new_folder(),
                url=server,
                disabled="disabled" in subject,
            )
            opik.forget_requests()
    return costs


def measure_the_rest(machine: Machine, *, quick: bool) -> dict[str, Any]:
    """Spans per second into PostgreSQL, lag of an event loop, seconds to end."""
    rest: dict[str, Any] = {}
    with database(machine.new_folder()) as dsn, ScriptedOpik(strict=False) as opik:
        spans = 10_000 if quick else 50_000
        rest["spans_per_s"] = {
            name: machine.measure("throughput", spans=spans, folder=machine.new_folder(), dsn=dsn, text=text)["per_s"]
            for name, text in (("without input", False), ("200 characters of input", True))
        }
        rest["lag_p99_ms"] = {
            name: machine.measure("lag", seconds=3 if quick else 10, folder=machine.new_folder(), **where)["p99_ms"]
            for name, where in {
                "without tracing": {"dsn": "", "url": ""},
                "ours, PostgreSQL": {"dsn": dsn, "url": ""},
                "ours, PostgreSQL and Opik": {"dsn": dsn, "url": opik.url},
            }.items()
        }
        opik.fault = faults.BLACK_HOLE
        rest["exit_s"] = {
            system: seconds_to_end(machine, system, opik.url, dsn if system == "ours" else "") for system in SYSTEMS
        }
    return rest


def seconds_to_end(machine: Machine, system: str, url: str, dsn: str) -> float:
    """From the return of the program to the end of its process, Opik swallowing every request."""
    process = machine.start("leave", system=system, traces=100, folder=machine.new_folder(), url=url, dsn=dsn)
    try:
        said, errors = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        end_family(process)
        process.communicate()
        return float("inf")
    ended = time.monotonic()
    if process.returncode != 0:
        raise SystemExit(f"leave {system} failed:\n{errors}")
    return ended - float(json.loads(said.splitlines()[-1])["returned_at"])


def measure_losses(machine: Machine, traces: int) -> dict[str, dict[str, dict[str, int]]]:
    """By fault and system: traces logged, stored when the process had ended, stored after the next one ran."""
    return {
        fault: {system: lose(machine, system, fault, traces) for system in SYSTEMS}
        for fault in (
            *("server down", "down, back before the end", "429 without a header", "connections reset"),
            *("SIGKILL while down", "fork"),
        )
    }


def lose(machine: Machine, system: str, fault: str, traces: int) -> dict[str, int]:
    """Run one system under one fault."""
    folder = machine.new_folder()
    way = "fork" if fault == "fork" else "exit"
    with ScriptedOpik(strict=False) as opik:
        down = "down" in fault
        if down:
            opik.stop()
        opik.fault = {"429 without a header": faults.status(429), "connections reset": faults.RESET}.get(fault)
        process = machine.start("run_losing", system=system, traces=traces, folder=folder, url=opik.url, way=way)
        logged = LoggedCount(process)
        if fault == "down, back before the end":
            logged.wait_for(traces * 2 // 3)
            opik.start()
        if fault == "SIGKILL while down":
            logged.wait_for(traces - 1)
            process.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        end_family(process)
        logged.join()
        at_end = stored(opik)
        opik.heal()
        if down:
            opik.start()
        if system == "ours":
            machine.measure("replay", folder=folder, url=opik.url)
        return {"logged": logged.count + (way == "fork"), "at_end": at_end, "later": stored(opik)}


def end_family(process: subprocess.Popen[str]) -> None:
    """End what is left of a process and of its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class LoggedCount:
    """Counts what a process says it logged."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.count = 0
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.count += line.startswith("logged ")

    def wait_for(self, count: int) -> None:
        """Until so many are logged, or the process ends."""
        while self.count < count and self._process.poll() is None:
            time.sleep(0.01)

    def join(self) -> None:
        """Until the process has said everything."""
        self._thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def stored(opik: ScriptedOpik) -> int:
    """Numbered traces that are whole: begun and ended."""
    rows = [row for row in opik.traces.values() if row.get("end_time")]
    return len({number(row) for row in rows} - {None})


def number(row: dict[str, Any]) -> Any:
    metadata = row.get("metadata") or {}
    return (metadata.get("attributes") or metadata).get("number")


@contextlib.contextmanager
def database(folder: str) -> Iterator[str]:
    """Address of an embedded, migrated PostgreSQL of this run's own."""
    import asyncio

    async def migrated(dsn: str) -> None:
        async with Database.open(dsn) as opened:
            await migrate(opened, MIGRATIONS)

    # The server runs as another user, who has to reach its folder.
    for path in (Path(folder), *Path(folder).parents[:1]):
        path.chmod(0o755)
    server = EmbeddedPostgres(Path(folder) / "pg")
    with server.attach() as lease:
        asyncio.run(migrated(lease.dsn))
        yield lease.dsn
    server.stop()


def seconds(value: float) -> str:
    """A duration, or that it never ended."""
    return f"{value:.1f}" if value < PATIENCE_S else f"> {PATIENCE_S:.0f}"


def judge(costs: dict[str, dict[str, float]], rest: dict[str, Any]) -> list[Target]:
    """The requirements."""
    us = {subject: figures["us_per_span"] for subject, figures in costs.items()}
    ours = us["ours"]
    otel, track = us["OpenTelemetry batch, null exporter"], us["@opik.track"]
    silent = max(us["ours disabled"], us["ours unsampled"])
    longest = max(figures["longest_ms"] for subject, figures in costs.items() if subject.startswith("ours"))
    lag, idle = rest["lag_p99_ms"]["ours, PostgreSQL"], rest["lag_p99_ms"]["without tracing"]
    rate = min(rest["spans_per_s"].values())
    return [
        Target("at most 1/2 of OpenTelemetry's batch processor", f"1/{otel / ours:.1f}", ours <= otel / 2),
        Target("at most 1/8 of @opik.track", f"1/{track / ours:.1f}", ours <= track / 8),
        Target("disabled or unsampled at most 3 µs", f"{silent:.1f} µs", silent <= 3),
        Target("no span above 1 ms of CPU across batches", f"{longest:.2f} ms", longest <= 1),
        Target("5,000 spans/s into PostgreSQL", f"{rate:,.0f}/s", rate >= 5000),
        Target("event loop late by less than 5 ms (p99), or twice idle", f"{lag:.1f} ms", lag < max(5, 2 * idle)),
        Target("process ends within 2 s of its return", f"{rest['exit_s']['ours']:.1f} s", rest["exit_s"]["ours"] <= 2),
    ]


def print_tables(
    costs: dict[str, dict[str, float]],
    rest: dict[str, Any],
    losses: dict[str, dict[str, dict[str, int]]],
    targets: list[Target],
) -> None:
    ours = costs["ours"]["us_per_span"]
    print(f"{'CPU on the caller per span':<36} {'µs':>8} {'ratio':>7} {'longest ms':>11}")
    for subject, figures in costs.items():
        ratio = figures["us_per_span"] / ours
        print(f"{subject:<36} {figures['us_per_span']:>8.1f} {ratio:>7.2f} {figures['longest_ms']:>11.2f}")
    print()
    for name, value in rest["spans_per_s"].items():
        print(f"{'spans/s into PostgreSQL, ' + name:<51} {value:>6,.0f}")
    for name, value in rest["lag_p99_ms"].items():
        print(f"{'loop lag p99 ms, ' + name:<51} {value:>6.1f}")
    for name, value in rest["exit_s"].items():
        print(f"{'seconds to end, Opik black-holed, ' + name:<51} {seconds(value):>6}")
    print(f"\n{'traces logged → stored':<28} {'Opik SDK':>16} {'ours':>16} {'ours, next process':>20}")
    for fault, systems in losses.items():
        theirs, own = systems["Opik SDK"], systems["ours"]
        print(
            f"{fault:<28} {theirs['logged']:>8} → {theirs['later']:>5} {own['logged']:>8} → {own['at_end']:>5}"
            f" {own['later']:>20}"
        )
    print()
    for target in targets:
        print(f"{target.text:<52} {target.value:>10}   {'met' if target.met else 'missed'}")


if __name__ == "__main__":
    main()
