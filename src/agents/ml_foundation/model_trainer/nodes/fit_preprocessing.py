"""Learn on the training rows how raw columns become those of a model."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.preprocessing import labelled, learn_transforms
from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps
from src.mlops.modelling.validation import refuse_problems, training_problems


@step("fit_preprocessing")
async def fit_preprocessing(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Raises DataUnavailable for a feature without any value, ContractViolation for one that names rows."""
    request, training = state["request"], training_of(runtime.context)
    await asyncio.to_thread(_fitted, training, request)
    return {"feature_names": tuple(map(str, training.labelled["train"].X.columns))}


def _fitted(training: Training, request: TrainRequest) -> None:
    data, train = request.data, training.rows["train"].frame
    refuse_problems(
        training_problems(train, target=data.target, features=data.features, problem_type=request.problem_type)
    )
    training.transforms = learn_transforms(training, data)
    training.labelled = {name: labelled(training, split, data) for name, split in training.rows.items()}
