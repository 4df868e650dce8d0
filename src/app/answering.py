"""How is a question answered from the corpus, and kept?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from src.app.interactions import keep, of_documents, without_persons
from src.app.prompts import open_prompts
from src.app.tracing import traced_database
from src.domain.vocabulary import load_vocabulary
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.llm.none import NoModel
from src.mlops.opik_connector import get_opik_connector
from src.rag.answering.pipeline import RAGPipeline
from src.rag.answers import RAGAnswer
from src.rag.configuration import load_rag_config
from src.rag.corpus.labels import Labeller
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.rag.retrieval.opening import open_retriever
from src.rag.retrieval_results import RetrievalFilters
from src.storage.database import Database
from src.storage.rag_chunks import ChunkRepository

Progress = Callable[[str], None]


@asynccontextmanager
async def open_pipeline(database: Database) -> AsyncIterator[RAGPipeline]:
    """The configured pipeline over a database: its retriever, and its model where one is configured."""
    config, connector = load_rag_config(), get_opik_connector()
    embeddings = open_embeddings(config.embedding, tracer=connector)
    client = open_client(load_llm_config(), prices=connector.config.prices, tracer=connector)
    try:
        yield RAGPipeline(
            open_retriever(database, config, embeddings=embeddings, tracer=connector),
            config.answering,
            llm=None if client.provider == NoModel.provider else client,
            tracer=connector,
            prompts=await open_prompts(database),
        )
    finally:
        await client.aclose()
        await close_embeddings(embeddings)


async def answer_from_documents(
    question: str,
    *,
    filters: RetrievalFilters | None = None,
    k: int | None = None,
    expertise: str | None = None,
    keep_declined: bool = True,
    on_progress: Progress = lambda _: None,
) -> RAGAnswer:
    """Answer from the corpus or decline; the answer is kept, to be scored for a reader of that ``expertise``.

    Without ``keep_declined`` only an answer is kept. What identifies a person is taken out of the question first: it
    reaches no model, trace or table.
    Raises DataUnavailable when the corpus is empty, ContractViolation for an empty question or unknown filters.
    """
    asked = without_persons(question)
    on_progress("opening the database")
    async with traced_database() as database, open_pipeline(database) as pipeline:
        on_progress("reading the documents")
        answer = await pipeline.answer(asked, filters=filters, k=k)
        labels = Labeller(load_vocabulary()).label(asked, filters.brand if filters is not None else None, None)
        if keep_declined or answer.declined is None:
            await keep(database, of_documents(answer, brand=labels.brand, expertise=expertise))
        return answer


async def has_documents() -> bool:
    """Whether there is anything to answer from."""
    async with traced_database() as database:
        return not await ChunkRepository(database).is_empty()
