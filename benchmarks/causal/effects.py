"""How near does each effect function come to known effects, and how near the one that is picked?"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from src.causal_engine.energy_score.effect_data import effect_data
from src.causal_engine.energy_score.selection import ENSEMBLE, EstimatorSelector, Strategy
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import FloatArray, prepare_study

COMPARED = (Strategy.ENSEMBLE, Strategy.BEST_LOSS, Strategy.BEST_ENERGY)


@dataclass(frozen=True)
class DataSet:
    """Covariates (n, p), treatment and outcome (n,), and the true effect of each unit (n,)."""

    name: str
    x: FloatArray
    t: FloatArray
    y: FloatArray
    effect: FloatArray


@dataclass(frozen=True)
class Measured:
    """Root mean squared error of every effect function (√PEHE), what each strategy picked, and the cost.

    ``regret`` is the pick's error over the least of the constant effect and the six learners: the naive
    contrast and the mixture are no part of that yardstick.
    """

    name: str
    errors: dict[str, float]
    picks: dict[str, str]
    regret: dict[str, float]
    ate_error: float
    cpu_s: float


def measure(data: DataSet, random_state: int) -> Measured:
    """Fit, score and pick on one data set, on one thread."""
    columns = tuple(f"x{i}" for i in range(data.x.shape[1]))
    frame = pd.DataFrame(data.x, columns=list(columns)).assign(t=data.t.astype(np.float64), y=data.y)
    started = time.process_time()
    with threadpool_limits(1):
        prepared = effect_data(prepare_study(frame, CausalSpec("t", "y", columns, random_state=random_state)))
        chosen = EstimatorSelector().compare_strategies(prepared, COMPARED)
    spent = time.process_time() - started
    found = chosen[COMPARED[0]]
    fits = {each.name: each.effect for each in found.results if each.effect is not None}
    errors = {name: float(np.sqrt(np.mean((effect - data.effect) ** 2))) for name, effect in fits.items()}
    least = min(error for name, error in errors.items() if name not in ("naive", ENSEMBLE))
    picks = {str(strategy): result.selected for strategy, result in chosen.items()}
    regret = {strategy: errors[name] / least for strategy, name in picks.items()}
    ate_error = abs(found.average.value - float(data.effect.mean()))
    return Measured(data.name, errors, picks, regret, ate_error, spent)


def measure_all(sets: Iterator[DataSet], random_state: int) -> list[Measured]:
    """Each data set in turn, with a line of progress."""
    found = []
    for data in sets:
        found.append(measure(data, random_state))
        told = ", ".join(f"{k}: {v} {found[-1].errors[v]:.3f}" for k, v in found[-1].picks.items())
        print(f"{data.name}: {told}; {found[-1].cpu_s:.0f} CPU s", file=sys.stderr, flush=True)
    return found


def is_odd(measured: Measured) -> bool:
    """Whether a data set is none that constants may be tuned on."""
    return int(measured.name.split()[1]) % 2 == 1


def table(measured: Sequence[Measured]) -> str:
    """Errors and regrets in Markdown: all data sets, the even ones (constants were tuned on these) and the odd ones."""
    halves = {
        "all": list(measured),
        "even": [each for each in measured if not is_odd(each)],
        "odd": [each for each in measured if is_odd(each)],
    }
    lines = ["| effect function | median √PEHE | even | odd | mean √PEHE |", "|---|---|---|---|---|"]
    columns = {name: [[m.errors[name] for m in half] for half in halves.values()] for name in measured[0].errors}
    for strategy in measured[0].picks:
        name = f"**picked by {strategy}**"
        columns[name] = [[m.errors[m.picks[strategy]] for m in half] for half in halves.values()]
    for name, halved in columns.items():
        medians = " | ".join(f"{np.median(half):.3f}" if half else "–" for half in halved)
        lines.append(f"| {name} | {medians} | {np.mean(halved[0]):.3f} |")
    lines += ["", "| strategy | mean regret | even | odd | largest |", "|---|---|---|---|---|"]
    for strategy in measured[0].picks:
        means = [f"{np.mean([m.regret[strategy] for m in half]):.3f}" if half else "–" for half in halves.values()]
        lines.append(f"| {strategy} | {' | '.join(means)} | {max(m.regret[strategy] for m in measured):.2f} |")
    ates = " / ".join(f"{np.mean([m.ate_error for m in half]):.4f}" if half else "–" for half in halves.values())
    cost = f"{np.mean([m.cpu_s for m in measured]):.1f} CPU s a data set"
    return "\n".join([*lines, "", f"Mean error of the average effect (all / even / odd): {ates}; {cost}."])


def as_json(measured: Sequence[Measured], random_state: int) -> str:
    """All figures of every data set."""
    return json.dumps({"random_state": random_state, "data_sets": [asdict(each) for each in measured]})


def report(script: str, question: str, shown: str, *, write: bool) -> None:
    """Print the table, or put it below the question into the Markdown file beside the script."""
    if not write:
        print(shown)
        return
    first, _, rest = question.partition("\n")
    command = f"`python -m benchmarks.causal.{Path(script).stem} --write`"
    Path(script).with_suffix(".md").write_text(f"# {first}\n\n{rest.strip()}\n\n{command}\n\n{shown}\n", "utf-8")
