"""How does a question become an answer whose every sentence is supported by what was retrieved?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from src.domain.prompts import FilePrompts, Prompt, PromptSource
from src.llm.client import LLMClient
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.rag.answering.extractive import Extract, extract_answer
from src.rag.answering.grounding import Grounded, ground
from src.rag.answering.scope import CLINICAL, asks_for_clinical_advice
from src.rag.answering.writing import Written, write_answer
from src.rag.answers import AnswerMethod, Citation, GroundedSentence, RAGAnswer
from src.rag.configuration import AnsweringSettings
from src.rag.retrieval_results import RetrievalFilters, RetrievalResult, Retriever
from src.resilience.outcomes import Unavailable

AGENT = "orchestrator"
COMPONENT = "rag_answer"
DEGRADED_COUNTS = 0.15
"""Share of confidence that an arm without an answer takes away; less where it searched a part."""


@dataclass(frozen=True, slots=True)
class _Draft:
    method: AnswerMethod
    grounded: Grounded
    covered: float
    missing: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()
    prompt: Prompt | None = None


class RAGPipeline:
    """Retrieves, writes, checks every sentence against its sources, and declines where evidence is missing.

    Without a model, or where the model cannot be used or does not answer in time, sentences of the documents answer
    as they stand. Questions for clinical advice are declined.
    Confidence is the mean support of the sentences times the covered share of the question, less 15 % for each
    retrieval arm that failed; 0 for a declined answer. It orders answers and is no probability.
    """

    def __init__(
        self,
        retriever: Retriever,
        settings: AnsweringSettings,
        *,
        llm: LLMClient | None = None,
        tracer: OpikConnector | None = None,
        prompts: PromptSource | None = None,
    ) -> None:
        """``prompts`` has the wording of ``rag_answer``; default: that of the file."""
        self._retriever = retriever
        self._settings = settings
        self._llm = llm
        self._tracer = tracer
        self._prompts = prompts or FilePrompts()

    async def answer(
        self, query: str, *, filters: RetrievalFilters | None = None, k: int | None = None, trace_id: str | None = None
    ) -> RAGAnswer:
        """Answer ``query`` from the corpus or decline.

        Raises ContractViolation for an empty question or unknown filters, DataUnavailable when no arm answered.
        """
        began = time.monotonic()
        tracer = self._tracer if self._tracer is not None else get_opik_connector()
        async with tracer.trace_agent(AGENT, "rag_answer", trace_id=trace_id, input_data={"query": query}) as span:
            found = await self._retriever.retrieve(query, k=k, filters=filters)
            draft = await self._draft(query, found, tracer)
            answered = self._answer(query, found, draft, span.trace_id, (time.monotonic() - began) * 1000)
            span.prompt_versions = dict(answered.prompt_versions) or None
            span.set_output({"answer": answered.answer, "declined": answered.declined, "method": answered.method})
            return answered

    async def _draft(self, query: str, found: RetrievalResult, tracer: OpikConnector) -> _Draft:
        if asks_for_clinical_advice(query):
            return _Draft("extractive", Grounded((), (), 0.0, ()), 0.0, CLINICAL)
        if not found.chunks:
            nothing = "no document was found for this question"
            return _Draft("extractive", Grounded((), (), 0.0, ()), 0.0, nothing)
        if self._llm is None:
            return self._extracted(query, found)
        async with tracer.trace_agent(AGENT, "write_answer") as span:
            prompt = await self._prompts.active(COMPONENT)
            span.prompt_versions = {COMPONENT: prompt.version}
            written = await write_answer(
                self._llm,
                prompt,
                query,
                found.chunks,
                max_chars=self._settings.max_context_chars,
                timeout_seconds=self._settings.model_timeout_seconds,
            )
            if isinstance(written, Unavailable):
                span.set_fallback(["llm", "extractive"])
                return self._extracted(query, found, (f"answered without a model: {written.reason}",))
        return self._checked(found, written, prompt)

    def _checked(self, found: RetrievalResult, written: Written, prompt: Prompt) -> _Draft:
        """What is left of a written answer when each sentence has to stand on its sources."""
        grounded = ground(
            written.sentences[: self._settings.max_sentences], found.chunks, min_support=self._settings.min_support
        )
        missing = None
        if not grounded.sentences:
            missing = written.missing or "no sentence that was written is supported by the documents"
        return _Draft("llm", grounded, 1.0, missing, written.model, grounded.left_out, prompt)

    def _extracted(self, query: str, found: RetrievalResult, notes: tuple[str, ...] = ()) -> _Draft:
        extract = extract_answer(query, found.chunks, most=self._settings.max_sentences)
        return _Draft("extractive", quoted(extract, found), extract.covered, extract.missing, notes=notes)

    def _answer(self, query: str, found: RetrievalResult, draft: _Draft, trace_id: str, latency_ms: float) -> RAGAnswer:
        declined = draft.missing if not draft.grounded.sentences else None
        lost = DEGRADED_COUNTS * sum(1 - one.share for one in found.degraded)
        confidence = draft.grounded.support * draft.covered * max(0.0, 1 - lost)
        return RAGAnswer(
            query=query,
            answer=declined_text(declined) if declined else answer_text(draft.grounded.sentences),
            sentences=draft.grounded.sentences,
            contexts=found.chunks,
            citations=draft.grounded.citations,
            confidence=0.0 if declined else min(1.0, confidence),
            method=draft.method,
            trace_id=trace_id,
            declined=declined,
            model=draft.model,
            prompt_versions={draft.prompt.component: draft.prompt.version} if draft.prompt is not None else {},
            retrieval_config_id=found.config.config_id,
            degraded=found.degraded,
            notes=draft.notes,
            latency_ms=latency_ms,
        )


def quoted(extract: Extract, found: RetrievalResult) -> Grounded:
    """The chosen sentences as they stand, each citing its own place."""
    sentences: list[GroundedSentence] = []
    citations: list[Citation] = []
    for marker, one in enumerate(extract.sentences, start=1):
        chunk = found.chunks[one.chunk]
        sentences.append(GroundedSentence(one.text, (marker,)))
        citations.append(Citation(marker, chunk.chunk_id, chunk.document_id, chunk.title, one.text, one.start, one.end))
    return Grounded(tuple(sentences), tuple(citations), 1.0 if sentences else 0.0, ())


def answer_text(sentences: Sequence[GroundedSentence]) -> str:
    """The sentences with their markers, as text."""
    return " ".join(f"{one.text} {''.join(f'[{marker}]' for marker in one.markers)}" for one in sentences)


def declined_text(missing: str) -> str:
    """What is said instead of an answer."""
    if missing == CLINICAL:
        return f"{missing[0].upper()}{missing[1:]}."
    return f"The documents do not answer this: {missing}."
