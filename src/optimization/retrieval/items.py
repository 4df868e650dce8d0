"""On which questions are retrieval settings made and tested?"""

from __future__ import annotations

from collections.abc import Sequence

from src.domain.improvement import LearningItem
from src.domain.vocabulary import Vocabulary, load_vocabulary
from src.optimization.gates.splits import normalised
from src.optimization.retrieval.known_items import known_items
from src.optimization.retrieval.labels import LabelledQuery, answer_labels
from src.storage.answer_citations import AnswerCitationRepository
from src.storage.database import Database
from src.storage.rag_documents import RagDocumentRepository

MOST_ANSWERS = 2_000
MOST_KNOWN_ITEMS = 600


class LabelledItems:
    """All labelled questions of a database; to be called with the component's name, which is that of retrieval."""

    def __init__(
        self, database: Database, vocabulary: Vocabulary | None = None, *, most_known_items: int = MOST_KNOWN_ITEMS
    ) -> None:
        self._documents = RagDocumentRepository(database)
        self._answers = AnswerCitationRepository(database)
        self._vocabulary = vocabulary
        self._most_known_items = most_known_items

    async def __call__(self, component: str) -> Sequence[LearningItem]:
        """Items with their labels, people's questions first; a question asked twice is there once, corrections win."""
        return [query.item() for query in await self.queries()]

    async def queries(self) -> list[LabelledQuery]:
        """The same as labelled questions."""
        documents = await self._documents.summaries()
        said = [*answer_labels(await self._answers.answers(MOST_ANSWERS), documents)]
        said.sort(key=lambda one: one.origin != "correction")
        vocabulary = self._vocabulary or load_vocabulary()
        written = known_items(documents, vocabulary, limit=self._most_known_items)
        found: dict[str, LabelledQuery] = {}
        for query in [*said, *written]:
            found.setdefault(normalised(query.query), query)
        return [*found.values()]
