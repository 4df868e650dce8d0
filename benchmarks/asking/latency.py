"""How long does an answer take on a panel of 100,000 rows, and how much of that is not the agents' own work?

python -m benchmarks.asking.latency [--rows 100000] [--repeats 9] [--folder FOLDER] [--json]

One process, one question after the other, no language model, everything warm: each question is asked once before it is
timed. Overhead is what orchestration, tracing, audit, checkpoints and the wording cost: the whole answer less the time
between asking an agent and its finding. The question of several tools is compared with its slowest tool, as long as
that took among the others. Run it on a core of its own (taskset -c 0): wall time counts, and CPU time stands beside it
to show how much of that was waiting for the processor. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.asking.panels import asked_panel
from src.agents.orchestrator.agent import QueryResult
from src.app import E2I
from src.storage.compositions import CompositionRepository

QUESTIONS = {
    "effect in a region": "Did more rep calls cause more Kisqali prescriptions in the Northeast?",
    "effect": "Did more rep calls cause more Kisqali prescriptions?",
    "gaps": "Where are our biggest gaps to target for Kisqali?",
    "segments": "Which specialties respond most to rep calls for Kisqali?",
    "prediction": "What will Kisqali prescriptions be next quarter?",
    "what if": "What if rep calls for Kisqali rose by one?",
    "resources": "Where should ten extra reps go for Kisqali?",
    "experiment": "How many HCPs do we need for a test of rep calls on Kisqali prescriptions?",
    "health": "Is the platform healthy?",
}
SEVERAL = (
    "Where are our biggest gaps for Kisqali, what will Kisqali prescriptions be next quarter, has the distribution of "
    "Kisqali prescriptions drifted, and how many HCPs do we need for a test of rep calls on Kisqali prescriptions?"
)
MOST_SECONDS, MOST_OVERHEAD_MS, MOST_RATIO, FEWEST_TOOLS = 1.5, 100.0, 1.6, 4


async def measured(repeats: int) -> dict[str, Any]:
    """The figures of one run: medians of ``repeats`` answers per question."""
    async with E2I.open() as e2i:
        questions = {name: await _timed(e2i, text, repeats) for name, text in QUESTIONS.items()}
        several = await _several(e2i, repeats)
    return {"busy": os.getloadavg()[0], "questions": questions, "several tools": several}


async def _timed(e2i: E2I, text: str, repeats: int) -> dict[str, float]:
    await e2i.ask(text)
    walls, overheads, processor = [], [], []
    for _ in range(repeats):
        result, wall, cpu = await _asked(e2i, text)
        walls.append(wall)
        processor.append(cpu)
        overheads.append(wall * 1000 - sum(one.latency_ms or 0.0 for one in result.dispatches))
    return {
        "p50_s": statistics.median(walls),
        "min_s": min(walls),
        "cpu_s": statistics.median(processor),
        "overhead_ms": statistics.median(overheads),
        "overhead_min_ms": min(overheads),
    }


async def _asked(e2i: E2I, text: str) -> tuple[QueryResult, float, float]:
    began, used = time.perf_counter(), time.process_time()
    result = await e2i.ask(text)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    if not any(one.answered for one in result.findings):
        raise SystemExit(f"'{text}' was not answered: {result.answer or result.clarification or result.declined}")
    return result, wall, cpu


async def _several(e2i: E2I, repeats: int) -> dict[str, Any]:
    """The ratio of the whole answer to its slowest tool."""
    await e2i.ask(SEVERAL)
    compositions = CompositionRepository(e2i.session.database)
    ratios, tools = [], 0
    for _ in range(repeats):
        result, wall, _ = await _asked(e2i, SEVERAL)
        kept = await compositions.composition(result.meta.trace_id)
        assert kept is not None
        alone = [one for one in kept.steps if not one.depends_on and one.status == "success"]
        tools = len(alone)
        ratios.append(wall * 1000 / max(one.latency_ms or 0.0 for one in alone))
    return {"tools": tools, "ratio": statistics.median(ratios), "ratio_min": min(ratios)}


def missed(found: dict[str, Any]) -> list[str]:
    """The targets that do not hold."""
    problems = []
    for name, one in found["questions"].items():
        if one["p50_s"] > MOST_SECONDS:
            problems.append(f"{name}: {one['p50_s']:.2f} s instead of {MOST_SECONDS} s")
        if one["overhead_ms"] > MOST_OVERHEAD_MS:
            problems.append(f"{name}: overhead {one['overhead_ms']:.0f} ms instead of {MOST_OVERHEAD_MS:.0f} ms")
    several = found["several tools"]
    if several["tools"] < FEWEST_TOOLS or several["ratio"] > MOST_RATIO:
        problems.append(f"{several['tools']} tools take {several['ratio']:.2f} of the slowest instead of {MOST_RATIO}")
    return problems


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asking.latency", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the panel is or is made; default a new one")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with asked_panel(chosen.rows, chosen.folder):
        found = asyncio.run(measured(chosen.repeats))
    print(json.dumps(found, indent=2) if chosen.json else _table(found))
    problems = missed(found)
    for one in problems:
        print(f"MISSED: {one}", file=sys.stderr)
    return int(bool(problems))


def _table(found: dict[str, Any]) -> str:
    lines = [f"{'question':<20} {'p50 s':>7} {'min s':>7} {'CPU s':>7} {'overhead ms':>12} {'at least':>9}"]
    for name, one in found["questions"].items():
        lines.append(
            f"{name:<20} {one['p50_s']:>7.2f} {one['min_s']:>7.2f} {one['cpu_s']:>7.2f} {one['overhead_ms']:>12.0f}"
            f" {one['overhead_min_ms']:>9.0f}"
        )
    several = found["several tools"]
    lines.append(
        f"{several['tools']} tools: {several['ratio']:.2f} of the slowest (at least {several['ratio_min']:.2f})"
    )
    return "\n".join([*lines, f"load average of the machine: {found['busy']:.1f}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
