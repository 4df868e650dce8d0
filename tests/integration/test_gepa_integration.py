"""Does the optimisation of prompts work with real dspy and gepa, MLflow, PostgreSQL, RAGAS and the wires of Opik?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from src.domain.improvement import LearningItem
from src.domain.rubric import CriterionScore, RubricContext, RubricDecision, RubricEvaluation
from src.errors import ConfigError, ContractViolation, HPOError
from src.llm.budget import Budget
from src.llm.configuration import LLMSettings
from src.llm.detection import open_client
from src.mlops.mlflow_connector import MLflowConnector, RunStatus
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import Kind, MemorySink
from src.optimization.gepa.bridge import Bridge
from src.optimization.gepa.component import NotJudged, Ran, RunTools
from src.optimization.gepa.generations import Generation, Search, Tried, Watcher
from src.optimization.gepa.integration.mlflow_integration import EXPERIMENT, GEPAMLflowCallback, optimization_run
from src.optimization.gepa.integration.opik_integration import PROJECT, GEPAOpikTracer, trace_optimization
from src.optimization.gepa.integration.ragas_feedback import RAGASFeedbackProvider, create_ragas_metric
from src.optimization.gepa.judging import RubricRagasJudge
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.optimizer import create_gepa_optimizer, optimize_agent
from src.optimization.gepa.versioning import current_version
from src.rag.samples import EvaluationSample
from src.rag.scores import EvaluationResult
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.opik import ScriptedOpik
from tests.mlflow_store import local_connector
from tests.rag.judged import CONTEXTS, TRUTH, evaluator, judging
from tests.rag.lexical_judge import lexical_judge
from tests.unit.test_llm.wires import settings as wire_settings
from tests.unit.test_mlops.recorded import connector_on
from tests.unit.test_mlops.recorded import settings as observed_settings
from tests.unit.test_optimization.gepa_parts import (
    PRICES,
    AskingJudge,
    AskingRunner,
    Model,
    config,
    improver,
    item,
    scripted,
    task,
    writing_model,
)
from tests.unit.test_optimization.test_gepa_improver import texts


def program() -> Any:
    """A program whose model answers well where it is told to be exact."""
    dspy = load_dspy()
    predict = dspy.Predict(dspy.Signature("question -> answer", "Answer."))
    predict.lm = writing_model(
        lambda prompt: f"[[ ## answer ## ]]\n{'north east' if 'exact' in prompt else 'somewhere'}"
    )
    return predict


def reflecting() -> Any:
    return writing_model(lambda prompt: json.dumps({"new_instruction": "Answer with the exact region."}))


def asked(first: int, count: int) -> list[Any]:
    dspy = load_dspy()
    return [
        dspy.Example(question=f"Which region is {number}?", answer="north east").with_inputs("question")
        for number in range(first, first + count)
    ]


def judged(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    right = pred.answer == gold.answer
    return load_dspy().Prediction(score=float(right), feedback="right" if right else "name the exact region")


async def optimized(folder: Path, **changes: Any) -> Any:
    given = {"budget": "light", "reflection_lm": reflecting(), "config": config(30), "folder": folder, **changes}
    return await optimize_agent("orchestrator", program(), asked(0, 4), asked(10, 3), **given)


async def test_an_agents_program_is_optimised_with_its_configured_metric_and_saved(tmp_path: Path) -> None:
    found = await optimized(tmp_path)
    assert found.instructions == {"self": "Answer with the exact region."}
    assert (found.baseline_score, found.best_score) == (0.0, 1.0)
    assert current_version("orchestrator", folder=tmp_path) == found.version_id
    assert found.module(question="Which region?").answer == "north east"


async def test_the_metric_that_is_given_is_the_one_that_is_asked(tmp_path: Path) -> None:
    calls: list[str] = []

    def counted(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        calls.append(pred.answer)
        return judged(gold, pred)

    found = await optimized(tmp_path, metric=counted)
    assert {"somewhere", "north east"} == set(calls)
    assert found.metric_calls <= len(calls)


async def test_an_agent_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        await optimize_agent("nobody", program(), asked(0, 4), asked(10, 3), reflection_lm=reflecting())


async def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    one, other = [await optimized(tmp_path / name, random_state=3) for name in ("a", "b")]
    assert (one.instructions, one.generations, one.metric_calls) == (
        other.instructions,
        other.generations,
        other.metric_calls,
    )


@pytest.mark.parametrize(("name", "calls"), [("light", 500), ("medium", 2000), ("heavy", 4000)])
def test_the_budget_is_the_configured_number_of_metric_calls(name: Any, calls: int) -> None:
    optimizer = create_gepa_optimizer(judged, asked(0, 4), asked(10, 3), reflecting(), auto=name, random_state=5)
    assert (optimizer.max_metric_calls, optimizer.seed, optimizer.auto) == (calls, 5, None)
    assert (optimizer.candidate_selection_strategy, optimizer.use_merge) == ("pareto", False)


async def _asynchronous(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    return 1.0


@pytest.mark.parametrize(
    ("metric", "word"), [(_asynchronous, "synchronous"), (lambda gold, pred: 1.0, "five arguments")]
)
def test_a_metric_that_gepa_cannot_call_is_refused(metric: Any, word: str) -> None:
    with pytest.raises(ContractViolation, match=word):
        create_gepa_optimizer(metric, asked(0, 4), asked(10, 3), reflecting())


@pytest.mark.parametrize("first", [0, 3])
def test_what_is_learnt_from_cannot_validate(first: int) -> None:
    with pytest.raises(HPOError, match="validation set has examples of the training set"):
        create_gepa_optimizer(judged, asked(0, 4), asked(first, 4), reflecting())


async def test_without_a_reflecting_model_that_of_dspy_is_asked_and_where_there_is_none_it_is_said(
    tmp_path: Path,
) -> None:
    given = {"config": config(30), "folder": tmp_path}
    with pytest.raises(ConfigError, match="give a reflection_lm"):
        await optimize_agent("orchestrator", program(), asked(0, 4), asked(10, 3), "light", **given)
    with load_dspy().context(lm=reflecting()):
        found = await optimize_agent("orchestrator", program(), asked(0, 4), asked(10, 3), "light", **given)
    assert found.best_score == 1.0


def test_the_package_offers_what_others_work_with() -> None:
    import src.optimization.gepa as package

    assert package.optimize_agent is optimize_agent
    assert package.create_gepa_optimizer is create_gepa_optimizer
    assert {"FeedbackLearnerOptimizer", "GEPAABTest", "OptimizationResult"} <= set(package.__all__)


def test_too_few_examples_are_counted() -> None:
    with pytest.raises(HPOError, match=r"2 to learn from \(3 needed\) and 1 to choose by \(2 needed\)"):
        create_gepa_optimizer(judged, asked(0, 2), asked(10, 1), reflecting())


@pytest.fixture
def mlflow(tmp_path: Path) -> MLflowConnector:
    return local_connector(tmp_path / "mlflow")


async def only_run(mlflow: MLflowConnector) -> Any:
    experiment = await mlflow.get_or_create_experiment(EXPERIMENT)
    assert experiment.experiment_id is not None
    runs = await mlflow.search_runs([experiment.experiment_id])
    assert isinstance(runs, list)
    assert len(runs) == 1
    return runs[0]


def steps(mlflow: MLflowConnector, run_id: str, metric: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    return [(one.step, one.value) for one in MlflowClient(mlflow.tracking_uri).get_metric_history(run_id, metric)]


async def test_an_optimisation_is_one_run_whose_steps_are_the_generations(
    tmp_path: Path, mlflow: MLflowConnector
) -> None:
    found = await improver(Model(), tmp_path, mlflow=mlflow).improve(task())
    run = await only_run(mlflow)
    assert run.run_id == found.artifacts["mlflow_run_id"]
    assert run.status is RunStatus.FINISHED
    best = steps(mlflow, run.run_id, "best_score")
    assert [step for step, _ in best] == list(range(len(best)))
    assert [round(value, 6) for _, value in best][:4] == [0.1, 0.4, 0.7, 1.0]
    assert steps(mlflow, run.run_id, "metric_calls")[-1][1] <= 40 + 8
    for name in ("mean_score", "pareto_size", "task_tokens", "reflection_tokens", "judge_tokens", "dollars"):
        assert len(steps(mlflow, run.run_id, name)) == len(best)


async def test_the_run_has_what_was_optimised_and_the_texts(tmp_path: Path, mlflow: MLflowConnector) -> None:
    found = await improver(Model(), tmp_path, mlflow=mlflow).improve(task())
    run = await only_run(mlflow)
    assert run.params.items() >= {"component": "explainer", "judge": "scripted-judge", "random_state": "7"}.items()
    folder = await mlflow.download_artifact(run.run_id, "instructions", tmp_path / "copy")
    assert isinstance(folder, Path)
    assert found.variant is not None
    assert (folder / "best_component.md").read_text("utf-8") == found.variant.content["text"]
    assert (folder / "baseline_component.md").read_text("utf-8") == task().current.content["text"]
    assert len(json.loads((folder / "candidates.json").read_text("utf-8"))) == 4


async def test_an_optimisation_that_fails_leaves_a_failed_run(tmp_path: Path, mlflow: MLflowConnector) -> None:
    class Away:
        name = "judge"

        async def judge(self, item: LearningItem, ran: Ran) -> Any:
            raise NotJudged("the model is away")

    with pytest.raises(NotJudged):
        await improver(Model(judge=lambda client: Away()), tmp_path, mlflow=mlflow).improve(task())
    assert (await only_run(mlflow)).status is RunStatus.FAILED


async def test_the_callback_writes_what_it_is_told(mlflow: MLflowConnector) -> None:
    baseline, better = Tried(0, {"p": "a"}, 0.5), Tried(1, {"p": "b"}, 0.75, (0,), 1)
    generation = Generation(1, 0.75, 0.625, 2, 2, 9, True)
    bridge = Bridge()
    async with optimization_run(mlflow, "explainer", "by hand", {"seed": 1}) as run:
        assert run is not None
        callback = GEPAMLflowCallback(run, bridge)

        def told() -> bool:
            callback.on_optimization_start({"p": "a"}, 3, 2)
            callback.on_generation_complete(generation)
            callback.on_optimization_complete(Search((baseline, better), (generation,), 9, generation.spend))
            return True

        assert await bridge.run_in_thread(told)
    found = await only_run(mlflow)
    assert found.params["characters_p"] == "1"
    assert found.tags["best_candidate"] == "1"
    assert found.metrics["gain"] == pytest.approx(0.25)
    assert steps(mlflow, found.run_id, "candidates") == [(1, 2.0)]


def test_a_listener_that_fails_never_ends_a_run_and_is_remembered() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise OSError("the disk is full")

    watcher = Watcher([Broken()])
    watcher.on_optimization_start({"seed_candidate": {"p": "a"}, "trainset_size": 1, "valset_size": 1})
    assert watcher.problems == [
        "Broken.on_optimization_start: OSError: the disk is full",
        "Broken.on_generation_start: OSError: the disk is full",
    ]


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
async def opik(sink: MemorySink, tmp_path: Path) -> AsyncIterator[OpikConnector]:
    connector = connector_on(tmp_path / "spool", sink)
    yield connector
    await connector.shutdown(2)


def under(sink: MemorySink, parent: str) -> list[str]:
    """Operations of the spans below one, by their ids' order."""
    return [one["operation_type"] for one in sink.spans if one["parent_span_id"] == parent]


