"""How does an evaluation appear in the traces: its run, its samples, and the scores on the answers themselves?"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from src.domain.rubric import RubricEvaluation
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.scoring import rubric_share
from src.mlops.tracing.opik_experiments import Experiment, ExperimentSample, RecordedExperiment
from src.mlops.tracing.silent import SilentSpan
from src.mlops.tracing.spans import SpanContext
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, EvaluationReport, EvaluationResult, MetricScore
from src.resilience.outcomes import Unavailable

PROJECT = "e2i-rag-evaluation"
AGENT = "feedback_learner"
RUBRIC_PREFIX = "rubric_"
UNMEASURED = "ragas_unmeasured"
MOST_REASON = 300


@dataclass(slots=True)
class EvaluationTraceContext:
    """An evaluation, or that of one sample, while it runs.

    Scores go to the trace of the answer that was judged; of an answer without a trace they go to this span.
    """

    tracer: OpikEvaluationTracer
    span: SpanContext | SilentSpan
    run_id: str
    sample_id: str | None = None
    sample_count: int | None = None
    given: dict[str, float] = field(default_factory=dict)

    @property
    def trace_id(self) -> str:
        """Trace of the evaluation."""
        return self.span.trace_id

    @property
    def span_id(self) -> str:
        """Span of the evaluation or sample."""
        return self.span.span_id

    @property
    def parent_span_id(self) -> str | None:
        """None for the run, the run's span for a sample."""
        return self.span.parent_span_id

    def log_ragas_scores(self, result: EvaluationResult, *, answer_trace_id: str | None = None) -> list[str]:
        """Give the answer its RAGAS scores; returns the names given. Unmeasured ones are named on this span."""
        target = self._target(answer_trace_id)
        names = self.tracer.give(ragas_feedback(result), category=result.method, **target)
        if missing := unmeasured_reasons(result):
            self.span.set_attribute(UNMEASURED, missing)
        return self._remember(names)

    def log_rubric_scores(self, evaluation: RubricEvaluation, *, answer_trace_id: str | None = None) -> list[str]:
        """Give the answer its rubric scores, brought to 0–1; returns the names given."""
        target = self._target(answer_trace_id)
        return self._remember(self.tracer.give(rubric_feedback(evaluation), category=evaluation.method, **target))

    def set_sample_count(self, count: int) -> None:
        """Say how many samples the run has."""
        self.sample_count = count
        self.span.set_attribute("sample_count", count)

    def to_dict(self) -> dict[str, Any]:
        """Ids, and the scores given so far by name."""
        return {
            "run_id": self.run_id,
            "sample_id": self.sample_id,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "sample_count": self.sample_count,
            "scores": dict(self.given),
        }

    def _target(self, answer_trace_id: str | None) -> dict[str, str]:
        if answer_trace_id is not None:
            return {"trace_id": answer_trace_id}
        return {"trace_id": self.trace_id, "span_id": self.span_id, "project": self.tracer.project_name}

    def _remember(self, given: Mapping[str, float]) -> list[str]:
        self.given |= given
        return list(given)


class OpikEvaluationTracer:
    """Opens the traces of evaluations; they are shown in a project of their own in Opik.

    ``connector`` defaults to the process's own. Nothing here raises for a server that is away: the connector spools.
    """

    def __init__(
        self, project_name: str = PROJECT, enabled: bool = True, *, connector: OpikConnector | None = None
    ) -> None:
        self.project_name = project_name
        self.enabled = enabled
        self._given = connector

    @property
    def connector(self) -> OpikConnector:
        """What records the spans and scores."""
        return self._given if self._given is not None else get_opik_connector()

    @asynccontextmanager
    async def trace_evaluation(
        self, run_id: str, metadata: Mapping[str, Any] | None = None
    ) -> AsyncIterator[EvaluationTraceContext]:
        """The span of a whole evaluation: a root, or a child of the span that is open around it."""
        attributes = {"run_id": run_id, **(metadata or {})}
        span: SpanContext | SilentSpan = SilentSpan()
        if self.enabled:
            tags = ("rag-evaluation",)
            span = self.connector.trace_agent(
                AGENT, "rag_evaluation", metadata=attributes, tags=tags, project=self.project_name
            )
        async with span:
            yield EvaluationTraceContext(self, span, run_id)

    @asynccontextmanager
    async def trace_sample_evaluation(
        self, sample_id: str, parent: EvaluationTraceContext | None = None, query: str | None = None
    ) -> AsyncIterator[EvaluationTraceContext]:
        """The span of one sample, a child of ``parent``; without one it is a trace of its own."""
        span: SpanContext | SilentSpan = SilentSpan()
        if self.enabled:
            span = self.connector.trace_agent(
                AGENT,
                "sample_evaluation",
                trace_id=None if parent is None else parent.trace_id,
                parent_span_id=None if parent is None else parent.span_id,
                metadata={"sample_id": sample_id},
                input_data=None if query is None else {"query": query},
                project=self.project_name,
            )
        async with span:
            yield EvaluationTraceContext(self, span, sample_id if parent is None else parent.run_id, sample_id)

    def give(
        self,
        scores: Mapping[str, tuple[float, str]],
        *,
        trace_id: str,
        category: str,
        span_id: str | None = None,
        project: str | None = None,
    ) -> dict[str, float]:
        """Give a trace or span its scores (value and reason by name); returns the values given."""
        if not self.enabled:
            return {}
        for name, (value, reason) in scores.items():
            self.connector.log_feedback(
                trace_id, value, name, reason, span_id=span_id, category=category, project=project
            )
        return {name: value for name, (value, _) in scores.items()}


