"""Which agents can be run, and what is each called in spans and rows?"""

from __future__ import annotations

from src.domain.agents import TIER_OF_AGENT, AgentIdentity, agent_identity

RUNNABLE = (
    "causal_impact",
    "data_preparer",
    "explainer",
    "feature_analyzer",
    "feedback_learner",
    "model_deployer",
    "model_selector",
    "model_trainer",
    "observability_connector",
    "orchestrator",
    "tool_composer",
)

AGENT_TIERS = {name: TIER_OF_AGENT[name] for name in RUNNABLE}


def identity(name: str) -> AgentIdentity:
    """Identity of a runnable agent; KeyError for any other."""
    if name not in AGENT_TIERS:
        raise KeyError(name)
    return agent_identity(name)
