"""How many trials does a search save that begins with what earlier searches on a related problem found?

python -m benchmarks.bench_warmstart [--trials 30] [--past 5] [--changed 0.2] [--tolerance 0.001]
    [--random-state 1] [--json]

Ten problems as they are met again: the table of an earlier search (``--past`` searches with seeds of their own, whose
bests the pattern memory keeps), and the same table later, when ``--changed`` of its rows have made room for new ones;
a row keeps its split. The later table is searched once cold and once warm, with the same seeds. Counted are the
trials until the value of the cold search's best is reached up to ``--tolerance`` of it (two settings that near are
equally good: which of them comes out ahead is chance), and, beside them, until it is reached exactly; a warm search
that never gets there counts as one trial more than it had. Each memory also holds a pattern of an unlike
problem, which must be refused. Exit code 1 when the median problem needs more than half of the cold search's trials,
or when an unlike pattern was tried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from benchmarks.bench_pruning import _quiet
from benchmarks.tuning_tasks import BINARY, MULTICLASS, REGRESSION, TuningTask
from src.domain.modelling import ProblemType
from src.mlops.hpo_pattern_memory import HPOPattern, HPOPatternMemory, InMemoryPatterns, query_of
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.results import HPOSummary, TrialRecord, WarmStart
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization

MOST = 0.5
ALGORITHM = "lightgbm"


@dataclass(frozen=True)
class Counted:
    """One problem: trials to the cold search's best, cold and warm, and patterns tried first."""

    task: str
    metric: str
    cold_best: float
    warm_best: float
    cold_trials: int
    warm_trials: int
    cold_trials_exactly: int
    warm_trials_exactly: int
    tried_first: int
    unlike_refused: bool

    @property
    def share(self) -> float:
        """Trials needed warm, as a share of those needed cold."""
        return self.warm_trials / self.cold_trials

    @property
    def share_exactly(self) -> float:
        """The same, without any tolerance."""
        return self.warm_trials_exactly / self.cold_trials_exactly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--past", type=int, default=5)
    parser.add_argument("--changed", type=float, default=0.2)
    parser.add_argument("--tolerance", type=float, default=0.001)
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    _quiet()
    found = []
    for name in _PROBLEMS:
        found.append(
            asyncio.run(
                _counted(name, chosen.trials, chosen.past, chosen.changed, chosen.tolerance, chosen.random_state)
            )
        )
        if not chosen.json:
            _print_row(found[-1], header=len(found) == 1)
    share = statistics.median(one.share for one in found)
    met = share <= MOST and all(one.unlike_refused for one in found)
    if chosen.json:
        print(json.dumps({"tasks": [asdict(one) | {"share": one.share} for one in found], "share": share, "met": met}))
    else:
        exactly = statistics.median(one.share_exactly for one in found)
        print(f"median: {share:.0%} of the cold search's trials (most {MOST:.0%}); exactly the best: {exactly:.0%}")
    sys.exit(0 if met else 1)


async def _counted(name: str, trials: int, past: int, changed: float, tolerance: float, random_state: int) -> Counted:
    before, now = _pair(name, random_state, changed)
    memory = HPOPatternMemory(InMemoryPatterns())
    for number in range(past):
        summary, _ = await _searched(before, trials, random_state + 100 + number, ())
        await memory.store_hpo_pattern(_pattern(before, summary))
    unlike = replace(_pattern(before, summary), n_samples=40, n_features=900, feature_types={"text": 900})
    await memory.store_hpo_pattern(replace(unlike, pattern_id="unlike"))
    cold, cold_trials = await _searched(now, trials, random_state, ())
    starts = await memory.get_warmstart(query_of(ALGORITHM, now.problem_type, cold.metric, _space(), now.train))
    _, warm_trials = await _searched(now, trials, random_state, starts)
    sign = 1 if cold.direction == "maximize" else -1
    near = cold.best_value - sign * tolerance * abs(cold.best_value)
    return Counted(
        name,
        cold.metric,
        cold.best_value,
        max(sign * one.value for one in warm_trials if one.value is not None) * sign,
        *(_reached(found, near, sign, trials) for found in (cold_trials, warm_trials)),
        *(_reached(found, cold.best_value, sign, trials) for found in (cold_trials, warm_trials)),
        len(starts),
        "unlike" not in {start.pattern_id for start in starts},
    )


def _reached(trials: tuple[TrialRecord, ...], goal: float, sign: int, most: int) -> int:
    """Number of trials until one is as good as ``goal``."""
    good = (one.number + 1 for one in trials if one.value is not None and sign * one.value >= sign * goal)
    return min(good, default=most + 1)


