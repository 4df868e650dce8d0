"""In which order does model_selector work, and what does it leave out?"""

from __future__ import annotations

from collections.abc import Callable

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.model_selector.nodes.analyze_historical import analyze_historical
from src.agents.ml_foundation.model_selector.nodes.compare_baselines import compare_baselines
from src.agents.ml_foundation.model_selector.nodes.create_summary import create_summary
from src.agents.ml_foundation.model_selector.nodes.filter_algorithms import filter_algorithms
from src.agents.ml_foundation.model_selector.nodes.generate_rationale import generate_rationale
from src.agents.ml_foundation.model_selector.nodes.mlflow_registrar import register_mlflow
from src.agents.ml_foundation.model_selector.nodes.rank_candidates import rank_candidates
from src.agents.ml_foundation.model_selector.nodes.run_benchmarks import run_benchmarks
from src.agents.ml_foundation.model_selector.nodes.select_primary_candidate import select_primary_candidate
from src.agents.ml_foundation.model_selector.state import SelectState
from src.agents.quality_gate import after_gate
from src.agents.runtime import Deps, Node
from src.domain.modelling import ProblemType

STEPS: tuple[tuple[str, Node[SelectState]], ...] = (
    ("analyze_historical", analyze_historical),
    ("filter_algorithms", filter_algorithms),
    ("rank_candidates", rank_candidates),
    ("run_benchmarks", run_benchmarks),
    ("select_primary_candidate", select_primary_candidate),
    ("compare_baselines", compare_baselines),
    ("generate_rationale", generate_rationale),
    ("register_mlflow", register_mlflow),
    ("create_summary", create_summary),
)
SIMPLE = ("filter_algorithms", "rank_candidates", "select_primary_candidate", "generate_rationale")


def onward(following: tuple[str, ...]) -> Callable[[SelectState], str]:
    """Go on with the first of ``following`` that the request wants; end when a node could not do its work."""

    def route(state: SelectState) -> str:
        if "error" in state:
            return END
        return next((name for name in following if wanted(name, state)), END)

    return route


def wanted(name: str, state: SelectState) -> bool:
    """Whether the request asks for a step. Effects are not seen on rows, so that no benchmark measures them."""
    request = state["request"]
    if name == "run_benchmarks":
        return not request.skip_benchmarks and request.problem_type is not ProblemType.EFFECT
    return name != "register_mlflow" or not request.skip_mlflow


def build_graph(*, simple: bool = False) -> CompiledStateGraph[SelectState, Deps, SelectState, SelectState]:
    """The steps in order behind the gate; ``simple`` leaves out history, benchmarks, baseline and records."""
    steps = [(name, node) for name, node in STEPS if not simple or name in SIMPLE]
    names = tuple(name for name, _ in steps)
    graph = StateGraph(SelectState, context_schema=Deps)
    for name, node in steps:
        graph.add_node(name, node)
    graph.add_conditional_edges(START, after_gate, {"proceed": names[0], "blocked": END})
    for position, name in enumerate(names):
        following = names[position + 1 :]
        graph.add_conditional_edges(name, onward(following), [*following, END])
    return graph.compile()
