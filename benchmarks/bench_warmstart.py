"""How many trials does a search save that begins with what earlier searches on a related problem found?

python -m benchmarks.bench_warmstart [--trials 40] [--past 3] [--changed 0.2] [--tolerance 0.001]
    [--random-state 1] [--problems NAME ...] [--json]

Ten problems as a system meets them that trains again and again: a table is searched ``--past`` times, each time after
``--changed`` of its rows have made room for new ones (a row keeps its split), each search beginning with, and guided
by, what the memory holds of those before it, as the trainer's are. Then the table changes once more, and is searched
once cold and once warm, with the same seed and number of trials. Counted are the trials until the value of the cold
search's best is reached exactly, and, beside them, until it is reached up to ``--tolerance`` of it: two settings that
near are equally good. A warm search that never gets there counts as one trial more than it had. The rounds are those of
all trials: a warm search prunes later, as its trials are better. Each memory also holds a pattern of an unlike problem,
which must be refused. Exit code 1 when the median problem needs more than half of the cold search's trials for exactly
its best, or when an unlike pattern was tried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from benchmarks.bench_pruning import _quiet
from benchmarks.tuning_tasks import BINARY, MULTICLASS, REGRESSION, TuningTask
from src.domain.modelling import ProblemType
from src.mlops.hpo_pattern_memory import HPOPattern, HPOPatternMemory, InMemoryPatterns, query_of, runners_up
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.results import EarlierSearch, HPOSummary, TrialRecord, WarmStart
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization

MOST = 0.5
ALGORITHM = "lightgbm"
# Rows of a table at any time.
ROWS = 2500
# Rows wanted and seed → features and target.
Make = Callable[[int, int], tuple[Any, Any]]


@dataclass(frozen=True)
class Counted:
    """One problem: trials to the cold search's best, cold and warm, rounds of both, and patterns tried first."""

    task: str
    metric: str
    cold_best: float
    warm_best: float
    cold_trials: int
    warm_trials: int
    cold_trials_nearly: int
    warm_trials_nearly: int
    cold_rounds: int
    warm_rounds: int
    tried_first: int
    unlike_refused: bool

    @property
    def share(self) -> float:
        """Trials needed warm for the cold search's best, as a share of those needed cold."""
        return self.warm_trials / self.cold_trials

    @property
    def share_nearly(self) -> float:
        """The same up to the tolerance."""
        return self.warm_trials_nearly / self.cold_trials_nearly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--past", type=int, default=3)
    parser.add_argument("--changed", type=float, default=0.2)
    parser.add_argument("--tolerance", type=float, default=0.001)
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--problems", nargs="+", choices=list(_PROBLEMS), default=list(_PROBLEMS))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    _quiet()
    found: list[Counted] = []
    for name in chosen.problems:
        tables = _tables(name, chosen.random_state, chosen.past + 1, chosen.changed)
        found.append(asyncio.run(_counted(tables, chosen.trials, chosen.tolerance, chosen.random_state)))
        if not chosen.json:
            _print_row(found[-1], header=len(found) == 1)
    share, nearly = (
        statistics.median(values) for values in zip(*((f.share, f.share_nearly) for f in found), strict=True)
    )
    met = share <= MOST and all(one.unlike_refused for one in found)
    if chosen.json:
        rows = [asdict(one) | {"share": one.share, "share_nearly": one.share_nearly} for one in found]
        print(json.dumps({"tasks": rows, "share": share, "share_nearly": nearly, "met": met}))
    else:
        refused = sum(one.unlike_refused for one in found)
        print(
            f"median: {share:.0%} of the cold search's trials (most {MOST:.0%}); up to {chosen.tolerance:.1%} of its "
            f"best: {nearly:.0%}; unlike patterns refused: {refused} of {len(found)}"
        )
    sys.exit(0 if met else 1)


async def _counted(tables: list[TuningTask], trials: int, tolerance: float, random_state: int) -> Counted:
    *before, now = tables
    memory = HPOPatternMemory(InMemoryPatterns())
    for number, task in enumerate(before):
        found, history = await _searched(task, trials, random_state + 100 + number, *await _known(memory, task, trials))
        await memory.store_hpo_pattern(_pattern(task, found, history))
    unlike = replace(_pattern(task, found, history), n_samples=40, n_features=900, feature_types={"text": 900})
    await memory.store_hpo_pattern(replace(unlike, pattern_id="unlike"))
    cold, cold_trials = await _searched(now, trials, random_state)
    starts, earlier = await _known(memory, now, trials)
    warm, warm_trials = await _searched(now, trials, random_state, starts, earlier)
    sign = 1 if cold.direction == "maximize" else -1
    near = cold.best_value - sign * tolerance * abs(cold.best_value)
    return Counted(
        now.name,
        cold.metric,
        cold.best_value,
        max(sign * one.value for one in warm_trials if one.value is not None) * sign,
        *(_reached(found, cold.best_value, sign, trials) for found in (cold_trials, warm_trials)),
        *(_reached(found, near, sign, trials) for found in (cold_trials, warm_trials)),
        cold.resource_used,
        warm.resource_used,
        len(starts),
        "unlike" not in {known.pattern_id for known in (*starts, *earlier)},
    )


