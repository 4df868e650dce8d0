"""What does the whole gate (Pandera, then Great Expectations) cost against Pandera alone, and does memory stay bounded?

python -m benchmarks.bench_validation [--rows 1000000] [--repeats 3] [--memory-rows 10000000] [--quick] [--json]

Time: the same business_metrics frame through the bare Pandera schema of the contract and through
``GEPanderaValidator``, in turn, in a process each; medians of CPU seconds. Memory: a Parquet file of
``--memory-rows`` rows through ``validate_batches`` in a process of its own; its peak resident memory.
Exit status 1 when the ratio exceeds 2, or the memory 2,048 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.bench_loading import peak_mb

TABLE = "business_metrics"
CHUNK = 250_000
LARGEST_RATIO = 2.0
LIMIT_MB = 2_048


def legal_rows(first: int, rows: int) -> pd.DataFrame:
    """``rows`` legal rows of business_metrics, numbered from ``first``, with every column."""
    number = np.arange(first, first + rows)
    rng = np.random.default_rng(first)
    target = rng.uniform(50, 150, rows)
    value = rng.uniform(1, 200, rows)
    return pd.DataFrame(
        {
            "metric_id": [f"m_{i:09d}" for i in number],
            "metric_date": pd.Timestamp("2015-01-01") + pd.to_timedelta(number % 3_650, unit="D"),
            "metric_type": "operational",
            "metric_name": [f"BU-{i // 3_650}" for i in number],
            "brand": np.array(["Kisqali", "Fabhalta", "Remibrutinib"])[number % 3],
            "region": np.array(["northeast", "south", "midwest", "west"])[number % 4],
            "value": value,
            "target": target,
            "achievement_rate": value / target,
            "year_over_year_change": rng.normal(0, 0.1, rows),
            "month_over_month_change": rng.normal(0, 0.1, rows),
            "roi": rng.normal(1, 0.1, rows),
            "statistical_significance": rng.uniform(size=rows),
            "confidence_interval_lower": value - 1,
            "confidence_interval_upper": value + 1,
            "sample_size": number % 1_000 + 1,
            "created_at": pd.Timestamp("2025-02-01", tz="UTC"),
        }
    )


def write_parquet(path: Path, rows: int) -> None:
    """``rows`` legal rows in row groups of ``CHUNK``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for first in range(0, rows, CHUNK):
        table = pa.Table.from_pandas(legal_rows(first, min(CHUNK, rows - first)), preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def bare_pandera(path: Path) -> None:
    """The schema of the contract, and nothing else."""
    from src.contracts.pandera_builder import build_pandera
    from src.contracts.tables import TABLES

    build_pandera(TABLES[TABLE]).validate(pd.read_parquet(path), lazy=True)


def whole_gate(path: Path) -> None:
    """Both layers, merged."""
    from src.mlops.pandera_schemas import GEPanderaValidator

    found = asyncio.run(GEPanderaValidator().validate(pd.read_parquet(path), TABLE))
    assert found.passed, found.headline()
    assert found.layers_run == ("schema", "ge")


def batches(path: Path) -> None:
    """The whole file through Great Expectations and the scores, batch by batch."""
    import pyarrow.parquet as pq

    from src.mlops.data_quality import DataQualityValidator

    def frames() -> Iterator[pd.DataFrame]:
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(CHUNK):
            yield batch.to_pandas()

    result = asyncio.run(DataQualityValidator().validate_batches(frames, TABLE))
    assert result.passed, result.headline()


SUBJECTS = {"pandera": bare_pandera, "gate": whole_gate, "batches": batches}


def measure(subject: str, path: Path) -> dict[str, Any]:
    """CPU and wall seconds of one run, imports and reading of the file included, and the peak memory."""
    started, cpu = time.monotonic(), time.process_time()
    SUBJECTS[subject](path)
    return {
        "cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.monotonic() - started, 2),
        "peak_mb": round(peak_mb()),
    }


def run(subject: str, path: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_validation", "--measure", subject, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def compare(rows: int, repeats: int) -> dict[str, Any]:
    """Medians of both, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_parquet(path, rows)
        runs = [{name: run(name, path) for name in ("pandera", "gate")} for _ in range(repeats)]
    medians = {
        name: {key: statistics.median(one[name][key] for one in runs) for key in ("cpu_s", "wall_s", "peak_mb")}
        for name in ("pandera", "gate")
    }
    return {"rows": rows, **medians, "ratio": round(medians["gate"]["cpu_s"] / medians["pandera"]["cpu_s"], 2)}


def memory(rows: int) -> dict[str, Any]:
    """One streamed run over ``rows`` rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_parquet(path, rows)
        return {"rows": rows, **run("batches", path)}


def main() -> int:
    """Exit status 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-rows", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_true", help="200,000 and 1,000,000 rows, once")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("SUBJECT", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(chosen.measure[0], Path(chosen.measure[1]))))
        return 0
    rows, repeats, most = (200_000, 1, 1_000_000) if chosen.quick else (chosen.rows, chosen.repeats, chosen.memory_rows)
    times, held = compare(rows, repeats), memory(most)
    ok = times["ratio"] <= LARGEST_RATIO and held["peak_mb"] <= LIMIT_MB
    if chosen.json:
        print(json.dumps({"time": times, "memory": held, "within_limits": ok}))
    else:
        for name in ("pandera", "gate"):
            print(f"{name:<10} {times[name]['cpu_s']:>8.2f} s CPU  {times[name]['wall_s']:>8.2f} s  {rows:,} rows")
        print(f"{'ratio':<10} {times['ratio']:>8.2f}        (at most {LARGEST_RATIO:g})")
        print(f"{'streamed':<10} {held['cpu_s']:>8.2f} s CPU  {held['peak_mb']:>6,} MB  {held['rows']:,} rows")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
