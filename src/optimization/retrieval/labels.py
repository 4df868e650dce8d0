"""For which questions is it known which documents answer them?

Three origins, none of them the judgement of a model that is being improved:

- **answer**: what a well-rated answer cites. Biased towards what is in use: only what was retrieved can be cited, so
  these labels can show that a change loses something good, hardly that it finds something better.
- **correction**: a document that somebody named as the right source. Rare, and not biased so.
- **known_item**: a question written from what a document of the corpus is about (``known_items``). Not biased towards
  what is in use, but easier than people's questions, and only about texts written from the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from src.domain.improvement import LearningItem
from src.rag.retrieval_results import RetrievalFilters
from src.storage.answer_citations import AnswerQuality, DocumentKey
from src.storage.rag_documents import DocumentSummary

Origin = Literal["answer", "correction", "known_item"]
COMPONENT = "retrieval"
GOOD_RATING = 4
GOOD_SCORE = 0.85
_LEAST_NAME = 8
"""Characters of a title from which it is taken for a source in a correction: "TRx" is no document."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A question, the gain of each document that answers it, above 0, and which documents may be found."""

    item_id: str
    query: str
    relevant: Mapping[DocumentKey, float]
    origin: Origin
    created_at: datetime
    filters: RetrievalFilters = field(default_factory=RetrievalFilters)

    def item(self) -> LearningItem:
        """As an item of learning, so that it is split, replayed and recorded as any other."""
        return LearningItem(
            interaction_id=self.item_id,
            trace_id=self.item_id,
            component=COMPONENT,
            query=self.query,
            answer="",
            contexts=(),
            created_at=self.created_at,
            method="labels",
            inputs={
                "origin": self.origin,
                "relevant": [
                    {"source_type": kind, "source_id": name, "gain": gain} for (kind, name), gain in self._sorted
                ],
                "filters": _filters_document(self.filters),
            },
        )

    @property
    def _sorted(self) -> list[tuple[DocumentKey, float]]:
        return sorted(self.relevant.items())


def labelled(item: LearningItem) -> LabelledQuery | None:
    """The labels that an item carries; None where it has none."""
    relevant = {(one["source_type"], one["source_id"]): float(one["gain"]) for one in item.inputs.get("relevant", ())}
    if not relevant:
        return None
    filters = _filters_read(item.inputs.get("filters", {}))
    return LabelledQuery(item.interaction_id, item.query, relevant, item.inputs["origin"], item.created_at, filters)


def answer_labels(answers: Iterable[AnswerQuality], documents: Sequence[DocumentSummary]) -> Iterator[LabelledQuery]:
    """Labels from what was said of answers; a correction that names a document replaces what the answer cited."""
    names = [
        (_plain(name), one) for one in documents for name in (one.title, one.uri or "") if len(name) >= _LEAST_NAME
    ]
    for answer in answers:
        named = _named(answer.corrections, names)
        if named:
            yield _from_answer(answer, named, "correction")
        elif answer.cited and _is_good(answer):
            yield _from_answer(answer, answer.cited, "answer")


def _is_good(answer: AnswerQuality) -> bool:
    """What people say counts more than what a judge says."""
    if answer.declined or answer.corrections or answer.thumbs_up is False:
        return False
    if answer.rating is not None or answer.thumbs_up is not None:
        return answer.rating is None or answer.rating >= GOOD_RATING
    return answer.judged is not None and answer.judged >= GOOD_SCORE


def _named(corrections: Sequence[str], names: Sequence[tuple[str, DocumentSummary]]) -> list[DocumentKey]:
    texts = [_plain(text) for text in corrections]
    found = [(one.source_type, one.source_id) for name, one in names if any(name in text for text in texts)]
    return list(dict.fromkeys(found))


def _from_answer(answer: AnswerQuality, keys: Sequence[DocumentKey], origin: Origin) -> LabelledQuery:
    return LabelledQuery(answer.interaction_id, answer.query, dict.fromkeys(keys, 1.0), origin, answer.created_at)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _filters_document(filters: RetrievalFilters) -> dict[str, Any]:
    found = {
        "brand": filters.brand,
        "region": filters.region,
        "since": filters.since and filters.since.isoformat(),
        "until": filters.until and filters.until.isoformat(),
        "source_types": [*filters.source_types],
    }
    return {name: value for name, value in found.items() if value}


def _filters_read(document: Mapping[str, Any]) -> RetrievalFilters:
    since, until = document.get("since"), document.get("until")
    return RetrievalFilters(
        brand=document.get("brand"),
        region=document.get("region"),
        since=date.fromisoformat(since) if since else None,
        until=date.fromisoformat(until) if until else None,
        source_types=tuple(document.get("source_types", ())),
    )