async def _known(
    memory: HPOPatternMemory, task: TuningTask, trials: int
) -> tuple[list[WarmStart], list[EarlierSearch]]:
    """As the trainer asks for it: warm starts for half of the trials at most."""
    metric = _optimizer(trials).config.metrics.of(task.problem_type)
    asked = query_of(ALGORITHM, task.problem_type, metric, _space(), task.train)
    return await memory.get_warmstart(asked, most=max(1, trials // 2)), await memory.get_earlier_searches(asked)


def _reached(trials: tuple[TrialRecord, ...], goal: float, sign: int, most: int) -> int:
    """Number of trials until one is as good as ``goal``."""
    good = (one.number + 1 for one in trials if one.value is not None and sign * one.value >= sign * goal)
    return min(good, default=most + 1)


def _pattern(task: TuningTask, summary: HPOSummary, trials: Sequence[TrialRecord]) -> HPOPattern:
    query = query_of(ALGORITHM, task.problem_type, summary.metric, _space(), task.train)
    known = {name: getattr(query, name) for name in query.__dataclass_fields__}
    most = _optimizer(1).config.warmstart.remembered_trials - 1
    return HPOPattern(
        **known,
        direction=summary.direction,
        best_params=summary.best_params,
        best_value=summary.best_value,
        runners_up=runners_up(trials, summary.direction, summary.best_params, most),
        study_name=summary.study_name,
    )


def _space() -> Any:
    return _optimizer(1).config.search_space(ALGORITHM)


def _optimizer(trials: int) -> OptunaOptimizer:
    """Searches in memory that do not end before their trials do."""
    return OptunaOptimizer(
        "warmstart", config={"storage_url": "memory", "limits": {"stop_after_no_improvement": trials}}
    )


async def _searched(
    task: TuningTask,
    trials: int,
    random_state: int,
    starts: Sequence[WarmStart] = (),
    earlier: Sequence[EarlierSearch] = (),
) -> tuple[HPOSummary, tuple[TrialRecord, ...]]:
    optimizer = _optimizer(trials)
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
            earlier=earlier,
            optimizer=optimizer,
        )
    finally:
        await optimizer.aclose()


def _tables(name: str, random_state: int, many: int, changed: float) -> list[TuningTask]:
    """The table at ``many`` times, the oldest first."""
    problem_type, make = _PROBLEMS[name]
    step = round(ROWS * changed)
    X, y = make(ROWS + (many - 1) * step, random_state)
    place = np.random.default_rng(random_state).uniform(size=len(y))
    begins = [number * step for number in range(many)]
    return [_task(name, problem_type, *(part[at : at + ROWS] for part in (X, y, place))) for at in begins]


def _task(name: str, problem_type: ProblemType, X: Any, y: Any, place: Any) -> TuningTask:
    """Rows split by their ``place`` in 0–1: 30 % training, 60 % validation, 10 % test.

    Many rows to judge by: which settings are better is then less a matter of chance.
    """
    frame = pd.DataFrame(X, columns=[f"x{number}" for number in range(X.shape[1])])
    target = pd.Series(y, dtype="float64" if problem_type is REGRESSION else "int64")
    cuts = ((0.0, 0.3), (0.3, 0.9), (0.9, 1.0))
    parts = [(place >= low) & (place < high) for low, high in cuts]
    splits = (Labelled(frame[part].reset_index(drop=True), target[part].reset_index(drop=True)) for part in parts)
    return TuningTask(name, problem_type, *splits)


def _classes(classes: int, flip: float, rare: float | None = None) -> Make:
    weights = None if rare is None else [1 - rare]

    def make(rows: int, random_state: int) -> tuple[Any, Any]:
        given = {"n_features": 20, "n_informative": 8, "n_classes": classes, "flip_y": flip, "weights": weights}
        return datasets.make_classification(rows, **given, random_state=random_state)

    return make


def _hastie(rows: int, random_state: int) -> tuple[Any, Any]:
    X, y = datasets.make_hastie_10_2(rows, random_state=random_state)
    return X, (y > 0).astype(int)


def _with_noise(make: Callable[..., tuple[Any, Any]], **given: float) -> Make:
    def drawn(rows: int, random_state: int) -> tuple[Any, Any]:
        X, y = make(rows, random_state=random_state, **given)
        return np.column_stack([X, np.random.default_rng(random_state).normal(size=(len(y), 6))]), y

    return drawn


_PROBLEMS: dict[str, tuple[ProblemType, Make]] = {
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
            f"{'problem':<14} {'metric':<12} {'cold best':>10} {'warm best':>10} {'cold':>5} {'warm':>5} {'share':>6} "
            f"{'nearly':>6} {'rounds':>6} {'rounds':>6}"
        )
    print(
        f"{one.task:<14} {one.metric:<12} {one.cold_best:>10.4f} {one.warm_best:>10.4f} "
        f"{one.cold_trials:>5} {one.warm_trials:>5} {one.share:>6.0%} {one.share_nearly:>6.0%} "
        f"{one.cold_rounds:>6} {one.warm_rounds:>6}",
        flush=True,
    )


if __name__ == "__main__":
    main()
