"""Where is it kept which effect functions were compared, and how each did?"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from src.agents.causal_impact.state import ImpactRequest
from src.causal_engine.energy_score.mlflow_tracker import EnergyScoreMLflowTracker, LoggedSelection, Question
from src.causal_engine.heterogeneity.summary import selection_of
from src.causal_engine.results import Analysis
from src.causal_engine.serialise import from_json
from src.storage.database import Database
from src.storage.estimator_evaluations import EstimatorEvaluationRepository
from src.storage.gateway import Op
from src.storage.postgres_gateway import PostgresGateway
from src.storage.records import RunRecord


async def keep_selection(
    database: Database, run: RunRecord, analysis: Analysis, on_progress: Callable[[str], None] = lambda _: None
) -> LoggedSelection | None:
    """Log every candidate to MLflow and ``estimator_evaluations``; None when no effect functions were compared.

    The answer stands whatever becomes of it: a store that is away is in the result, never raised.
    """
    report = analysis.heterogeneity
    if report is None or report.selection is None:
        return None
    on_progress("keeping the comparison of effect functions")
    from src.mlops.mlflow_connector import get_mlflow_connector

    request = from_json(ImpactRequest, run.request)
    brand, region = (_only(request, column) for column in ("brand", "region"))
    question = Question(analysis.outcome, run.request_sha256, brand, region)
    tracker = EnergyScoreMLflowTracker(
        get_mlflow_connector(), store=EstimatorEvaluationRepository(PostgresGateway(database))
    )
    async with tracker.start_selection_run(_experiment(analysis, question), question) as opened:
        return await tracker.log_selection_result(opened, selection_of(report.selection))


def _experiment(analysis: Analysis, question: Question) -> str:
    """One experiment per treatment, outcome, brand and region: each has a single target in the database."""
    parts = (analysis.treatment, analysis.outcome, question.brand, question.region)
    return "_".join(re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts if part)


def _only(request: ImpactRequest, column: str) -> str | None:
    """The one value that the question keeps of a column, None where it keeps several."""
    values = {str(one.value) for one in request.filters if one.column == column and one.op is Op.EQ}
    return values.pop() if len(values) == 1 else None


def selection_document(logged: LoggedSelection) -> dict[str, Any]:
    """Where the comparison is kept, and what is not."""
    return {"mlflow_run_id": logged.mlflow_run_id, "kept": logged.persisted, "not_kept": not_kept(logged) or None}


def not_kept(logged: LoggedSelection) -> str:
    """What did not reach MLflow or the database, and why; empty when everything did."""
    lines = [f"MLflow: {outcome}" for outcome in logged.mlflow if not outcome.persisted]
    database = logged.database
    if database is not None and not database.persisted:
        lines.append(f"database: {database.error_type}: {database.error_message}")
    return "; ".join(lines)
