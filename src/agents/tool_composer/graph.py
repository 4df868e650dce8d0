"""In which order does tool_composer work, and where does it turn off?"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.runtime import Deps
from src.agents.tool_composer.nodes.decompose_query import decompose_query
from src.agents.tool_composer.nodes.execute_plan import execute_plan
from src.agents.tool_composer.nodes.plan_tools import plan_tools
from src.agents.tool_composer.nodes.synthesize_results import synthesize_results
from src.agents.tool_composer.state import ComposerState

ComposerGraph = CompiledStateGraph[ComposerState, Deps, ComposerState, ComposerState]


def after_decompose(state: ComposerState) -> Literal["plan", "__end__"]:
    """Nothing is planned for a question that could not be taken apart."""
    return "__end__" if "error" in state else "plan"


def after_plan(state: ComposerState) -> Literal["execute", "__end__"]:
    """Nothing runs without a plan."""
    return "__end__" if "error" in state else "execute"


def after_execute(state: ComposerState) -> Literal["synthesize", "__end__"]:
    """Nothing is told where no step could begin."""
    return "__end__" if "error" in state else "synthesize"


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> ComposerGraph:
    """decompose → plan → execute → synthesize."""
    graph = StateGraph(ComposerState, context_schema=Deps)
    graph.add_node("decompose", decompose_query)
    graph.add_node("plan", plan_tools)
    graph.add_node("execute", execute_plan)
    graph.add_node("synthesize", synthesize_results)
    graph.add_edge(START, "decompose")
    graph.add_conditional_edges("decompose", after_decompose)
    graph.add_conditional_edges("plan", after_plan)
    graph.add_conditional_edges("execute", after_execute)
    graph.add_edge("synthesize", END)
    return graph.compile(checkpointer=checkpointer)
