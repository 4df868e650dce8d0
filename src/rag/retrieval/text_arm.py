"""Which chunks hold the words of the question?"""

from __future__ import annotations

from src.domain.vocabulary import Vocabulary
from src.rag.retrieval.arms import Asked, Found, Hit
from src.rag.retrieval.word_index import WordIndex
from src.rag.retrieval.word_index_store import WordIndexStore
from src.rag.retrieval.words import words
from src.storage.rag_chunks import CorpusState
from src.storage.retrieval_configurations import Arm

# What a name that was recognised by another counts beside the words of the question themselves.
SYNONYM_WEIGHT = 0.3


class TextArm:
    """BM25 over the chunks; names of the vocabulary also find the other names of what they stand for."""

    name: Arm = "text"

    def __init__(self, store: WordIndexStore, vocabulary: Vocabulary) -> None:
        self._store = store
        self._labels = _labels(vocabulary)
        self._index: WordIndex | None = None

    async def prepare(self, state: CorpusState) -> None:
        """Bring the index up to date."""
        self._index = await self._store.current(state)

    async def search(self, asked: Asked) -> Found:
        """By BM25, best first."""
        index = self._index or await self._store.current()
        query = weighted_words(asked, self._labels)
        return Found([Hit(*found) for found in index.search(query, limit=asked.depth, among=asked.among)])


def weighted_words(asked: Asked, labels: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Stems of the question with their counts, and those of the labels of what it names."""
    query: dict[str, float] = {}
    for word in words(asked.query):
        query[word] = query.get(word, 0.0) + 1.0
    for _, name, _ in asked.entities.names:
        for word in labels.get(name, ()):
            query.setdefault(word, SYNONYM_WEIGHT)
    return query


def _labels(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """Words of the name that documents use, by canonical name."""
    labels = {measure.canonical: measure.label for measure in vocabulary.measures}
    labels |= {term.canonical: term.canonical for term in (*vocabulary.brands, *vocabulary.regions) if term.spoken}
    labels |= {
        term.canonical: f"{term.canonical} {term.brand}" for term in (*vocabulary.drugs, *vocabulary.indications)
    }
    labels |= {term.canonical: " ".join(term.synonyms[:1]) for term in vocabulary.kpis}
    return {name: tuple(dict.fromkeys(words(label))) for name, label in labels.items()}
