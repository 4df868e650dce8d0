"""In which order does orchestrator work, and where does it turn off?"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.auditing import audit_init
from src.agents.orchestrator.nodes.classify_query import classify_query
from src.agents.orchestrator.nodes.dispatch_agents import dispatch_agents
from src.agents.orchestrator.nodes.plan_route import plan_route
from src.agents.orchestrator.nodes.retrieve_context import retrieve_context
from src.agents.orchestrator.nodes.synthesize_answer import synthesize_answer
from src.agents.orchestrator.state import OrchestratorState, Pattern
from src.agents.runtime import Deps

OrchestratorGraph = CompiledStateGraph[OrchestratorState, Deps, OrchestratorState, OrchestratorState]


def after_audit(state: OrchestratorState) -> Literal["classify", "synthesize"]:
    """A run whose trail cannot be kept asks nobody."""
    return "synthesize" if state.get("error") is not None else "classify"


def after_classify(state: OrchestratorState) -> Literal["rag_context", "synthesize"]:
    """A question that is declined, asked back or not understood goes to no agent."""
    classified = state.get("classification")
    if state.get("error") is not None or classified is None:
        return "synthesize"
    ends = classified.pattern in (Pattern.DECLINED, Pattern.CLARIFICATION_NEEDED)
    return "synthesize" if ends else "rag_context"


def after_context(state: OrchestratorState) -> Literal["route", "synthesize"]:
    """A failure before the route ends in words."""
    return "synthesize" if state.get("error") is not None else "route"


def after_route(state: OrchestratorState) -> Literal["dispatch", "synthesize"]:
    """Nothing is dispatched without a plan."""
    return "synthesize" if state.get("error") is not None else "dispatch"


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> OrchestratorGraph:
    """audit_init → classify → rag_context → route → dispatch → synthesize."""
    graph = StateGraph(OrchestratorState, context_schema=Deps)
    graph.add_node("audit_init", audit_init("orchestrator"))
    graph.add_node("classify", classify_query)
    graph.add_node("rag_context", retrieve_context)
    graph.add_node("route", plan_route)
    graph.add_node("dispatch", dispatch_agents)
    graph.add_node("synthesize", synthesize_answer)
    graph.add_edge(START, "audit_init")
    graph.add_conditional_edges("audit_init", after_audit)
    graph.add_conditional_edges("classify", after_classify)
    graph.add_conditional_edges("rag_context", after_context)
    graph.add_conditional_edges("route", after_route)
    graph.add_edge("dispatch", "synthesize")
    graph.add_edge("synthesize", END)
    return graph.compile(checkpointer=checkpointer)
