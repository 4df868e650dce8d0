"""A corpus written from small tables, with the causal paths that the graph arm walks, embedded by the local model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from src.domain.kpis import load_kpis
from src.domain.vocabulary import load_vocabulary
from src.rag.corpus.chunking import Cutting
from src.rag.corpus.corpus import Corpus
from src.rag.corpus.ingestion import ingest
from src.rag.corpus.insights.causal_paths import causal_path_documents
from src.rag.corpus.insights.definitions import kpi_definitions
from src.rag.corpus.insights.kpi_summaries import kpi_summaries
from src.rag.corpus.insights.wording import Names
from src.rag.embeddings.provider import EmbeddingProvider
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.rag_documents import RagDocumentRepository

BRANDS = ("Fabhalta", "Kisqali", "Remibrutinib")
REGIONS = ("midwest", "northeast", "south", "west")
METRICS = ("BU6", "BU8")
STARTS, ENDS = ("rep_calls", "samples", "email_opens"), ("nrx", "trx")


async def fill(database: Database, embeddings: EmbeddingProvider | Unavailable) -> None:
    """Summaries, paths and definitions, as ``e2i corpus add --insights`` writes them."""
    paths = [*_path_rows()]
    for row in paths:
        await _add_path(database, row)
    documents = [
        *kpi_summaries(_metric_rows()),
        *causal_path_documents(paths, Names(load_vocabulary())),
        *kpi_definitions(load_kpis()),
    ]
    repository = RagDocumentRepository(database)
    async with repository.writing() as writer:
        await ingest(documents, Corpus(repository, writer, embeddings, Cutting(512, 50), 256))


def _metric_rows() -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        for brand in BRANDS:
            for number, region in enumerate(REGIONS):
                for month in (6, 12):
                    yield {
                        "metric_name": metric,
                        "brand": brand,
                        "region": region,
                        "metric_date": date(2024, month, 1),
                        "value": 100.0 + 10 * number + month,
                        "target": 110.0,
                        "year_over_year_change": None,
                        "month_over_month_change": None,
                    }


def _path_rows() -> Iterator[dict[str, Any]]:
    for start in STARTS:
        for end in ENDS:
            for number, brand in enumerate(BRANDS):
                yield {
                    "path_id": f"path_{start}_{end}_{brand}",
                    "discovery_date": date(2025, 1, 1),
                    "start_node": start,
                    "end_node": end,
                    "intermediate_nodes": [],
                    "causal_effect_size": 0.1 + 0.05 * number,
                    "effect_raw": 0.4,
                    "effect_se": 0.1,
                    "confidence_level": 0.9,
                    "p_value": 0.01,
                    "method_used": "twfe",
                    "confounders_controlled": ["specialty"],
                    "mediators_identified": [],
                    "time_lag_days": 30,
                    "validation_status": "proceed",
                    "business_impact_estimate": None,
                    "brand": brand,
                    "region": None,
                }


async def _add_path(database: Database, row: dict[str, Any]) -> None:
    await database.execute(
        "INSERT INTO causal_paths (path_id, discovery_date, start_node, end_node, intermediate_nodes, path_length,"
        " causal_effect_size, method_used, validation_status, confidence_level, brand)"
        " VALUES (%(path_id)s, %(discovery_date)s, %(start_node)s, %(end_node)s, %(intermediate_nodes)s, 1,"
        " %(causal_effect_size)s, %(method_used)s, %(validation_status)s, %(confidence_level)s, %(brand)s)",
        row,
    )


def index_folder(folder: Path) -> Path:
    """Where the word index of the corpus is kept."""
    return folder / "index"
