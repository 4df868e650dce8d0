"""Which rows of the tables are written up as texts? Columns that identify a person are never selected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from psycopg import sql

from src.contracts.tables import get_table
from src.storage.database import Database, Row

METRIC_COLUMNS = (
    *("metric_date", "metric_type", "metric_name", "brand", "region", "value", "target"),
    *("year_over_year_change", "month_over_month_change", "roi", "sample_size"),
)
PATH_COLUMNS = (
    *("path_id", "discovery_date", "start_node", "end_node", "intermediate_nodes", "causal_effect_size", "effect_raw"),
    *("effect_se", "confidence_level", "p_value", "method_used", "confounders_controlled", "mediators_identified"),
    *("time_lag_days", "validation_status", "business_impact_estimate", "brand", "region"),
)
VALIDATED = ("proceed", "review")


async def metric_rows(database: Database) -> list[Row]:
    """All values of ``business_metrics``, series by series and in order of time."""
    return await database.fetch(
        sql.SQL("SELECT {} FROM business_metrics ORDER BY metric_name, brand, region, metric_date").format(
            _selected("business_metrics", METRIC_COLUMNS)
        )
    )


async def validated_paths(database: Database) -> list[Row]:
    """Causal paths that the refutation tests let pass, with or without reservations."""
    return await database.fetch(
        sql.SQL("SELECT {} FROM causal_paths WHERE validation_status = ANY(%s) ORDER BY path_id").format(
            _selected("causal_paths", PATH_COLUMNS)
        ),
        [[*VALIDATED]],
    )


async def completed_runs(database: Database, *, batch: int = 200) -> AsyncIterator[Row]:
    """Finished analysis runs, oldest first."""
    after: tuple[object, object] | None = None
    while True:
        rows = await database.fetch(
            "SELECT run_id, question, understood, request, dataset_id, verdict, analysis, started_at, ended_at"
            " FROM analysis_runs WHERE status = 'completed'"
            " AND (%(at)s::timestamptz IS NULL OR (started_at, run_id) > (%(at)s::timestamptz, %(id)s::uuid))"
            " ORDER BY started_at, run_id LIMIT %(batch)s",
            {"at": after[0] if after else None, "id": after[1] if after else None, "batch": batch},
        )
        for row in rows:
            yield row
        if len(rows) < batch:
            return
        after = rows[-1]["started_at"], rows[-1]["run_id"]


def _selected(table: str, columns: Sequence[str]) -> sql.Composed:
    """Raises KeyError for a personal column: it may not become text."""
    allowed = {column.name for column in get_table(table).columns if not column.is_personal}
    return sql.SQL(", ").join(sql.Identifier(name) for name in columns if name in allowed or _refuse(name, table))


def _refuse(column: str, table: str) -> bool:
    raise KeyError(f"{table}.{column} identifies a person or does not exist")
