"""How are the answers of this system evaluated over a dataset, and compared with an earlier run?"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from src.app.answering import open_pipeline
from src.app.tracing import traced_database
from src.errors import ContractViolation, DataUnavailable, UnreadableFile
from src.rag.answers import AnswerPipeline
from src.rag.evaluation_datasets import get_adversarial_dataset, get_default_evaluation_dataset, load_evaluation_dataset
from src.rag.evaluation_pipeline import RAGEvaluationPipeline
from src.rag.evaluation_report import judged_by
from src.rag.judging.batch import OnProgress
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.opening import JudgeChoice
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, EvaluationReport, EvaluationResult, Method
from src.rag.statistics import ComparisonVerdict, PairedDifference, compare_runs
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.rag_chunks import ChunkRepository
from src.storage.rag_evaluations import RagEvaluationRepository

PipelineChoice = Literal["corpus", "none"]
NAMED = {"default": get_default_evaluation_dataset, "adversarial": get_adversarial_dataset}


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated. ``dataset`` is a file, ``default`` or ``adversarial``; of it the first ``limit``.

    ``pipeline``: ``corpus`` asks this system's own pipeline, ``none`` scores the answers that the samples carry.
    ``compare`` is the id of an earlier run or a report written as JSON; ``run_id`` continues an interrupted run.
    """

    dataset: str = "default"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    log_to_mlflow: bool = True
    mlflow_experiment: str = "rag-evaluation"
    provider: JudgeChoice = "auto"
    pipeline: PipelineChoice = "corpus"
    limit: int | None = None
    compare: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """The report, each threshold that is not reached in one line, and the comparison, empty where none was asked."""

    report: EvaluationReport
    failures: list[str]
    comparison: tuple[PairedDifference, ...] = ()

    @property
    def inferior(self) -> list[str]:
        """Metrics that are worse than in the earlier run, in one line each."""
        return [
            f"{one.metric}: worse than before ({one.reason})"
            for one in self.comparison
            if one.verdict is ComparisonVerdict.INFERIOR
        ]

    @property
    def undecided(self) -> list[str]:
        """Metrics whose mean fell without enough evidence to call it a loss or none, in one line each."""
        return [
            f"{one.metric}: fell by {-one.mean:.3f}, and whether that is a loss is not shown ({one.reason})"
            for one in self.comparison
            if one.verdict is ComparisonVerdict.INSUFFICIENT_EVIDENCE and one.mean is not None and one.mean < 0
        ]

    @property
    def not_compared(self) -> list[str]:
        """Why a comparison that was asked for compares nothing, in one line; empty when it compares something."""
        if not self.comparison or any(one.pairs for one in self.comparison):
            return []
        return [f"comparison: no score of the two runs can be compared ({self.comparison[0].reason})"]

    @property
    def failed(self) -> bool:
        """Whether a threshold is not reached, a metric is worse than before, or nothing could be compared."""
        return bool(self.failures or self.inferior or self.not_compared)


async def evaluate_answers(
    request: EvaluationRequest,
    on_progress: OnProgress | None = None,
    *,
    on_report: Callable[[EvaluationOutcome], None] | None = None,
) -> EvaluationOutcome:
    """Evaluate and keep the run in the database. ``on_report`` takes the outcome before it is compared.

    What can be known to be wrong is raised before anything is scored. Raises DataUnavailable for an empty corpus and
    when nothing could be scored, UnreadableFile and ContractViolation for dataset and comparison, ConfigError,
    DatabaseUnavailable.
    """
    config = EvaluationConfig(
        thresholds=request.thresholds,
        log_to_mlflow=request.log_to_mlflow,
        mlflow_experiment=request.mlflow_experiment,
    )
    samples = dataset_of(request)
    if request.run_id is not None:
        _check_id(request.run_id)
    async with traced_database() as database, _pipeline(request, database) as rag_pipeline:
        repository = RagEvaluationRepository(PostgresGateway(database))
        earlier = None if request.compare is None else await earlier_results(request.compare, repository)
        if earlier is not None:
            _comparable(earlier, samples, str(request.compare))
        evaluation = RAGEvaluationPipeline(
            config,
            llm_provider=request.provider,
            samples=samples,
            dataset_name=Path(request.dataset).stem,
            repository=repository,
        )
        report = await evaluation.run_evaluation(rag_pipeline, run_id=request.run_id, on_progress=on_progress)
    outcome = EvaluationOutcome(report, evaluation.check_thresholds(report)[1])
    if on_report is not None:
        on_report(outcome)
    if all(one.error is not None for one in report.results):
        raise DataUnavailable(f"none of {report.total_samples} samples could be scored: {report.results[0].error}")
    return outcome if earlier is None else replace(outcome, comparison=_compared(earlier, report, config))


