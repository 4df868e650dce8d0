"""In which order does observability_connector work?"""

from __future__ import annotations

from typing import Literal

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.observability_connector.nodes.aggregate_metrics import aggregate_metrics
from src.agents.ml_foundation.observability_connector.nodes.emit_spans import emit_spans
from src.agents.ml_foundation.observability_connector.state import ObserveState
from src.agents.runtime import Deps


def after_emit_spans(state: ObserveState) -> Literal["aggregate_metrics", "__end__"]:
    """Measure unless the spans could not be recorded."""
    return "__end__" if "error" in state else "aggregate_metrics"


def build_graph() -> CompiledStateGraph[ObserveState, Deps, ObserveState, ObserveState]:
    """emit_spans → aggregate_metrics; an error ends the run."""
    graph = StateGraph(ObserveState, context_schema=Deps)
    graph.add_node("emit_spans", emit_spans)
    graph.add_node("aggregate_metrics", aggregate_metrics)
    graph.add_edge(START, "emit_spans")
    graph.add_conditional_edges("emit_spans", after_emit_spans)
    graph.add_edge("aggregate_metrics", END)
    return graph.compile()
