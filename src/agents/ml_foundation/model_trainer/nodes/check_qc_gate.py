"""Does the data's gate stand open? Nothing is read before it does."""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.services import training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.quality_gate import reasons_to_stop
from src.agents.runtime import Deps, NodeError
from src.errors import DataQualityCheckpointError

NODE = "check_qc_gate"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gate that did not pass, as a checkpoint's finding."""

    reasons: tuple[str, ...]

    def headline(self) -> str:
        """Every reason in one line."""
        return f"the data may not be used for training: {'; '.join(self.reasons)}"


@step(NODE)
async def check_qc_gate(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """The request's gate, for the route. A refusal is what the gate is for, and no failure of this node."""
    gate = state["request"].qc_gate
    reasons = reasons_to_stop(gate)
    if not reasons:
        return {"gate": gate, "warnings": tuple(f"gate: {line}" for line in gate.warnings)}
    refused = DataQualityCheckpointError(Refusal(reasons))
    training_of(runtime.context).failure = refused
    return {"gate": gate, "error": NodeError(type(refused).__name__, str(refused), NODE)}
