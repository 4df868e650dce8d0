"""How does a run end everywhere alike: in MLflow, in the database and in the result?"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from src.agents.ml_foundation.model_trainer.result import ModelRef
from src.agents.ml_foundation.model_trainer.rows import experiment_of_failure, training_row
from src.agents.ml_foundation.model_trainer.services import Services, Training
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.ml_foundation.model_trainer.studies import keep_study
from src.agents.ml_foundation.model_trainer.tracking import WAITING
from src.errors import E2IError

MODEL = "model"


async def ended(services: Services, training: Training, state: TrainState) -> TrainState:
    """Close the run and, where it failed, record that. What could not be told of its end is named as degraded."""
    troubles: list[str] = []
    found: dict[str, Any] = dict(state)
    if training.run is not None:
        troubles += await _closed(training, training.failure)
    if training.failure is None:
        troubles += await _delivered_late(services, training, found)
    else:
        kept, told = await _failed(services, training, state, training.failure, "failed")
        found |= {"model_ref": None, "training_run_id": kept}
        troubles += told
    found["degraded"] = (*found.get("degraded", ()), *troubles)
    return found  # type: ignore[return-value]


async def abandoned(services: Services, training: Training, state: TrainState, error: BaseException) -> None:
    """Close the run and record that an unexpected error, a used-up budget or a cancellation ended it."""
    status = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
    troubles = await _closed(training, error) if training.run is not None else []
    troubles += (await _failed(services, training, state, error, status))[1]
    for trouble in troubles:
        error.add_note(trouble)


async def _closed(training: Training, error: BaseException | None) -> list[str]:
    if training.run is None:
        return []
    try:
        await training.run.close(error)
    except E2IError as trouble:
        if trouble is not error:
            return [f"mlflow: the run could not be ended: {trouble}"]
    return []


async def _failed(
    services: Services, training: Training, state: TrainState, error: BaseException, status: str
) -> tuple[str | None, list[str]]:
    """Record a training that did not complete, and the search it made; its id, and what could not be recorded.

    One that ended before its rows were loaded has trained nothing, and leaves no row.
    """
    records = services.records
    rows = state.get("split_counts", {}).get("train", 0)
    if records is None or not state["request"].enable_checkpointing or not rows:
        return None, []
    try:
        experiment_id = await experiment_of_failure(records.experiments, training, state)
        interrupted = "hpo" not in state and not isinstance(error, E2IError)
        await keep_study(records.studies, training, experiment_id, broken_off=interrupted)
        row = training_row(training, state, experiment_id, services.clock(), status=status, error=error)
        return await records.training_runs.add(row), []
    except E2IError as trouble:
        return None, [f"database: the {status} training could not be recorded: {trouble}"]


async def _delivered_late(services: Services, training: Training, found: dict[str, Any]) -> list[str]:
    """A short outage heals at the end of the run: the model is then stored after all, and nothing waits any more."""
    reference, run = found.get("model_ref"), training.run
    if run is None or not isinstance(reference, ModelRef) or reference.persisted or not run.run.persisted:
        return []
    run_id = run.run.run_id
    found["model_ref"] = dataclasses.replace(reference, uri=f"runs:/{run_id}/{MODEL}", run_id=run_id, persisted=True)
    found["degraded"] = tuple(line for line in found.get("degraded", ()) if line != WAITING)
    if services.records is None or run_id is None or found.get("training_run_id") is None:
        return []
    try:
        await services.records.training_runs.link_mlflow_run(training.id, run_id)
    except E2IError as trouble:
        return [f"database: the training could not be linked to its run in MLflow: {trouble}"]
    return []
