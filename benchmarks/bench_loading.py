"""How fast are rows loaded, and how much memory does it take, whatever their number?

python -m benchmarks.bench_loading [--rows 100000] [--kind table|file]

Loads generated business_metrics rows (table) or the same CSV as a dataset (file) in a process of
its own and prints rows per second and the peak resident memory of that process as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK = 100_000
LIMIT_MB = 2_048


def write_rows(path: Path, rows: int) -> None:
    """Write ``rows`` legal business_metrics rows as CSV, chunk by chunk."""
    import pandas as pd

    rng = np.random.default_rng(1)
    for start in range(0, rows, CHUNK):
        number = np.arange(start, min(start + CHUNK, rows))
        target = rng.uniform(50, 150, len(number)).round(3)
        value = rng.uniform(1, 200, len(number)).round(3)
        frame = pd.DataFrame(
            {
                "metric_id": [f"m_{i:09d}" for i in number],
                "metric_date": "2024-01-01",
                "metric_type": "operational",
                "metric_name": [f"BU-{i}" for i in number],
                "brand": np.array(["Kisqali", "Fabhalta", "Remibrutinib"])[number % 3],
                "region": np.array(["northeast", "south", "midwest", "west"])[number % 4],
                "value": value,
                "target": target,
                "achievement_rate": (value / target).round(6),
                "sample_size": number % 1_000,
            }
        )
        frame.to_csv(path, index=False, header=start == 0, mode="a")


async def load(kind: str, path: Path) -> int:
    """Load ``path`` into the configured database and return the number of rows."""
    from src.storage.catalogue import Catalogue, register_file
    from src.storage.connection import connect
    from src.storage.loading import load_table

    async with connect(migrate=True) as db:
        if kind == "file":
            return (await register_file(Catalogue(db), path)).n_rows
        return (await load_table(path, "business_metrics", db=db)).rows_loaded


def peak_mb() -> float:
    """High-water mark of this process's resident memory.

    Not getrusage: on Linux its maximum includes what the parent held when it forked.
    """
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(kind: str, path: Path) -> dict[str, float | int | str]:
    """Rows per second and peak resident memory (MB) of loading ``path`` in this process."""
    started, cpu = time.monotonic(), time.process_time()
    rows = asyncio.run(load(kind, path))
    seconds = time.monotonic() - started
    peak = peak_mb()
    return {
        "kind": kind,
        "rows": rows,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "rows_per_second": round(rows / seconds),
        "peak_mb": round(peak),
    }


def main() -> int:
    """Exit status 1 when the memory limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kind", choices=("table", "file"), default="table")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.kind, arguments.measure)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, arguments.rows)
        command = [sys.executable, "-m", "benchmarks.bench_loading", "--kind", arguments.kind, "--measure", str(path)]
        environment = {**os.environ, "E2I_VAR_DIR": str(Path(folder) / "var")}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout)
    print(json.dumps({**figures, "limit_mb": LIMIT_MB, "within_limit": figures["peak_mb"] <= LIMIT_MB}))
    return 0 if figures["peak_mb"] <= LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
