"""What do the scores of one sample and of many samples add up to?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.declined import DECLINE, DECLINED_RIGHTLY, is_declined, must_decline
from src.rag.judging.opening import Scored
from src.rag.samples import EvaluationSample
from src.rag.scores import (
    METRICS,
    Aggregate,
    Cost,
    EvaluationReport,
    EvaluationResult,
    Method,
    Metric,
    MetricScore,
    unmeasured,
)
from src.rag.statistics import OVERALL, aggregate, at_least, reaches


def result_of(
    sample: EvaluationSample,
    scored: Scored,
    method: Method,
    thresholds: Mapping[str, float],
    *,
    duration_ms: float = 0.0,
) -> EvaluationResult:
    """One sample's result.

    A sample that must be declined passes exactly when it was, without an error; any other when every thresholded
    metric was measured and reaches its threshold. ``failed_metrics`` are those measured below their threshold, and
    ``decline`` for an answer to what must not be answered.
    """
    values = {metric: scored.scores[metric].value for metric in METRICS}
    measured = [value for value in values.values() if value is not None]
    result = EvaluationResult(
        sample_id=sample.sample_id,
        query=sample.query,
        **values,
        overall_score=math.fsum(measured) / len(measured) if measured else None,
        passed_thresholds=False,
        failed_metrics=(),
        method=method,
        scores=dict(scored.scores),
        error=scored.error,
        cost=scored.cost,
        duration_ms=duration_ms,
        model=scored.model,
        metadata=dict(sample.metadata),
    )
    return judged_by(result, thresholds)


def judged_by(result: EvaluationResult, thresholds: Mapping[str, float]) -> EvaluationResult:
    """The result with its verdict by these thresholds, as ``result_of`` says."""
    required: dict[str, float | None] = {OVERALL: result.overall_score}
    required.update((str(metric), result.value(metric)) for metric in METRICS)
    failed = [
        name
        for name, limit in thresholds.items()
        if (value := required[name]) is not None and not at_least(value, limit)
    ]
    passed = not failed and all(required[name] is not None for name in thresholds) and result.error is None
    metadata = {name: value for name, value in result.metadata.items() if name != DECLINED_RIGHTLY}
    if must_decline(result):
        passed = is_declined(result) and result.error is None
        failed = [] if is_declined(result) else [*failed, DECLINE]
        metadata |= {DECLINED_RIGHTLY: True} if passed else {}
    return replace(result, passed_thresholds=passed, failed_metrics=tuple(failed), metadata=metadata)


def without_scores(
    sample: EvaluationSample, error: str, method: Method, thresholds: Mapping[str, float]
) -> EvaluationResult:
    """The result of a sample that could not be scored at all: the error, and nothing measured."""
    nothing: dict[Metric, MetricScore] = {metric: unmeasured(error) for metric in METRICS}
    result = result_of(sample, Scored(nothing, error=error), method, thresholds)
    # Whether it would have declined is not known either.
    return replace(result, passed_thresholds=False, failed_metrics=())


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of an evaluation beside its results; ``notes`` are for its readers."""

    run_id: str
    started_at: datetime
    dataset_name: str
    dataset_hash: str
    pipeline_called: bool
    trace_id: str | None = None
    notes: tuple[str, ...] = ()


def report_of(
    facts: RunFacts, results: Sequence[EvaluationResult], config: EvaluationConfig, *, seconds: float
) -> EvaluationReport:
    """The whole evaluation. Samples rightly declined pass and stand in no mean."""
    aggregates = aggregates_of(results, config)
    passed = sum(one.passed_thresholds for one in results)
    failed = sum(not one.passed_thresholds and bool(one.failed_metrics) for one in results)
    return EvaluationReport(
        run_id=facts.run_id,
        timestamp=facts.started_at,
        dataset_name=facts.dataset_name,
        dataset_hash=facts.dataset_hash,
        total_samples=len(results),
        passed_samples=passed,
        failed_samples=failed,
        unmeasured_samples=len(results) - passed - failed,
        aggregates=aggregates,
        thresholds=dict(config.thresholds),
        all_thresholds_passed=not _shortfalls(aggregates, config.thresholds, config.min_coverage),
        methods=dict(Counter(one.method for one in results)),
        results=tuple(results),
        evaluation_time_seconds=seconds,
        pipeline_called=facts.pipeline_called,
        cost=sum((one.cost for one in results), Cost()),
        trace_id=facts.trace_id,
        notes=(*facts.notes, *_notes(results)),
    )


def aggregates_of(results: Sequence[EvaluationResult], config: EvaluationConfig) -> dict[str, Aggregate]:
    """Every metric and ``overall`` over the results that count; no mean over scores of different methods."""
    counted = [one for one in results if not one.metadata.get(DECLINED_RIGHTLY)]
    columns: dict[str, list[float | None]] = {metric: [one.value(metric) for one in counted] for metric in METRICS}
    columns[OVERALL] = [one.overall_score for one in counted]
    if _mixed(results):
        columns = {name: [None] * len(counted) for name in columns}
    return {
        name: aggregate(values, draws=config.bootstrap_draws, random_state=config.random_state)
        for name, values in columns.items()
    }


