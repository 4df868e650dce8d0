"""What of an evaluation is in the database while it runs, and what was there when it was interrupted?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from src.errors import ContractViolation
from src.rag.evaluation_datasets import sample_document
from src.rag.evaluation_report import RunFacts, aggregate_document, cost_document, cost_from, result_of
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.opening import Scored, Scoring
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, Cost, EvaluationReport, EvaluationResult, MetricScore
from src.storage.rag_evaluations import RagEvaluationRepository

RETRIEVAL_CONFIG = "retrieval_config_id"
"""Metadata of a result: how the contexts of its answer were found."""
LAST_TRIES_S = (0.5, 2.0)
"""Seconds before results that could not be written are written once more at the end of a run."""


class RunStore(Protocol):
    """Where results go as they come; an ``async with`` writes what is left at its end, however it ends."""

    started_at: datetime | None
    """When the run began that is continued; None for a new one."""
    seconds_before: float
    """How long it had been under way."""

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """Results from before, by sample id."""
        ...

    def spent(self, sample_id: str) -> Cost:
        """What was spent on a sample that is scored again."""
        ...

    async def add(self, result: EvaluationResult) -> None:
        """Take one result."""
        ...

    async def finish(self, report: EvaluationReport) -> None:
        """Take the outcome."""
        ...

    async def logged(self, mlflow_run_id: str) -> None:
        """Take the id under which the outcome was logged."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...


