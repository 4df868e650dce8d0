"""How does an optimisation appear in Opik? A trace, its generations below it, and each candidate as an experiment."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from src.domain.improvement import digest
from src.errors import ServiceRefused
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.opik_experiments import Experiment, ExperimentSample, RecordedExperiment
from src.mlops.tracing.silent import SilentSpan
from src.mlops.tracing.spans import SpanContext
from src.optimization.gepa.bridge import Bridge
from src.optimization.gepa.generations import Generation, Search, Tried

PROJECT = "e2i-prompt-optimization"
AGENT = "feedback_learner"
Value = TypeVar("Value")
Span = SpanContext | SilentSpan


class GEPASpanContext:
    """The span of an optimisation while it runs. Spans opened in a generation belong to it."""

    def __init__(self, connector: OpikConnector | None, span: Span, name: str) -> None:
        self._connector = connector
        self._span = span
        self._name = name
        self._generation: Span | None = None
        self._began_at = datetime.now(UTC)

    @property
    def trace_id(self) -> str | None:
        """The optimisation's trace, None while nothing is recorded."""
        return self._span.trace_id if isinstance(self._span, SpanContext) else None

    def begin_generation(self, step: int) -> None:
        """Open the span of a generation; one that is still open ends."""
        self.end_generation()
        if self._connector is not None:
            self._generation = self._connector.trace_agent(AGENT, f"generation_{step}", metadata={"step": step})
            self._generation.__enter__()

    def log_generation(self, generation: Generation, new: Sequence[Tried] = ()) -> None:
        """End a generation's span with its numbers, and give it the scores of its candidates."""
        if self._generation is None:
            self.begin_generation(generation.step)
        for one in new:
            self.log_candidate_evaluation(one)
        if self._generation is not None:
            self._generation.set_output({**generation.metrics(), "new_candidates": [one.index for one in new]})
        self.end_generation()

    def log_candidate_evaluation(self, tried: Tried) -> None:
        """Give the open generation (the whole run, where none is open) a candidate's mean score."""
        if self._connector is None or self.trace_id is None:
            return
        span = self._generation if self._generation is not None else self._span
        reason = f"candidate {tried.index} from {list(tried.parents) or 'the wording in use'}"
        self._connector.log_feedback(
            self.trace_id,
            tried.score,
            f"candidate_{tried.index}",
            reason,
            span_id=span.span_id,
            category="gepa",
            project=PROJECT,
        )

    def log_optimization_complete(self, search: Search) -> None:
        """Say on the run's span what came of it."""
        self.end_generation()
        if not search.tried:
            return
        self._span.set_output(
            {
                "best_candidate": search.best.index,
                "best_score": search.best.score,
                "baseline_score": search.baseline.score,
                "generations": len(search.generations) - 1,
                "metric_calls": search.metric_calls,
                "stopped": search.stopped,
                "instructions_sha256": digest(dict(search.best.texts)),
            }
        )

    def listener(self, bridge: Bridge) -> OpikListener:
        """Tells this span of the generations; calls made in one are traced below it."""
        return OpikListener(self, bridge)

    async def record_trials(
        self, component: str, search: Search, facts: Mapping[str, Any], questions: Mapping[str, str] | None = None
    ) -> list[str]:
        """Each candidate as an experiment over the validation items; returns what could not be recorded.

        ``questions`` are the items' questions by key; the connector takes identifiers out of them.
        """
        if self._connector is None or not self._connector.config.opik.enabled:
            return []
        for one in search.tried:
            experiment = trial(self._name, component, one, facts, questions or {}, self._began_at)
            try:
                recorded = await self._connector.record_experiment(experiment)
            except ServiceRefused as error:
                return [f"Opik refused the trials: {error}"]
            if not isinstance(recorded, RecordedExperiment):
                return [f"the trials are not in Opik: {recorded.reason}"]
        return []

    def end_generation(self) -> None:
        """End the open generation's span, if one is open."""
        if self._generation is not None:
            self._generation.__exit__(None, None, None)
            self._generation = None


class OpikListener:
    """Tells a span context of the generations of a run."""

    def __init__(self, span: GEPASpanContext, bridge: Bridge) -> None:
        self._span = span
        self._bridge = bridge

    def on_optimization_start(self, texts: Mapping[str, str], train: int, validation: int) -> None:
        """The span is open already."""

    def on_generation_start(self, step: int) -> None:
        """Open the generation's span; what is called now is below it."""
        self._span.begin_generation(step)
        self._bridge.enter_context()

    def on_generation_complete(self, generation: Generation, new: Sequence[Tried]) -> None:
        """End it."""
        self._span.log_generation(generation, new)
        self._bridge.enter_context()

    def on_optimization_complete(self, search: Search) -> None:
        """Say what came of it."""
        self._span.log_optimization_complete(search)
        self._bridge.enter_context()


class GEPAOpikTracer:
    """Opens the traces of optimisations, shown in a project of their own. Without a connector nothing is recorded."""

    def __init__(self, project_name: str = PROJECT, *, connector: OpikConnector | None = None) -> None:
        self.project_name = project_name
        self._connector = connector

    @asynccontextmanager
    async def trace_run(self, name: str, metadata: Mapping[str, Any] | None = None) -> AsyncIterator[GEPASpanContext]:
        """The span of a whole optimisation: a root, or a child of the span that is open around it."""
        span: Span = SilentSpan()
        if self._connector is not None:
            span = self._connector.trace_agent(
                AGENT,
                "gepa_optimization",
                metadata={"optimization": name, **(metadata or {})},
                tags=("gepa",),
                project=self.project_name,
            )
        async with span:
            context = GEPASpanContext(self._connector, span, name)
            try:
                yield context
            finally:
                context.end_generation()


def trace_optimization(
    tracer: GEPAOpikTracer, name: str
) -> Callable[[Callable[..., Awaitable[Value]]], Callable[..., Awaitable[Value]]]:
    """Put an asynchronous function into the span of an optimisation, which it takes as ``span``."""

    def around(function: Callable[..., Awaitable[Value]]) -> Callable[..., Awaitable[Value]]:
        @functools.wraps(function)
        async def traced(*args: Any, **kwargs: Any) -> Value:
            async with tracer.trace_run(name) as span:
                return await function(*args, **kwargs, span=span)

        return traced

    return around


def trial(
    name: str,
    component: str,
    tried: Tried,
    facts: Mapping[str, Any],
    questions: Mapping[str, str],
    began_at: datetime,
) -> Experiment:
    """A candidate as an experiment: the validation items are its dataset, its mean is its score."""
    keys = sorted(tried.item_scores)
    shown = {key: {"question": questions[key]} if key in questions else {"item": key} for key in keys}
    dataset = f"gepa-{component}-validation@{digest(shown)[:12]}"
    return Experiment(
        run_id=f"{name}:{tried.index}",
        name=f"{component} candidate {tried.index}",
        dataset_name=dataset,
        samples=[ExperimentSample(digest([dataset, key]), shown[key]) for key in keys],
        began_at=began_at,
        project=PROJECT,
        metadata={
            **facts,
            "optimization": name,
            "candidate": tried.index,
            "parents": list(tried.parents),
            "generation": tried.step,
            "instructions": dict(tried.texts),
            "instructions_sha256": digest(dict(tried.texts)),
        },
        scores={"score": tried.score},
        tags=("gepa", component),
    )
