"""What of an evaluation is in the database while it runs, and what was there when it was interrupted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from src.errors import ContractViolation
from src.rag.evaluation_datasets import sample_document
from src.rag.evaluation_report import RunFacts, aggregate_document, cost_document, cost_from, result_of
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.opening import Scored
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, EvaluationReport, EvaluationResult, Method, MetricScore
from src.storage.rag_evaluations import RagEvaluationRepository


class RunStore(Protocol):
    """Where results go as they come; an ``async with`` writes what is left at its end, however it ends."""

    retrieval_config_id: str | None

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """Results from before, by sample id."""
        ...

    async def add(self, result: EvaluationResult) -> None:
        """Take one result."""
        ...

    async def finish(self, report: EvaluationReport) -> None:
        """Take the outcome."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...


class NotStored:
    """Keeps nothing."""

    retrieval_config_id: str | None = None

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """None."""
        return {}

    async def add(self, result: EvaluationResult) -> None:
        """Nothing is kept."""

    async def finish(self, report: EvaluationReport) -> None:
        """Nothing is kept."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class StoredRun:
    """A run in ``rag_evaluation_runs`` whose results are written ``batch_size`` at a time."""

    def __init__(
        self, repository: RagEvaluationRepository, run_id: str, batch_size: int, known: dict[str, EvaluationResult]
    ) -> None:
        self._repository = repository
        self._run_id = run_id
        self._batch_size = batch_size
        self._known = known
        self._unwritten: list[EvaluationResult] = []
        self.retrieval_config_id: str | None = None

    @classmethod
    async def begin(
        cls,
        repository: RagEvaluationRepository,
        facts: RunFacts,
        samples: Sequence[EvaluationSample],
        config: EvaluationConfig,
        *,
        method: Method,
    ) -> StoredRun:
        """Begin a run, or continue one of that id. Raises ContractViolation when it was over another dataset."""
        await repository.add_dataset(
            facts.dataset_hash, facts.dataset_name, [sample_document(sample) for sample in samples]
        )
        if (found := await repository.run(facts.run_id)) is not None:
            _same_run(found, facts)
        await repository.begin(
            {
                "run_id": facts.run_id,
                "dataset_hash": facts.dataset_hash,
                "pipeline_called": facts.pipeline_called,
                "method": method,
                "thresholds": dict(config.thresholds),
                "started_at": facts.started_at,
            }
        )
        by_id = {sample.sample_id: sample for sample in samples}
        rows = [] if found is None else await repository.scores(facts.run_id)
        # What failed for an error is tried again.
        known = {row["sample_id"]: _result(row, by_id, config) for row in rows if row["error"] is None}
        return cls(repository, facts.run_id, config.batch_size, known)

    @property
    def known(self) -> dict[str, EvaluationResult]:
        """What was scored before this run was interrupted."""
        return dict(self._known)

    async def add(self, result: EvaluationResult) -> None:
        """Take one result, and write a batch when it is full."""
        self._unwritten.append(result)
        if len(self._unwritten) >= self._batch_size:
            await self._write()

    async def finish(self, report: EvaluationReport) -> None:
        """Write what came out."""
        models = sorted({one.model for one in report.results if one.model})
        outcome = {
            "aggregates": {name: aggregate_document(one) for name, one in report.aggregates.items()},
            "all_thresholds_passed": report.all_thresholds_passed,
            "method": next(iter(report.methods)) if len(report.methods) == 1 else "mixed",
            "model": ", ".join(models) or None,
            "cost": cost_document(report.cost),
            "trace_id": report.trace_id,
            "mlflow_run_id": report.mlflow_run_id,
            "retrieval_config_id": self.retrieval_config_id,
            "duration_seconds": report.evaluation_time_seconds,
        }
        await self._repository.finish(self._run_id, outcome)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._write()

    async def _write(self) -> None:
        batch, self._unwritten = self._unwritten, []
        await self._repository.add_scores([_row(self._run_id, result) for result in batch])


def _same_run(found: Mapping[str, Any], facts: RunFacts) -> None:
    if found["dataset_hash"] != facts.dataset_hash:
        raise ContractViolation(
            f"the run {facts.run_id} was over another version of the dataset ({found['dataset_hash'][:12]}, not "
            f"{facts.dataset_hash[:12]}): continue it with the samples it began with, or begin a new one"
        )
    if found["pipeline_called"] != facts.pipeline_called:
        asked = "asked a pipeline" if found["pipeline_called"] else "scored given answers"
        raise ContractViolation(f"the run {facts.run_id} {asked}: continue it the same way, or begin a new one")


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
    return {"value": score.value, "reason": score.reason, "regime": score.regime, "agreement": score.agreement}


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
