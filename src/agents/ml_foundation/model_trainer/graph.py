"""In which order does model_trainer work, and where does it stop?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.model_trainer.nodes.check_qc_gate import check_qc_gate
from src.agents.ml_foundation.model_trainer.nodes.enforce_splits import enforce_splits
from src.agents.ml_foundation.model_trainer.nodes.evaluate_model import evaluate_model
from src.agents.ml_foundation.model_trainer.nodes.fit_preprocessing import fit_preprocessing
from src.agents.ml_foundation.model_trainer.nodes.load_splits import load_splits
from src.agents.ml_foundation.model_trainer.nodes.mlflow_logger import log_to_mlflow
from src.agents.ml_foundation.model_trainer.nodes.save_checkpoint import save_checkpoint
from src.agents.ml_foundation.model_trainer.nodes.train_model import train_model
from src.agents.ml_foundation.model_trainer.nodes.tune_hyperparameters import tune_hyperparameters
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.quality_gate import after_gate
from src.agents.runtime import Deps, Node

GATE = "check_qc_gate"
STEPS: tuple[tuple[str, Node[TrainState]], ...] = (
    (GATE, check_qc_gate),
    ("load_splits", load_splits),
    ("enforce_splits", enforce_splits),
    ("fit_preprocessing", fit_preprocessing),
    ("tune_hyperparameters", tune_hyperparameters),
    ("train_model", train_model),
    ("evaluate_model", evaluate_model),
    ("log_to_mlflow", log_to_mlflow),
    ("save_checkpoint", save_checkpoint),
)


def onward(following: str) -> Callable[[TrainState], str]:
    """Go on with ``following``, or end when a node could not do its work."""
    return lambda state: END if "error" in state else following


def build_graph() -> CompiledStateGraph[TrainState, Deps, TrainState, TrainState]:
    """The steps in order. A gate that did not pass ends the run before any row is read; so does, later, an error."""
    graph = StateGraph(TrainState, context_schema=Deps)
    for name, node in STEPS:
        graph.add_node(name, node)
    graph.add_edge(START, GATE)
    graph.add_conditional_edges(GATE, after_gate, {"proceed": STEPS[1][0], "blocked": END})
    for (name, _), (following, _) in pairwise(STEPS[1:]):
        graph.add_conditional_edges(name, onward(following), [following, END])
    graph.add_edge(STEPS[-1][0], END)
    return graph.compile()