async def test_generations_are_children_of_the_optimisation_and_no_span_is_orphaned(
    tmp_path: Path, opik: OpikConnector, sink: MemorySink
) -> None:
    found = await improver(Model(), tmp_path, opik=opik).improve(task())
    assert await opik.flush()
    assert find_orphans(sink.spans) == []
    (run,) = [one for one in sink.spans if one["operation_type"] == "gepa_optimization"]
    assert run["trace_id"] == found.artifacts["opik_optimization_id"]
    generations = under(sink, run["span_id"])
    assert generations == [f"generation_{number}" for number in range(len(generations))]
    assert len(generations) >= 4
    assert {one["status"] for one in sink.spans} == {"success"}


async def test_model_calls_of_a_generation_are_traced_below_it(
    tmp_path: Path, opik: OpikConnector, sink: MemorySink
) -> None:
    model = Model()

    class Traced(AskingRunner):
        async def run(self, text: str, item: LearningItem) -> Ran:
            async with opik.trace_agent("explainer", "answer"):
                return await super().run(text, item)

    model.wrap = lambda runner: Traced(runner.client)
    await improver(model, tmp_path, opik=opik, config=config(40, threads=2)).improve(task())
    assert await opik.flush()
    named = {one["span_id"]: one["operation_type"] for one in sink.spans}
    answers = [one for one in sink.spans if one["operation_type"] == "answer"]
    assert len(answers) > 15
    assert all(named[one["parent_span_id"]].startswith("generation_") for one in answers)
    assert find_orphans(sink.spans) == []


