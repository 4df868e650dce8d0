"""Does whoever waits for another part of an answer wait longer than that part may take?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from src.agents.configuration import load_agents_config
from src.agents.explainer.services import Services as ExplainerServices
from src.agents.orchestrator.services import Services as OrchestratorServices
from src.agents.tool_composer.services import Services as ComposerServices


def reply_seconds(services: Any) -> float:
    """How long a model's reply is waited for by default."""
    return float(next(one.default for one in dataclasses.fields(services) if one.name == "reply_seconds"))


def test_the_orchestrator_waits_longer_for_the_explainer_than_the_explainer_may_take() -> None:
    agents = load_agents_config().agents
    assert agents["explainer"].timeout_seconds < agents["orchestrator"].node_timeouts["synthesize"]


@pytest.mark.parametrize("agent", ["causal_impact", "tool_composer", "observability_connector", "explainer"])
def test_the_orchestrator_waits_longer_for_an_agent_than_the_agent_may_take(agent: str) -> None:
    agents = load_agents_config().agents
    assert agents[agent].timeout_seconds < agents["orchestrator"].node_timeouts["dispatch"]


@pytest.mark.parametrize(
    ("agent", "services", "nodes"),
    [
        ("orchestrator", OrchestratorServices, ("classify",)),
        ("tool_composer", ComposerServices, ("decompose", "plan", "synthesize")),
        ("explainer", ExplainerServices, ("reason",)),
    ],
)
def test_a_node_that_asks_a_model_has_time_left_for_doing_without_it(
    agent: str, services: Any, nodes: tuple[str, ...]
) -> None:
    budgets = load_agents_config().agents[agent].node_timeouts
    assert all(reply_seconds(services) < budgets[node] for node in nodes)
