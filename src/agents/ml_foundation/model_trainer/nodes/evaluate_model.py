"""Load the test rows, for the first and only time, and judge the finished model."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.evaluation import evaluated
from src.agents.ml_foundation.model_trainer.nodes.load_splits import load_split, with_target
from src.agents.ml_foundation.model_trainer.preprocessing import labelled
from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.ml_foundation.model_trainer.services import Training, made, training_of
from src.agents.ml_foundation.model_trainer.splits import SplitsInvalid, overlaps, repeated, too_few
from src.agents.ml_foundation.model_trainer.state import Evaluation, TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps


@step("evaluate_model")
async def evaluate_model(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Raises SplitsInvalid when the test rows are among those the model has seen, or too few."""
    request, training = state["request"], training_of(runtime.context)
    test, told = with_target(await load_split(training, request.data, "test"), request.data)
    training.rows["test"] = test
    reasons = (*repeated({"test": test}), *overlaps(training.rows), *too_few({"test": len(test.frame)}))
    if reasons:
        raise SplitsInvalid(reasons)
    found = await asyncio.to_thread(_judged, training, request, state["trained"].threshold)
    return {
        "evaluation": found,
        "split_counts": {"test": len(test.frame)},
        "warnings": (*told, *_warnings(found, state)),
    }


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
    return tuple(f"{name} is not defined on the test rows" for name in dict.fromkeys(undefined))
