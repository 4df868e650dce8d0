"""Open the training's run and search for hyperparameters on the validation rows."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.services import made, services_of, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.ml_foundation.model_trainer.tracking import experiment_name, open_run
from src.agents.ml_foundation.model_trainer.tuning import Search, run_search, time_limit
from src.agents.runtime import Deps

NODE = "tune_hyperparameters"


@step(NODE)
async def tune_hyperparameters(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Trials become runs below the training's own, which stays open until the training ends.

    Raises HPOError when no trial gave a value, StoreRefused when MLflow says no; away, it changes nothing here.
    """
    deps, request = runtime.context, state["request"]
    services, training = services_of(deps), training_of(deps)
    if services.connector is not None and request.enable_mlflow:
        training.run = await open_run(services.connector, request, training.started_at, state["loaded"].source)
    optimizer = training.optimizer = services.optimizer(experiment_name(request))
    if not request.enable_mlflow:
        optimizer.config = optimizer.config.changed(mlflow={"log_trials": False})
    metric = request.metric or optimizer.config.metrics.of(request.problem_type)
    if not request.enable_hpo:
        return {"metric": metric, "hpo": None, "warnings": ("no hyperparameters were searched: defaults are used",)}

    def told(done: int, planned: int, best: float | None) -> None:
        reached = "" if best is None else f", best {metric} {best:.4f}"
        deps.on_progress(f"{NODE}: trial {done} of {planned}{reached}")

    limit = time_limit(request, deps.node_timeouts.get(NODE))
    search = Search(request, training, metric, state["balanced"], limit, told)
    summary = await run_search(optimizer, services, search)
    training.trials = await optimizer.get_optimization_history(made(training.study, "the study"))
    failed = summary.trials.failed
    warnings = (f"{failed} of {summary.trials.total} trials failed; the study keeps their errors",) if failed else ()
    return {"metric": metric, "hpo": summary, "warnings": warnings}
