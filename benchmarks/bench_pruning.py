"""How many boosting rounds does pruning save, and what does it cost?

Ten small problems, each searched twice with the same seeds, the same number of trials and the same early stopping:
without a pruner and with the configured one. Rounds are those of all trials, really fitted. The loss is that of the
best value on the validation rows, relative. Exit code 1 when the median problem saves less than 40 % of the rounds,
or loses more than 0.5 % of the metric.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.tuning_tasks import TuningTask, tuning_tasks
from src.mlops.optuna.results import HPOSummary
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization

SAVED = 0.40
LOSS = 0.005
ALGORITHMS = ("lightgbm", "xgboost")


@dataclass(frozen=True)
class Compared:
    """One problem: rounds and best value without and with pruning, CPU seconds of both searches."""

    task: str
    algorithm: str
    metric: str
    rounds_without: int
    rounds_with: int
    best_without: float
    best_with: float
    pruned: int
    cpu_s_without: float
    cpu_s_with: float

    @property
    def saved(self) -> float:
        """Share of the rounds that were not fitted."""
        return 1 - self.rounds_with / self.rounds_without

    @property
    def loss(self) -> float:
        """How much worse the best value is, relative; negative when it is better."""
        return (self.best_without - self.best_with) / abs(self.best_without)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _quiet()
    found = []
    for number, task in enumerate(tuning_tasks(arguments.random_state)):
        algorithm = ALGORITHMS[number % len(ALGORITHMS)]
        found.append(asyncio.run(_compared(task, algorithm, arguments.trials, arguments.random_state)))
        if not arguments.json:
            _print_row(found[-1], header=number == 0)
    saved = statistics.median(one.saved for one in found)
    loss = statistics.median(one.loss for one in found)
    met = saved >= SAVED and loss <= LOSS
    if arguments.json:
        rows = [asdict(one) | {"saved": one.saved, "loss": one.loss} for one in found]
        print(json.dumps({"trials": arguments.trials, "tasks": rows, "saved": saved, "loss": loss, "met": met}))
    else:
        print(f"median: {saved:.0%} of the rounds saved (least {SAVED:.0%}), {loss:+.2%} lost (most {LOSS:.1%})")
    sys.exit(0 if met else 1)


async def _compared(task: TuningTask, algorithm: str, trials: int, random_state: int) -> Compared:
    without, cpu_without = await _searched(task, algorithm, "none", trials, random_state)
    pruned, cpu_with = await _searched(task, algorithm, None, trials, random_state)
    return Compared(
        task.name,
        algorithm,
        pruned.metric,
        without.resource_used,
        pruned.resource_used,
        without.best_value,
        pruned.best_value,
        pruned.trials.pruned,
        cpu_without,
        cpu_with,
    )


async def _searched(
    task: TuningTask, algorithm: str, pruner: str | None, trials: int, random_state: int
) -> tuple[HPOSummary, float]:
    """``pruner``: None is the configured one."""
    # Both searches have the same number of trials: none ends because nothing got better.
    config = {"storage_url": "memory", "limits": {"stop_after_no_improvement": trials}}
    optimizer = OptunaOptimizer("pruning", config=config | ({"default_pruner": pruner} if pruner else {}))
    started = time.process_time()
    summary, _ = await run_hyperparameter_optimization(
        experiment_id="pruning",
        algorithm=algorithm,
        problem_type=task.problem_type,
        search_space=optimizer.config.search_space(algorithm),
        train=task.train,
        validation=task.validation,
        n_trials=trials,
        random_state=random_state,
        optimizer=optimizer,
    )
    spent = time.process_time() - started
    await optimizer.aclose()
    return summary, spent


def _quiet() -> None:
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _print_row(one: Compared, *, header: bool) -> None:
    if header:
        print(
            f"{'problem':<14} {'algorithm':<9} {'metric':<12} {'rounds':>7} {'pruned':>7} {'saved':>6} "
            f"{'best':>9} {'best':>9} {'loss':>7} {'CPU s':>13}"
        )
    print(
        f"{one.task:<14} {one.algorithm:<9} {one.metric:<12} {one.rounds_without:>7} {one.rounds_with:>7} "
        f"{one.saved:>6.0%} {one.best_without:>9.4f} {one.best_with:>9.4f} {one.loss:>+7.2%} "
        f"{one.cpu_s_without:>6.1f} {one.cpu_s_with:>6.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
