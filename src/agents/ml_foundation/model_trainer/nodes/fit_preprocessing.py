"""Learn on the training rows how raw columns become those of a model, and whether the classes must be balanced."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.preprocessing import labelled, learn_transforms
from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, made, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps
from src.domain.modelling import ProblemType
from src.mlops.modelling.imbalance import judge_imbalance
from src.mlops.modelling.validation import refuse_problems, training_problems

# Parameters by which a candidate weighs the classes itself.
WEIGHING = frozenset({"scale_pos_weight", "class_weight", "is_unbalance"})


@step("fit_preprocessing")
async def fit_preprocessing(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Raises DataUnavailable for a feature without any value, ContractViolation for one that names rows."""
    request, training = state["request"], training_of(runtime.context)
    await asyncio.to_thread(_fitted, training, request)
    balanced, told = balance(training, request)
    return {
        "feature_names": tuple(map(str, training.labelled["train"].X.columns)),
        "balanced": balanced,
        "warnings": told,
    }


def _fitted(training: Training, request: TrainRequest) -> None:
    data, train = request.data, training.rows["train"].frame
    refuse_problems(
        training_problems(train, target=data.target, features=data.features, problem_type=request.problem_type)
    )
    training.transforms = learn_transforms(training, data)
    training.labelled = {name: labelled(training, split, data) for name, split in training.rows.items()}


def balance(training: Training, request: TrainRequest) -> tuple[bool, tuple[str, ...]]:
    """Whether each class shall weigh the same in training, and what to say of unequal classes."""
    if request.problem_type is ProblemType.REGRESSION:
        return False, ()
    judged = judge_imbalance(training.labelled["train"].y, len(made(training.coding, "the target's coding").classes))
    candidate = request.candidate
    own = sorted(WEIGHING & {*candidate.default_params, *candidate.search_space})
    if judged.balance and own:
        return False, (f"{judged.note.partition(':')[0]}: classes are weighed by the candidate's {own[0]}",)
    return judged.balance, (judged.note,) if judged.balance else ()
