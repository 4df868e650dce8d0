"""Which wording and which retrieval settings does a session get, while a share of the sessions tries others?"""

from __future__ import annotations

from dataclasses import dataclass

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.app.improving.inputs import GivenInputs
from src.domain.prompts import PromptSource
from src.rag.retrieval.retriever import HybridRetriever
from src.storage.database import Database
from src.storage.prompt_versions import PromptStore
from src.storage.retrieval_configurations import RetrievalConfig, RetrievalConfigRepository


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What the agents answer one question of a session with, and the notes of what they were given."""

    prompts: PromptSource
    retriever: HybridRetriever
    given: GivenInputs


def parts_of(session_id: str, database: Database, prompts: PromptStore, retriever: HybridRetriever) -> SessionParts:
    """The parts of a session: the same ones for all its questions as long as nothing is activated or rolled back."""
    settings = RetrievalConfigRepository(database)

    async def of_session() -> RetrievalConfig:
        return await settings.for_unit(session_id)

    return SessionParts(prompts.for_unit(session_id), retriever.using(of_session), GivenInputs(improved_prompts()))


def improved_prompts() -> frozenset[str]:
    """The components whose prompts may be improved."""
    return frozenset(name for name, one in load_self_improvement().components.items() if one.kind == "prompt")