async def test_candidates_are_scores_of_their_generation(tmp_path: Path, opik: OpikConnector, sink: MemorySink) -> None:
    await improver(Model(), tmp_path, opik=opik).improve(task())
    assert await opik.flush()
    named = {one["span_id"]: one["operation_type"] for one in sink.spans}
    given = {one["name"]: (named[one["span_id"]], round(one["value"], 6)) for one in sink.of(Kind.FEEDBACK)}
    assert given == {
        "candidate_0": ("generation_0", 0.1),
        "candidate_1": ("generation_1", 0.4),
        "candidate_2": ("generation_2", 0.7),
        "candidate_3": ("generation_3", 1.0),
    }


@pytest.fixture
def opik_server() -> Iterator[ScriptedOpik]:
    with ScriptedOpik() as server:
        yield server


@asynccontextmanager
async def mirrored(server: ScriptedOpik, tmp_path: Path) -> AsyncIterator[OpikConnector]:
    sections = {"opik": {"enabled": True, "local_endpoint": server.url}, "fallback": {"database": False}}
    connector = OpikConnector(observed_settings(**sections), spool=tmp_path / "spool")
    yield connector
    await connector.shutdown(2)


async def test_every_candidate_is_an_experiment_over_the_validation_questions(
    tmp_path: Path, opik_server: ScriptedOpik
) -> None:
    async with mirrored(opik_server, tmp_path) as connector:
        found = await improver(Model(), tmp_path, opik=connector).improve(task())
        assert await connector.flush()
    assert "not_recorded" not in found.artifacts
    experiments = sorted(opik_server.evaluations.experiments.values(), key=lambda one: one["name"])
    assert [one["name"] for one in experiments] == [f"explainer candidate {number}" for number in range(4)]
    assert [one["experiment_scores"][0]["value"] for one in experiments] == pytest.approx([0.1, 0.4, 0.7, 1.0])
    assert len(opik_server.evaluations.datasets) == 1
    assert found.variant is not None
    assert experiments[-1]["metadata"]["instructions"] == {"component": found.variant.content["text"]}
    trace = opik_server.traces[found.artifacts["opik_optimization_id"]]
    assert trace["project_name"] == PROJECT


