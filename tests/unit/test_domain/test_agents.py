"""Does every agent have the tier the rest of the system stores it under?"""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest

from src.domain.agents import TIER_NAMES, TIER_OF_AGENT, UNKNOWN_AGENT, AgentIdentity, agent_identity
from src.settings import PROJECT_ROOT


def enum_values(name: str) -> list[str]:
    """The values PostgreSQL knows for an enumeration."""
    text = (PROJECT_ROOT / "database/core/001_enums.sql").read_text(encoding="utf-8")
    found = re.search(rf"CREATE TYPE {name} AS ENUM \((.*?)\);", text, flags=re.DOTALL)
    assert found is not None
    return re.findall(r"'(\w+)'", found[1])


def test_the_database_knows_the_same_agents_and_tiers() -> None:
    assert set(enum_values("agent_name_enum")) == {*TIER_OF_AGENT, UNKNOWN_AGENT}
    assert enum_values("agent_tier_enum") == [TIER_NAMES[tier] for tier in range(6)]


@pytest.mark.parametrize(
    ("name", "tier", "tier_name"),
    [
        ("data_preparer", 0, "ml_foundation"),
        ("feature_analyzer", 0, "ml_foundation"),
        ("model_selector", 0, "ml_foundation"),
        ("model_trainer", 0, "ml_foundation"),
        ("model_deployer", 0, "ml_foundation"),
        ("observability_connector", 0, "ml_foundation"),
        ("orchestrator", 1, "coordination"),
        ("tool_composer", 1, "coordination"),
        ("causal_impact", 2, "causal_analytics"),
        ("explainer", 5, "self_improvement"),
        ("feedback_learner", 5, "self_improvement"),
    ],
)
def test_an_agent_has_its_tier(name: str, tier: int, tier_name: str) -> None:
    assert agent_identity(name) == AgentIdentity(name, tier, tier_name)


@pytest.mark.parametrize("name", ["", "unknown", "Orchestrator", "orchestrator ", "gap_analyzer", "ml_foundation"])
def test_any_other_caller_is_unknown_and_counted_to_no_agents_tier(name: str) -> None:
    identity = agent_identity(name)
    assert identity == AgentIdentity("unknown", 3, "monitoring")
    assert identity.tier not in TIER_OF_AGENT.values()


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        agent_identity("explainer").name = "orchestrator"  # type: ignore[misc]
