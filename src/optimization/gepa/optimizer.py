"""How is a program's prompt optimised by GEPA, and what is recorded of it?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.errors import ConfigError, ContractViolation, HPOError
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.opik_connector import OpikConnector
from src.optimization.gepa.bridge import Bridge, RunStopped
from src.optimization.gepa.configuration import BudgetName, GepaConfig, load_gepa_config
from src.optimization.gepa.generations import Listener, Search, Watcher
from src.optimization.gepa.integration.mlflow_integration import GEPAMLflowCallback, optimization_run
from src.optimization.gepa.integration.opik_integration import GEPAOpikTracer
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.metrics import metric_for
from src.optimization.gepa.versioning import save_optimized_module

LEAST_VALIDATION = 2


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """What an optimisation came to; scores are means on the validation set, instructions by predictor."""

    version_id: str
    best_score: float
    baseline_score: float
    generations: int
    metric_calls: int
    instructions: Mapping[str, str]
    mlflow_run_id: str | None = None
    opik_trace_id: str | None = None
    problems: tuple[str, ...] = ()
    """What could not be recorded."""
    module: Any = field(default=None, compare=False, repr=False)
    """The program with the best instructions."""


def create_gepa_optimizer(
    metric: Callable[..., Any],
    trainset: Sequence[Any],
    valset: Sequence[Any],
    reflection_lm: Any,
    auto: BudgetName = "medium",
    random_state: int | None = None,
    log_dir: str | None = None,
    callbacks: Sequence[Any] = (),
    *,
    config: GepaConfig | None = None,
    max_metric_calls: int | None = None,
    proposer: Any = None,
) -> Any:
    """A ``dspy.GEPA`` with the configured budget ``auto``, or ``max_metric_calls``. Everything random has a seed.

    With ``log_dir`` gepa keeps its own state there. Raises ContractViolation for a metric that is not synchronous
    or does not take GEPA's five arguments, HPOError for too few examples or for a validation set that is learnt from.
    """
    settings = config or load_gepa_config()
    _check_metric(metric)
    check_sets(trainset, valset, settings.reflection_minibatch)
    gepa = load_dspy().GEPA
    return gepa(
        metric=metric,
        max_metric_calls=max_metric_calls or settings.budgets.calls(auto),
        reflection_lm=reflection_lm,
        instruction_proposer=proposer,
        reflection_minibatch_size=settings.reflection_minibatch,
        candidate_selection_strategy=settings.candidate_selection,
        use_merge=settings.use_merge,
        max_merge_invocations=settings.max_merge_invocations,
        num_threads=settings.threads,
        track_stats=True,
        warn_on_score_mismatch=False,
        log_dir=log_dir,
        seed=settings.random_state if random_state is None else random_state,
        gepa_kwargs={"callbacks": list(callbacks)},
    )


def check_sets(trainset: Sequence[Any], valset: Sequence[Any], least_train: int) -> None:
    """Raise HPOError, naming the counts, where there is too little to learn from or to choose by."""
    if len(trainset) < least_train or len(valset) < LEAST_VALIDATION:
        raise HPOError(
            f"too few examples: {len(trainset)} to learn from ({least_train} needed) and {len(valset)} to choose by "
            f"({LEAST_VALIDATION} needed); wait for more answers"
        )
    if any(one in trainset for one in valset):
        raise HPOError("the validation set has examples of the training set: what is learnt from cannot judge")


async def optimize_agent(
    agent: str,
    module: Any,
    trainset: Sequence[Any],
    valset: Sequence[Any],
    budget: BudgetName | None = None,
    *,
    reflection_lm: Any = None,
    metric: Callable[..., Any] | None = None,
    config: GepaConfig | None = None,
    random_state: int | None = None,
    proposer: Any = None,
    callbacks: Sequence[Listener] = (),
    mlflow: MLflowConnector | None = None,
    opik: OpikConnector | None = None,
    folder: Path | None = None,
    max_metric_calls: int | None = None,
) -> OptimizationResult:
    """Optimise the instructions of ``module`` for an agent, with its configured metric and budget, and save them.

    ``reflection_lm`` is by default the model that dspy is configured with. MLflow gets one run whose steps are the
    generations, Opik one trace with a child span per generation. Raises ConfigError for an agent that is not configured
    and where no model reflects, HPOError as ``create_gepa_optimizer`` does.
    """
    settings = config or load_gepa_config()
    chosen = settings.agent(agent)
    if (reflecting := reflection_lm or load_dspy().settings.lm) is None:
        raise ConfigError("no model reflects on prompts: give a reflection_lm, or configure dspy with one")
    seed = settings.random_state if random_state is None else random_state
    facts = {"agent": agent, "optimizer": "gepa", "metric": chosen.metric, "random_state": seed}
    bridge = Bridge()
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(optimization_run(mlflow, agent, f"{agent} gepa", facts))
        span = await stack.enter_async_context(GEPAOpikTracer(connector=opik).trace_run(agent, facts))
        listeners: list[Listener] = [GEPAMLflowCallback(run, bridge), span.listener(bridge), *callbacks]
        watcher = Watcher(listeners)
        optimizer = create_gepa_optimizer(
            metric or metric_for(agent, settings),
            trainset,
            valset,
            reflecting,
            budget or chosen.budget,
            seed,
            callbacks=[watcher],
            config=settings,
            max_metric_calls=max_metric_calls,
            proposer=proposer,
        )
        found: Search = await bridge.run_in_thread(
            lambda: compile_watched(optimizer, module, trainset, valset, watcher)
        )
        if not found.tried:
            raise HPOError(f"the run ended before the instructions in use were judged: {found.stopped}")
        problems = [*watcher.problems, *await span.record_trials(agent, found, facts)]
    best = with_instructions(module, found.best.texts)
    saved = save_optimized_module(
        agent,
        found.best.texts,
        folder=folder or settings.versioning.folder,
        keep=settings.versioning.keep,
        score=found.best.score,
        baseline_score=found.baseline.score,
        metadata={**facts, "metric_calls": found.metric_calls},
        now=datetime.now(UTC),
    )
    return OptimizationResult(
        saved.version_id,
        found.best.score,
        found.baseline.score,
        len(found.generations) - 1,
        found.metric_calls,
        dict(found.best.texts),
        run.run_id if run is not None else None,
        span.trace_id,
        tuple(problems),
        best,
    )


def compile_watched(
    optimizer: Any, student: Any, trainset: Sequence[Any], valset: Sequence[Any], watcher: Watcher
) -> Search:
    """Compile in this thread. A stopped run gives what it found, perhaps nothing; raises its error when it has one."""
    stopped: RunStopped | None = None
    try:
        optimizer.compile(student, trainset=list(trainset), valset=list(valset))
    except RunStopped as why:
        stopped = why
    search = watcher.ended(stopped.reason if stopped else None)
    if stopped is not None and stopped.error is not None:
        raise stopped.error
    return search


def with_instructions(module: Any, texts: Mapping[str, str]) -> Any:
    """A copy of a program with other instructions, by predictor."""
    program = module.deepcopy()
    for name, predictor in program.named_predictors():
        if name in texts:
            predictor.signature = predictor.signature.with_instructions(texts[name])
    return program


def _check_metric(metric: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(metric) or inspect.iscoroutinefunction(type(metric).__call__):
        raise ContractViolation("a GEPA metric is synchronous: it returns score and feedback, not a coroutine")
    try:
        inspect.signature(metric).bind(None, None, None, None, None)
    except TypeError as error:
        raise ContractViolation(
            "a GEPA metric takes five arguments: (gold, pred, trace, pred_name, pred_trace)"
        ) from error