async def test_trials_that_opik_did_not_take_are_named_and_the_prompt_is_there(
    tmp_path: Path, opik_server: ScriptedOpik
) -> None:
    async with mirrored(opik_server, tmp_path) as connector:
        with opik_server.down():
            found = await improver(Model(), tmp_path, opik=connector).improve(task())
    assert found.variant is not None
    assert "the trials are not in Opik" in found.artifacts["not_recorded"]


async def test_the_decorator_puts_a_function_into_the_span_of_an_optimisation(
    opik: OpikConnector, sink: MemorySink
) -> None:
    @trace_optimization(GEPAOpikTracer(connector=opik), "by hand")
    async def optimise(text: str, *, span: Any) -> str:
        span.log_generation(Generation(0, 0.5, 0.5, 1, 1, 3, True), [Tried(0, {"p": text}, 0.5)])
        return text.upper()

    assert await optimise("prompt") == "PROMPT"
    assert await opik.flush()
    (run,) = [one for one in sink.spans if one["operation_type"] == "gepa_optimization"]
    assert under(sink, run["span_id"]) == ["generation_0"]


async def test_without_a_connector_nothing_is_traced_and_everything_runs(tmp_path: Path) -> None:
    found = await improver(Model(), tmp_path).improve(task())
    assert "opik_optimization_id" not in found.artifacts
    assert found.variant is not None


