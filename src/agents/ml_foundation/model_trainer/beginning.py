"""How does the database know of a training while it runs, and of one whose process was killed?"""

from __future__ import annotations

from src.agents.ml_foundation.model_trainer.rows import experiment_of, training_row
from src.agents.ml_foundation.model_trainer.services import Services, Training, TrainingRuns
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.errors import RunNotFound
from src.mlops.mlflow.results import RunInfo, RunStatus
from src.mlops.mlflow_connector import MLflowConnector


async def begin(services: Services, training: Training, state: TrainState) -> None:
    """Settle the experiment, end its trainings that a kill left running, and record this one as running.

    Only a training with a run in MLflow is recorded now, as it is the run that tells whether its process lives; any
    other gets its row when it ends. Raises ContractViolation for an experiment of another target, brand or region.
    """
    if services.records is None or not state["request"].enable_checkpointing:
        return
    runs = services.records.training_runs
    experiment_id = await experiment_of(services.records.experiments, training, state)
    if services.connector is None or training.run is None or training.run.run.run_id is None:
        return
    await _end_abandoned(runs, services.connector, experiment_id)
    await runs.begin(training_row(training, state, experiment_id, None, status="running"))


async def _end_abandoned(runs: TrainingRuns, connector: MLflowConnector, experiment_id: str) -> None:
    """Rows called running take the end of their run in MLflow, where it has one."""
    for training_id, run_id in await runs.running(experiment_id):
        try:
            run = await connector.get_run(run_id)
        except RunNotFound:
            continue
        if isinstance(run, RunInfo) and run.status is not RunStatus.RUNNING and run.end_time is not None:
            status = "cancelled" if run.status is RunStatus.KILLED else "failed"
            why = run.tags.get("error_message", "its end was not recorded")
            await runs.end_abandoned(training_id, status, run.end_time, run.tags.get("error_type"), why)
