"""How well does a ranking of documents answer a question whose relevant documents are known?

Documents, not chunks, are counted: a document counts at the place of its first chunk. Labels so outlast a corpus that
is cut in another way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.storage.answer_citations import DocumentKey

DEPTH = 10


@dataclass(frozen=True, slots=True)
class RankingScores:
    """All in 0–1. ``recall`` is of the relevant documents (of at most ten)."""

    ndcg: float
    recall: float
    mrr: float

    def metrics(self) -> dict[str, float | None]:
        """What a change must not make worse. Precision is not among it: it falls with every passage more, and what
        passages cost is counted by itself."""
        return {"recall": self.recall, "mrr": self.mrr}


def ranking_scores(found: Sequence[DocumentKey], relevant: Mapping[DocumentKey, float]) -> RankingScores:
    """Scores of chunks' documents in their order. ``relevant`` are the gains, above 0, at least one.

    nDCG at 10 (Järvelin & Kekäläinen 2002) with gains as they are and 1 / log2(rank + 1).
    """
    documents = list(dict.fromkeys(found))
    hits = [document for document in documents if document in relevant]
    return RankingScores(
        ndcg=_dcg([relevant.get(document, 0.0) for document in documents[:DEPTH]])
        / _dcg(sorted(relevant.values(), reverse=True)[:DEPTH]),
        recall=len(hits) / min(len(relevant), DEPTH),
        mrr=next((1 / rank for rank, document in enumerate(documents, start=1) if document in relevant), 0.0),
    )


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
