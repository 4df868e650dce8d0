"""Load the test rows, for the first and only time, and judge the finished model."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.evaluation import evaluated
from src.agents.ml_foundation.model_trainer.nodes.load_splits import load_split, with_target
from src.agents.ml_foundation.model_trainer.preprocessing import labelled
from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, made, training_of
from src.agents.ml_foundation.model_trainer.splits import SplitsInvalid, overlaps, repeated, too_few, unknown_classes
from src.agents.ml_foundation.model_trainer.state import Evaluation, TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows
from src.mlops.modelling.intervals import LEAST_UNITS


@step("evaluate_model")
async def evaluate_model(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Raises SplitsInvalid when the test rows are among those the model has seen, too few, or of other classes."""
    request, training = state["request"], training_of(runtime.context)
    rows = await load_split(training, request.data, "test")
    test, told = await asyncio.to_thread(_accepted, training, rows, request)
    found = await asyncio.to_thread(_judged, training, request, state["trained"].threshold)
    return {
        "evaluation": found,
        "split_counts": {"test": len(test.frame)},
        "warnings": (*told, *_warnings(found, state)),
    }


def _accepted(training: Training, rows: SplitRows, request: TrainRequest) -> tuple[SplitRows, tuple[str, ...]]:
    data, coding = request.data, made(training.coding, "the target's coding")
    test, told = with_target(rows, data)
    training.rows["test"] = test
    reasons = (
        *repeated({"test": test}),
        *overlaps(training.rows),
        *too_few({"test": len(test.frame)}),
        *unknown_classes("test", test.frame[data.target], coding, data.target),
    )
    if reasons:
        raise SplitsInvalid(reasons)
    return test, told


def _judged(training: Training, request: TrainRequest, threshold: float | None) -> Evaluation:
    training.labelled["test"] = labelled(training, training.rows["test"], request.data)
    return evaluated(
        made(training.model, "the model"),
        training.labelled,
        threshold,
        request.success_criteria,
        units=training.rows["test"].units,
        random_state=request.random_state,
    )


def _warnings(found: Evaluation, state: TrainState) -> tuple[str, ...]:
    test = found.metrics["test"]
    undefined = [name for name in (state["metric"], *state["request"].success_criteria) if name not in test]
    few = () if found.intervals else (f"no intervals: there are fewer than {LEAST_UNITS} test rows, or units of them",)
    return (*(f"{name} is not defined on the test rows" for name in dict.fromkeys(undefined)), *few)
