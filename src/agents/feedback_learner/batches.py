"""Which answers does this cycle learn from, with everything that is known of them?"""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.feedback_learner.services import Services, keep_batch, kept_batch, services_of
from src.agents.feedback_learner.state import LearnState
from src.agents.feedback_learner.trace_scores import with_scores
from src.agents.runtime import Deps
from src.domain.improvement import LearningItem
from src.errors import ContractViolation


def cycle_of(state: LearnState) -> str:
    """Id of the cycle. Raises ContractViolation for a run without one."""
    cycle_id = state["request"].batch_id
    if cycle_id is None:
        raise ContractViolation("a run of feedback_learner needs a cycle: give batch_id")
    return cycle_id


async def batch_of(state: LearnState, deps: Deps) -> tuple[LearningItem, ...]:
    """The answers of the run, each once. A process that took the run over reads them again."""
    if (kept := kept_batch(deps)) is not None:
        return kept
    services = services_of(deps)
    wanted = set(state["collected"].interaction_ids)
    items = await services.items.of_cycle(cycle_of(state))
    return keep_batch(deps, await known_of([one for one in items if one.interaction_id in wanted], services))


async def known_of(items: Sequence[LearningItem], services: Services) -> tuple[LearningItem, ...]:
    """Items, each once, with what was said of their traces."""
    once = list({item.interaction_id: item for item in items}.values())
    return with_scores(once, await services.signals.scores_of([item.trace_id for item in once]))
