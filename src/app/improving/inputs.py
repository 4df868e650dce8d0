"""What was each component given when a question was answered, so that it can answer it once more?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from src.agents.explainer.state import ExplainRequest
from src.causal_engine.serialise import from_json, to_json
from src.domain.identifiers import without_identifiers
from src.domain.improvement import LearningItem
from src.errors import ContractViolation
from src.mlops.tracing.privacy import Redactor
from src.rag.answers import RAGAnswer
from src.rag.retrieval_results import RetrievedChunk
from src.storage.records import Json

EXPLAINER, RAG_ANSWER = "explainer", "rag_answer"
_IDS = frozenset({"id", "evidence", "run_id", "chunk_id", "document_id", "source_id", "source_type"})
"""What is kept as it is: ids, by which sentences find their evidence again."""


@dataclass(frozen=True, slots=True)
class KeptPassage:
    """A retrieved passage as it is kept; ``score`` is that of its retrieval."""

    chunk_id: str
    document_id: str
    text: str
    score: float
    title: str
    source_type: str
    source_id: str
    section: str = ""
    brand: str | None = None
    region: str | None = None

    def chunk(self) -> RetrievedChunk:
        """As the retriever gave it, without what each arm said of it."""
        return RetrievedChunk(
            chunk_id=self.chunk_id,
            document_id=self.document_id,
            text=self.text,
            score=self.score,
            parts={},
            title=self.title,
            source_type=self.source_type,
            source_id=self.source_id,
            section=self.section,
            brand=self.brand,
            region=self.region,
        )


@dataclass(frozen=True, slots=True)
class DocumentsQuestion:
    """A question and the passages that were found for it, the best first."""

    question: str
    passages: tuple[KeptPassage, ...]


@dataclass(slots=True)
class GivenInputs:
    """Takes down, for one question, what the components that may be improved were given, and which retrieval settings
    found the passages. Of a component that was asked several times, the first one counts.

    Only what a prompt was used for is taken down: without a model there is nothing to improve.
    """

    components: Collection[str]
    documents: dict[str, Json] = field(default_factory=dict)
    retrieval_config_id: str | None = None

    def explained(self, request: ExplainRequest, prompt_versions: Mapping[str, int]) -> None:
        """Take down what explainer was to put into words."""
        if EXPLAINER in prompt_versions:
            self._note(EXPLAINER, request)

    def answered(self, question: str, answer: RAGAnswer) -> None:
        """Take down which passages an answer was to be written from."""
        self.retrieved_with(answer.retrieval_config_id)
        if RAG_ANSWER in answer.prompt_versions:
            self._note(RAG_ANSWER, DocumentsQuestion(question, tuple(_kept(one) for one in answer.contexts)))

    def retrieved_with(self, config_id: str | None) -> None:
        """Take down which settings of retrieval found the passages."""
        self.retrieval_config_id = self.retrieval_config_id or config_id

    def _note(self, component: str, given: Any) -> None:
        if component in self.components and component not in self.documents:
            self.documents[component] = _without_persons(to_json(given), Redactor())


def explain_request(inputs: Mapping[str, Any]) -> ExplainRequest:
    """What explainer was given. Raises ContractViolation for what another version of E2I kept."""
    return from_json(ExplainRequest, _something(inputs))


def documents_question(inputs: Mapping[str, Any]) -> DocumentsQuestion:
    """What an answer from documents was written from. Raises ContractViolation as above."""
    return from_json(DocumentsQuestion, _something(inputs))


def evidence_ids(component: str, item: LearningItem) -> tuple[str, ...]:
    """The ids of what an answer could cite: evidence of findings, or passages. Raises ContractViolation as above."""
    if component == RAG_ANSWER:
        return tuple(f"chunk:{one.chunk_id}" for one in documents_question(item.inputs).passages)
    findings = explain_request(item.inputs).results
    return tuple(dict.fromkeys(one.id for finding in findings if finding.answered for one in finding.evidence))


def _something(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    if not inputs:
        raise ContractViolation("nothing was kept of what the component was given: it cannot answer again")
    return inputs


def _kept(one: RetrievedChunk) -> KeptPassage:
    return KeptPassage(
        chunk_id=one.chunk_id,
        document_id=one.document_id,
        text=one.text,
        score=one.score,
        title=one.title,
        source_type=one.source_type,
        source_id=one.source_id,
        section=one.section,
        brand=one.brand,
        region=one.region,
    )


def _without_persons(value: Any, redactor: Redactor, key: str = "") -> Any:
    """The document with addresses, numbers, ids and names of persons taken out of its texts."""
    if isinstance(value, dict):
        return {name: _without_persons(one, redactor, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_persons(one, redactor, key) for one in value]
    if isinstance(value, str) and key not in _IDS:
        return redactor.clean_text(without_identifiers(value))
    return value
