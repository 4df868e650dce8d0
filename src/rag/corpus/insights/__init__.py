"""Which texts do the tables and definitions yield?"""

from __future__ import annotations

from collections.abc import Callable

from src.domain.kpis import load_kpis
from src.domain.vocabulary import load_vocabulary
from src.rag.corpus.ingestion import Unreadable
from src.rag.corpus.insights.causal_paths import causal_path_documents
from src.rag.corpus.insights.definitions import kpi_definitions, method_definitions
from src.rag.corpus.insights.kpi_summaries import kpi_summaries
from src.rag.corpus.insights.run_reports import run_report
from src.rag.corpus.insights.wording import Names
from src.rag.corpus.labels import Labeller
from src.rag.documents import SourceDocument, SourceType
from src.storage.database import Database
from src.storage.insight_rows import completed_runs, metric_rows, validated_paths

INSIGHT_TYPES = (SourceType.KPI_SUMMARY, SourceType.CAUSAL_PATH, SourceType.DEFINITION, SourceType.RUN_REPORT)


async def insights(
    database: Database, *, on_step: Callable[[str], None] = lambda _: None
) -> list[SourceDocument | Unreadable]:
    """Every text that can be written from the tables as they are now; a run that cannot be told says why."""
    vocabulary = load_vocabulary()
    names, labeller = Names(vocabulary), Labeller(vocabulary)
    on_step("KPI summaries")
    documents: list[SourceDocument | Unreadable] = [*kpi_summaries(await metric_rows(database))]
    on_step("causal paths")
    documents += causal_path_documents(await validated_paths(database), names)
    on_step("definitions")
    documents += [*kpi_definitions(load_kpis()), *method_definitions()]
    on_step("run reports")
    documents += [run_report(row, names, labeller) async for row in completed_runs(database)]
    return documents
