"""Open the training's run, settle its experiment, and search for hyperparameters on the validation rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.balance import balance
from src.agents.ml_foundation.model_trainer.beginning import begin
from src.agents.ml_foundation.model_trainer.services import Training, made, services_of, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.ml_foundation.model_trainer.tracking import OpenRun, experiment_name, open_run
from src.agents.ml_foundation.model_trainer.tuning import Search, run_search, time_limit
from src.agents.runtime import Deps
from src.mlops.optuna.results import HPOSummary
from src.mlops.optuna.trial_runs import TrialRuns

if TYPE_CHECKING:
    from src.mlops.mlflow_connector import MLflowConnector

NODE = "tune_hyperparameters"


@step(NODE)
async def tune_hyperparameters(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Trials become runs below the training's own, which stays open until the training ends.

    Raises ContractViolation for an experiment of another target, brand or region, HPOError when no trial gave a
    value, StoreRefused when MLflow says no; away, it changes nothing here.
    """
    deps, request = runtime.context, state["request"]
    services, training = services_of(deps), training_of(deps)
    training.run = await _opened(services.connector, training, state)
    await begin(services, training, state)
    optimizer = training.optimizer = services.optimizer(experiment_name(request))
    if not request.enable_mlflow:
        optimizer.config = optimizer.config.changed(mlflow={"log_trials": False})
    metric = request.metric or optimizer.config.metrics.of(request.problem_type)
    balanced, noted = balance(training, request, metric)
    if not request.enable_hpo:
        noted += ("no hyperparameters were searched: defaults are used",)
        return {"metric": metric, "balanced": balanced, "hpo": None, "warnings": noted}

    def told(done: int, planned: int, best: float | None) -> None:
        reached = "" if best is None else f", best {metric} {best:.4f}"
        deps.on_progress(f"{NODE}: trial {done} of {planned}{reached}")

    def begun(study: str) -> None:
        deps.on_progress(f"{NODE}: study {study}")

    limit = time_limit(request, deps.node_timeouts.get(NODE))
    search = Search(request, training, metric, balanced, limit, told, begun)
    summary = await run_search(optimizer, services, search)
    training.trials = await optimizer.get_optimization_history(made(training.study, "the study"))
    return {
        "metric": metric,
        "balanced": balanced,
        "hpo": summary,
        "warnings": noted + _failed(summary),
        "degraded": runs_missing(optimizer.last_runs),
    }


async def _opened(connector: MLflowConnector | None, training: Training, state: TrainState) -> OpenRun | None:
    """The training's run; None where nothing is to be recorded, or nowhere."""
    request = state["request"]
    if connector is None or not request.enable_mlflow:
        return None
    return await open_run(connector, request, training.started_at, state["loaded"].source)


def runs_missing(runs: TrialRuns | None) -> tuple[str, ...]:
    """What to say of trials whose runs are not in MLflow, and not in the spool either."""
    if runs is None:
        return ()
    lines = []
    if runs.refused:
        number, why = min(runs.refused.items())
        lines.append(f"mlflow: {len(runs.refused)} trials have no run of their own; that of trial {number}: {why}")
    if runs.lost:
        lines.append(
            f"mlflow: {runs.lost} runs of trials were lost: the store is away, and the spool took them not whole"
        )
    return tuple(lines)


def _failed(summary: HPOSummary) -> tuple[str, ...]:
    failed, total = summary.trials.failed, summary.trials.total
    return (f"{failed} of {total} trials failed; the study keeps their errors",) if failed else ()
