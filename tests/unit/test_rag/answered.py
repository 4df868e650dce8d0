"""Chunks to answer from, and a retriever that gives them in their order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from src.domain.prices import PriceTable
from src.llm.client import LLMClient
from src.llm.configuration import CacheSettings, load_llm_config
from src.llm.detection import client_over
from src.llm.scripted import ScriptedVendor
from src.rag.retrieval_results import (
    Degraded,
    RetrievalConfig,
    RetrievalFilters,
    RetrievalResult,
    RetrievedChunk,
)
from src.scripted_servers.replies import Reply

CONFIG = RetrievalConfig("00000000-0000-4000-8000-000000000001", 1, 5, 512, 50, 0.5, 0.5, 0.0, False)


def chunk(text: str, *, title: str = "Report", number: int = 1, **known: Any) -> RetrievedChunk:
    return RetrievedChunk(
        chunk_id=f"chunk-{number}",
        document_id=f"document-{number}",
        text=text,
        score=1.0 / number,
        parts={},
        title=title,
        source_type="file",
        source_id=f"{number}.md",
        **known,
    )


KISQALI = chunk(
    "Rep calls raised new prescriptions of Kisqali in the Northeast by 0.353 per call (95 % interval 0.308 to 0.398). "
    "The placebo refutation passed. Add two calls a month for oncologists in deciles 8 to 10.",
    title="Rep calls and Kisqali in the Northeast",
)
FABHALTA = chunk(
    "Fabhalta new prescriptions in the Midwest fell by 12 % in 2024. PNH testing is the main driver of adoption there.",
    title="Fabhalta in the Midwest",
    number=2,
)
METHOD = chunk(
    "An E-value is the least strength an unmeasured confounder would need to explain the effect away.",
    title="Definitions",
    number=3,
)
CORPUS = (KISQALI, FABHALTA, METHOD)


@dataclass
class Found:
    """Gives the same chunks to every query, and counts the queries."""

    chunks: tuple[RetrievedChunk, ...] = CORPUS
    degraded: tuple[Degraded, ...] = ()
    asked: int = 0

    async def retrieve(
        self, query: str, *, k: int | None = None, filters: RetrievalFilters | None = None
    ) -> RetrievalResult:
        self.asked += 1
        return RetrievalResult(query, self.chunks[: k or len(self.chunks)], CONFIG, degraded=self.degraded)


def model(*replies: Reply) -> tuple[LLMClient, ScriptedVendor]:
    """A client whose model gives these replies in order."""
    vendor = ScriptedVendor(list(replies))
    settings = load_llm_config(environ={})
    models = dict.fromkeys(settings.anthropic.models.by_purpose(), "scripted")
    uncached = settings.model_copy(update={"cache": CacheSettings(enabled=False)})
    return client_over(vendor, uncached, models=models, prices=PriceTable(as_of=date(2026, 1, 1), models={})), vendor


def written(*sentences: tuple[str, int, str], missing: str = "") -> Reply:
    """A reply: sentences with the number of the document and the words they quote."""
    return Reply.json(
        {
            "sentences": [
                {"text": text, "sources": [{"document": document, "quote": quote}]}
                for text, document, quote in sentences
            ],
            "missing": missing,
        }
    )


def without(one: RetrievedChunk, words: str) -> RetrievedChunk:
    """The chunk with some of its words taken out."""
    return replace(one, text=one.text.replace(words, ""))
