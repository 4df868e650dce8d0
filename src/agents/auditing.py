"""How do every node of a run, and the answer itself, leave an entry that nobody can change unseen?"""

from __future__ import annotations

import hashlib
from typing import Any

from langgraph.runtime import Runtime

from src.agents.runtime import Deps, Node, traced_node, witness
from src.storage.audit_chain import ANSWER


def audit_init(agent: str) -> Node[Any]:
    """The first node of an audited graph: it opens the run's hash chain; later nodes extend it by themselves."""

    @traced_node(agent, "audit_init")
    async def begin(state: Any, runtime: Runtime[Deps]) -> dict[str, Any]:
        return {}

    return begin


async def seal_answer(agent: str, query: str, answer: str, deps: Deps) -> None:
    """The last entry of an answered question: the SHA-256 of the question and the answer just as they are stored.

    Raises DatabaseUnavailable where the entry cannot be kept.
    """
    if deps.audit is None:
        return
    async with deps.tracer.trace_agent(agent, ANSWER, trace_id=deps.trace_id) as span:
        given, wrote = (hashlib.sha256(text.encode()).hexdigest() for text in (query, answer))
        witness(span, await deps.audit.append(agent, ANSWER, given, wrote))
