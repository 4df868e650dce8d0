"""What answers from the corpus, opened as it is configured?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from src.app.prompts import open_prompts
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.llm.none import NoModel
from src.mlops.opik_connector import get_opik_connector
from src.rag.answering.pipeline import RAGPipeline
from src.rag.configuration import load_rag_config
from src.rag.embeddings.selection import close_embeddings, open_embeddings
from src.rag.retrieval.opening import open_retriever
from src.storage.database import Database


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
