"""What does the improvement loop work with?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from src.domain.alerts import AlertSender
from src.domain.improvement import ChangeKind, LearningItem, Replay
from src.optimization.configuration import LoopSettings
from src.optimization.improver import Improver

if TYPE_CHECKING:
    from src.rag.embeddings.provider import EmbeddingProvider
    from src.storage.canaries import CanaryRepository
    from src.storage.database import Database
    from src.storage.improvement_actions import ActionRepository
    from src.storage.improvement_hops import HopLedger
    from src.storage.improvement_switch import ImprovementSwitch
    from src.storage.knowledge import KnowledgeRepository
    from src.storage.learning_items import LearningItemRepository
    from src.storage.prompt_versions import PromptRepository
    from src.storage.retrieval_configurations import RetrievalConfigRepository

ItemSource = Callable[[str], Awaitable[Sequence[LearningItem]]]
"""All items of a component that a variant can be tried on, whatever their share of the split."""
PrivateValues = Callable[[Sequence[LearningItem]], Awaitable[Sequence[str]]]
"""Values of columns about persons that occur in what the items were answered from."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class PipelineServices:
    """The parts, opened by whoever starts the loop.

    ``gate_replays`` judge the test and must not be the judge that the improver learnt from. ``item_sources`` give what
    is split into train, validation and test; a kind without one uses the answers kept for replay. ``hard_questions``
    are those on which the uncertainty of a new prompt must not fall, ``private_values`` what must not stand in it.
    ``embeddings`` find similar lessons; without them only the very same change is found again.
    """

    database: Database
    actions: ActionRepository
    hops: HopLedger
    knowledge: KnowledgeRepository
    canaries: CanaryRepository
    prompts: PromptRepository
    retrieval: RetrievalConfigRepository
    items: LearningItemRepository
    switch: ImprovementSwitch
    improvers: Mapping[ChangeKind, Improver]
    gate_replays: Mapping[ChangeKind, Replay]
    settings: LoopSettings
    item_sources: Mapping[ChangeKind, ItemSource] = field(default_factory=dict)
    hard_questions: ItemSource | None = None
    private_values: PrivateValues | None = None
    embeddings: EmbeddingProvider | None = None
    alerts: AlertSender | None = None
    clock: Callable[[], datetime] = now
    actor: str = "improvement loop"
    on_progress: Callable[[str, float], None] = field(default=lambda step, share: None)
