"""Keep the training, its search and what the search taught, in the database."""

from __future__ import annotations

import dataclasses

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.rows import experiment_of, training_row
from src.agents.ml_foundation.model_trainer.services import services_of, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.ml_foundation.model_trainer.studies import keep_pattern, keep_study
from src.agents.runtime import Deps
from src.errors import E2IError


@step("save_checkpoint")
async def save_checkpoint(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """One row of the training: with it the training counts as completed. Raises DatabaseUnavailable.

    What the search taught is kept after it, so that only completed trainings teach; when that cannot be kept, the
    training is complete all the same, and the result says so.
    """
    services, training = services_of(runtime.context), training_of(runtime.context)
    if not state["request"].enable_checkpointing:
        return {}
    records = services.records
    if records is None:
        return {"degraded": ("database: there is no connection, and the training was not recorded",)}
    experiment_id = await experiment_of(records.experiments, training, state)
    await keep_study(records.studies, training, experiment_id)
    row = training_row(training, state, experiment_id, services.clock())
    update: TrainUpdate = {"training_run_id": await records.training_runs.add(row)}
    try:
        pattern_id = await keep_pattern(services, training, state)
    except E2IError as error:
        return {**update, "degraded": (f"patterns: what the search taught could not be kept: {error}",)}
    if pattern_id is not None and (summary := state["hpo"]) is not None:
        update["hpo"] = dataclasses.replace(summary, pattern_id=pattern_id)
    return update
