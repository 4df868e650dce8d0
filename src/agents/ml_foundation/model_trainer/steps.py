"""What happens around each node of model_trainer, besides its span and its budget?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.services import PLACE, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.runtime import Deps, Node, traced_node
from src.errors import E2IError


def step(name: str) -> Callable[[Node[TrainState]], Node[TrainState]]:
    """A traced node that notes its visit, and keeps the error that ends the run for those who must tell of it."""

    def decorate(node: Node[TrainState]) -> Node[TrainState]:
        @functools.wraps(node)
        async def watched(state: TrainState, runtime: Runtime[Deps]) -> Any:
            try:
                return await node(state, runtime)
            except E2IError as error:
                training_of(runtime.context).failure = error
                raise

        traced = traced_node(PLACE, name)(watched)

        @functools.wraps(node)
        async def run(state: TrainState, runtime: Runtime[Deps]) -> Any:
            return {**await traced(state, runtime), "visited": (name,)}

        return run

    return decorate
