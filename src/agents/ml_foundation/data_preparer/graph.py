"""In which order does data_preparer work, and where does it turn off?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.data_preparer.nodes.compute_baseline_metrics import compute_baseline_metrics
from src.agents.ml_foundation.data_preparer.nodes.detect_leakage import detect_leakage
from src.agents.ml_foundation.data_preparer.nodes.finalize_output import finalize_output
from src.agents.ml_foundation.data_preparer.nodes.load_data import load_data
from src.agents.ml_foundation.data_preparer.nodes.register_features_in_feast import register_features_in_feast
from src.agents.ml_foundation.data_preparer.nodes.run_ge_validation import run_ge_validation
from src.agents.ml_foundation.data_preparer.nodes.run_quality_checks import run_quality_checks
from src.agents.ml_foundation.data_preparer.nodes.run_schema_validation import run_schema_validation
from src.agents.ml_foundation.data_preparer.nodes.transform_data import transform_data
from src.agents.ml_foundation.data_preparer.state import PrepareState
from src.agents.runtime import Deps, Node

LAST = "finalize_output"
STEPS: tuple[tuple[str, Node[PrepareState]], ...] = (
    ("load_data", load_data),
    ("run_schema_validation", run_schema_validation),
    ("run_quality_checks", run_quality_checks),
    ("run_ge_validation", run_ge_validation),
    ("detect_leakage", detect_leakage),
    ("transform_data", transform_data),
    ("register_features_in_feast", register_features_in_feast),
    ("compute_baseline_metrics", compute_baseline_metrics),
    (LAST, finalize_output),
)


def onward(following: str) -> Callable[[PrepareState], str]:
    """Go on with ``following``, or with the verdict when a node could not do its work."""
    return lambda state: LAST if "error" in state else following


def build_graph() -> CompiledStateGraph[PrepareState, Deps, PrepareState, PrepareState]:
    """The steps in order; an error leads to the verdict, which is then a blocked gate."""
    graph = StateGraph(PrepareState, context_schema=Deps)
    for name, node in STEPS:
        graph.add_node(name, node)
    graph.add_edge(START, STEPS[0][0])
    for (name, _), (following, _) in pairwise(STEPS):
        graph.add_conditional_edges(name, onward(following), [*dict.fromkeys((following, LAST))])
    graph.add_edge(LAST, END)
    return graph.compile()
