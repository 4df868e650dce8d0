"""Is the pipeline under test asked once a sample, are its own contexts scored, and is everything kept?"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from src.app.rag_evaluation import EvaluationOutcome
from src.errors import ConfigError, ContractViolation, DatabaseUnavailable, DataUnavailable
from src.mlops.mlflow_connector import MLflowConnector
from src.rag.answers import RAGAnswer
from src.rag.evaluation import (
    EvaluationConfig,
    EvaluationSample,
    RAGASEvaluator,
    RAGEvaluationPipeline,
    dataset_hash,
    get_adversarial_dataset,
    get_default_evaluation_dataset,
    quick_evaluate,
    save_evaluation_dataset,
)
from src.rag.evaluation_report import RunFacts, report_document, report_of, result_of
from src.rag.judging import opening
from src.rag.judging.opening import Scored
from src.rag.retrieval_results import RetrievalFilters, RetrievedChunk
from src.rag.scores import (
    DEFAULT_THRESHOLDS,
    METRICS,
    EvaluationReport,
    EvaluationResult,
    Method,
    Metric,
    MetricScore,
    unmeasured,
)
from src.rag.statistics import ComparisonVerdict, PairedDifference
from src.storage.postgres_gateway import PostgresGateway
from src.storage.rag_evaluations import RagEvaluationRepository
from tests.mlflow_store import local_connector

Score = Callable[[EvaluationSample], Mapping[Metric, MetricScore]]


class Spy:
    """A pipeline that answers every question with what it was made with, and notes what it was asked."""

    def __init__(self, answers: Mapping[str, RAGAnswer | Exception] | None = None) -> None:
        self._answers = answers or {}
        self.asked: list[str] = []

    async def answer(self, query: str, *, filters: RetrievalFilters | None = None) -> RAGAnswer:
        self.asked.append(query)
        found = self._answers.get(query, answer(query))
        if isinstance(found, Exception):
            raise found
        return found


def chunk(text: str) -> RetrievedChunk:
    return RetrievedChunk("c1", "d1", text, 1.0, {}, "Title", "file", "a.md")


def answer(query: str, **changes: Any) -> RAGAnswer:
    given = {"contexts": (chunk(f"found for {query}"),), "trace_id": str(uuid4())} | changes
    return RAGAnswer(query, f"said to {query}", (), citations=(), confidence=0.5, method="extractive", **given)


def good(sample: EvaluationSample) -> dict[Metric, MetricScore]:
    return dict.fromkeys(METRICS, MetricScore(0.9, "fine"))


def pipeline(
    samples: list[EvaluationSample] | None = None, heuristic: Score = good, **options: Any
) -> RAGEvaluationPipeline:
    settings = {key: options.pop(key) for key in list(options) if key in EvaluationConfig.__slots__}
    config = EvaluationConfig(**{"log_to_mlflow": False, "bootstrap_draws": 50, **settings})
    evaluator = RAGASEvaluator(config, "none", enable_opik_tracing=False, heuristic=heuristic)
    return RAGEvaluationPipeline(config, samples=samples, evaluator=evaluator, **options)


async def test_the_pipeline_is_asked_every_question_once() -> None:
    spy = Spy()
    report = await pipeline().run_evaluation(spy)
    assert sorted(spy.asked) == sorted(sample.query for sample in get_default_evaluation_dataset())
    assert (report.pipeline_called, report.total_samples, report.passed_samples) == (True, 10, 10)
    assert report.all_thresholds_passed


async def test_its_own_answer_and_its_own_contexts_are_scored() -> None:
    seen: list[EvaluationSample] = []

    def score(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        seen.append(sample)
        return good(sample)

    given = EvaluationSample("q", "truth", ("right",), "an old answer", ("old",), {"declined": "old"})
    spy = Spy()
    report = await pipeline([given], score).run_evaluation(spy)
    assert [(one.answer, one.scored_contexts) for one in seen] == [("said to q", ("found for q",))]
    assert (seen[0].ground_truth, seen[0].contexts, seen[0].sample_id) == ("truth", ("right",), given.sample_id)
    assert "declined" not in report.results[0].metadata
    assert report.results[0].metadata["trace_id"]


async def test_a_failure_of_the_pipeline_is_an_error_and_no_score() -> None:
    samples = [EvaluationSample(one) for one in ("a", "b", "c")]
    spy = Spy({"b": DatabaseUnavailable("the database is not available"), "c": KeyError("Mabel Quince")})
    report = await pipeline(samples).run_evaluation(spy)
    first, second, third = report.results
    assert (first.error, first.overall_score) == (None, pytest.approx(0.9))
    assert second.error == "the pipeline gave no answer: DatabaseUnavailable: the database is not available"
    assert third.error is not None
    assert third.error.startswith("the pipeline gave no answer: KeyError at ")
    assert (second.overall_score, second.passed_thresholds, second.faithfulness) == (None, False, None)
    assert (report.passed_samples, report.failed_samples, report.unmeasured_samples) == (1, 0, 2)
    assert report.aggregates["overall"].coverage == pytest.approx(1 / 3)
    assert not report.all_thresholds_passed


async def test_a_pipeline_that_hangs_is_given_up_after_the_time_out() -> None:
    class Hanging(Spy):
        async def answer(self, query: str, *, filters: RetrievalFilters | None = None) -> RAGAnswer:
            await asyncio.sleep(60)
            raise AssertionError

    report = await pipeline([EvaluationSample("q")], timeout_seconds=0.05).run_evaluation(Hanging())
    assert "TimeoutError" in (report.results[0].error or "")


async def test_without_a_pipeline_only_samples_with_answers_are_scored() -> None:
    samples = [*get_default_evaluation_dataset(), *get_adversarial_dataset()]
    report = await pipeline(samples).run_evaluation()
    assert (report.pipeline_called, report.total_samples) == (False, 15)
    assert "10 samples without an answer were left out" in report.notes


async def test_nothing_to_score_is_an_error_that_says_what_to_give() -> None:
    with pytest.raises(DataUnavailable, match="none of the samples carries an answer"):
        await pipeline().run_evaluation()


async def test_declining_is_right_where_nothing_can_be_said_and_wrong_elsewhere() -> None:
    trap = EvaluationSample("trap", metadata={"expects": "decline"})
    caught = EvaluationSample("caught", metadata={"expects": "decline"})
    plain = EvaluationSample("plain", "truth")
    declined = {name: answer(name, declined="no document is about it") for name in ("trap", "plain")}
    report = await pipeline([trap, caught, plain]).run_evaluation(Spy(declined))
    right, wrong, needless = report.results
    assert (right.passed_thresholds, wrong.passed_thresholds, needless.passed_thresholds) == (True, False, False)
    assert wrong.failed_metrics == ("decline",)
    assert (needless.faithfulness, needless.answer_relevancy) == (None, 0.0)
    assert report.aggregates["answer_relevancy"].total == 2
    assert "1 samples were rightly declined; they pass and stand in no mean" in report.notes


async def test_too_little_measured_reaches_no_threshold() -> None:
    def partly(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        recall = MetricScore(1.0, "all") if sample.query < "h" else unmeasured("there is no ground truth")
        return {**good(sample), "context_recall": recall}

    samples = [EvaluationSample(one, answer="a") for one in "abcdefghij"]
    evaluation = pipeline(samples, partly)
    report = await evaluation.run_evaluation()
    reached, failures = evaluation.check_thresholds(report)
    assert not reached
    assert failures == [
        "context_recall: measured in 7 of 10 samples, 80% are needed; the mean lies between 0.700 and 1.000"
    ]
    assert report.aggregates["context_recall"].mean == 1.0
    assert "context_recall not measured: there is no ground truth (3 of 10 samples)" in report.notes


async def test_a_mean_below_its_threshold_is_named_with_both_figures() -> None:
    evaluation = pipeline([EvaluationSample("q", answer="a")], thresholds={"faithfulness": 0.95})
    report = await evaluation.run_evaluation()
    assert evaluation.check_thresholds(report) == (False, ["faithfulness: 0.900 is below 0.95"])
    assert not report.all_thresholds_passed


async def test_a_dataset_file_is_evaluated_under_its_name_and_hash(tmp_path: Path) -> None:
    samples = get_adversarial_dataset()
    save_evaluation_dataset(samples, tmp_path / "traps.jsonl")
    report = await pipeline(dataset_path=tmp_path / "traps.jsonl").run_evaluation()
    assert (report.dataset_name, report.dataset_hash) == ("traps", dataset_hash(samples))


def test_two_samples_of_one_id_are_refused() -> None:
    with pytest.raises(ContractViolation, match="two samples have the id twin"):
        pipeline([EvaluationSample("a", sample_id="twin"), EvaluationSample("b", sample_id="twin")])


async def test_quick_evaluation_scores_one_answer() -> None:
    evaluator = RAGASEvaluator(EvaluationConfig(), "none", enable_opik_tracing=False, heuristic=good)
    result = await quick_evaluate("q", "a", ["c"], "t", evaluator=evaluator)
    assert (result.query, result.method, result.overall_score) == ("q", "heuristic", pytest.approx(0.9))


def repository(db: Any) -> RagEvaluationRepository:
    return RagEvaluationRepository(PostgresGateway(db))


async def test_a_run_its_dataset_and_every_score_are_in_the_database(db: Any) -> None:
    kept = repository(db)
    report = await pipeline(batch_size=3, repository=kept).run_evaluation(Spy())
    run = await kept.run(report.run_id)
    assert run is not None
    assert run["aggregates"] == report_document(report)["aggregates"]
    assert (run["method"], run["pipeline_called"], run["all_thresholds_passed"]) == ("heuristic", True, True)
    dataset = await kept.dataset(run["dataset_hash"])
    assert dataset is not None
    assert (dataset["name"], dataset["sample_count"]) == ("default", 10)
    rows = await kept.scores(report.run_id)
    assert {row["sample_id"] for row in rows} == {one.sample_id for one in report.results}
    kept_score = {"value": 0.9, "reason": "fine", "regime": None, "agreement": None, "transient": False}
    assert rows[0]["scores"]["faithfulness"] == kept_score
    assert [one["run_id"] for one in await kept.runs(report.dataset_hash)] == [report.run_id]


async def test_an_interrupted_run_is_continued_and_nothing_is_asked_twice(db: Any) -> None:
    kept, run_id = repository(db), str(uuid4())
    samples = [EvaluationSample(f"q{number}") for number in range(6)]

    class Killed(Spy):
        async def answer(self, query: str, *, filters: RetrievalFilters | None = None) -> RAGAnswer:
            if query == "q3":
                raise asyncio.CancelledError
            return await super().answer(query)

    first = Killed()
    with pytest.raises(asyncio.CancelledError):
        await pipeline(samples, max_concurrent=1, batch_size=2, repository=kept).run_evaluation(first, run_id=run_id)
    assert [row["sample_id"] for row in await kept.scores(run_id)] == sorted(one.sample_id for one in samples[:3])
    second = Spy()
    report = await pipeline(samples, repository=kept).run_evaluation(second, run_id=run_id)
    assert sorted(second.asked) == ["q3", "q4", "q5"]
    assert report.total_samples == report.passed_samples == 6
    assert "3 samples had been scored when the run was interrupted" in report.notes
    assert [one.query for one in report.results] == [one.query for one in samples]
    assert all(one.scores["faithfulness"].reason == "fine" for one in report.results)


async def test_what_failed_for_an_error_is_tried_again_when_a_run_is_continued(db: Any) -> None:
    kept, run_id, samples = repository(db), str(uuid4()), [EvaluationSample("a"), EvaluationSample("b")]
    broken = Spy({"b": DatabaseUnavailable("gone")})
    await pipeline(samples, repository=kept).run_evaluation(broken, run_id=run_id)
    healed = Spy()
    report = await pipeline(samples, repository=kept).run_evaluation(healed, run_id=run_id)
    assert healed.asked == ["b"]
    assert report.passed_samples == 2


async def test_a_run_is_not_continued_over_other_samples_or_in_another_way(db: Any) -> None:
    kept, run_id = repository(db), str(uuid4())
    one = EvaluationSample("a", answer="given")
    await pipeline([one], repository=kept).run_evaluation(Spy(), run_id=run_id)
    with pytest.raises(ContractViolation, match="another version of the dataset"):
        await pipeline([replace(one, answer="other")], repository=kept).run_evaluation(Spy(), run_id=run_id)
    with pytest.raises(ContractViolation, match="asked a pipeline"):
        await pipeline([one], repository=kept).run_evaluation(run_id=run_id)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> MLflowConnector:
    return local_connector(tmp_path_factory.mktemp("mlflow"))


async def logged(report: EvaluationReport, mlflow: MLflowConnector) -> Any:
    assert report.mlflow_run_id is not None
    return await mlflow.get_run(report.mlflow_run_id)


async def test_mlflow_gets_one_run_with_means_coverage_hash_and_table(mlflow: MLflowConnector, tmp_path: Path) -> None:
    def no_recall(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        return {**good(sample), "context_recall": unmeasured("there is no ground truth")}

    samples = get_adversarial_dataset()
    report = await pipeline(samples, no_recall, log_to_mlflow=True, mlflow=mlflow).run_evaluation()
    run = await logged(report, mlflow)
    assert run.tags["dataset_hash"] == report.dataset_hash == dataset_hash(samples)
    assert (run.metrics["faithfulness"], run.metrics["faithfulness_coverage"]) == (pytest.approx(0.9), 1.0)
    assert "context_recall" not in run.metrics
    assert run.metrics["context_recall_coverage"] == 0.0
    table = await mlflow.download_artifact(run.run_id, "samples.csv", tmp_path)
    rows = list(csv.DictReader(Path(str(table)).read_text("utf-8").splitlines()))
    assert [row["sample_id"] for row in rows] == [one.sample_id for one in samples]
    assert (rows[0]["context_recall"], rows[0]["context_recall_reason"]) == ("", "there is no ground truth")
    found = await mlflow.search_runs(filter_string=f"tags.evaluation_run_id = '{report.run_id}'")
    assert [one.run_id for one in found] == [run.run_id]


@pytest.mark.slow
async def test_an_mlflow_that_is_away_is_noted_and_costs_no_result(tmp_path: Path) -> None:
    from tests.mlflow_store import closed_port, configuration

    away = MLflowConnector(f"http://127.0.0.1:{closed_port()}", config_path=configuration(tmp_path))
    samples = [EvaluationSample("q", answer="a")]
    report = await pipeline(samples, log_to_mlflow=True, mlflow=away).run_evaluation()
    assert (report.mlflow_run_id, report.passed_samples) == (None, 1)
    assert any(note.startswith("MLflow: ") for note in report.notes)


async def test_progress_counts_every_sample() -> None:
    seen: list[tuple[int, int]] = []
    await pipeline().run_evaluation(Spy(), on_progress=lambda done, of: seen.append((done, of)))
    assert seen == [(number, 10) for number in range(1, 11)]


async def test_a_score_that_is_no_number_is_an_error_of_its_sample_and_no_pass() -> None:
    def nan(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        return dict.fromkeys(METRICS, MetricScore(float("nan"), "0 / 0"))

    report = await pipeline([EvaluationSample("q", answer="a")], nan).run_evaluation()
    assert (report.passed_samples, report.results[0].overall_score) == (0, None)
    assert "between 0 and 1, not at nan" in (report.results[0].error or "")


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01, float("inf")])
def test_a_score_lies_between_zero_and_one(value: float) -> None:
    with pytest.raises(ContractViolation, match="between 0 and 1"):
        MetricScore(value, "wrong")


def test_a_decline_does_not_pass_over_an_error() -> None:
    trap = EvaluationSample("trap", metadata={"expects": "decline", "declined": "no document is about it"})
    nothing: dict[Metric, MetricScore] = dict.fromkeys(METRICS, unmeasured("KeyError"))
    result = result_of(trap, Scored(nothing, error="KeyError at x.py:3"), "ragas", DEFAULT_THRESHOLDS)
    assert (result.passed_thresholds, result.failed_metrics) == (False, ())
    assert "declined_rightly" not in result.metadata
    assert result_of(trap, Scored(nothing), "ragas", DEFAULT_THRESHOLDS).passed_thresholds


async def test_a_mean_of_values_at_the_threshold_reaches_it() -> None:
    def at_limit(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        return dict.fromkeys(METRICS, MetricScore(0.7, "just so"))

    limits = dict.fromkeys(DEFAULT_THRESHOLDS, 0.7)
    samples = [EvaluationSample(one, answer="a") for one in "abc"]
    report = await pipeline(samples, at_limit, thresholds=limits).run_evaluation()
    assert (report.passed_samples, report.all_thresholds_passed) == (3, True)


def test_scores_of_two_methods_have_no_mean_and_reach_nothing() -> None:
    def one(name: str, method: Method) -> EvaluationResult:
        return result_of(EvaluationSample(name, answer="a"), Scored(good(EvaluationSample(name))), method, {})

    facts = RunFacts("r", datetime.now(UTC), "d", "h", pipeline_called=False)
    report = report_of(facts, [one("a", "ragas"), one("b", "heuristic")], EvaluationConfig(), seconds=1.0)
    assert (report.aggregates["faithfulness"].mean, report.all_thresholds_passed) == (None, False)
    assert "no mean is formed" in report.notes[0]


def test_an_evaluator_with_other_thresholds_than_the_pipeline_is_refused() -> None:
    with pytest.raises(ConfigError, match="other thresholds"):
        RAGEvaluationPipeline(EvaluationConfig(thresholds={"faithfulness": 0.99}), evaluator=RAGASEvaluator())


async def test_what_an_outage_left_unmeasured_is_asked_again_and_nothing_else(db: Any) -> None:
    kept, run_id = repository(db), str(uuid4())
    samples = [EvaluationSample(one, answer="a") for one in ("fine", "away", "never")]
    asked: list[str] = []

    def storm(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        lasting = {"away": unmeasured("JudgeAway: 429", transient=True), "never": unmeasured("no ground truth")}
        return {**good(sample), "context_recall": lasting.get(sample.query, MetricScore(0.9, "fine"))}

    def calm(sample: EvaluationSample) -> Mapping[Metric, MetricScore]:
        asked.append(sample.query)
        return good(sample)

    await pipeline(samples, storm, repository=kept).run_evaluation(run_id=run_id)
    report = await pipeline(samples, calm, repository=kept).run_evaluation(run_id=run_id)
    assert asked == ["away"]
    assert (report.passed_samples, report.unmeasured_samples) == (2, 1)


async def test_a_continued_run_is_the_same_in_report_database_and_mlflow(db: Any, mlflow: MLflowConnector) -> None:
    kept, run_id = repository(db), str(uuid4())
    row = await db.fetchrow("SELECT config_id FROM retrieval_configurations LIMIT 1")
    found_by = str(row["config_id"])
    samples = [EvaluationSample(one) for one in "abcd"]
    says = {one: answer(one, retrieval_config_id=found_by) for one in "abcd"}
    first = await pipeline(samples, repository=kept).run_evaluation(
        Spy({**says, "b": DatabaseUnavailable("gone")}), run_id=run_id
    )
    report = await pipeline(samples, repository=kept, log_to_mlflow=True, mlflow=mlflow).run_evaluation(
        Spy(says), run_id=run_id
    )
    run, log, written = await kept.run(run_id), await logged(report, mlflow), report_document(report)
    assert run is not None
    assert report.evaluation_time_seconds > first.evaluation_time_seconds
    assert (str(run["retrieval_config_id"]), run["mlflow_run_id"]) == (found_by, report.mlflow_run_id)
    assert (run["started_at"], run["duration_seconds"]) == (report.timestamp, report.evaluation_time_seconds)
    assert report.timestamp == first.timestamp
    assert (run["aggregates"], run["cost"], run["thresholds"]) == (
        written["aggregates"],
        written["cost"],
        written["thresholds"],
    )
    for name, one in report.aggregates.items():
        assert log.metrics[name] == pytest.approx(one.mean)
        assert log.metrics[f"{name}_coverage"] == one.coverage
    passed = sum(one["passed"] for one in await kept.scores(run_id))
    assert passed == report.passed_samples == log.metrics["passed_samples"] == 4


async def test_a_run_is_not_continued_by_other_thresholds_or_another_judge(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, run_id, one = repository(db), str(uuid4()), [EvaluationSample("a")]
    await pipeline(one, repository=kept).run_evaluation(Spy(), run_id=run_id)
    with pytest.raises(ContractViolation, match=r"has other thresholds \(.*faithfulness 0.8"):
        await pipeline(one, repository=kept, thresholds={"faithfulness": 0.9}).run_evaluation(Spy(), run_id=run_id)
    real = opening.heuristic_scoring

    def by_a_judge(*given: Any, **options: Any) -> Any:
        return replace(real(*given, **options), method="ragas", judge="anthropic:large")

    monkeypatch.setattr(opening, "heuristic_scoring", by_a_judge)
    with pytest.raises(ContractViolation, match="was scored by heuristic, not by anthropic:large"):
        await pipeline(one, repository=kept).run_evaluation(Spy(), run_id=run_id)


class Failing(RagEvaluationRepository):
    """Fails to write scores as often as it is told."""

    failures = 0

    async def add_scores(self, rows: Any) -> None:
        if rows and self.failures:
            self.failures -= 1
            raise OSError("the connection was reset")
        await super().add_scores(rows)


async def test_results_that_could_not_be_written_are_written_at_the_end(db: Any) -> None:
    kept, run_id = Failing(PostgresGateway(db)), str(uuid4())
    kept.failures = 1
    samples = [EvaluationSample(f"q{number}") for number in range(6)]
    with pytest.raises(OSError, match="reset"):
        await pipeline(samples, max_concurrent=1, batch_size=3, repository=kept).run_evaluation(Spy(), run_id=run_id)
    assert len(await kept.scores(run_id)) == 3


async def test_what_is_left_at_the_end_is_tried_more_than_once(db: Any) -> None:
    kept = Failing(PostgresGateway(db))
    kept.failures = 1
    report = await pipeline([EvaluationSample("q")], repository=kept).run_evaluation(Spy())
    assert len(await kept.scores(report.run_id)) == 1


async def test_an_mlflow_that_breaks_in_any_way_is_noted_after_the_run_is_kept(db: Any) -> None:
    class Broken:
        async def get_or_create_experiment(self, *_: object, **__: object) -> str:
            raise OSError("no space left")

    kept, broken = repository(db), cast(MLflowConnector, Broken())
    report = await pipeline([EvaluationSample("q")], log_to_mlflow=True, mlflow=broken, repository=kept).run_evaluation(
        Spy()
    )
    run = await kept.run(report.run_id)
    assert run is not None
    assert run["aggregates"]["overall"]["mean"] == pytest.approx(0.9)
    assert any(note.startswith("MLflow: OSError") for note in report.notes)


@pytest.mark.parametrize(("verdict", "pairs"), [("inferior", 9), ("insufficient_evidence", 0)])
async def test_a_loss_fails_and_so_does_a_comparison_of_nothing(verdict: str, pairs: int) -> None:
    report = await pipeline([EvaluationSample("q", answer="a")]).run_evaluation()
    difference = PairedDifference(
        "overall", -0.1, None, None, pairs, 10, 0.02, ComparisonVerdict(verdict), "why", pairs_needed=None
    )
    assert EvaluationOutcome(report, [], (difference,)).failed
    fell = replace(difference, pairs=9, verdict=ComparisonVerdict.INSUFFICIENT_EVIDENCE)
    undecided = EvaluationOutcome(report, [], (fell,))
    assert undecided.undecided == ["overall: fell by 0.100, and whether that is a loss is not shown (why)"]
    assert not undecided.failed