async def test_ragas_feedback_calls_the_evaluator_and_says_what_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[EvaluationSample] = []
    ragas = evaluator()

    class Spied:
        async def evaluate_sample(self, sample: EvaluationSample, run_id: str | None = None) -> EvaluationResult:
            seen.append(sample)
            return await ragas.evaluate_sample(sample, run_id)

    provider = RAGASFeedbackProvider(Spied())
    with judging("anthropic", lexical_judge(), monkeypatch) as server:
        good = await provider.evaluate("How did Kisqali TRx change?", TRUTH, CONTEXTS)
        bad = await provider.evaluate("How did Kisqali TRx change?", "The moon is made of cheese.", CONTEXTS)
    assert [one.answer for one in seen] == [TRUTH, "The moon is made of cheese."]
    assert server.requests
    assert bad["score"] < good["score"]
    assert "faithfulness" in bad["feedback"]
    assert "not supported" in bad["feedback"]
    assert good["metrics"]["faithfulness"] == 1.0


class Measured:
    """The evaluator's results without its judge: faithful is what is TRUTH."""

    def __init__(self) -> None:
        self.seen: list[EvaluationSample] = []

    async def evaluate_sample(self, sample: EvaluationSample, run_id: str | None = None) -> EvaluationResult:
        self.seen.append(sample)
        value = 1.0 if sample.answer == TRUTH else 0.2
        return EvaluationResult(
            sample.sample_id, sample.query, value, None, None, None, None, value, value == 1.0, (), "ragas"
        )


def test_the_ragas_metric_is_synchronous_and_tells_good_from_bad() -> None:
    dspy, measured = load_dspy(), Measured()
    metric = create_ragas_metric(RAGASFeedbackProvider(measured))
    gold = dspy.Example(question="How did Kisqali TRx change?", ground_truth=TRUTH)
    good = metric(gold, dspy.Prediction(answer=TRUTH, contexts=CONTEXTS), None, "p", None)
    bad = metric(gold, dspy.Prediction(answer="Cheese is old.", contexts=CONTEXTS))
    assert (good.score, bad.score) == (1.0, 0.2)
    assert "faithfulness 0.20 of 1" in bad.feedback
    assert measured.seen[0].query == "How did Kisqali TRx change?"
    assert (measured.seen[0].ground_truth, measured.seen[0].scored_contexts) == (TRUTH, CONTEXTS)


async def test_ragas_that_measured_nothing_is_no_judgement() -> None:
    class Nothing:
        async def evaluate_sample(self, sample: EvaluationSample, run_id: str | None = None) -> EvaluationResult:
            return EvaluationResult(
                "s", "q", None, None, None, None, None, None, False, (), "ragas", error="the judge's replies were cut"
            )

    with pytest.raises(NotJudged, match="replies were cut"):
        await RAGASFeedbackProvider(Nothing()).evaluate("Why?", TRUTH)


