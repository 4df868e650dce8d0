"""Which rows does an answer leave in the database?"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.agents.causal_impact.agent import ImpactResult
from src.agents.results import AgentMeta
from src.agents.runtime import NodeError
from src.agents.tiers import identity
from src.causal_engine.results import Analysis, EffectEstimate, RefutationReport
from src.storage.observations import ObservationRepository


async def record_result(
    observations: ObservationRepository, run_id: str, query_sha256: str, result: ImpactResult
) -> None:
    """Store the agent's activity and, where there is an analysis, its estimates and validations."""
    analysis = result.analysis
    await record_activity(
        observations,
        run_id,
        result.meta,
        result.error,
        activity_type="causal_analysis",
        workstream="WS3",
        records_processed=analysis.n_rows if analysis else 0,
    )
    if analysis is None:
        return
    stored = await observations.add_evaluations(_evaluations(query_sha256, analysis))
    selected = next((row["id"] for row in stored if row["selected"]), None)
    if selected is not None and analysis.refutation is not None:
        await observations.add_validations(_validations(selected, analysis.refutation))


async def record_activity(
    observations: ObservationRepository,
    run_id: str,
    meta: AgentMeta,
    error: NodeError | None,
    *,
    activity_type: str,
    workstream: str,
    records_processed: int,
) -> None:
    """Store the one ``agent_activities`` row of a run; a run that is finished again keeps one.

    ``error`` says why a run failed or ran out of time, otherwise what is degraded in it; one that ended with an answer
    has none.
    """
    who = identity(meta.agent_name)
    told = None
    if meta.status in ("failed", "timeout"):
        told = error or NodeError("NoResult", "; ".join(meta.degraded) or "the run gave no result", "run")
    await observations.add_activity(
        {
            "activity_id": f"act_{uuid5(NAMESPACE_URL, run_id).hex[:16]}",
            "agent_name": who.name,
            "agent_tier": who.tier_name,
            "activity_timestamp": meta.started_at,
            "activity_type": activity_type,
            "workstream": workstream,
            "processing_duration_ms": meta.duration_ms,
            "records_processed": records_processed,
            "status": meta.status,
            "error_type": told.type if told else None,
            "error_message": told.message if told else None,
            "trace_id": meta.trace_id,
        }
    )


def _evaluations(query_sha256: str, analysis: Analysis) -> list[dict[str, Any]]:
    rows = [_evaluation(query_sha256, estimate, selected=False) for estimate in analysis.curve]
    if analysis.primary is not None:
        rows.append(_evaluation(query_sha256, analysis.primary, selected=True))
    elif analysis.naive is not None:
        rows.append(_evaluation(query_sha256, analysis.naive, selected=False))
    rows.extend(
        {
            "query_hash": query_sha256,
            "estimator": failed.estimator,
            "selected": False,
            "n_samples": analysis.n_rows,
            "error_type": failed.error,
            "error_message": failed.message,
        }
        for failed in analysis.failures
    )
    columns = sorted({column for row in rows for column in row})
    return [{column: row.get(column) for column in columns} for row in rows]


def _evaluation(query_sha256: str, estimate: EffectEstimate, *, selected: bool) -> dict[str, Any]:
    return {
        "query_hash": query_sha256,
        "estimator": estimate.estimator,
        "selected": selected,
        "ate": estimate.value,
        "ate_se": estimate.std_error,
        "ci_lower": estimate.ci.lower,
        "ci_upper": estimate.ci.upper,
        "n_samples": estimate.n,
    }


def _validations(evaluation_id: Any, report: RefutationReport) -> list[dict[str, Any]]:
    return [
        {
            "estimation_id": evaluation_id,
            "test_name": test.name,
            "passed": test.passed,
            "applicable": test.applicable,
            "critical": test.critical,
            "statistic": test.statistic,
            "threshold": test.threshold,
            "detail": test.detail,
            "gate": report.gate.value,
        }
        for test in report.tests
    ]
