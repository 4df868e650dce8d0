"""In which order does feature_analyzer work, and where does it turn off?"""

from __future__ import annotations

from typing import Literal

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.feature_analyzer.nodes.compute_shap import compute_shap
from src.agents.ml_foundation.feature_analyzer.nodes.detect_interactions import detect_interactions
from src.agents.ml_foundation.feature_analyzer.nodes.generate_features import generate_features
from src.agents.ml_foundation.feature_analyzer.nodes.narrate_importance import narrate_importance
from src.agents.ml_foundation.feature_analyzer.nodes.select_features import select_features
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState
from src.agents.runtime import Deps

Part = Literal["all", "engineering", "explanation"]
AnalyzeGraph = CompiledStateGraph[AnalyzeState, Deps, AnalyzeState, AnalyzeState]


def after_generation(state: AnalyzeState) -> Literal["select_features", "__end__"]:
    """Nothing is selected from rows that could not be read."""
    return "__end__" if "error" in state else "select_features"


def after_selection(state: AnalyzeState) -> Literal["compute_shap", "narrate_importance", "__end__"]:
    """Without a model there is only the selection to tell of."""
    if "error" in state:
        return "__end__"
    return "narrate_importance" if state["request"].model_uri is None else "compute_shap"


def after_shap(state: AnalyzeState) -> Literal["detect_interactions", "__end__"]:
    """Nothing is said of a model that could not be explained."""
    return "__end__" if "error" in state else "detect_interactions"


def after_interactions(state: AnalyzeState) -> Literal["narrate_importance", "__end__"]:
    """A half-finished explanation is not told."""
    return "__end__" if "error" in state else "narrate_importance"


def build_graph(part: Part = "all") -> AnalyzeGraph:
    """All nodes; or those of engineering (generate, select) or of explanation (SHAP to narrative) alone."""
    graph = StateGraph(AnalyzeState, context_schema=Deps)
    if part != "explanation":
        graph.add_node("generate_features", generate_features)
        graph.add_node("select_features", select_features)
        graph.add_edge(START, "generate_features")
        graph.add_conditional_edges("generate_features", after_generation)
    if part == "engineering":
        graph.add_edge("select_features", END)
        return graph.compile()
    graph.add_node("compute_shap", compute_shap)
    graph.add_node("detect_interactions", detect_interactions)
    graph.add_node("narrate_importance", narrate_importance)
    if part == "explanation":
        graph.add_edge(START, "compute_shap")
    else:
        graph.add_conditional_edges("select_features", after_selection)
    graph.add_conditional_edges("compute_shap", after_shap)
    graph.add_conditional_edges("detect_interactions", after_interactions)
    graph.add_edge("narrate_importance", END)
    return graph.compile()
