"""How does a cycle learn from items that are handed to it rather than read from the rows of answers?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from src.agents.feedback_learner.services import Evaluations, Services
from src.domain.improvement import LearningItem
from src.storage.evaluation_results import EvaluationRows


class GivenItems:
    """Items of one process: whoever takes over the cycle of a killed one finds none."""

    def __init__(self, items: Sequence[LearningItem]) -> None:
        self._items = tuple(items)

    async def claim(
        self,
        cycle_id: str,
        limit: int,
        components: Sequence[str] | None = None,
        *,
        only: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        unscored: bool = False,
    ) -> Sequence[LearningItem]:
        """The items, all of them."""
        return self._items

    async def of_cycle(self, cycle_id: str) -> Sequence[LearningItem]:
        """The items."""
        return self._items

    async def finish(self, cycle_id: str) -> int:
        """Nothing is noted on rows that are not the cycle's."""
        return len(self._items)

    async def give_back(self, cycle_id: str, only: Sequence[str] | None = None) -> int:
        """Nothing is held."""
        return 0


class UnkeptEvaluations:
    """Judgements of given items stand in the result; the rows of answers are not theirs to change."""

    def __init__(self, stored: Evaluations) -> None:
        self._stored = stored

    async def store(self, rows: EvaluationRows) -> str:
        """Nothing is kept."""
        return ""

    async def recent_weaknesses(
        self, component: str, limit: int = 10, *, other_than: str | None = None
    ) -> tuple[tuple[str, ...], ...]:
        """Those of the answers there are."""
        return await self._stored.recent_weaknesses(component, limit, other_than=other_than)


def over(items: Sequence[LearningItem], services: Services) -> Services:
    """The same services for given items: nobody scores other answers meanwhile."""
    evaluations = UnkeptEvaluations(services.evaluations)
    return dataclasses.replace(services, items=GivenItems(items), evaluations=evaluations, scorer=None)
