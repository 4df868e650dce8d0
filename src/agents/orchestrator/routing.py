"""Who is asked, in which order, for how long, and who in their place?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from src.agents.orchestrator.state import Classification, Dispatch, Part
from src.domain.agents import TIER_OF_AGENT
from src.domain.vocabulary import Intent, Vocabulary

TIER_SECONDS = {0: 120.0, 1: 30.0, 2: 90.0, 3: 45.0, 4: 120.0, 5: 60.0}
"""How long an agent without a budget of its own may take."""
OF_DOCUMENTS = "explainer"
_OF_EFFECTS = ("causal_impact",)


def dispatches_for(
    classified: Classification,
    vocabulary: Vocabulary,
    registered: Collection[str],
    budgets: Mapping[str, float],
    *,
    documents: bool = False,
) -> tuple[Dispatch, ...]:
    """One dispatch for each part. Parts that build on others come after them; the rest are asked at the same time.

    Where there are ``documents``, they are asked for what an effect cannot be estimated on.
    """
    ranks: list[int] = []
    for part in classified.parts:
        own = vocabulary.intents[Intent(part.intent)].order
        ranks.append(max([own, *(ranks[at] + 1 for at in part.depends_on)]))
    groups = {rank: at for at, rank in enumerate(sorted(set(ranks)), start=1)}
    return tuple(
        Dispatch(
            agent=part.agent,
            question=part.text,
            part=at,
            priority=groups[ranks[at]],
            timeout_ms=seconds_for(part.agent, budgets) * 1000.0,
            fallback=fallback_of(part, vocabulary, registered, documents=documents),
        )
        for at, part in enumerate(classified.parts)
    )


def seconds_for(agent: str, budgets: Mapping[str, float]) -> float:
    """How long an agent may take."""
    return budgets.get(agent, TIER_SECONDS[TIER_OF_AGENT.get(agent, 3)])


def fallback_of(
    part: Part, vocabulary: Vocabulary, registered: Collection[str], *, documents: bool = False
) -> str | None:
    """The next agent that serves the intent and is there; one of effects only where an effect was understood."""
    served_by = vocabulary.intents[Intent(part.intent)].agents
    for agent in served_by:
        if agent == part.agent or agent not in registered:
            continue
        if agent not in _OF_EFFECTS or (part.understood is not None and part.understood.treatment is not None):
            return agent
    return OF_DOCUMENTS if documents and part.agent in _OF_EFFECTS and OF_DOCUMENTS in registered else None


def in_groups(dispatches: Sequence[Dispatch]) -> list[list[int]]:
    """Positions of the dispatches that are asked at the same time, first group first."""
    priorities = sorted({dispatch.priority for dispatch in dispatches})
    return [[at for at, one in enumerate(dispatches) if one.priority == priority] for priority in priorities]
