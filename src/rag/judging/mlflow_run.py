"""How is an evaluation kept in MLflow?"""

from __future__ import annotations

import asyncio
import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

from src.mlops.mlflow.results import Written
from src.mlops.mlflow.runs import MLflowRun
from src.mlops.mlflow_connector import MLflowConnector
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.scorer import described
from src.rag.scores import METRICS, EvaluationReport, EvaluationResult
from src.resilience.outcomes import Unavailable

TABLE = "samples.csv"


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """The run's id in the store, or why it has none (yet)."""

    run_id: str | None
    problem: str | None = None


async def log_report(connector: MLflowConnector, report: EvaluationReport, config: EvaluationConfig) -> LoggedRun:
    """One run with parameters, metrics, tags and the table of samples. What was not measured is no metric.

    Raises nothing: an evaluation is not worth less for a log that failed.
    """
    try:
        experiment = await connector.get_or_create_experiment(config.mlflow_experiment)
        async with connector.start_run(experiment, run_name=f"rag-evaluation-{report.run_id}") as run:
            outcome = await _log(run, report, config)
    except Exception as error:  # noqa: BLE001 - told as the problem of the log
        return LoggedRun(None, described(error))
    if run.run_id is not None and run.persisted:
        return LoggedRun(run.run_id)
    if isinstance(outcome, Unavailable):
        return LoggedRun(None, outcome.reason)
    return LoggedRun(run.run_id, "the store is away; what was logged waits in its spool")


async def _log(run: MLflowRun, report: EvaluationReport, config: EvaluationConfig) -> object:
    await run.log_params(
        {
            **{f"threshold_{name}": limit for name, limit in report.thresholds.items()},
            "min_coverage": config.min_coverage,
            "samples": report.total_samples,
            "pipeline_called": report.pipeline_called,
        }
    )
    await run.set_tags(
        {
            "dataset_hash": report.dataset_hash,
            "dataset_name": report.dataset_name,
            "evaluation_run_id": report.run_id,
            "methods": ",".join(sorted(report.methods)),
            "models": ",".join(sorted({one.model for one in report.results if one.model})),
        }
    )
    await run.log_metrics(_metrics(report))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / TABLE
        await asyncio.to_thread(_write_table, table, report.results)
        outcome = await run.log_artifact(table)
    return outcome if not isinstance(outcome, Written) else None


def _metrics(report: EvaluationReport) -> dict[str, float]:
    metrics: dict[str, float] = {
        "passed_samples": report.passed_samples,
        "failed_samples": report.failed_samples,
        "unmeasured_samples": report.unmeasured_samples,
        "all_thresholds_passed": float(report.all_thresholds_passed),
        "evaluation_time_seconds": report.evaluation_time_seconds,
        "judge_calls": report.cost.calls,
    }
    if report.cost.dollars is not None:
        metrics["cost_dollars"] = report.cost.dollars
    for name, one in report.aggregates.items():
        metrics[f"{name}_coverage"] = one.coverage
        if one.mean is not None:
            metrics[name] = one.mean
        if one.interval is not None:
            metrics |= {f"{name}_low": one.interval.low, f"{name}_high": one.interval.high}
    return metrics


def _write_table(file: Path, results: tuple[EvaluationResult, ...]) -> None:
    """Scores and reasons by sample; queries and answers stay in the database."""
    reasons = [f"{metric}_reason" for metric in METRICS]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sample_id", *METRICS, "overall_score", "passed", "method", "error", *reasons])
        for one in results:
            scores = [one.value(metric) for metric in METRICS]
            why = [one.scores[metric].reason if metric in one.scores else "" for metric in METRICS]
            row = [one.sample_id, *scores, one.overall_score, one.passed_thresholds, one.method, one.error, *why]
            writer.writerow(row)
