"""What does the database keep of a training?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from src.agents.ml_foundation.model_trainer.services import Experiments, Training
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.ml_foundation.model_trainer.tracking import run_name, told_of
from src.errors import ContractViolation

LONGEST_MESSAGE = 2000
ROUNDS_USED = "rounds_used"
Row = dict[str, Any]


async def experiment_of(experiments: Experiments, training: Training, state: TrainState) -> str:
    """Id of the request's experiment, made where there is none.

    Raises ContractViolation for one of another target, brand or region.
    """
    request, run = state["request"], training.run
    return await experiments.ensure(
        request.experiment_id,
        mlflow_experiment_id=run.run.experiment_id if run is not None else None,
        prediction_target=request.data.target,
        brand=request.data.brand,
        region=request.data.region,
    )


async def experiment_of_failure(experiments: Experiments, training: Training, state: TrainState) -> str:
    """Where a training that did not complete is recorded; one that was refused by its experiment belongs to it too."""
    try:
        return await experiment_of(experiments, training, state)
    except ContractViolation:
        stored = await experiments.get(state["request"].experiment_id)
        if stored is None:
            raise
        return str(stored.id)


def training_row(
    training: Training,
    state: TrainState,
    experiment_id: str,
    ended_at: datetime | None,
    *,
    status: str = "completed",
    error: BaseException | None = None,
) -> Row:
    """A row of ``ml_training_runs``; metrics only of a training that completed. ``ended_at`` is None while it runs."""
    request, run, hpo = state["request"], training.run, state.get("hpo")
    metrics = state["evaluation"].metrics if status == "completed" else {}
    counts = state.get("split_counts", {})
    best = hpo is not None and status == "completed"
    return {
        "id": training.id,
        "experiment_id": experiment_id,
        "run_name": run_name(request, training.started_at),
        "mlflow_run_id": run.run.run_id if run is not None else None,
        "algorithm": request.candidate.algorithm,
        "hyperparameters": _hyperparameters(state),
        **{f"{name}_samples": counts.get(split) for name, split in _SAMPLES},
        "feature_names": list(state.get("feature_names", ())) or None,
        **{f"{split}_metrics": dict(metrics.get(split, {})) for split in ("train", "validation", "test")},
        "status": status,
        "error_type": type(error).__name__ if error is not None else None,
        "error_message": told_of(error)[:LONGEST_MESSAGE] if error is not None else None,
        "started_at": training.started_at,
        "completed_at": ended_at,
        "duration_seconds": None if ended_at is None else (ended_at - training.started_at).total_seconds(),
        "compute_type": "cpu",
        "gpu_used": False,
        "optuna_study_name": training.study.study_name if training.study is not None else request.resume_study,
        "optuna_trial_number": hpo.best_trial if hpo is not None else None,
        "is_best_trial": True if best else None,
    }


def _hyperparameters(state: TrainState) -> Row:
    """Everything the model was made with; ``rounds_used``: boosting rounds or trees that its predictions use."""
    if "trained" not in state:
        return dict(state["request"].candidate.default_params)
    trained = state["trained"]
    return {**trained.params, **({} if trained.rounds is None else {ROUNDS_USED: trained.rounds})}


_SAMPLES = (("training", "train"), ("validation", "validation"), ("test", "test"))
