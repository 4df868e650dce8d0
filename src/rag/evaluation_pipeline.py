"""How well does a pipeline answer a set of questions? Each is asked once, and what came back is scored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from src.errors import ConfigError, ContractViolation, DataUnavailable
from src.mlops.mlflow_connector import MLflowConnector, get_mlflow_connector
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.opik_experiments import RecordedExperiment
from src.rag.answers import AnswerPipeline, RAGAnswer
from src.rag.evaluation_datasets import (
    create_evaluation_sample,
    get_default_evaluation_dataset,
    load_evaluation_dataset,
)
from src.rag.evaluation_report import RunFacts, check_thresholds, report_of, without_scores
from src.rag.evaluator import TRACE_ID, RAGASEvaluator
from src.rag.judging.batch import OnProgress, in_parallel
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.declined import DECLINED, is_declined
from src.rag.judging.mlflow_run import LoggedRun, log_report
from src.rag.judging.opening import JudgeChoice, Scoring
from src.rag.judging.scorer import described
from src.rag.judging.stored_run import RETRIEVAL_CONFIG, NotStored, RunStore, StoredRun
from src.rag.opik_integration import EvaluationTraceContext, log_report_to_opik
from src.rag.samples import EvaluationSample, dataset_hash
from src.rag.scores import EvaluationReport, EvaluationResult
from src.resilience.outcomes import Unavailable
from src.storage.rag_evaluations import RagEvaluationRepository

DEFAULT_NAME = "default"


class RAGEvaluationPipeline:
    """Evaluates over the dataset at ``dataset_path``, the ``samples`` given, or the default questions.

    ``repository`` keeps the run in the database as it goes, so that an interrupted one can be continued. Raises as
    ``load_evaluation_dataset`` does, ContractViolation for two samples of one id, and ConfigError for an evaluator
    that judges by other thresholds than ``config``.
    """

    def __init__(
        self,
        config: EvaluationConfig | None = None,
        dataset_path: Path | str | None = None,
        enable_opik_tracing: bool = True,
        *,
        llm_provider: JudgeChoice = "auto",
        samples: Sequence[EvaluationSample] | None = None,
        dataset_name: str | None = None,
        evaluator: RAGASEvaluator | None = None,
        repository: RagEvaluationRepository | None = None,
        mlflow: MLflowConnector | None = None,
    ) -> None:
        self.config = config if config is not None else EvaluationConfig() if evaluator is None else evaluator.config
        self.evaluator = evaluator or RAGASEvaluator(self.config, llm_provider, enable_opik_tracing)
        if self.evaluator.config.thresholds != self.config.thresholds:
            raise ConfigError("the evaluator has other thresholds than the pipeline: give both one configuration")
        self.samples = tuple(_samples(dataset_path, samples))
        self.dataset_name = dataset_name or (Path(dataset_path).stem if dataset_path is not None else DEFAULT_NAME)
        self._repository = repository
        self._mlflow = mlflow
        _refuse_equal_ids(self.samples)

    async def run_evaluation(
        self,
        rag_pipeline: AnswerPipeline | None = None,
        *,
        run_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> EvaluationReport:
        """Ask the pipeline every question once and score its answers and its contexts.

        A question on which it fails is that sample's error. Without a pipeline the samples that carry an answer are
        scored. The ``run_id`` of an interrupted run over the same dataset continues it: what was scored is not asked
        again, but for what an outage, a time-out or the budget left unmeasured. Raises DataUnavailable when there is
        nothing to score, ContractViolation for a run that began otherwise, ConfigError, DatabaseUnavailable.
        """
        chosen = self.samples if rag_pipeline is not None else tuple(filter(_has_answer, self.samples))
        if not chosen:
            raise DataUnavailable(
                "none of the samples carries an answer: give the pipeline that is to answer, or samples with answers"
            )
        began = time.perf_counter()
        facts = RunFacts(
            run_id=run_id or str(uuid7()),
            started_at=datetime.now(UTC),
            dataset_name=self.dataset_name,
            dataset_hash=dataset_hash(self.samples),
            pipeline_called=rag_pipeline is not None,
        )
        async with self.evaluator.opened() as scoring:
            store = await self._store(facts, scoring)
            facts = replace(facts, started_at=store.started_at or facts.started_at)
            facts, results = await self._scored(facts, chosen, rag_pipeline, scoring, store, on_progress)
        if left_out := len(self.samples) - len(chosen):
            facts = replace(facts, notes=(*facts.notes, f"{left_out} samples without an answer were left out"))
        seconds = store.seconds_before + time.perf_counter() - began
        report = report_of(facts, results, self.config, seconds=seconds)
        await store.finish(report)
        return await self._told(report, store)

    async def _store(self, facts: RunFacts, scoring: Scoring) -> RunStore:
        if self._repository is None:
            return NotStored()
        return await StoredRun.begin(self._repository, facts, self.samples, self.config, scoring)

    async def _scored(
        self,
        facts: RunFacts,
        chosen: Sequence[EvaluationSample],
        rag_pipeline: AnswerPipeline | None,
        scoring: Scoring,
        store: RunStore,
        on_progress: OnProgress | None,
    ) -> tuple[RunFacts, list[EvaluationResult]]:
        known = store.known
        left = [sample for sample in chosen if sample.sample_id not in known]
        tracer = self.evaluator.tracer
        metadata = {"dataset": facts.dataset_name, "dataset_hash": facts.dataset_hash, "method": scoring.method}

        def report_progress(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(len(chosen) - len(left) + done, len(chosen))

        async def scored(sample: EvaluationSample) -> EvaluationResult:
            result = await self._one(sample, rag_pipeline, scoring, trace)
            return replace(result, cost=store.spent(sample.sample_id) + result.cost)

        async with tracer.trace_evaluation(facts.run_id, metadata) as trace, store:
            trace.set_sample_count(len(chosen))
            fresh = await in_parallel(
                left,
                scored,
                max_concurrent=self.config.max_concurrent,
                on_done=store.add,
                on_progress=report_progress,
            )
        results = known | {one.sample_id: one for one in fresh}
        notes = scoring.notes
        if len(left) < len(chosen):
            notes = (*notes, f"{len(chosen) - len(left)} samples had been scored when the run was interrupted")
        trace_id = trace.trace_id if tracer.enabled else None
        return replace(facts, trace_id=trace_id, notes=notes), [results[sample.sample_id] for sample in chosen]

    async def _one(
        self,
        sample: EvaluationSample,
        rag_pipeline: AnswerPipeline | None,
        scoring: Scoring,
        trace: EvaluationTraceContext,
    ) -> EvaluationResult:
        if rag_pipeline is None:
            return await self.evaluator.scored(sample, scoring, trace)
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                answer = await rag_pipeline.answer(sample.query)
        except Exception as error:  # noqa: BLE001 - recorded as this sample's error; the others go on
            problem = f"the pipeline gave no answer: {described(error)}"
            return without_scores(sample, problem, scoring.method, self.config.thresholds)
        return await self.evaluator.scored(answered(sample, answer), scoring, trace)

    async def _told(self, report: EvaluationReport, store: RunStore) -> EvaluationReport:
        """The report, logged where it is to be; what could not take it is noted."""
        if self.config.log_to_mlflow:
            try:
                logged = await self.log_to_mlflow(report)
                report = replace(report, mlflow_run_id=logged.run_id)
                if logged.run_id is not None:
                    await store.logged(logged.run_id)
                problem = logged.problem
            except Exception as error:  # noqa: BLE001 - noted in the report, which stands without the log
                problem = described(error)
            if problem is not None:
                report = replace(report, notes=(*report.notes, f"MLflow: {problem}"))
        if self.evaluator.tracer.enabled and self.evaluator.tracer.connector.config.opik.enabled:
            try:
                outcome = await self.log_to_opik(report)
                problem = outcome.reason if isinstance(outcome, Unavailable) else None
            except Exception as error:  # noqa: BLE001 - as above
                problem = described(error)
            if problem is not None:
                report = replace(report, notes=(*report.notes, f"Opik: {problem}"))
        return report

    async def log_to_mlflow(self, report: EvaluationReport) -> LoggedRun:
        """One MLflow run: means, coverage and cost as metrics, the dataset's hash as a tag, a table of the samples."""
        connector = self._mlflow if self._mlflow is not None else get_mlflow_connector()
        return await log_report(connector, report, self.config)

    async def log_to_opik(self, report: EvaluationReport) -> RecordedExperiment | Unavailable:
        """An experiment in Opik over this dataset, its items linked to the traces of the answers."""
        traces = {one.sample_id: str(one.metadata[TRACE_ID]) for one in report.results if one.metadata.get(TRACE_ID)}
        return await log_report_to_opik(report, self.samples, traces=traces, connector=self.evaluator.tracer.connector)

    def check_thresholds(self, report: EvaluationReport) -> tuple[bool, list[str]]:
        """Whether every threshold is reached by enough measured samples, and one line for each that is not."""
        return check_thresholds(report, min_coverage=self.config.min_coverage)


