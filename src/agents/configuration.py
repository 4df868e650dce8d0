"""How long may each agent and each of its nodes take?"""

from __future__ import annotations

from pydantic import PositiveFloat

from src.settings import CONFIG_DIR, ConfigModel, load_config


class AgentBudget(ConfigModel):
    """Seconds for a whole run and for each node."""

    timeout_seconds: PositiveFloat
    node_timeouts: dict[str, PositiveFloat]


class AgentsConfig(ConfigModel):
    """``config/agents.yaml``."""

    agents: dict[str, AgentBudget]


def load_agents_config() -> AgentsConfig:
    """Read ``config/agents.yaml``; raises ConfigError."""
    return load_config(CONFIG_DIR / "agents.yaml", AgentsConfig)
