"""How does every node of a run leave an entry that nobody can change unseen?"""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, Node, traced_node


def audit_init(agent: str) -> Node[Any]:
    """The first node of an audited graph: it opens the run's hash chain; later nodes extend it by themselves."""

    @traced_node(agent, "audit_init")
    async def begin(state: Any, runtime: Runtime[Deps]) -> dict[str, Any]:
        return {}

    return begin
