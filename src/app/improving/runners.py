"""How does a component answer once more what it answered before, with other instructions?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from src.agents.explainer.agent import ExplainerAgent, ExplainResult
from src.agents.explainer.material import founding_texts, material_of
from src.agents.explainer.phrasing import ended
from src.agents.explainer.services import Services as ExplainerServices
from src.agents.explainer.state import ExplainRequest, OutputFormat
from src.agents.nesting import no_part_of_the_caller
from src.agents.runtime import Deps
from src.app.improving.inputs import EXPLAINER, RAG_ANSWER, DocumentsQuestion, documents_question, explain_request
from src.app.improving.metering import MeteredClient, Used
from src.domain.figures import unfounded_numbers
from src.domain.findings import known_of, texts_of
from src.domain.identifiers import find_identifiers
from src.domain.improvement import LearningItem
from src.domain.prompts import Prompt
from src.errors import ConfigError, ContractViolation, DataUnavailable
from src.llm.client import LLMClient
from src.mlops.opik_connector import OpikConnector
from src.optimization.gepa.component import ComponentRunner, Ran
from src.rag.answering.pipeline import RAGPipeline
from src.rag.answers import RAGAnswer
from src.rag.configuration import AnsweringSettings, load_rag_config
from src.rag.retrieval_results import RetrievalFilters, RetrievalResult
from src.storage.retrieval_configurations import RetrievalConfig

TRIED_PROMPTS = (EXPLAINER, RAG_ANSWER)
CANNOT_BE_TRIED = (
    "the prompt of {component} cannot be tried out on earlier questions, only those of explainer and rag_answer can: "
    "change it by hand"
)
TRIED = 0
"""The number of a version that is only tried."""
_NO_SETTINGS = RetrievalConfig("kept passages", TRIED, 1, 1, 0, 0.0, 1.0, 0.0, False)
MakeDeps = Callable[[str], Deps]
"""What a run of the agent of that name works with."""


@dataclass(frozen=True, slots=True)
class FixedPrompts:
    """The wording that is tried, as ``PromptSource``."""

    texts: Mapping[str, str]

    async def active(self, component: str) -> Prompt:
        """The text that is tried. Raises ConfigError for another component: it would answer with what is in use."""
        if component not in self.texts:
            raise ConfigError(f"no wording of '{component}' is tried")
        return Prompt(component, TRIED, self.texts[component])


@dataclass(frozen=True, slots=True)
class KeptPassages:
    """A ``Retriever`` that gives back the passages of a question that was answered before."""

    asked: DocumentsQuestion

    async def retrieve(
        self, query: str, *, k: int | None = None, filters: RetrievalFilters | None = None
    ) -> RetrievalResult:
        """All of them in their order, whatever ``k`` is."""
        chunks = tuple(one.chunk() for one in self.asked.passages)
        return RetrievalResult(query, chunks, _NO_SETTINGS, filters or RetrievalFilters())


@dataclass(frozen=True, slots=True)
class ExplainerRunner:
    """Puts the findings of an earlier question into words again."""

    client: LLMClient
    deps: MakeDeps

    async def run(self, text: str, item: LearningItem) -> Ran:
        """See ``ComponentRunner``. An explanation by template is a problem: the model's own did not hold."""
        asked = explain_request(item.inputs)
        metered = MeteredClient(self.client)
        agent = ExplainerAgent(ExplainerServices(FixedPrompts({EXPLAINER: text}), metered))
        began = time.monotonic()
        with no_part_of_the_caller():
            result = await agent.run(asked, self.deps(EXPLAINER))
        metered.used.check()
        if result.error is not None:
            raise DataUnavailable(f"the explanation was not written: {result.error.message}")
        return _ran(result.detail, _told_to_explainer(asked), metered.used, began, _of_explanation(asked, result))


@dataclass(frozen=True, slots=True)
class RagAnswerRunner:
    """Writes an answer again from the passages that were found for it."""

    client: LLMClient
    tracer: OpikConnector
    settings: AnsweringSettings

    async def run(self, text: str, item: LearningItem) -> Ran:
        """See ``ComponentRunner``. An answer without the model's words is a problem."""
        asked = documents_question(item.inputs)
        metered = MeteredClient(self.client)
        pipeline = RAGPipeline(
            KeptPassages(asked),
            self.settings,
            llm=metered,
            tracer=self.tracer,
            prompts=FixedPrompts({RAG_ANSWER: text}),
        )
        began = time.monotonic()
        answer = await pipeline.answer(asked.question)
        metered.used.check()
        contexts = tuple(one.text for one in asked.passages)
        return _ran(answer.answer, contexts, metered.used, began, _of_documents(answer))


def runner_of(component: str, client: LLMClient, tracer: OpikConnector, deps: MakeDeps) -> ComponentRunner:
    """What answers again as ``component``. Raises DataUnavailable for one whose prompt cannot be tried."""
    if component == EXPLAINER:
        return ExplainerRunner(client, deps)
    if component == RAG_ANSWER:
        return RagAnswerRunner(client, tracer, load_rag_config().answering)
    raise DataUnavailable(CANNOT_BE_TRIED.format(component=component))


def can_answer_again(component: str, item: LearningItem) -> bool:
    """Whether what was kept of an answer can be read: another version of E2I may have kept it otherwise."""
    read = {EXPLAINER: explain_request, RAG_ANSWER: documents_question}.get(component)
    try:
        return read is not None and bool(read(item.inputs))
    except ContractViolation:
        return False


def _ran(answer: str, contexts: tuple[str, ...], used: Used, began: float, problems: tuple[str, ...]) -> Ran:
    return Ran(
        answer=answer,
        contexts=contexts,
        tokens=used.tokens,
        cost_dollars=used.dollars,
        latency_ms=(time.monotonic() - began) * 1000,
        problems=(*problems, *(f"a person's {one.kind} is in the answer" for one in find_identifiers(answer))),
    )


def _told_to_explainer(asked: ExplainRequest) -> tuple[str, ...]:
    evidence = {one.id: one.text for finding in asked.results if finding.answered for one in finding.evidence}
    return (*evidence.values(), *(one.text for one in asked.passages))


def _of_explanation(asked: ExplainRequest, result: ExplainResult) -> tuple[str, ...]:
    """What must never happen and did."""
    problems = [f"no text of the model held: {one}" for one in result.meta.degraded if "by template" in one]
    material = material_of(asked)
    known = [*known_of(material.findings)]
    said = [*founding_texts(material.findings), *texts_of(asked.results), *material.absent]
    said += [one.text for one in asked.passages]
    problems += [f"a number without a source: {one}" for one in unfounded_numbers(result.detail, known, said)[:3]]
    if asked.output_format is not OutputFormat.BRIEF:
        text = _squeezed(result.detail)
        lost = [one for one in material.must_tell if _squeezed(ended(one.text)) not in text]
        problems += [f"a caveat was lost: {one.text[:120]}" for one in lost[:3]]
    return tuple(problems)


def _of_documents(answer: RAGAnswer) -> tuple[str, ...]:
    return tuple(answer.notes) if answer.method != "llm" else ()


def _squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()
