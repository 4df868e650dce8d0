"""In which order does feedback_learner work, and what decides where it turns off?"""

from __future__ import annotations

from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.auditing import audit_init
from src.agents.feedback_learner.nodes.analyze_patterns import analyze_patterns
from src.agents.feedback_learner.nodes.collect_items import collect_items
from src.agents.feedback_learner.nodes.enrich_context import enrich_context
from src.agents.feedback_learner.nodes.extract_proposals import extract_proposals
from src.agents.feedback_learner.nodes.finalize_cycle import finalize_cycle
from src.agents.feedback_learner.nodes.queue_suggestion import queue_suggestion
from src.agents.feedback_learner.nodes.raise_alert import raise_alert
from src.agents.feedback_learner.nodes.rubric_node import judge_by_rubric
from src.agents.feedback_learner.nodes.update_components import update_components
from src.agents.feedback_learner.state import LearnState
from src.agents.runtime import Deps
from src.domain.rubric import RubricDecision

LearnerGraph = CompiledStateGraph[LearnState, Deps, LearnState, LearnState]
Change = Literal["extract", "finalize"]
Suggestion = Literal["queue_suggestion", "extract", "finalize"]


def after_enrich(state: LearnState) -> Literal["collect", "finalize"]:
    """An error ends the cycle, here and after every other node."""
    return "finalize" if "error" in state else "collect"


def after_collect(state: LearnState) -> Literal["analyze", "finalize"]:
    """A cycle without answers goes on: there may be behaviour to see."""
    return "finalize" if "error" in state else "analyze"


def after_analyze(state: LearnState) -> Literal["rubric", "finalize"]:
    """Patterns never decide: the rubric does."""
    return "finalize" if "error" in state else "rubric"


def after_rubric(state: LearnState) -> Literal["raise_alert", "queue_suggestion", "extract", "finalize"]:
    """The most severe first; where all is acceptable, or waits for more answers, there is nothing to do."""
    if "error" not in state and _any(state, RubricDecision.ESCALATE):
        return "raise_alert"
    return after_alert(state)


def after_alert(state: LearnState) -> Suggestion:
    """What was escalated is not changed; other components of the batch are."""
    if "error" not in state and _any(state, RubricDecision.SUGGESTION):
        return "queue_suggestion"
    return after_suggestion(state)


def after_suggestion(state: LearnState) -> Change:
    """What is to be changed automatically comes last."""
    return "extract" if "error" not in state and _any(state, RubricDecision.AUTO_UPDATE) else "finalize"


def after_extract(state: LearnState) -> Literal["update", "finalize"]:
    """Proposals are recorded: what fails from here on is carried on by a later cycle."""
    return "finalize" if "error" in state else "update"


def _any(state: LearnState, decision: RubricDecision) -> bool:
    return any(one.decision is decision for one in state["verdicts"])


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> LearnerGraph:
    """audit_init → enrich → collect → analyze → rubric → what the decisions call for → finalize."""
    graph = StateGraph(LearnState, context_schema=Deps)
    graph.add_node("audit_init", audit_init("feedback_learner"))
    graph.add_node("enrich", enrich_context)
    graph.add_node("collect", collect_items)
    graph.add_node("analyze", analyze_patterns)
    graph.add_node("rubric", judge_by_rubric)
    graph.add_node("raise_alert", raise_alert)
    graph.add_node("queue_suggestion", queue_suggestion)
    graph.add_node("extract", extract_proposals)
    graph.add_node("update", update_components)
    graph.add_node("finalize", finalize_cycle)
    graph.add_edge(START, "audit_init")
    graph.add_edge("audit_init", "enrich")
    graph.add_conditional_edges("enrich", after_enrich)
    graph.add_conditional_edges("collect", after_collect)
    graph.add_conditional_edges("analyze", after_analyze)
    graph.add_conditional_edges("rubric", after_rubric)
    graph.add_conditional_edges("raise_alert", after_alert)
    graph.add_conditional_edges("queue_suggestion", after_suggestion)
    graph.add_conditional_edges("extract", after_extract)
    graph.add_edge("update", "finalize")
    graph.add_edge("finalize", END)
    return graph.compile(checkpointer=checkpointer)