async def test_the_heuristic_of_ragas_is_nothing_to_optimise_against() -> None:
    with pytest.raises(NotJudged, match="heuristic"):
        await RAGASFeedbackProvider(evaluator(llm_provider="none")).evaluate("Why?", TRUTH, CONTEXTS)


def rubric_said(weighted: float, method: Any = "llm", score: float = 2.0) -> RubricEvaluation:
    found = CriterionScore(score, "no owner is named", "raise visits")
    return RubricEvaluation(
        {"actionability": found}, weighted, RubricDecision.AUTO_UPDATE, (), ("actionability",), "Name the owner.",
        method,
        "judge-model", ("the model was away",) if method == "heuristic" else (),
    )  # fmt: skip


class SaidRubric:
    def __init__(self, said: RubricEvaluation) -> None:
        self.said = said
        self.seen: list[RubricContext] = []

    async def evaluate(self, context: RubricContext) -> RubricEvaluation:
        self.seen.append(context)
        return self.said


async def test_the_rubric_teaches_in_words() -> None:
    rubric = SaidRubric(rubric_said(3.0))
    found = await RubricRagasJudge("judge-model", rubric).judge(item(1), Ran("Raise visits.", ("c",)))
    assert found.score == pytest.approx(0.5)
    for said in ("actionability 2 of 5", "no owner is named", '"raise visits"', "Name the owner."):
        assert said in found.feedback
    assert (rubric.seen[0].answer, rubric.seen[0].contexts) == ("Raise visits.", ("c",))


async def test_rubric_and_ragas_are_joined_with_the_shares_of_the_combined_score() -> None:
    rubric = SaidRubric(rubric_said(4.2, score=4.2))
    judge = RubricRagasJudge("judge-model", rubric, RAGASFeedbackProvider(Measured()))
    found = [(await judge.judge(item(1), Ran(answer, CONTEXTS))).score for answer in (TRUTH, "Cheese.")]
    assert found == pytest.approx([0.6 * 0.8 + 0.4 * 1.0, 0.6 * 0.8 + 0.4 * 0.2])
    assert {"actionability", "faithfulness"} <= set((await judge.judge(item(1), Ran(TRUTH))).metrics)


async def test_what_rules_say_of_an_answer_is_refused_as_a_judgement() -> None:
    with pytest.raises(NotJudged, match="the model was away"):
        await RubricRagasJudge("m", SaidRubric(rubric_said(3.0, "heuristic"))).judge(item(1), Ran("Raise visits."))


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_a_prompt_is_improved_over_the_wire_of_a_real_sdk(tmp_path: Path, wire: Any) -> None:
    kind = ScriptedAnthropic if wire == "anthropic" else ScriptedOpenAI
    with kind(scripted()) as server:
        chosen: LLMSettings = wire_settings(wire, server)

        @asynccontextmanager
        async def opened(component: str, budget: Budget) -> AsyncIterator[RunTools]:
            client = open_client(chosen, prices=PRICES, budget=budget)
            yield RunTools(AskingRunner(client), AskingJudge(client), client)
            await client.aclose()

        model = Model()
        model.open = opened  # type: ignore[method-assign]
        found = await improver(model, tmp_path, calls=20).improve(task())
    assert found.validation_score == pytest.approx(0.7)
    assert found.spend.calls == len(server.requests)
    assert found.spend.dollars is None


async def test_a_killed_process_is_resumed_to_the_same_candidates(tmp_path: Path) -> None:
    whole, second = Model(), Model()
    await improver(whole, tmp_path / "whole").improve(task())
    folder = tmp_path / "killed"
    journal = folder / "runs" / "cycle-1-explainer" / "journal.jsonl"
    child = subprocess.Popen([sys.executable, "-m", "tests.integration.gepa_child", str(folder)])
    while not journal.exists() or journal.read_bytes().count(b'"kind"') < 17:
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = journal.read_bytes().count(b'"kind"')
    await improver(second, folder).improve(task())
    assert texts(folder) == texts(tmp_path / "whole")
    assert second.calls == whole.calls - kept