async def quick_evaluate(
    query: str,
    answer: str,
    contexts: Sequence[str],
    ground_truth: str | None = None,
    *,
    evaluator: RAGASEvaluator | None = None,
) -> EvaluationResult:
    """Score one answer. Without a ground truth recall and correctness are unmeasured, so it cannot pass."""
    sample = create_evaluation_sample(query, ground_truth=ground_truth, contexts=contexts, answer=answer)
    return await (evaluator or RAGASEvaluator()).evaluate_sample(sample)


def answered(sample: EvaluationSample, answer: RAGAnswer) -> EvaluationSample:
    """The sample with what the pipeline said and found, in place of what it carried."""
    own = (DECLINED, TRACE_ID, RETRIEVAL_CONFIG)
    kept = {name: value for name, value in sample.metadata.items() if name not in own}
    given = {
        DECLINED: answer.declined,
        TRACE_ID: answer.trace_id,
        RETRIEVAL_CONFIG: answer.retrieval_config_id,
        "answer_method": answer.method,
    }
    return replace(
        sample,
        answer=answer.answer,
        retrieved_contexts=tuple(chunk.text for chunk in answer.contexts),
        metadata={**kept, **{name: value for name, value in given.items() if value is not None}},
    )


def _samples(dataset_path: Path | str | None, samples: Sequence[EvaluationSample] | None) -> Sequence[EvaluationSample]:
    if samples is not None:
        return samples
    return get_default_evaluation_dataset() if dataset_path is None else load_evaluation_dataset(dataset_path)


def _has_answer(sample: EvaluationSample) -> bool:
    return is_declined(sample) or bool(sample.answer and sample.answer.strip())


def _refuse_equal_ids(samples: Sequence[EvaluationSample]) -> None:
    seen: set[str] = set()
    for sample in samples:
        if sample.sample_id in seen:
            raise ContractViolation(f"two samples have the id {sample.sample_id}: give each an id of its own")
        seen.add(sample.sample_id)
