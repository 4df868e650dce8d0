"""How long and how much memory does the default effect take at 100,000 and 1,000,000 rows of 20 covariates?

python -m benchmarks.causal.scale [--rows 100000 1000000] [--write] [--json]

Curved confounding as in ``coverage``; each size runs in a process of its own, whose peak resident
memory, from start to end, is taken (data included). Time is from the data frame to the estimate,
study and checks included. Judged are CPU seconds of all threads, which bound the time on a machine
of one's own from above; where others compute too, seconds on the clock say little. Exit code 1 when
a size takes more than 60 CPU s or 4 GB, or the estimate is further from the truth than 1.96 standard errors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import prepare_study

TABLE = Path(__file__).with_suffix(".md")
STATE = 20_260_201
COLUMNS = 20
MAX_SECONDS, MAX_GIGABYTES = 60.0, 4.0
FARTHEST = 1.96


@dataclass(frozen=True)
class Line:
    """One size: seconds, CPU seconds, peak gigabytes, the estimate's error and standard error (truth 1)."""

    rows: int
    estimator: str
    seconds: float
    cpu_s: float
    peak_gb: float
    error: float
    std_error: float
    learnt_from: int

    @property
    def passed(self) -> bool:
        """Whether it keeps the bounds."""
        return (
            self.cpu_s <= MAX_SECONDS and self.peak_gb <= MAX_GIGABYTES and abs(self.error) <= FARTHEST * self.std_error
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each size; 1 when one misses a bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--here", action="store_true", help="one size, in this process, as JSON")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(asdict(measured(options.rows[0]))))
        return 0
    lines = [_elsewhere(rows) for rows in options.rows]
    table = markdown(lines)
    if options.write:
        question = str(__doc__).partition("\n")[0]
        command = "`python -m benchmarks.causal.scale --write`, on a shared machine with 2 cores"
        TABLE.write_text(f"# {question}\n\n{command}\n\n{table}\n", encoding="utf-8")
    print(json.dumps([asdict(line) for line in lines]) if options.json else table)
    return 0 if all(line.passed for line in lines) else 1


def measured(rows: int) -> Line:
    """Generate ``rows`` rows and time the default estimate."""
    frame = generated(rows)
    spec = CausalSpec("t", "y", tuple(f"x{j}" for j in range(COLUMNS)), random_state=STATE)
    started, cpu = time.perf_counter(), time.process_time()
    # Matrix products and predictions may use both cores; fits use one.
    with threadpool_limits(2):
        study = prepare_study(frame, spec)
        estimate = fit_estimator(default_estimators(study, Design.OBSERVATIONAL)[0], study).estimate
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    learnt = int(estimate.diagnostic("n_learnt_from") or rows)
    return Line(rows, estimate.estimator, seconds, cpu_s, peak, estimate.value - 1.0, estimate.std_error, learnt)


def generated(rows: int) -> pd.DataFrame:
    """logit e = sin 2x₀ + (x₁² − 1)/2, y₀ = 2 sin 2x₀ + x₁² + x₀x₂, effect 1 + x₁/2 (1 on average)."""
    rng = np.random.default_rng(STATE)
    x = rng.standard_normal((rows, COLUMNS))
    curve = np.sin(2 * x[:, 0])
    t = (rng.random(rows) < 1 / (1 + np.exp(-curve - 0.5 * (x[:, 1] ** 2 - 1)))).astype(np.float64)
    y = 2 * curve + x[:, 1] ** 2 + x[:, 0] * x[:, 2] + t * (1 + 0.5 * x[:, 1]) + rng.standard_normal(rows)
    return pd.DataFrame(x, columns=[f"x{j}" for j in range(COLUMNS)]).assign(t=t, y=y)


def markdown(lines: Sequence[Line]) -> str:
    """The sizes as a table."""
    header = "| rows | estimator | models learn from | s | CPU s | peak GB | error | se | |"
    body = [
        f"| {line.rows:,} | {line.estimator} | {line.learnt_from:,} | {line.seconds:.1f} | {line.cpu_s:.1f} "
        f"| {line.peak_gb:.2f} | {line.error:+.4f} | {line.std_error:.4f} | {'' if line.passed else '**fails**'} |"
        for line in lines
    ]
    return "\n".join([header, "|---|---|---|---|---|---|---|---|---|", *body])


def _elsewhere(rows: int) -> Line:
    command = [sys.executable, "-m", "benchmarks.causal.scale", "--here", "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Line(**json.loads(done.stdout))


if __name__ == "__main__":
    sys.exit(main())
