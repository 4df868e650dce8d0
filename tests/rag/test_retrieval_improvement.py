"""Are poor retrieval settings found and mended on a real corpus, and good ones left alone?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.improvement import ChangeKind, LearningItem, Lesson, Variant
from src.domain.vocabulary import load_vocabulary
from src.errors import ContractViolation, DataUnavailable, HPOError
from src.mlops.mlflow_connector import MLflowConnector
from src.optimization.gates.gate import Pilot, decide
from src.optimization.gates.splits import Split, split_items
from src.optimization.improver import Candidate, ImprovementTask
from src.optimization.retrieval.improver import RetrievalImprover
from src.optimization.retrieval.items import LabelledItems
from src.optimization.retrieval.labels import labelled
from src.optimization.retrieval.measures import ranking_scores
from src.optimization.retrieval.recorded_search import SearchRecorder
from src.optimization.retrieval.replay import RetrievalReplay
from src.optimization.retrieval.settings import config_of, out_of_bounds
from src.rag.configuration import RagConfig
from src.rag.embeddings.minilm import MiniLMEmbeddings
from src.rag.embeddings.minilm_files import missing_packages
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.retrieval.opening import open_retriever
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.retrieval_configurations import RetrievalConfig
from tests.mlflow_store import local_connector
from tests.rag.labelled_corpus import fill, index_folder
from tests.shared_database import cloned_database
from tests.unit.test_rag.corpora import rag_config

pytestmark = pytest.mark.skipif(missing_packages() is not None, reason="needs the packages of the local model")

SETTINGS = load_self_improvement()
DEFAULT: dict[str, Any] = {
    "k": 10,
    "chunk_size": 512,
    "chunk_overlap": 50,
    "dense_weight": 0.4,
    "text_weight": 0.3,
    "graph_weight": 0.3,
    "rerank": False,
}
POOR = DEFAULT | {"k": 2, "dense_weight": 0.0, "text_weight": 0.0, "graph_weight": 1.0}
NONE = Unavailable("embeddings", "switched off")


@dataclass(frozen=True)
class Corpus:
    """The filled database, and what reads it."""

    url: str
    config: RagConfig
    embeddings: MiniLMEmbeddings


@pytest.fixture(scope="module")
def filled(postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    config = rag_config(index_folder(tmp_path_factory.mktemp("corpus")))
    with cloned_database(postgres_dsn, template_database, "retrieval_improvement") as url:
        embeddings = MiniLMEmbeddings(threads=1)
        asyncio.run(_fill(url, embeddings))
        yield Corpus(url, config, embeddings)


async def _fill(url: str, embeddings: EmbeddingProvider) -> None:
    async with Database.open(url) as database:
        await fill(database, embeddings)


@pytest.fixture
async def database(filled: Corpus) -> AsyncIterator[Database]:
    async with Database.open(filled.url) as opened:
        yield opened


@pytest.fixture
async def split(database: Database) -> Split:
    return split_items(await LabelledItems(database)("retrieval"), SETTINGS.gate)


def variant(content: dict[str, Any]) -> Variant:
    return Variant("retrieval", ChangeKind.RETRIEVAL, content)


def improver(
    database: Database,
    filled: Corpus,
    embeddings: EmbeddingProvider | Unavailable | None = None,
    *,
    trials: int = 12,
    min_gain: float = SETTINGS.gate.retrieval_min_gain,
    mlflow: MLflowConnector | None = None,
) -> RetrievalImprover:
    improvement = SETTINGS.improvement.model_copy(update={"retrieval_trials": trials})
    gate = SETTINGS.gate.model_copy(update={"retrieval_min_gain": min_gain})
    return RetrievalImprover(
        database,
        filled.config,
        SETTINGS.model_copy(update={"improvement": improvement, "gate": gate}),
        embeddings=filled.embeddings if embeddings is None else embeddings,
        vocabulary=load_vocabulary(),
        mlflow=mlflow,
    )


def task(content: dict[str, Any], split: Split, **values: Any) -> ImprovementTask:
    known: dict[str, Any] = {"lessons": (), "run_name": "cycle-retrieval", "random_state": 42}
    return ImprovementTask(variant(content), split.train, split.validation, **known | values)


def found(candidate: Candidate) -> dict[str, Any]:
    assert candidate.variant is not None, candidate.reason
    return dict(candidate.variant.content)


async def test_a_poor_setting_is_mended_and_the_gain_holds_on_questions_it_was_not_made_from(
    database: Database, filled: Corpus, split: Split
) -> None:
    steps: list[tuple[str, float]] = []
    asked = task(POOR, split, on_progress=lambda step, share: steps.append((step, share)))
    candidate = await improver(database, filled, trials=20).improve(asked)
    content = found(candidate)
    assert out_of_bounds(POOR, content) == []
    assert content["k"] > POOR["k"]
    assert content["graph_weight"] < POOR["graph_weight"]
    assert candidate.judge is None
    assert candidate.spend.calls == 0
    assert [step for step, _ in steps][0] == "searching"
    assert steps[-1] == ("trying", pytest.approx(1.0))

    replay = RetrievalReplay.open(database, filled.config, embeddings=filled.embeddings)
    assert replay.judge == "labels"
    scores = {
        (name, content_name): await replay.scores(variant(settings), items)
        for name, items in (("validation", split.validation), ("test", split.test))
        for content_name, settings in (("before", POOR), ("after", content))
    }
    verdict = decide(
        scores["test", "before"],
        scores["test", "after"],
        kind=ChangeKind.RETRIEVAL,
        settings=SETTINGS.gate,
        pilot=Pilot(scores["validation", "before"], scores["validation", "after"]),
    )
    assert (verdict.outcome, verdict.reasons) == ("pass", ())
    assert verdict.target is not None
    assert verdict.target.low > 0.1
    validated = [one.target for one in scores["validation", "after"] if one.target is not None]
    assert candidate.validation_score == pytest.approx(sum(validated) / len(validated))


async def test_the_same_task_gives_the_same_candidate(database: Database, filled: Corpus, split: Split) -> None:
    first, second = [await improver(database, filled).improve(task(POOR, split)) for _ in range(2)]
    assert first == second


async def test_a_search_is_one_run_whose_steps_are_the_settings_tried(
    database: Database, filled: Corpus, split: Split, tmp_path: Path
) -> None:
    connector = local_connector(tmp_path)
    maker = improver(database, filled, NONE, trials=5, mlflow=connector)
    candidate = await maker.improve(task(POOR, split))
    runs = await connector.search_runs()
    assert not isinstance(runs, Unavailable)
    (run,) = runs
    assert candidate.artifacts == {"mlflow_run_id": run.run_id}
    assert (run.status, run.params["before_k"], run.params["after_k"]) == ("finished", "2", str(found(candidate)["k"]))
    assert run.metrics["validation_ndcg"] == pytest.approx(candidate.validation_score)
    assert run.metrics["best_worth"] >= run.metrics["worth"]


async def test_settings_that_failed_before_are_not_proposed_again(
    database: Database, filled: Corpus, split: Split
) -> None:
    first = await improver(database, filled, NONE).improve(task(POOR, split))
    assert first.variant is not None
    lesson = Lesson("1", "failure", "failed", "it failed", "retrieval", change_sha256=first.variant.sha256)
    second = await improver(database, filled, NONE).improve(task(POOR, split, lessons=(lesson,)))
    assert found(second) != found(first)
    praised = task(POOR, split, lessons=(replace(lesson, lesson_type="success"),))
    assert await improver(database, filled, NONE).improve(praised) == first


async def test_where_the_gain_is_too_small_there_is_no_candidate_and_the_reason_says_so(
    database: Database, filled: Corpus, split: Split
) -> None:
    candidate = await improver(database, filled, NONE, min_gain=0.9).improve(task(DEFAULT, split))
    assert candidate.variant is None
    assert f"settings gained 0.9 nDCG on {len(split.validation)} validation questions" in candidate.reason
    assert candidate.baseline_score is not None


async def test_without_embeddings_the_dense_arm_keeps_its_share_and_the_reason_says_so(
    database: Database, filled: Corpus, split: Split
) -> None:
    poor = POOR | {"dense_weight": 0.2, "text_weight": 0.0, "graph_weight": 0.8}
    candidate = await improver(database, filled, NONE).improve(task(poor, split))
    content = found(candidate)
    assert content["dense_weight"] == 0.2
    assert content["text_weight"] > 0
    assert "dense could not search (switched off) and keeps its share" in candidate.reason


async def test_too_few_labelled_questions_are_counted_and_refused(
    database: Database, filled: Corpus, split: Split
) -> None:
    few = replace(split, train=split.train[:9])
    with pytest.raises(HPOError, match=r"9 training and \d+ validation questions"):
        await improver(database, filled).improve(task(POOR, few))
    unlabelled = replace(split, validation=tuple(replace(item, inputs={}) for item in split.validation))
    with pytest.raises(HPOError, match="and 0 validation questions"):
        await improver(database, filled).improve(task(POOR, unlabelled))


async def test_settings_that_are_none_are_refused(database: Database, filled: Corpus, split: Split) -> None:
    broken = POOR | {"graph_weight": 0.5}
    with pytest.raises(ContractViolation, match="sum to 0.5"):
        await improver(database, filled).improve(task(broken, split))
    with pytest.raises(ContractViolation, match="sum to 0.5"):
        await RetrievalReplay.open(database, filled.config, embeddings=NONE).scores(variant(broken), split.test)


@pytest.mark.parametrize("embedded", [True, False])
async def test_settings_tried_on_kept_lists_rank_as_the_retriever_does(
    database: Database, filled: Corpus, split: Split, embedded: bool
) -> None:
    items = split.test[:8]
    embeddings = filled.embeddings if embedded else NONE
    queries = [query for query in map(labelled, items) if query is not None]
    recorded = await SearchRecorder(database, filled.config, embeddings, load_vocabulary()).record(queries)
    retriever = open_retriever(database, filled.config, embeddings=embeddings)
    for content in _settings():
        config = config_of(content)
        live = retriever.using(_always(config))
        for query in queries:
            expected = [chunk.chunk_id for chunk in (await live.retrieve(query.query)).chunks]
            assert [piece.chunk.chunk_id for piece in recorded.ranking(query.item_id, config)] == expected


def _settings() -> Iterator[dict[str, Any]]:
    for k in (1, 7, 20):
        for dense, text, graph in ((0.4, 0.3, 0.3), (0.0, 0.0, 1.0), (0.5, 0.5, 0.0)):
            for rerank in (False, True):
                weights = {"dense_weight": dense, "text_weight": text, "graph_weight": graph}
                yield DEFAULT | weights | {"k": k, "rerank": rerank}


def _always(config: RetrievalConfig) -> Any:
    async def configuration() -> RetrievalConfig:
        return config

    return configuration


async def test_a_replay_scores_each_item_by_its_labels_and_leaves_one_without_unmeasured(
    database: Database, filled: Corpus, split: Split
) -> None:
    bare = LearningItem("b", "b", "retrieval", "What of Kisqali?", "", (), datetime(2026, 1, 1, tzinfo=UTC))
    replay = RetrievalReplay.open(database, filled.config, embeddings=NONE)
    first, second = await replay.scores(variant(DEFAULT), [split.test[0], bare])
    query = labelled(split.test[0])
    assert query is not None
    result = await open_retriever(database, filled.config, embeddings=NONE).retrieve(query.query, k=10)
    expected = ranking_scores([(one.source_type, one.source_id) for one in result.chunks], query.relevant)
    assert (first.target, first.metrics["recall"], first.metrics["mrr"]) == (
        expected.ndcg,
        expected.recall,
        expected.mrr,
    )
    assert first.latency_ms is not None
    assert first.latency_ms > 0
    assert second.target is None
    with pytest.raises(DataUnavailable, match="none of the 1 items has labels"):
        await replay.scores(variant(DEFAULT), [bare])


async def test_more_passages_than_an_answer_may_read_count_as_a_cost(
    database: Database, filled: Corpus, split: Split
) -> None:
    answering = filled.config.answering.model_copy(update={"max_context_chars": 4_000})
    config = filled.config.model_copy(update={"answering": answering})
    replay = RetrievalReplay.open(database, config, embeddings=NONE)
    few, many = [
        [one.tokens for one in await replay.scores(variant(DEFAULT | {"k": k}), split.test[:5])] for k in (3, 50)
    ]
    assert few == [1_000] * 5
    assert all(tokens is not None and tokens > 1_250 for tokens in many)


async def test_a_question_that_no_arm_can_search_is_an_outage_and_no_score(
    filled: Corpus, database: Database, split: Split, tmp_path: Path
) -> None:
    query = labelled(split.test[0])
    assert query is not None
    recorder = SearchRecorder(database, filled.config, NONE, load_vocabulary())
    recorder._arms = [recorder._arms[0]]
    with pytest.raises(DataUnavailable, match="could not be searched .switched off."):
        await recorder.record([query])
