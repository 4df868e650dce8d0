"""Which hyperparameters does the model get? One search, begun with what earlier ones taught, by one or more workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Services, Training
from src.mlops.optuna.objectives import EARLY_STOPPING_ROUNDS
from src.mlops.optuna.results import EarlierSearch, HPOSummary, TrialRecord, WarmStart
from src.mlops.optuna.workers import ValidationTask, rows_on_disk, run_workers
from src.mlops.optuna_optimizer import (
    OptunaOptimizer,
    open_search,
    run_hyperparameter_optimization,
    subject_of_search,
)

if TYPE_CHECKING:
    from src.mlops.hpo_pattern_memory import PatternQuery

OnTrial = Callable[[int, int, float | None], None]
# A search that stops before its node's budget is used up keeps what it found.
BUDGET_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched on which rows.

    ``timeout_s``: seconds for the whole search. ``on_progress`` is told of each trial: how many have ended, how many
    there will be, and the best value so far, where it is known; ``on_study`` of the study's name, before them.
    """

    request: TrainRequest
    training: Training
    metric: str
    balanced: bool
    timeout_s: float | None
    on_progress: OnTrial
    on_study: Callable[[str], None] = lambda _: None

    @property
    def parent_run_id(self) -> str | None:
        """The run that trials lie below; None while MLflow has given none."""
        return self.training.run.run.run_id if self.training.run is not None else None


def early_stopping_rounds(request: TrainRequest) -> int | None:
    """Rounds without improvement after which boosting ends, in trials as in the final fit; None goes on to the last."""
    return EARLY_STOPPING_ROUNDS if request.early_stopping else None


def time_limit(request: TrainRequest, node_budget_s: float | None) -> float | None:
    """Seconds for the search: what the request says, at most nine tenths of the node's budget, if it has one."""
    limits = (request.hpo_timeout_s, None if node_budget_s is None else BUDGET_SHARE * node_budget_s)
    return min((limit for limit in limits if limit is not None), default=None)


async def run_search(optimizer: OptunaOptimizer, services: Services, search: Search) -> HPOSummary:
    """The best hyperparameters. The study is kept in ``training.study`` as soon as there is one.

    Raises HPOError when no trial gave a value, and what else the optimizer's methods raise.
    """
    request, training = search.request, search.training
    subject = await subject_of_search(**_common(search))
    starts, earlier = await known_before(services, search)
    # Opened first, so that also a search that fails is known by its name.
    study = await open_search(optimizer, "tuning", subject, request.resume_study, request.random_state, starts, earlier)
    training.study, training.tried_before = study, len(await optimizer.get_optimization_history(study))
    search.on_study(str(study.study_name))
    left = request.hpo_trials - training.tried_before
    if request.workers > 1 and left > 1 and subject.search_space:
        return await _shared(optimizer, services, search, study, left)
    summary, _ = await run_hyperparameter_optimization(
        **_common(search),
        experiment_id=request.experiment_id,
        n_trials=request.hpo_trials,
        timeout_s=search.timeout_s,
        optimizer=optimizer,
        parent_run_id=search.parent_run_id,
        resume_study=study.study_name,
        on_progress=lambda told: search.on_progress(told.done, told.planned, told.best_value),
    )
    return summary


async def _shared(optimizer: OptunaOptimizer, services: Services, search: Search, study: Any, left: int) -> HPOSummary:
    """The same by several workers that share the study; their trials are logged when all are done."""
    request, training = search.request, search.training
    objective = optimizer.create_validation_objective(
        **_common(search), max_reports=optimizer.config.pruners.hyperband.max_resource
    )
    ended = training.tried_before

    async def told(_: Any) -> None:
        nonlocal ended
        ended += 1
        search.on_progress(ended, request.hpo_trials, None)

    async with shared_rows(training) as rows:
        task = ValidationTask(str(rows), objective.fitting, optimizer.config, request.random_state)
        async with services.executor(request.workers) as executor:
            await run_workers(
                executor=executor,
                storage_url=optimizer.storage_url,
                study_name=study.study_name,
                n_trials=left,
                task=task,
                timeout_s=search.timeout_s,
                on_trial=told,
            )
    await optimizer.log_trials(study, search.parent_run_id)
    return await optimizer.summarize(study)


@asynccontextmanager
async def shared_rows(training: Training) -> AsyncIterator[Path]:
    """``rows_on_disk``, written in a thread; a cancellation waits for the file, so that it is deleted."""
    with ExitStack() as stack:
        rows = rows_on_disk(training.labelled["train"], training.labelled["validation"])
        writing = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, rows))
        try:
            path = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise
        yield path


def _common(search: Search) -> dict[str, Any]:
    """What every trial of the search has in common."""
    request, labelled = search.request, search.training.labelled
    return {
        "algorithm": request.candidate.algorithm,
        "problem_type": request.problem_type,
        "search_space": request.candidate.search_space,
        "train": labelled["train"],
        "validation": labelled["validation"],
        "metric": search.metric,
        "fixed_params": dict(request.candidate.default_params),
        "balanced": search.balanced,
        "random_state": request.random_state,
        "early_stopping_rounds": early_stopping_rounds(request),
    }


async def known_before(services: Services, search: Search) -> tuple[list[WarmStart], list[EarlierSearch]]:
    """What was best on problems like this one, for half of the trials at most (the others look for something better),
    and all that is remembered of the searches there.

    Nothing for a study that goes on, which has kept it, or without a memory.
    """
    request, patterns = search.request, services.patterns
    if patterns is None or request.resume_study is not None or not request.candidate.search_space:
        return [], []
    asked = await query(search.training, request, search.metric)
    starts = await patterns.get_warmstart(asked, most=max(1, request.hpo_trials // 2))
    return starts, await patterns.get_earlier_searches(asked)


async def query(training: Training, request: TrainRequest, metric: str) -> PatternQuery:
    """The search as the memory of earlier ones knows it."""
    from src.mlops.hpo_pattern_memory import query_of

    candidate = request.candidate
    return await asyncio.to_thread(
        query_of, candidate.algorithm, request.problem_type, metric, candidate.search_space, training.labelled["train"]
    )


def improvements(summary: HPOSummary, trials: Sequence[TrialRecord]) -> dict[str, float]:
    """By pattern: how much better its best's trial was than the one with the algorithm's defaults, in the metric's
    units.

    Where that trial was pruned, the last value it reported counts; a pattern that repeats the defaults is worth 0. A
    pattern whose own trial gave no value was not measured, and nothing was where the defaults failed.
    """
    usual = next((trial for trial in trials if trial.defaults), None)
    if usual is None or (value := _reached(usual)) is None:
        return {}
    sign = 1.0 if summary.direction == "maximize" else -1.0
    tried: dict[str | None, TrialRecord] = {}
    for trial in trials:
        tried.setdefault(trial.origin, trial)
    gained: dict[str, float] = {}
    for start in summary.warmstart:
        own = tried.get(f"warm_start:{start.pattern_id}")
        if own is not None and own.state == "COMPLETE" and own.value is not None:
            gained[start.pattern_id] = sign * (own.value - value)
    return gained


def _reached(trial: TrialRecord) -> float | None:
    if trial.state == "PRUNED" and trial.intermediate_values:
        return float(trial.intermediate_values[max(trial.intermediate_values)])
    return None if trial.value is None else float(trial.value)
