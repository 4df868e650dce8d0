"""Which graphs can LangGraph's server and Studio open? One function without arguments for each agent."""

from __future__ import annotations

from typing import Any

from langgraph.graph.state import CompiledStateGraph

from src.agents.causal_impact import graph as _causal_impact
from src.agents.explainer import graph as _explainer
from src.agents.feedback_learner import graph as _feedback_learner
from src.agents.ml_foundation.data_preparer import graph as _data_preparer
from src.agents.ml_foundation.feature_analyzer import graph as _feature_analyzer
from src.agents.ml_foundation.model_deployer import graph as _model_deployer
from src.agents.ml_foundation.model_selector import graph as _model_selector
from src.agents.ml_foundation.model_trainer import graph as _model_trainer
from src.agents.ml_foundation.observability_connector import graph as _observability_connector
from src.agents.orchestrator import graph as _orchestrator
from src.agents.tool_composer import graph as _tool_composer

Graph = CompiledStateGraph[Any, Any, Any, Any]


def causal_impact() -> Graph:
    """Effect of a treatment on an outcome, refuted and judged."""
    return _causal_impact.build_graph()


def data_preparer() -> Graph:
    """The data gate."""
    return _data_preparer.build_graph()


def explainer() -> Graph:
    """Findings in words."""
    return _explainer.build_graph()


def feature_analyzer() -> Graph:
    """Features and what a model makes of them."""
    return _feature_analyzer.build_graph()


def feedback_learner() -> Graph:
    """What scored answers teach, and the changes that follow."""
    return _feedback_learner.build_graph()


def model_deployer() -> Graph:
    """Registration, promotion, serving and rollback of a model."""
    return _model_deployer.build_graph()


def model_selector() -> Graph:
    """Choice of an algorithm."""
    return _model_selector.build_graph()


def model_trainer() -> Graph:
    """Tuning, training and evaluation."""
    return _model_trainer.build_graph()


def observability_connector() -> Graph:
    """Spans and quality metrics."""
    return _observability_connector.build_graph()


def orchestrator() -> Graph:
    """A question, the agents it needs, one answer."""
    return _orchestrator.build_graph()


def tool_composer() -> Graph:
    """A question of several parts, computed by tools."""
    return _tool_composer.build_graph()
