"""Which questions can be written whose answer is known to stand in a document of the corpus?

Known-item questions (Azzopardi, de Rijke & Balog 2007), written from what a document is about, never from its own
sentences: the measure, brand, region and period of a summary, the two ends of a causal path, the name of a definition.
Names are those that people use (the vocabulary), in several wordings; every document has one of them, chosen by a
hash, so that the same corpus gives the same questions and no document is asked for on both sides of a split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from src.domain.kpis import UnknownKpi, get_kpi
from src.domain.vocabulary import Vocabulary
from src.optimization.retrieval.labels import LabelledQuery
from src.rag.documents import SourceType
from src.storage.answer_citations import DocumentKey
from src.storage.rag_documents import DocumentSummary

_SUMMARIES = (
    "how did {measure} of {brand} develop {where} {when}?",
    "{brand} {measure} {where} {when}",
    "what was the {measure} for {brand} {where} {when}?",
    "show me the trend of {measure} {where} for {brand} {when}",
    "did {measure} go up {when} for {brand} {where}?",
    "{when}: were we on target with {measure} of {brand} {where}?",
)
_PATHS = (
    "do more {start} lead to more {end} for {brand} {where}?",
    "effect of {start} on {end}, {brand} {where}",
    "what happens to {end} of {brand} {where} when {start} go up?",
    "how strong is the impact of {start} on {end} {where} for {brand}?",
    "is it {start} that drive {end} of {brand} {where}?",
)
_KPIS = (
    "what does {name} mean?",
    "how is {name} defined and calculated?",
    "explain {name}",
    "what is a good level of {name}?",
)
_METHODS = ("what does {name} mean?", "explain {name}", "when is {name} used?", "how does {name} work?")
_NATIONAL = ("nationally", "in the whole country", "across all regions")
_ALL_BRANDS = ("all brands", "all brands together", "every brand")


@dataclass(frozen=True)
class _Wording:
    """Chooses among names and patterns by a hash of what is asked for."""

    names: Mapping[str, tuple[str, ...]]
    key: str

    def one_of(self, choices: Sequence[str], about: str) -> str:
        number = int.from_bytes(hashlib.sha256(f"{about}:{self.key}".encode()).digest()[:8])
        return choices[number % len(choices)]

    def name(self, canonical: str) -> str:
        return self.one_of(self.names.get(canonical) or (canonical.replace("_", " "),), "name")

    def brand(self, brand: str | None) -> str:
        return self.one_of(_ALL_BRANDS, "brand") if brand is None else self.name(brand)

    def where(self, region: str | None) -> str:
        return self.one_of(_NATIONAL, "region") if region is None else f"in the {self.name(region)}"


def known_items(documents: Sequence[DocumentSummary], vocabulary: Vocabulary, *, limit: int) -> list[LabelledQuery]:
    """At most ``limit`` questions, as many of each type of document as of the others while they last.

    Documents that say the same of the same thing (two runs of one analysis) are one question with several answers.
    """
    names = spoken_names(vocabulary)
    by_type: dict[str, list[LabelledQuery]] = {}
    for group in _groups(documents).values():
        made = _query(group, names)
        if made is not None:
            by_type.setdefault(group[0].source_type, []).append(made)
    chosen = [sorted(queries, key=lambda one: one.item_id) for _, queries in sorted(by_type.items())]
    return [*_in_turn(chosen)][:limit]


def spoken_names(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """How people call things, by canonical name (columns of measures too): names that mean one thing only."""
    phrases: dict[str, tuple[str, ...]] = {}
    for term in vocabulary.brands:
        phrases[term.canonical] = term.phrases
    for term in vocabulary.regions:
        # "in the west", not "in the western".
        phrases[term.canonical] = tuple(one for one in term.phrases if not one.endswith("ern"))
    for drug in (*vocabulary.drugs, *vocabulary.indications):
        phrases[drug.brand] = (*phrases.get(drug.brand, ()), *drug.phrases[:1])
    for measure in vocabulary.measures:
        own = (measure.label, *measure.synonyms)
        phrases[measure.column] = own
        if measure.kpi is not None:
            phrases[measure.kpi] = own
    for kpi in vocabulary.kpis:
        phrases[kpi.canonical] = (*phrases.get(kpi.canonical, ()), *kpi.synonyms)
    columns = {measure.column for measure in vocabulary.measures}
    uses = Counter(phrase for name, own in phrases.items() if name in columns for phrase in own)
    return {name: tuple(one for one in own if uses[one] < 2) or own[:1] for name, own in phrases.items()}


def _groups(documents: Sequence[DocumentSummary]) -> dict[tuple[str, ...], list[DocumentSummary]]:
    groups: dict[tuple[str, ...], list[DocumentSummary]] = {}
    for one in sorted(documents, key=_key):
        if one.source_type == SourceType.CAUSAL_PATH:
            about = (one.metadata["start_node"], one.metadata["end_node"], one.brand or "", one.region or "")
            groups.setdefault((one.source_type, *about), []).append(one)
        else:
            groups.setdefault(_key(one), []).append(one)
    return groups


def _query(group: Sequence[DocumentSummary], names: Mapping[str, tuple[str, ...]]) -> LabelledQuery | None:
    first = group[0]
    wording = _Wording(names, "/".join(_key(first)))
    text = _text(first, wording)
    if text is None:
        return None
    return LabelledQuery(
        item_id=str(uuid5(NAMESPACE_URL, f"known-item/{'/'.join(_key(first))}")),
        query=" ".join(text.split()),
        relevant={_key(one): 1.0 for one in group},
        origin="known_item",
        created_at=max(one.updated_at for one in group),
    )


def _text(document: DocumentSummary, wording: _Wording) -> str | None:
    """A question for the document; None for the types of which nothing but their text is known."""
    where, brand = wording.where(document.region), wording.brand(document.brand)
    if document.source_type == SourceType.KPI_SUMMARY:
        pattern = wording.one_of(_SUMMARIES, "pattern")
        measure = wording.name(document.metadata["metric"])
        return pattern.format(measure=measure, brand=brand, where=where, when=f"in {document.metadata['from'][:4]}")
    if document.source_type == SourceType.CAUSAL_PATH:
        start, end = (wording.name(document.metadata[node]) for node in ("start_node", "end_node"))
        return wording.one_of(_PATHS, "pattern").format(start=start, end=end, brand=brand, where=where)
    if document.source_type == SourceType.DEFINITION:
        patterns = _KPIS if document.source_id.startswith("kpi/") else _METHODS
        return wording.one_of(patterns, "pattern").format(name=_defined(document, wording))
    return None


def _defined(document: DocumentSummary, wording: _Wording) -> str:
    kind, _, name = document.source_id.partition("/")
    if kind != "kpi":
        return name.replace("-", " ").replace("_", " ")
    return wording.one_of((*_kpi_name(name), *wording.names.get(name, ())) or (name,), "name")


def _kpi_name(kpi: str) -> tuple[str, ...]:
    try:
        return (get_kpi(kpi).name,)
    except UnknownKpi:
        return ()  # a document of an earlier definition is asked for by its other names


def _in_turn(queries: Sequence[Sequence[LabelledQuery]]) -> Iterator[LabelledQuery]:
    for place in range(max(map(len, queries), default=0)):
        yield from (own[place] for own in queries if place < len(own))


def _key(document: DocumentSummary) -> DocumentKey:
    return document.source_type, document.source_id
