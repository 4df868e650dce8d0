"""What becomes of answers, spans and memory when fifty sessions ask at once?

python -m benchmarks.asking.concurrency [--sessions 50] [--seconds 120] [--rows 10000] [--folder FOLDER] [--json]

Every session has a brand and a region of its own, asks about them, then leans on its last question ("and for
samples?"). An answer with another brand or region than its session's is cross-talk. Spans: what the recorder accepted
is compared with what the database holds when all is delivered, so the folder must be one that only this benchmark uses.
Memory: the resident set, sampled every second; the slope is that of a line through the second half. Exit code 1 when a
target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil

from benchmarks.asking.panels import asked_panel
from src.agents.orchestrator.agent import QueryResult
from src.app import E2I
from src.mlops.tracing.orphans import find_orphans
from src.storage.interactions import InteractionRepository

BRANDS = ("Kisqali", "Fabhalta", "Remibrutinib")
REGIONS = ("northeast", "south", "midwest", "west")
ASKED = (
    "Did more rep calls cause more {brand} prescriptions in the {region}?",
    "Where are our biggest gaps to target for {brand}?",
    "Which specialties respond most to rep calls for {brand} in the {region}?",
    "and for samples?",
)
MOST_GROWTH = 0.05
"""Share of the resident set that it may grow in the second half."""


@dataclass
class Seen:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)


async def one_session(e2i: E2I, number: int, ends: float, seen: Seen) -> None:
    """Ask until time is up, beginning with another kind of question than the neighbours."""
    brand, region = BRANDS[number % 3], REGIONS[number // 3 % 4]
    session, turn = str(uuid4()), number
    while time.monotonic() < ends:
        # What leans on the question before comes after an effect.
        kinds = (ASKED[0], ASKED[3], ASKED[1], ASKED[2])
        text = kinds[turn % 4].format(brand=brand, region=region)
        if turn == number and kinds[turn % 4] == ASKED[3]:
            text = ASKED[0].format(brand=brand, region=region)
        turn += 1
        began = time.monotonic()
        try:
            result = await e2i.ask(text, session_id=session)
        except Exception as error:  # noqa: BLE001 - every failure is counted and shown
            seen.failures[f"{type(error).__name__}: {str(error)[:120]}"] += 1
            continue
        seen.seconds.append(time.monotonic() - began)
        seen.asked[result.meta.trace_id] = session
        asked_there = region if region in text or kinds[(turn - 1) % 4] == ASKED[3] else None
        seen.mixed += mixed_up(result, session, brand, asked_there)
        seen.statuses.update(f"{one.agent} {one.status} {one.reason[:100]}".strip() for one in result.findings)
        if not result.findings:
            seen.statuses[f"no agent: {(result.declined or result.clarification or str(result.error))[:100]}"] += 1


def mixed_up(result: QueryResult, session: str, brand: str, region: str | None) -> list[str]:
    """What in an answer is of another session's question; KPI values are asked for of a whole brand."""
    found = [] if result.session_id == session else ["session"]
    for part in result.classification.parts if result.classification else ():
        read = part.understood
        if read is not None and (read.brand, read.region) != (brand, region):
            found.append(f"read {read.brand} {read.region} instead of {brand} {region}")
    others = [one for one in BRANDS if one != brand and one in result.answer]
    return found + [f"{one} named in an answer about {brand}" for one in others]


async def watch_memory(seen: Seen) -> None:
    """Sample until cancelled; MB."""
    process, began = psutil.Process(), time.monotonic()
    while True:
        seen.memory.append((time.monotonic() - began, process.memory_info().rss / 1e6))
        await asyncio.sleep(1.0)


async def measured(sessions: int, seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    seen = Seen()
    async with E2I.open() as e2i:
        await e2i.ask(ASKED[0].format(brand="Kisqali", region="south"))
        watching = asyncio.create_task(watch_memory(seen))
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                group.create_task(one_session(e2i, number, began + seconds, seen))
        took = time.monotonic() - began
        watching.cancel()
        flushed = await e2i.session.tracer.flush()
        kept = await _kept_of_others(e2i, seen.asked)
        spans = await _spans(e2i)
    half = [one for one in seen.memory if one[0] >= took / 2]
    slope = float(np.polyfit(*zip(*half, strict=True), 1)[0]) if len(half) > 2 else 0.0
    return {
        "sessions": sessions,
        "seconds": took,
        "questions": len(seen.seconds),
        "p50_s": statistics.median(seen.seconds),
        "p95_s": float(np.quantile(seen.seconds, 0.95)),
        "questions_per_s": len(seen.seconds) / took,
        "cross_talk": seen.mixed + kept,
        "failures": dict(seen.failures),
        "findings": dict(seen.statuses.most_common()),
        "flushed": flushed,
        **spans,
        "memory_mb_start": seen.memory[0][1],
        "memory_mb_half": half[0][1],
        "memory_mb_end": seen.memory[-1][1],
        "memory_mb_per_min": slope * 60,
    }


async def _kept_of_others(e2i: E2I, asked: dict[str, str]) -> list[str]:
    """Answers that are kept for another session than the one that asked."""
    answers = InteractionRepository(e2i.session.database)
    found = {trace: (await answers.find(trace)).session_id for trace in asked}
    return [f"answer {trace} kept for {found[trace]}" for trace in asked if found[trace] != asked[trace]]


async def _spans(e2i: E2I) -> dict[str, Any]:
    sink = e2i.session.tracer.get_status()["sinks"]["database"]
    rows = await e2i.session.database.fetch(
        "SELECT trace_id, span_id, parent_span_id, ended_at FROM ml_observability_spans"
    )
    beside = "SELECT (SELECT count(*) FROM ml_observability_{}) AS count"
    others = [await e2i.session.database.fetchrow(beside.format(one)) for one in ("feedback", "metrics")]
    return {
        "records_accepted": sink["accepted"],
        "records_stored": len(rows) + sum(one["count"] for one in others if one),
        "spans_stored": len(rows),
        "orphans": len(find_orphans(rows)),
    }


def missed(found: dict[str, Any]) -> list[str]:
    """The targets that do not hold."""
    grown = found["memory_mb_end"] / found["memory_mb_half"] - 1
    targets = {
        "no cross-talk": not found["cross_talk"],
        "no question fails": not found["failures"],
        "no span is lost": found["records_accepted"] == found["records_stored"] and found["flushed"],
        "no orphan": found["orphans"] == 0,
        f"memory grows by at most {MOST_GROWTH:.0%} in the second half": grown <= MOST_GROWTH,
    }
    return [name for name, met in targets.items() if not met]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asking.concurrency", description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the panel is or is made; default a new one")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with asked_panel(chosen.rows, chosen.folder):
        found = asyncio.run(measured(chosen.sessions, chosen.seconds))
    if chosen.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<20} {value}")
    problems = missed(found)
    for one in problems:
        print(f"MISSED: {one}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
