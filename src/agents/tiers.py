"""Which agent belongs to which tier, and what is it called in spans and rows?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """``tier`` 0–5 and its name as stored (``agent_tier_enum``)."""

    name: str
    tier: int
    tier_name: str


TIER_NAMES = {
    0: "ml_foundation",
    1: "coordination",
    2: "causal_analytics",
    3: "monitoring",
    4: "ml_predictions",
    5: "self_improvement",
}

AGENT_TIERS = {"causal_impact": 2}


def identity(name: str) -> AgentIdentity:
    """Identity of a registered agent; KeyError for any other."""
    tier = AGENT_TIERS[name]
    return AgentIdentity(name, tier, TIER_NAMES[tier])
