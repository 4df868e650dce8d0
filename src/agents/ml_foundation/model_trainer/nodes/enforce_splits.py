"""Hold the splits to what makes a number honest: nothing shared, enough rows, every class on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, training_of
from src.agents.ml_foundation.model_trainer.splits import (
    SplitsInvalid,
    lacking_classes,
    overlaps,
    repeated,
    too_few,
    unknown_classes,
)
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps
from src.errors import E2IError
from src.mlops.modelling.targets import TargetCoding, fit_target
from src.mlops.modelling.validation import training_problems

if TYPE_CHECKING:
    import pandas as pd


@step("enforce_splits")
async def enforce_splits(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Raises SplitsInvalid with every reason there is, ContractViolation for a target of the wrong kind."""
    request, training = state["request"], training_of(runtime.context)
    coding = await asyncio.to_thread(_enforced, training, request)
    training.coding = coding
    positive = coding.classes[1] if len(coding.classes) == 2 and isinstance(coding.classes[1], str) else None
    told = positive is not None and request.data.positive is None
    return {
        "classes": tuple(map(str, coding.classes)),
        "warnings": (f"'{positive}' of the target '{request.data.target}' counts as 1",) if told else (),
    }


def _enforced(training: Training, request: TrainRequest) -> TargetCoding:
    data, rows = request.data, training.rows
    train, validation = rows["train"].frame, rows["validation"].frame
    about = training_problems(train, target=data.target, features=(), problem_type=request.problem_type)
    reasons = [*repeated(rows), *overlaps(rows), *too_few({"validation": len(validation)}), *(p.message for p in about)]
    if about:
        raise SplitsInvalid(tuple(reasons))
    try:
        coding = fit_target(train[data.target], request.problem_type, data.positive, data.target)
    except E2IError as error:
        if reasons:
            raise SplitsInvalid((*reasons, str(error))) from error
        raise
    reasons += _about_classes(validation[data.target], coding, data.target)
    if reasons:
        raise SplitsInvalid(tuple(reasons))
    return coding


def _about_classes(values: pd.Series[Any], coding: TargetCoding, target: str) -> Iterator[str]:
    yield from unknown_classes("validation", values, coding, target)
    codes = coding.encode(values[coding.known(values, target)], target)
    yield from lacking_classes("validation", codes, len(coding.classes), target)
