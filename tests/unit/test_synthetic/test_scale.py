"""Millions of rows stream through bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("process", ["confounded", "time_series"])
def test_three_million_rows_take_no_more_memory_than_one(process: str) -> None:
    peaks = [measured(process, rows)["peak_mb"] for rows in (1_000_000, 3_000_000)]
    assert peaks[1] < 1.2 * peaks[0]
    assert max(peaks) < 500


@pytest.mark.slow
def test_cross_sectional_rows_per_cpu_second() -> None:
    assert measured("confounded", 1_000_000)["rows_per_cpu_second"] > 200_000


def measured(process: str, rows: int) -> dict[str, float]:
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_generation.py"), "--json"]
    done = subprocess.run(
        [*command, "--process", process, "--rows", str(rows)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return json.loads(done.stdout)
