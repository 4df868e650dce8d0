"""Fit the model with the best hyperparameters, and choose its threshold on the validation rows."""

from __future__ import annotations

import asyncio
import dataclasses

from langgraph.runtime import Runtime
from threadpoolctl import threadpool_limits

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, made, training_of
from src.agents.ml_foundation.model_trainer.state import TrainedModel, TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.ml_foundation.model_trainer.tuning import early_stopping_rounds
from src.agents.runtime import Deps
from src.domain.modelling import ProblemType
from src.errors import DataUnavailable
from src.mlops.modelling.bundle import ModelBundle
from src.mlops.modelling.calibration import calibrate
from src.mlops.modelling.families import algorithm_named
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.thresholds import choose_threshold
from src.mlops.modelling.types import FittedModel

BALANCED = "probabilities are those of balanced classes, too high for the rare ones"


@step("train_model")
async def train_model(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Everything is learnt from training rows and chosen on validation rows; the test rows are not loaded yet."""
    training = training_of(runtime.context)
    model, threshold = await asyncio.to_thread(_trained, training, state)
    training.model = model
    training.bundle = ModelBundle(
        made(training.transforms, "the preprocessing"),
        model,
        made(training.coding, "the target's coding"),
        state["request"].data.target,
        threshold,
    )
    trained = TrainedModel(model.algorithm, dict(model.params), model.balanced, threshold, model.rounds)
    return {"trained": trained, "warnings": (*model.notes, *_optimistic(state, model, training))}


def _trained(training: Training, state: TrainState) -> tuple[FittedModel, float | None]:
    request, validation = state["request"], training.labelled["validation"]
    with threadpool_limits(limits=1):
        model = _fitted(training, request, state)
        if request.problem_type is not ProblemType.BINARY:
            return (_noted(model, BALANCED) if model.balanced else model), None
        if model.balanced:
            model = _calibrated(model, training)
        return model, choose_threshold(validation.y, model.scores(validation.X)).value


def _fitted(training: Training, request: TrainRequest, state: TrainState) -> FittedModel:
    summary, patience = state["hpo"], early_stopping_rounds(request)
    found = summary.best_params if summary is not None else {}
    return fit_model(
        request.candidate.algorithm,
        request.problem_type,
        {**request.candidate.default_params, **found},
        training.labelled["train"],
        validation=training.labelled["validation"] if patience is not None else None,
        metric=state["metric"],
        early_stopping_rounds=patience,
        balanced=state["balanced"],
        random_state=request.random_state,
        n_jobs=1,
    )


def _calibrated(model: FittedModel, training: Training) -> FittedModel:
    """Weighing the classes moves all probabilities towards a half; that is undone where enough rows allow it."""
    try:
        return calibrate(model, training.labelled["validation"])
    except DataUnavailable as error:
        return _noted(model, f"{BALANCED}: {error}")


def _noted(model: FittedModel, note: str) -> FittedModel:
    return dataclasses.replace(model, notes=(*model.notes, note))


def _optimistic(state: TrainState, model: FittedModel, training: Training) -> tuple[str, ...]:
    """What was chosen on the validation rows, which are then no fair judge of it."""
    chosen = {
        "hyperparameters": state["hpo"] is not None,
        "the rounds of boosting": algorithm_named(model.algorithm).family == "boosting"
        and early_stopping_rounds(state["request"]) is not None,
        "the recalibration": model.recalibration is not None,
        "the threshold": made(training.bundle, "the model's bundle").threshold is not None,
    }
    names = ", ".join(name for name, was in chosen.items() if was)
    said = "metrics of the validation rows are optimistic, for on them was chosen"
    return (f"{said}: {names}",) if names else ()