def _mixed(results: Sequence[EvaluationResult]) -> bool:
    return len({one.method for one in results if one.overall_score is not None}) > 1


def check_thresholds(report: EvaluationReport, *, min_coverage: float) -> tuple[bool, list[str]]:
    """Whether every threshold is reached, and one line for each that is not."""
    failures = _shortfalls(report.aggregates, report.thresholds, min_coverage)
    return not failures, failures


def _shortfalls(aggregates: Mapping[str, Aggregate], thresholds: Mapping[str, float], min_coverage: float) -> list[str]:
    return [
        _shortfall(name, aggregates[name], limit, min_coverage)
        for name, limit in thresholds.items()
        if not reaches(aggregates[name], limit, min_coverage)
    ]


def _shortfall(name: str, one: Aggregate, limit: float, min_coverage: float) -> str:
    if one.mean is None:
        return f"{name}: not measured in any of {one.total} samples, the threshold is {limit:g}"
    if one.coverage < min_coverage:
        bounds = f"; the mean lies between {one.worst:.3f} and {one.best:.3f}"
        return f"{name}: measured in {one.measured} of {one.total} samples, {min_coverage:.0%} are needed{bounds}"
    return f"{name}: {one.mean:.3f} is below {limit:g}"


def _notes(results: Sequence[EvaluationResult]) -> tuple[str, ...]:
    """Why metrics are missing, the most frequent reasons first, and what was declined."""
    reasons = Counter(
        f"{metric} not measured: {score.reason}"
        for one in results
        for metric, score in one.scores.items()
        if not score.measured and not one.metadata.get(DECLINED_RIGHTLY)
    )
    notes = [f"{text} ({count} of {len(results)} samples)" for text, count in reasons.most_common(10)]
    if _mixed(results):
        notes.insert(0, "scores of different methods are no one measure: no mean is formed and no threshold reached")
    if rightly := sum(bool(one.metadata.get(DECLINED_RIGHTLY)) for one in results):
        notes.append(f"{rightly} samples were rightly declined; they pass and stand in no mean")
    return tuple(notes)


def result_document(result: EvaluationResult) -> dict[str, Any]:
    """A result as JSON."""
    return {
        "sample_id": result.sample_id,
        "query": result.query,
        **{metric: result.value(metric) for metric in METRICS},
        "overall_score": result.overall_score,
        "passed_thresholds": result.passed_thresholds,
        "failed_metrics": list(result.failed_metrics),
        "method": result.method,
        "reasons": {metric: score.reason for metric, score in result.scores.items()},
        "error": result.error,
        "cost": cost_document(result.cost),
        "duration_ms": result.duration_ms,
        "model": result.model,
        "metadata": dict(result.metadata),
    }


def report_document(report: EvaluationReport) -> dict[str, Any]:
    """A report as JSON; times as ISO 8601 in UTC."""
    return {
        "run_id": report.run_id,
        "timestamp": report.timestamp.isoformat().replace("+00:00", "Z"),
        "dataset": {"name": report.dataset_name, "hash": report.dataset_hash},
        "total_samples": report.total_samples,
        "passed_samples": report.passed_samples,
        "failed_samples": report.failed_samples,
        "unmeasured_samples": report.unmeasured_samples,
        "aggregates": {name: aggregate_document(one) for name, one in report.aggregates.items()},
        "thresholds": dict(report.thresholds),
        "all_thresholds_passed": report.all_thresholds_passed,
        "methods": dict(report.methods),
        "pipeline_called": report.pipeline_called,
        "evaluation_time_seconds": report.evaluation_time_seconds,
        "cost": cost_document(report.cost),
        "trace_id": report.trace_id,
        "mlflow_run_id": report.mlflow_run_id,
        "notes": list(report.notes),
        "results": [result_document(one) for one in report.results],
    }


def aggregate_document(one: Aggregate) -> dict[str, Any]:
    """An aggregate as JSON."""
    interval = None
    if one.interval is not None:
        interval = {"low": one.interval.low, "high": one.interval.high, "level": one.interval.level}
    return {
        "mean": one.mean,
        "interval": interval,
        "measured": one.measured,
        "total": one.total,
        "coverage": one.coverage,
        "worst": one.worst,
        "best": one.best,
    }


def cost_document(cost: Cost) -> dict[str, Any]:
    """A cost as JSON."""
    return {
        "calls": cost.calls,
        "cached_calls": cost.cached_calls,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "dollars": cost.dollars,
    }


def cost_from(document: Mapping[str, Any]) -> Cost:
    """The cost that ``cost_document`` wrote."""
    return Cost(
        **{name: document[name] for name in ("calls", "cached_calls", "input_tokens", "output_tokens", "dollars")}
    )
