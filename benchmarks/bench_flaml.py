"""Do E2I's models predict as well as FLAML's after the same CPU seconds?

Ten small problems (training, validation and test rows). FLAML searches for the given seconds on one core, judged on
the validation rows; E2I then gets the CPU seconds that FLAML really used: it fits each family with its defaults,
then searches the hyperparameters of the two best on the validation rows, one after the other. A model that is ready
only after the last of these seconds does not count. Both models are fitted on the training rows only and compared
on the test rows: ROC-AUC for classes, R² for numbers. Imports are not counted. Run it on a quiet machine: FLAML
counts its time on the wall clock. Exit code 1 when E2I's median over the problems is lower than FLAML's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.tuning_tasks import TuningTask, tuning_tasks
from src.domain.modelling import ProblemType
from src.mlops.modelling.families import algorithms_for
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.matrices import probabilities
from src.mlops.modelling.metrics import metric_value
from src.mlops.optuna.results import TrialRecord
from src.mlops.optuna.search import TrialProgress
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization

METRICS = {ProblemType.BINARY: "roc_auc", ProblemType.MULTICLASS: "roc_auc", ProblemType.REGRESSION: "r2"}
FLAML_METRICS = {ProblemType.BINARY: "roc_auc", ProblemType.MULTICLASS: "roc_auc_ovr", ProblemType.REGRESSION: "r2"}
PATIENCE = 30
SEARCHED = 2


class BudgetSpent(Exception):
    """The CPU seconds are used up."""


@dataclass(frozen=True)
class Searched:
    """What a search found: its metric on the test rows, CPU seconds, models tried, and the family chosen."""

    value: float
    cpu_s: float
    tried: int
    family: str


@dataclass
class Leader:
    """The best model on the validation rows so far."""

    algorithm: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    value: float = float("-inf")
    tried: int = 0

    def consider(self, algorithm: str, params: Mapping[str, Any], value: float) -> None:
        self.tried += 1
        if value > self.value:
            self.algorithm, self.params, self.value = algorithm, dict(params), value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="for FLAML's search of each problem")
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _quiet()
    _load(arguments.random_state)
    found: list[tuple[str, Searched, Searched]] = []
    for task in tuning_tasks(arguments.random_state):
        with threadpool_limits(1):
            theirs = _flaml(task, arguments.seconds, arguments.random_state)
            ours = asyncio.run(_e2i(task, theirs.cpu_s, arguments.random_state))
        found.append((task.name, ours, theirs))
        if not arguments.json:
            _print_row(*found[-1], METRICS[task.problem_type], header=len(found) == 1)
    medians = [statistics.median(one.value for one in side) for side in ([f[1] for f in found], [f[2] for f in found])]
    met = medians[0] >= medians[1]
    if arguments.json:
        rows = [{"task": name, "e2i": asdict(ours), "flaml": asdict(theirs)} for name, ours, theirs in found]
        print(json.dumps({"tasks": rows, "median_e2i": medians[0], "median_flaml": medians[1], "met": met}))
    else:
        difference = statistics.median(ours.value - theirs.value for _, ours, theirs in found)
        print(f"median: E2I {medians[0]:.4f}, FLAML {medians[1]:.4f}; median difference {difference:+.4f}")
    sys.exit(0 if met else 1)


def _flaml(task: TuningTask, seconds: float, random_state: int) -> Searched:
    from flaml import AutoML

    started = time.process_time()
    search = AutoML()
    search.fit(
        task.train.X,
        task.train.y,
        X_val=task.validation.X,
        y_val=task.validation.y,
        task="regression" if task.problem_type is ProblemType.REGRESSION else "classification",
        metric=FLAML_METRICS[task.problem_type],
        time_budget=seconds,
        eval_method="holdout",
        retrain_full=False,
        n_jobs=1,
        seed=random_state,
        verbose=0,
    )
    spent = time.process_time() - started
    if task.problem_type is ProblemType.REGRESSION:
        scores = search.predict(task.test.X)
    else:
        scores = probabilities(search.predict_proba(task.test.X))
    value = metric_value(METRICS[task.problem_type], task.problem_type, task.test.y, scores)
    return Searched(value, spent, len(search.config_history), str(search.best_estimator))


async def _e2i(task: TuningTask, cpu_s: float, random_state: int) -> Searched:
    started = time.process_time()
    leader = Leader()
    try:
        order = _screened(task, leader, started + cpu_s, random_state)
        for place, algorithm in enumerate(order[:SEARCHED]):
            left = started + cpu_s - time.process_time()
            until = time.process_time() + left / (SEARCHED - place)
            await _tuned(task, algorithm, leader, until, random_state)
    except BudgetSpent:
        pass
    spent = time.process_time() - started
    # The same model again, not a new one: fits repeat exactly.
    model = _fitted(task, leader.algorithm, leader.params, random_state)
    value = metric_value(METRICS[task.problem_type], task.problem_type, task.test.y, model.scores(task.test.X))
    return Searched(value, spent, leader.tried, leader.algorithm)


def _screened(task: TuningTask, leader: Leader, until: float, random_state: int) -> list[str]:
    """Families by how good their defaults are on the validation rows, the best first."""
    values: dict[str, float] = {}
    for algorithm in algorithms_for(task.problem_type):
        model = _fitted(task, algorithm, {}, random_state)
        values[algorithm] = metric_value(
            METRICS[task.problem_type], task.problem_type, task.validation.y, model.scores(task.validation.X)
        )
        if leader.tried and time.process_time() >= until:
            raise BudgetSpent
        leader.consider(algorithm, {}, values[algorithm])
    return sorted(values, key=lambda algorithm: -values[algorithm])


async def _tuned(task: TuningTask, algorithm: str, leader: Leader, until: float, random_state: int) -> None:
    config = {"storage_url": "memory", "limits": {"stop_after_no_improvement": 10_000, "max_trials": 10_000}}
    optimizer = OptunaOptimizer("flaml", config=config)

    def watch(progress: TrialProgress) -> None:
        if time.process_time() >= until:
            raise BudgetSpent
        trial: TrialRecord = progress.trial
        if trial.state == "COMPLETE" and trial.value is not None:
            leader.consider(algorithm, trial.params, trial.value)
        else:
            leader.tried += 1

    try:
        await run_hyperparameter_optimization(
            experiment_id="flaml",
            algorithm=algorithm,
            problem_type=task.problem_type,
            search_space=optimizer.config.search_space(algorithm),
            train=task.train,
            validation=task.validation,
            metric=METRICS[task.problem_type],
            n_trials=10_000,
            random_state=random_state,
            optimizer=optimizer,
            on_progress=watch,
        )
    except BudgetSpent:
        return
    finally:
        await optimizer.aclose()


def _fitted(task: TuningTask, algorithm: str, params: Mapping[str, Any], random_state: int) -> Any:
    return fit_model(
        algorithm,
        task.problem_type,
        params,
        task.train,
        validation=task.validation,
        metric=METRICS[task.problem_type],
        early_stopping_rounds=PATIENCE,
        random_state=random_state,
    )


def _load(random_state: int) -> None:
    """Import what both sides import on first use."""
    task = tuning_tasks(random_state)[0]
    _flaml(task, 1, random_state)
    for algorithm in algorithms_for(task.problem_type):
        _fitted(task, algorithm, {}, random_state)


def _quiet() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("flaml").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def _print_row(name: str, ours: Searched, theirs: Searched, metric: str, *, header: bool) -> None:
    if header:
        print(
            f"{'problem':<14} {'metric':<8} {'E2I':>7} {'FLAML':>7} {'diff':>8} {'CPU s':>6} {'CPU s':>6} "
            f"{'models':>6} {'models':>6}  families"
        )
    print(
        f"{name:<14} {metric:<8} {ours.value:>7.4f} {theirs.value:>7.4f} {ours.value - theirs.value:>+8.4f} "
        f"{ours.cpu_s:>6.1f} {theirs.cpu_s:>6.1f} {ours.tried:>6} {theirs.tried:>6}  {ours.family} / {theirs.family}",
        flush=True,
    )


if __name__ == "__main__":
    main()
