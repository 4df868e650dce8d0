"""How much faster are 200 effects on two worker processes than on one?

One panel file of 5 brands × 4 regions, 5 treatments and 2 outcomes. `e2i effect --grid` is started for each number of
workers in turn, each in a folder of its own (a grid that is there already is not answered again), the wall time being
that of the whole command: the start of every process, the database and the report counted. The first command in a
folder, which stores the file and makes the database, is not timed. Exit code 1 below 1.7 times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.causal.effects import report

FASTER = 1.7
GRID = """
data: {data}
by: {{brand: all, region: all}}
treatments: [{treatments}]
outcomes: [nrx, trx]
confounders: [decile, prior]
estimator: {estimator}
randomized: {randomized}
"""
E2I = Path(sys.executable).with_name("e2i")


def panel(rows: int, treatments: int, random_state: int) -> pd.DataFrame:
    """Rows of brand × region × prescriber with ``treatments`` randomised 0/1 treatments."""
    rng = np.random.default_rng(random_state)
    frame = pd.DataFrame(
        {
            "brand": rng.choice([f"brand {i}" for i in range(5)], rows),
            "region": rng.choice(["north", "east", "south", "west"], rows),
            "decile": rng.integers(1, 11, rows),
            "prior": rng.gamma(2.0, 2.0, rows),
        }
    )
    for i in range(treatments):
        frame[f"t{i}"] = rng.integers(0, 2, rows)
    noise = rng.normal(size=(rows, 2)) * 2
    base = frame["prior"] + 0.3 * frame["decile"] + 0.4 * frame["t0"]
    return frame.assign(nrx=base + noise[:, 0], trx=2 * base + noise[:, 1])


def measure(grid: Path, workers: int, environment: dict[str, str]) -> dict[str, float]:
    """Wall seconds of the whole command, and how its cells ended."""
    started = time.monotonic()
    command = [str(E2I), "effect", "--grid", str(grid), "--workers", str(workers), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    spent = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(f"the grid ended with {done.returncode}: {done.stderr.strip()[:500]}")
    document = json.loads(done.stdout)
    return {"workers": workers, "seconds": spent, "cells": document["n_cells"], "tested": document["n_tested"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--treatments", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--estimator", default="ols")
    parser.add_argument("--observational", action="store_true", help="do not say that treatment was randomised")
    parser.add_argument("--random-state", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="put the table into the Markdown file beside this script")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, grid, first = (Path(folder) / name for name in ("panel.parquet", "grid.yaml", "first.yaml"))
        panel(arguments.rows, arguments.treatments, arguments.random_state).to_parquet(data)
        names = ", ".join(f"t{i}" for i in range(arguments.treatments))
        randomized = str(not arguments.observational).lower()
        text = GRID.format(data=data, treatments=names, estimator=arguments.estimator, randomized=randomized)
        grid.write_text(text)
        first.write_text(
            text.replace(f"[{names}]", "[t0]").replace("[nrx, trx]", "[nrx]").replace("all", "['brand 0']", 1)
        )
        found = []
        for number, workers in enumerate(arguments.workers):
            environment = {**os.environ, "E2I_VAR_DIR": str(Path(folder) / f"var-{number}")}
            environment.pop("DATABASE_URL", None)
            measure(first, 1, environment)
            found.append(measure(grid, workers, environment))
            print(f"{workers} workers: {found[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    faster = found[0]["seconds"] / found[-1]["seconds"]
    load = f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    report(__file__, str(__doc__), f"{_table(found)}\n\n{faster:.2f} times as fast. {load}", write=arguments.write)
    sys.exit(0 if faster >= FASTER else 1)


def _table(found: list[dict[str, float]]) -> str:
    lines = ["| workers | seconds | cells | with an estimate | seconds per cell |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['workers']:.0f} | {one['seconds']:.1f} | {one['cells']:.0f} | {one['tested']:.0f} | "
        f"{one['seconds'] / one['cells']:.2f} |"
        for one in found
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
