"""Does the data's gate stand open? Nothing is read before it does."""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.services import training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.quality_gate import QCGate
from src.agents.runtime import Deps, NodeError
from src.errors import DataQualityCheckpointError

NODE = "check_qc_gate"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gate that did not pass, as a checkpoint's finding."""

    gate: QCGate

    def headline(self) -> str:
        """Every blocker in one line."""
        why = "; ".join(self.gate.blockers) or "it gives no reason"
        return f"the data may not be used for training: {why}"


@step(NODE)
async def check_qc_gate(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """The request's gate, for the route. A refusal is what the gate is for, and no failure of this node."""
    gate = state["request"].qc_gate
    if gate.passed:
        return {"gate": gate, "warnings": tuple(f"gate: {line}" for line in gate.warnings)}
    refused = DataQualityCheckpointError(Refusal(gate))
    training_of(runtime.context).failure = refused
    return {"gate": gate, "error": NodeError(type(refused).__name__, str(refused), NODE)}