class NotStored:
    """Keeps nothing."""

    started_at: datetime | None = None
    seconds_before = 0.0

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """None."""
        return {}

    def spent(self, sample_id: str) -> Cost:
        """Nothing."""
        return Cost()

    async def add(self, result: EvaluationResult) -> None:
        """Nothing is kept."""

    async def finish(self, report: EvaluationReport) -> None:
        """Nothing is kept."""

    async def logged(self, mlflow_run_id: str) -> None:
        """Nothing is kept."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class StoredRun:
    """A run in ``rag_evaluation_runs`` whose results are written ``batch_size`` at a time.

    ``rows`` are its results from before. Of them those are scored again that met an error, or for which an outage, a
    time-out or a spent budget left something unmeasured.
    """

    def __init__(
        self,
        repository: RagEvaluationRepository,
        run: Mapping[str, Any],
        samples: Sequence[EvaluationSample],
        config: EvaluationConfig,
        rows: Sequence[Mapping[str, Any]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        by_id = {sample.sample_id: sample for sample in samples}
        self._repository = repository
        self._run_id = str(run["run_id"])
        self._batch_size = config.batch_size
        self._known = {row["sample_id"]: _result(row, by_id, config) for row in rows if not _to_be_repeated(row)}
        self._spent = {row["sample_id"]: cost_from(row["details"]["cost"]) for row in rows if _to_be_repeated(row)}
        self._unwritten: list[EvaluationResult] = []
        self._sleep = sleep
        self._began = time.perf_counter()
        self.started_at: datetime | None = run["started_at"]
        self.seconds_before = float(run.get("duration_seconds") or 0.0)

    @classmethod
    async def begin(
        cls,
        repository: RagEvaluationRepository,
        facts: RunFacts,
        samples: Sequence[EvaluationSample],
        config: EvaluationConfig,
        scoring: Scoring,
    ) -> StoredRun:
        """Begin a run, or continue one of that id.

        Raises ContractViolation when that one was over another dataset, or judged by other thresholds or by somebody
        else.
        """
        await repository.add_dataset(
            facts.dataset_hash, facts.dataset_name, [sample_document(sample) for sample in samples]
        )
        if (found := await repository.run(facts.run_id)) is not None:
            _same_run(found, facts, config, scoring)
        run = {
            "run_id": facts.run_id,
            "dataset_hash": facts.dataset_hash,
            "pipeline_called": facts.pipeline_called,
            "method": scoring.method,
            "judge": scoring.judge,
            "thresholds": dict(config.thresholds),
            "started_at": facts.started_at,
        }
        await repository.begin(run)
        rows = [] if found is None else await repository.scores(facts.run_id)
        return cls(repository, run if found is None else found, samples, config, rows)

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """What was scored before this run was interrupted."""
        return dict(self._known)

    def spent(self, sample_id: str) -> Cost:
        """What was spent on a sample that is scored again."""
        return self._spent.get(sample_id, Cost())

    async def add(self, result: EvaluationResult) -> None:
        """Take one result, and write a batch when it is full."""
        self._unwritten.append(result)
        if len(self._unwritten) >= self._batch_size:
            await self._write()

    async def finish(self, report: EvaluationReport) -> None:
        """Write what came out."""
        models = sorted({one.model for one in report.results if one.model})
        configurations = {found for one in report.results if (found := one.metadata.get(RETRIEVAL_CONFIG))}
        outcome = {
            "aggregates": {name: aggregate_document(one) for name, one in report.aggregates.items()},
            "all_thresholds_passed": report.all_thresholds_passed,
            "method": next(iter(report.methods)) if len(report.methods) == 1 else "mixed",
            "model": ", ".join(models) or None,
            "cost": cost_document(report.cost),
            "trace_id": report.trace_id,
            "mlflow_run_id": report.mlflow_run_id,
            # None also where the configuration changed between answers: each result has its own.
            "retrieval_config_id": configurations.pop() if len(configurations) == 1 else None,
            "duration_seconds": report.evaluation_time_seconds,
        }
        await self._repository.finish(self._run_id, outcome)

    async def logged(self, mlflow_run_id: str) -> None:
        """Write the id under which the outcome was logged."""
        await self._repository.finish(self._run_id, {"mlflow_run_id": mlflow_run_id})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for pause in LAST_TRIES_S:
            try:
                await self._write()
                return
            except Exception:  # noqa: BLE001 - what was paid for is tried again; the last try raises
                await self._sleep(pause)
        await self._write()

    async def _write(self) -> None:
        """Write what is not written yet; it is kept until that has worked."""
        batch = list(self._unwritten)
        await self._repository.add_scores([_row(self._run_id, result) for result in batch])
        del self._unwritten[: len(batch)]
        seconds = self.seconds_before + time.perf_counter() - self._began
        await self._repository.finish(self._run_id, {"duration_seconds": seconds})


def _to_be_repeated(row: Mapping[str, Any]) -> bool:
    return row["error"] is not None or any(score.get("transient") for score in row["scores"].values())


def _same_run(found: Mapping[str, Any], facts: RunFacts, config: EvaluationConfig, scoring: Scoring) -> None:
    if found["dataset_hash"] != facts.dataset_hash:
        raise ContractViolation(
            f"the run {facts.run_id} was over another version of the dataset ({found['dataset_hash'][:12]}, not "
            f"{facts.dataset_hash[:12]}): continue it with the samples it began with, or begin a new one"
        )
    if found["pipeline_called"] != facts.pipeline_called:
        asked = "asked a pipeline" if found["pipeline_called"] else "scored given answers"
        raise ContractViolation(f"the run {facts.run_id} {asked}: continue it the same way, or begin a new one")
    if (found["method"], found["judge"]) != (scoring.method, scoring.judge):
        by, now = found["judge"] or found["method"], scoring.judge or scoring.method
        raise ContractViolation(
            f"the run {facts.run_id} was scored by {by}, not by {now}: continue it with the same provider and model, "
            "or begin a new one"
        )
    if found["thresholds"] != dict(config.thresholds):
        raise ContractViolation(
            f"the run {facts.run_id} has other thresholds ({_listed(found['thresholds'])}): continue it with these, or "
            "begin a new one"
        )


def _listed(thresholds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {limit:g}" for name, limit in sorted(thresholds.items()))


def _row(run_id: str, result: EvaluationResult) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "sample_id": result.sample_id,
        "scores": {metric: _score_document(score) for metric, score in result.scores.items()},
        "overall_score": result.overall_score,
        "passed": result.passed_thresholds,
        "method": result.method,
        "error": result.error,
        "details": {
            "cost": cost_document(result.cost),
            "duration_ms": result.duration_ms,
            "model": result.model,
            "metadata": dict(result.metadata),
            "failed_metrics": list(result.failed_metrics),
        },
    }


def _score_document(score: MetricScore) -> dict[str, Any]:
    return {
        "value": score.value,
        "reason": score.reason,
        "regime": score.regime,
        "agreement": score.agreement,
        "transient": score.transient,
    }


def _result(
    row: Mapping[str, Any], samples: Mapping[str, EvaluationSample], config: EvaluationConfig
) -> EvaluationResult:
    """The result as it is judged by the thresholds of now."""
    details = row["details"]
    sample = samples[row["sample_id"]]
    as_scored = EvaluationSample(
        sample.query, sample.ground_truth, sample.contexts, metadata=details["metadata"], sample_id=sample.sample_id
    )
    scores = {metric: MetricScore(**row["scores"][metric]) for metric in METRICS}
    scored = Scored(scores, cost_from(details["cost"]), details["model"], row["error"])
    return result_of(as_scored, scored, row["method"], config.thresholds, duration_ms=details["duration_ms"])
