"""Which agents are there, and to which tier does each belong?"""

from __future__ import annotations

from dataclasses import dataclass

TIER_NAMES = {
    0: "ml_foundation",
    1: "coordination",
    2: "causal_analytics",
    3: "monitoring",
    4: "ml_predictions",
    5: "self_improvement",
}

TIER_OF_AGENT = {
    "data_preparer": 0,
    "feature_analyzer": 0,
    "model_selector": 0,
    "model_trainer": 0,
    "model_deployer": 0,
    "observability_connector": 0,
    "orchestrator": 1,
    "tool_composer": 1,
    "causal_impact": 2,
    "explainer": 5,
    "feedback_learner": 5,
}

UNKNOWN_AGENT = "unknown"
# Tier 3 has no agent of its own: what an unregistered caller does is never counted to another agent's tier.
UNKNOWN_TIER = 3


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """``tier`` 0–5 and its name as stored (``agent_tier_enum``)."""

    name: str
    tier: int
    tier_name: str


def agent_identity(name: str) -> AgentIdentity:
    """Name and tier of an agent; any other caller is ``unknown``."""
    tier = TIER_OF_AGENT.get(name)
    if tier is None:
        return AgentIdentity(UNKNOWN_AGENT, UNKNOWN_TIER, TIER_NAMES[UNKNOWN_TIER])
    return AgentIdentity(name, tier, TIER_NAMES[tier])
