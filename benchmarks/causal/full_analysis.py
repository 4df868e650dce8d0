"""How long does a full analysis with heterogeneity take, from a file to the written report?

50,000 rows with 50 covariates, confounded, effects by segment: one Parquet file is catalogued, the
question answered with the design's default (estimate, specification curve, diagnostics, selection
of the effect function, tests of heterogeneity, rules and decisions, refutation, sensitivity), the
comparison logged to MLflow and the database, and the HTML report written. The opening of the
database, the making of an empty MLflow store and the imports of MLflow and matplotlib are not
counted. Exit code 1 when it takes more than 60 s on the wall clock, or when the effect, the
difference between effects or a segment is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.causal.effects import report
from src.app.effects import Answer, answer_effect
from src.app.questions import EffectQuestion
from src.app.rendering import save_report
from src.app.session import open_session
from src.causal_engine.results import Analysis

MAX_WALL_S = 60.0
EFFECTS = {"high": 1.0, "mid": 0.6, "low": 0.2}


@dataclass(frozen=True)
class Measured:
    """Seconds, memory and what was found, for one analysis."""

    rows: int
    covariates: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    load_before: float
    steps: dict[str, tuple[float, float]]
    effect: float
    truth: float
    covered: bool
    found: bool
    segments_covered: bool
    verdict: str


class Clock:
    """Wall and CPU seconds between the steps that were told."""

    def __init__(self) -> None:
        self._moments: list[tuple[str, float, float]] = []

    def tick(self, step: str) -> None:
        self._moments.append((step, time.perf_counter(), time.process_time()))

    def restart(self) -> None:
        self._moments.clear()
        self.tick("start")

    @property
    def total(self) -> tuple[float, float]:
        first, last = self._moments[0], self._moments[-1]
        return last[1] - first[1], last[2] - first[2]

    def steps(self) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = {}
        for (name, wall, cpu), (_, next_wall, next_cpu) in itertools.pairwise(self._moments):
            before = found.get(name, (0.0, 0.0))
            found[name] = before[0] + next_wall - wall, before[1] + next_cpu - cpu
        return found


def draw(rows: int, covariates: int, random_state: int) -> tuple[pd.DataFrame, float]:
    """Confounded rows, outcome partly curved in the covariates, and the average effect on them."""
    rng = np.random.default_rng(random_state)
    x = rng.normal(size=(rows, covariates))
    index = 0.8 * x[:, 0] - 0.6 * x[:, 1] + 0.3 * x[:, 2]
    t = (rng.random(rows) < np.clip(1 / (1 + np.exp(-index)), 0.1, 0.9)).astype(np.float64)
    group = np.array(list(EFFECTS))[np.digitize(x[:, 2], [-0.43, 0.43])]
    effect = np.array([EFFECTS[name] for name in group])
    y = 0.8 * x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.4 * x[:, 3] + t * effect + rng.normal(size=rows)
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(covariates)]).assign(group=group, treatment=t, outcome=y)
    return frame, float(effect.mean())


async def measure(file: Path, rows: int, covariates: int, truth: float, random_state: int) -> Measured:
    """One answer and its report, timed."""
    question = EffectQuestion(
        data=file,
        treatment="treatment",
        outcome="outcome",
        confounders=tuple(f"x{i}" for i in range(covariates)),
        effect_modifiers=("group",),
        heterogeneity=True,
        random_state=random_state,
    )
    clock = Clock()
    async with open_session(clock.tick) as session:
        load = os.getloadavg()[0]
        clock.restart()
        answer = await answer_effect(session, question)
        clock.tick("report")
        save_report(answer, "html", file.with_suffix(".html"))
        clock.tick("end")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return _measured(answer, (rows, covariates, truth), (*clock.total, peak, load), clock.steps())


def _measured(
    answer: Answer,
    asked: tuple[int, int, float],
    cost: tuple[float, float, float, float],
    steps: dict[str, tuple[float, float]],
) -> Measured:
    analysis = answer.analysis
    assert isinstance(analysis, Analysis)
    assert analysis.primary is not None
    assert analysis.heterogeneity is not None
    covered = [one.effect.lower <= EFFECTS[one.segment] <= one.effect.upper for one in analysis.heterogeneity.segments]
    return Measured(
        *asked[:2],
        *cost,
        steps,
        analysis.primary.value,
        asked[2],
        analysis.primary.ci.covers(asked[2]),
        analysis.heterogeneity.found,
        len(covered) == len(EFFECTS) and all(covered),
        str(answer.run.verdict),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--covariates", type=int, default=50)
    parser.add_argument("--random-state", type=int, default=20_260_101)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--write", action="store_true", help="put the table into the Markdown file beside this script")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="e2i-benchmark-") as folder:
        os.environ |= {
            "E2I_VAR_DIR": f"{folder}/var",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "E2I_EVALUATION_RATE": "0",
        }
        os.environ.pop("DATABASE_URL", None)
        _warm(Path(folder))
        frame, truth = draw(arguments.rows, arguments.covariates, arguments.random_state)
        file = Path(folder) / "study.parquet"
        frame.to_parquet(file)
        sizes = arguments.rows, arguments.covariates
        try:
            found = asyncio.run(measure(file, *sizes, truth, arguments.random_state))
        finally:
            from src.storage.embedded_postgres import embedded

            embedded().stop()
    shown = json.dumps(asdict(found)) if arguments.json else _table(found)
    report(__file__, str(__doc__), shown, write=arguments.write)
    kept = found.covered and found.found and found.segments_covered
    sys.exit(0 if found.wall_s <= MAX_WALL_S and kept else 1)


def _warm(folder: Path) -> None:
    """What a process or an installation pays for once."""
    import matplotlib.figure  # noqa: F401

    from src.mlops.mlflow.store import create_sqlite_store, load_library

    load_library(120)
    create_sqlite_store(folder / "mlflow.db", str(folder / "artifacts"))


def _table(found: Measured) -> str:
    lines = [
        f"{found.rows:,} rows, {found.covariates} covariates: **{found.wall_s:.1f} s** on the wall clock, "
        f"{found.cpu_s:.1f} CPU s, peak {found.peak_mb:,.0f} MB (load average before: {found.load_before:.1f}).",
        "",
        f"Effect {found.effect:.4f}, true {found.truth:.4f} ({'inside' if found.covered else 'OUTSIDE'} the interval); "
        f"difference between effects {'found' if found.found else 'MISSED'}; segments "
        f"{'all' if found.segments_covered else 'NOT all'} inside their simultaneous limits; verdict: {found.verdict}.",
        "",
        "| step | wall s | CPU s |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {name} | {wall:.1f} | {cpu:.1f} |" for name, (wall, cpu) in found.steps.items())])


if __name__ == "__main__":
    main()