def _pattern(task: TuningTask, summary: HPOSummary) -> HPOPattern:
    query = query_of(ALGORITHM, task.problem_type, summary.metric, _space(), task.train)
    known = {name: getattr(query, name) for name in query.__dataclass_fields__}
    return HPOPattern(
        **known,
        direction=summary.direction,
        best_params=summary.best_params,
        best_value=summary.best_value,
        study_name=summary.study_name,
    )


def _space() -> Any:
    return OptunaOptimizer("warmstart", config={"storage_url": "memory"}).config.search_space(ALGORITHM)


async def _searched(
    task: TuningTask, trials: int, random_state: int, starts: tuple[WarmStart, ...] | list[WarmStart]
) -> tuple[HPOSummary, tuple[TrialRecord, ...]]:
    config = {"storage_url": "memory", "limits": {"stop_after_no_improvement": trials}}
    optimizer = OptunaOptimizer("warmstart", config=config)
    try:
        return await run_hyperparameter_optimization(
            experiment_id="warmstart",
            algorithm=ALGORITHM,
            problem_type=task.problem_type,
            search_space=_space(),
            train=task.train,
            validation=task.validation,
            n_trials=trials,
            random_state=random_state,
            warmstart=starts,
            optimizer=optimizer,
        )
    finally:
        await optimizer.aclose()


def _pair(name: str, random_state: int, changed: float) -> tuple[TuningTask, TuningTask]:
    problem_type, make = _PROBLEMS[name]
    X, y = make(random_state)
    rows = round(len(y) / (1 + changed))
    place = np.random.default_rng(random_state).uniform(size=len(y))
    start = len(y) - rows
    return _task(name, problem_type, X[:rows], y[:rows], place[:rows]), _task(
        name, problem_type, X[start:], y[start:], place[start:]
    )


def _task(name: str, problem_type: ProblemType, X: Any, y: Any, place: Any) -> TuningTask:
    """Rows split by their ``place`` in 0–1: 20 % training, 70 % validation, 10 % test.

    Many rows to judge by: which settings are better is then less a matter of chance.
    """
    frame = pd.DataFrame(X, columns=[f"x{number}" for number in range(X.shape[1])])
    target = pd.Series(y, dtype="float64" if problem_type is REGRESSION else "int64")
    cuts = ((0.0, 0.2), (0.2, 0.9), (0.9, 1.0))
    parts = [(place >= low) & (place < high) for low, high in cuts]
    splits = (Labelled(frame[part].reset_index(drop=True), target[part].reset_index(drop=True)) for part in parts)
    return TuningTask(name, problem_type, *splits)


def _classes(classes: int, flip: float, rare: float | None = None) -> Callable[[int], tuple[Any, Any]]:
    weights = None if rare is None else [1 - rare]

    def make(random_state: int) -> tuple[Any, Any]:
        given = {"n_features": 20, "n_informative": 8, "n_classes": classes, "flip_y": flip, "weights": weights}
        return datasets.make_classification(6000, **given, random_state=random_state)

    return make


def _hastie(random_state: int) -> tuple[Any, Any]:
    X, y = datasets.make_hastie_10_2(6000, random_state=random_state)
    return X, (y > 0).astype(int)


def _with_noise(make: Callable[..., tuple[Any, Any]], **given: float) -> Callable[[int], tuple[Any, Any]]:
    def drawn(random_state: int) -> tuple[Any, Any]:
        X, y = make(6000, random_state=random_state, **given)
        return np.column_stack([X, np.random.default_rng(random_state).normal(size=(len(y), 6))]), y

    return drawn


_PROBLEMS: dict[str, tuple[ProblemType, Callable[[int], tuple[Any, Any]]]] = {
    "hastie": (BINARY, _hastie),
    "moons": (BINARY, _with_noise(datasets.make_moons, noise=0.35)),
    "circles": (BINARY, _with_noise(datasets.make_circles, noise=0.25, factor=0.5)),
    "two_classes": (BINARY, _classes(2, 0.1)),
    "rare_class": (BINARY, _classes(2, 0.02, rare=0.1)),
    "clean_classes": (BINARY, _classes(2, 0.0)),
    "three_classes": (MULTICLASS, _classes(3, 0.05)),
    "friedman_1": (REGRESSION, _with_noise(datasets.make_friedman1, noise=1.0)),
    "friedman_2": (REGRESSION, _with_noise(datasets.make_friedman2, noise=100.0)),
    "friedman_3": (REGRESSION, _with_noise(datasets.make_friedman3, noise=0.1)),
}


def _print_row(one: Counted, *, header: bool) -> None:
    if header:
        print(
            f"{'problem':<14} {'metric':<12} {'cold best':>10} {'warm best':>10} {'cold':>5} {'warm':>5} {'share':>6}"
        )
    print(
        f"{one.task:<14} {one.metric:<12} {one.cold_best:>10.4f} {one.warm_best:>10.4f} "
        f"{one.cold_trials:>5} {one.warm_trials:>5} {one.share:>6.0%} {one.share_exactly:>8.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