def ragas_feedback(result: EvaluationResult) -> dict[str, tuple[float, str]]:
    """The measured metrics by name: value in 0–1, and why."""
    found: dict[str, tuple[float, str]] = {}
    for name in METRICS:
        value = result.value(name)
        if value is not None and math.isfinite(value):
            score = result.scores.get(name, MetricScore(value, ""))
            found[name] = (value, _reason(score.reason or f"by {result.method}"))
    return found


def unmeasured_reasons(result: EvaluationResult) -> dict[str, str]:
    """The metrics without a usable value, with the reason."""
    given = ragas_feedback(result)
    return {
        name: _reason(result.scores[name].reason if name in result.scores else result.error or "not measured")
        for name in METRICS
        if name not in given
    }


def rubric_feedback(evaluation: RubricEvaluation) -> dict[str, tuple[float, str]]:
    """Criteria and the weighted mean as 0–1; the reason is the score of 5, never text of the answer."""
    found = {}
    for criterion, score in evaluation.scores.items():
        found[f"{RUBRIC_PREFIX}{criterion}"] = (_share(score.score), f"{score.score:g} of 5")
    decision = f"{evaluation.weighted:.2f} of 5: {evaluation.decision}"
    return found | {f"{RUBRIC_PREFIX}weighted": (_share(evaluation.weighted), decision)}


def log_ragas_scores_to_opik(
    trace_id: str, result: EvaluationResult, *, connector: OpikConnector | None = None
) -> list[str]:
    """Give the trace ``trace_id`` the measured metrics of ``result``; returns their names."""
    tracer = OpikEvaluationTracer(connector=connector)
    return list(tracer.give(ragas_feedback(result), trace_id=trace_id, category=result.method))


def log_rubric_scores_to_opik(
    trace_id: str, evaluation: RubricEvaluation, *, connector: OpikConnector | None = None
) -> list[str]:
    """Give the trace ``trace_id`` the criteria of ``evaluation`` and their mean; returns their names."""
    tracer = OpikEvaluationTracer(connector=connector)
    return list(tracer.give(rubric_feedback(evaluation), trace_id=trace_id, category=evaluation.method))


async def log_report_to_opik(
    report: EvaluationReport,
    samples: Sequence[EvaluationSample],
    *,
    traces: Mapping[str, str] | None = None,
    connector: OpikConnector | None = None,
    project: str = PROJECT,
) -> RecordedExperiment | Unavailable:
    """Record a report as an experiment over a dataset whose name carries its version.

    ``traces`` gives the trace of each sample's answer or evaluation by sample id. Unavailable while Opik is not
    enabled or cannot be reached; the report itself stands in the database, so it can be recorded again.
    """
    target = connector if connector is not None else get_opik_connector()
    return await target.record_experiment(report_experiment(report, samples, traces=traces or {}, project=project))


def report_experiment(
    report: EvaluationReport, samples: Sequence[EvaluationSample], *, traces: Mapping[str, str], project: str = PROJECT
) -> Experiment:
    """The experiment of a report: means as its scores, coverage and versions as its metadata."""
    measured = {name: one.mean for name, one in report.aggregates.items() if one.mean is not None}
    return Experiment(
        run_id=report.run_id,
        name=f"rag-evaluation {report.timestamp:%Y-%m-%d %H:%M:%S}",
        dataset_name=f"{report.dataset_name}@{report.dataset_hash[:12]}",
        samples=[ExperimentSample(one.sample_id, _sample_data(one), traces.get(one.sample_id)) for one in samples],
        began_at=report.timestamp,
        project=project,
        metadata={
            "dataset_hash": report.dataset_hash,
            "methods": dict(report.methods),
            "coverage": {name: one.coverage for name, one in report.aggregates.items()},
            "thresholds": dict(report.thresholds),
            "all_thresholds_passed": report.all_thresholds_passed,
            "pipeline_called": report.pipeline_called,
        },
        scores=measured,
        tags=("rag-evaluation", *sorted(report.methods)),
    )


def _sample_data(sample: EvaluationSample) -> dict[str, Any]:
    kept = {name: sample.metadata[name] for name in ("brand", "category", "kind") if name in sample.metadata}
    return {
        "query": sample.query,
        "ground_truth": sample.ground_truth,
        "contexts": list(sample.contexts),
        **kept,
    }


def _share(score: float) -> float:
    share = rubric_share(score)
    assert share is not None
    return share


def _reason(text: str) -> str:
    return text if len(text) <= MOST_REASON else text[: MOST_REASON - 1] + "…"