def dataset_of(request: EvaluationRequest) -> list[EvaluationSample]:
    """The samples to be evaluated. Raises as ``load_evaluation_dataset``, and ContractViolation for the limit."""
    if request.limit is not None and request.limit < 1:
        raise ContractViolation(f"a limit of samples is at least 1, not {request.limit}")
    named = NAMED.get(request.dataset)
    samples = load_evaluation_dataset(request.dataset) if named is None else named()
    return samples[: request.limit]


@asynccontextmanager
async def _pipeline(request: EvaluationRequest, database: Database) -> AsyncIterator[AnswerPipeline | None]:
    if request.pipeline == "none":
        yield None
        return
    if await ChunkRepository(database).is_empty():
        raise DataUnavailable(
            "the corpus is empty, so no question can be answered: add documents with 'e2i corpus add', or score the "
            "answers in a dataset with --pipeline none"
        )
    async with open_pipeline(database) as pipeline:
        yield pipeline


async def earlier_results(named: str, repository: RagEvaluationRepository) -> list[EvaluationResult]:
    """Results of a run in the database, or of a report in a file.

    Raises DataUnavailable for an unknown run, UnreadableFile and ContractViolation for a file that is no report.
    """
    if (file := Path(named)).exists():
        return _from_file(file)
    if not _is_id(named) or await repository.run(named) is None:
        raise DataUnavailable(f"'{named}' is neither a file nor the id of an evaluation in the database")
    return [_from_row(row) for row in await repository.scores(named)]


def _from_file(file: Path) -> list[EvaluationResult]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{file}: no readable report ({type(error).__name__})") from error
    try:
        results = [_earlier(one) for one in document["results"]]
    except (KeyError, TypeError, IndexError) as error:
        raise ContractViolation(f"{file}: no report of an evaluation, as --output writes it") from error
    except ContractViolation as error:
        raise ContractViolation(f"{file}: {error}") from error
    if len({one.sample_id for one in results}) < len(results):
        raise ContractViolation(f"{file}: a sample has two results, so it is no report as --output writes it")
    return results


def _from_row(row: Mapping[str, Any]) -> EvaluationResult:
    values = {metric: score["value"] for metric, score in row["scores"].items()}
    details = {name: row["details"][name] for name in ("model", "metadata")}
    return _earlier(
        {**values, **details, **{name: row[name] for name in ("sample_id", "overall_score", "method", "error")}}
    )


def _earlier(found: Mapping[str, Any]) -> EvaluationResult:
    """As much of an earlier result as a comparison needs. Raises ContractViolation, KeyError, TypeError."""
    sample_id = found["sample_id"]
    if not isinstance(sample_id, str) or not sample_id:
        raise ContractViolation(f"the sample_id {sample_id!r:.40} is no text")
    if found["method"] not in get_args(Method):
        raise ContractViolation(f"the sample {sample_id} was scored by an unknown method")
    for name in (*METRICS, "overall_score"):
        value = found[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
            raise ContractViolation(f"{name} of the sample {sample_id} is no number between 0 and 1")
    return EvaluationResult(
        sample_id=sample_id,
        query="",
        **{metric: found[metric] for metric in METRICS},
        overall_score=found["overall_score"],
        passed_thresholds=False,
        failed_metrics=(),
        method=found["method"],
        error=found["error"],
        model=found["model"],
        metadata=dict(found["metadata"]),
    )


def _comparable(earlier: Sequence[EvaluationResult], samples: Sequence[EvaluationSample], named: str) -> None:
    if not {one.sample_id for one in earlier} & {one.sample_id for one in samples}:
        raise ContractViolation(f"'{named}' has no sample of this dataset: compare runs over the same dataset")


def _compared(
    earlier: list[EvaluationResult], report: EvaluationReport, config: EvaluationConfig
) -> tuple[PairedDifference, ...]:
    """What passed before is judged by the thresholds of now."""
    return compare_runs(
        [judged_by(one, config.thresholds) for one in earlier],
        report.results,
        draws=config.bootstrap_draws,
        random_state=config.random_state,
        min_coverage=config.min_coverage,
    )


def _check_id(run_id: str) -> None:
    if not _is_id(run_id):
        raise ContractViolation(f"'{run_id}' is no id of an evaluation run (a UUID)")


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
