"""How many rows per second does each process generate to Parquet, and how much memory does it take?

Each process runs in a child process of its own, so that the peak is its own.
Example: python benchmarks/bench_generation.py --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.synthetic import generate, generate_panel, hcps_for_rows
from src.synthetic.library import PROCESSES

PANEL_ROWS = 108_000


def measure(process: str, rows: int) -> dict[str, object]:
    """Rows per second of CPU and of wall time, and the peak memory of this process in MB."""
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        if process == "panel":
            generate_panel(hcps_for_rows(rows), 1, out_dir=Path(folder) / "data")
        else:
            generate(process, rows, 1, out_dir=Path(folder) / "data")
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "process": process,
        "rows": rows,
        "rows_per_cpu_second": round(rows / cpu),
        "rows_per_second": round(rows / wall),
        "peak_mb": round(peak),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--process", action="append", choices=[*PROCESSES, "panel"], help="default: all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for process in arguments.process or [*PROCESSES, "panel"]:
        rows = min(arguments.rows, PANEL_ROWS) if process == "panel" else arguments.rows
        with context.Pool(1) as pool:
            result = pool.apply(measure, (process, rows))
        print(json.dumps(result) if arguments.json else "  ".join(f"{key}={value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
