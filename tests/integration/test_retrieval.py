"""Does the retriever find what there is, say how, and name every arm that failed?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from src.domain.vocabulary import load_vocabulary
from src.errors import ContractViolation, DataUnavailable
from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.retrieval import dense_arm
from src.rag.retrieval.arms import ArmUnavailable, Hit
from src.rag.retrieval.graph_arm import MOST_PATHS
from src.rag.retrieval.opening import open_retriever
from src.rag.retrieval.retriever import HybridRetriever
from src.rag.retrieval_results import RetrievalFilters, RetrievalResult
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.rag_chunks import ChunkFilter, ChunkRepository
from src.storage.retrieval_configurations import active_configuration
from tests.traces import memory_connector
from tests.unit.test_rag.corpora import EMBEDDINGS, REPORTS, FakeArm, Text, add, rag_config, remove

KISQALI = RetrievalFilters(brand="Kisqali")


@pytest.fixture
async def corpus(db: Database) -> Database:
    await add(db, REPORTS, EMBEDDINGS)
    return db


@pytest.fixture
def retriever(corpus: Database, tmp_path: Path) -> HybridRetriever:
    return open_retriever(corpus, rag_config(tmp_path), embeddings=EMBEDDINGS)


def faked(
    database: Database, folder: Path, *arms: FakeArm, rerank: bool | None = False, **timeouts: float
) -> HybridRetriever:
    """A retriever over scripted arms; ``rerank`` None leaves it to the active configuration."""

    async def active() -> Any:
        return replace(await active_configuration(database), **({} if rerank is None else {"rerank": rerank}))

    return HybridRetriever(
        arms,
        chunks=ChunkRepository(database),
        configuration=active,
        settings=rag_config(folder, **timeouts).retrieval,
        vocabulary=load_vocabulary(),
    )


def titles(result: RetrievalResult) -> list[str]:
    return [chunk.title for chunk in result.chunks]


def hit(text: Text, score: float = 1.0, chunk: int = 0) -> Hit:
    return Hit(text.chunks()[chunk].chunk_id, score)


async def test_the_chunk_that_has_words_and_meaning_comes_first_and_its_score_is_explained(
    retriever: HybridRetriever,
) -> None:
    result = await retriever.retrieve("Fabhalta adoption and PNH testing")
    assert result.degraded == ()
    assert titles(result)[0] == "Fabhalta adoption"
    assert {"dense", "text"} <= set(result.chunks[0].parts)
    for chunk in result.chunks:
        assert chunk.score == pytest.approx(sum(part.contribution for part in chunk.parts.values()))
    assert {"dense", "text", "graph", "prepare", "fusion", "fetch", "total"} <= set(result.timings)
    assert result.config.config_id
    assert result.config_version == result.config.version


async def test_a_chunk_knows_its_document_and_its_place(retriever: HybridRetriever) -> None:
    found = (await retriever.retrieve("samples left with every visit", k=1)).chunks[0]
    piece = REPORTS[4].chunks()[1]
    assert (found.text, found.start, found.end) == (piece.content, piece.start, piece.end)
    assert (found.document_id, found.source_type, found.source_id) == (REPORTS[4].id, "file", "Field force")


@pytest.mark.parametrize(
    ("filters", "left_out"),
    [
        (RetrievalFilters(brand="kisqali"), {"Fabhalta adoption", "Remibrutinib conversion"}),
        (RetrievalFilters(region="west"), {"Kisqali in the northeast"}),
        (RetrievalFilters(since=date(2025, 1, 1)), {"Speaker programs"}),
        (RetrievalFilters(until=date(2024, 12, 31)), {"Fabhalta adoption"}),
        (RetrievalFilters(source_types=("run_report",)), {text.title for text in REPORTS}),
    ],
)
async def test_a_filter_leaves_out_what_contradicts_it_and_nothing_else(
    retriever: HybridRetriever, filters: RetrievalFilters, left_out: set[str]
) -> None:
    query = "Kisqali Fabhalta Remibrutinib speaker programs rep calls samples"
    result = await retriever.retrieve(query, filters=filters)
    assert set(titles(result)) == {text.title for text in REPORTS} - left_out


async def test_a_filter_costs_no_recall_where_better_chunks_are_filtered_out(db: Database, tmp_path: Path) -> None:
    many = [Text(f"Note {n}", "growth growth growth", "Fabhalta") for n in range(150)]
    wanted = Text("Wanted", "growth among many other words that make it a poor match", "Kisqali")
    await add(db, [*many, wanted], EMBEDDINGS)
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=EMBEDDINGS)
    found = (await retriever.retrieve("growth", filters=KISQALI)).chunks
    assert [chunk.title for chunk in found] == ["Wanted"]
    assert set(found[0].parts) == {"dense", "text"}


@pytest.mark.parametrize(
    ("query", "k", "filters", "message"),
    [
        ("  ", None, None, "no words"),
        ("?!", None, None, "no words"),
        ("x" * 3000, None, None, "3,000 characters"),
        ("Kisqali \udcff TRx", None, None, "character 9 of the query is no text"),
        ("growth", 0, None, "between 1 and 100"),
        ("growth", 101, None, "between 1 and 100"),
        ("growth", None, RetrievalFilters(brand="Kisquali"), "did you mean 'Kisqali'"),
        ("growth", None, RetrievalFilters(region="north"), "did you mean 'northeast'"),
        ("growth", None, RetrievalFilters(source_types=("files",)), "did you mean 'file'"),
        ("growth", None, RetrievalFilters(since=date(2025, 1, 2), until=date(2025, 1, 1)), "later than until"),
    ],
)
async def test_a_request_that_cannot_be_met_is_refused_in_one_line(
    retriever: HybridRetriever, query: str, k: int | None, filters: RetrievalFilters | None, message: str
) -> None:
    with pytest.raises(ContractViolation, match=message) as refused:
        await retriever.retrieve(query, k=k, filters=filters)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (FakeArm("dense", RuntimeError("the model burst")), "RuntimeError: the model burst"),
        (FakeArm("dense", ArmUnavailable("no model here")), "no model here"),
        (FakeArm("dense", slow_s=30.0), "no answer within 0.2 s"),
    ],
    ids=["raises", "unavailable", "late"],
)
async def test_an_arm_that_fails_or_is_late_is_named_and_its_weight_goes_to_the_others(
    corpus: Database, tmp_path: Path, broken: FakeArm, reason: str
) -> None:
    retriever = faked(corpus, tmp_path, broken, FakeArm("text", [hit(REPORTS[0])]), FakeArm("graph"), dense=0.2)
    result = await retriever.retrieve("growth")
    assert [(one.arm, one.reason) for one in result.degraded] == [("dense", reason)]
    assert result.chunks[0].score == pytest.approx(1 / 61)


async def test_when_every_arm_fails_the_retrieval_fails_and_says_why(corpus: Database, tmp_path: Path) -> None:
    arms = [FakeArm("dense", ArmUnavailable("no model")), FakeArm("text", OSError("disk")), FakeArm("graph", OSError())]
    with pytest.raises(DataUnavailable, match="dense: no model; text: OSError: disk; graph: OSError"):
        await faked(corpus, tmp_path, *arms).retrieve("growth")


async def test_an_arm_that_finds_nothing_is_no_failure(retriever: HybridRetriever) -> None:
    result = await retriever.retrieve("zzzz qqqq", filters=RetrievalFilters(source_types=("run_report",)))
    assert result.chunks == ()
    assert result.degraded == ()


async def test_without_a_model_words_answer_and_the_result_says_so(corpus: Database, tmp_path: Path) -> None:
    switched_off = Unavailable("embeddings", "switched off")
    result = await open_retriever(corpus, rag_config(tmp_path), embeddings=switched_off).retrieve("Fabhalta adoption")
    assert titles(result)[0] == "Fabhalta adoption"
    assert [(one.arm, one.reason) for one in result.degraded] == [("dense", "switched off")]


async def test_vectors_of_another_model_are_never_compared(corpus: Database, tmp_path: Path) -> None:
    other = HashedEmbeddings(64)
    result = await open_retriever(corpus, rag_config(tmp_path), embeddings=other).retrieve("Fabhalta adoption")
    assert result.degraded[0].reason == "no chunk is embedded by hashed-64: run 'e2i corpus reindex'"


async def test_vectors_of_the_same_model_in_another_length_count_as_none(corpus: Database, tmp_path: Path) -> None:
    shorter = HashedEmbeddings(64)
    shorter.model = EMBEDDINGS.model
    result = await open_retriever(corpus, rag_config(tmp_path), embeddings=shorter).retrieve("Fabhalta adoption")
    assert result.degraded[0].reason.startswith("no chunk is embedded by")


async def test_an_arm_that_knows_few_chunks_counts_little_and_says_how_many_it_knows(
    db: Database, tmp_path: Path
) -> None:
    right = Text("Speaker programs", "Speaker programs lift new prescriptions in oncology.")
    await add(db, [right, *(Text(f"Note {n}", f"Office note {n} about parking.") for n in range(40))])
    await add(db, [Text("Cafeteria", "Menu of the month.")], EMBEDDINGS)
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=EMBEDDINGS)
    result = await retriever.retrieve("speaker programs in oncology")
    assert titles(result)[0] == "Speaker programs"
    (partial,) = result.degraded
    assert (partial.arm, partial.share) == ("dense", pytest.approx(1 / 42))
    assert "only 1 of 42 chunks (2.38 %) are embedded by hashed-96" in partial.reason
    await add(db, [Text("Another", "Without a vector.")])
    assert "1 of 43" in (await retriever.retrieve("speaker programs")).degraded[0].reason


async def test_when_the_only_arm_left_knows_a_part_its_part_is_the_answer(corpus: Database, tmp_path: Path) -> None:
    dense = FakeArm("dense", [hit(REPORTS[0])], share=0.5, lacking="half is missing")
    arms = (dense, FakeArm("text", OSError("disk")), FakeArm("graph", OSError("disk")))
    result = await faked(corpus, tmp_path, *arms).retrieve("growth")
    assert titles(result) == [REPORTS[0].title]
    assert [(one.arm, one.share) for one in result.degraded] == [("dense", 0.5), ("text", 0.0), ("graph", 0.0)]


class Hanging(HashedEmbeddings):
    """A model on a server that does not answer."""

    asked = 0

    async def embed(self, texts: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(60)


async def test_a_model_that_hangs_costs_the_time_of_its_arm_and_is_asked_once_a_query(
    corpus: Database, tmp_path: Path
) -> None:
    hanging = Hanging(96)
    retriever = open_retriever(corpus, rag_config(tmp_path, dense=0.2), embeddings=hanging)
    async with asyncio.timeout(30):
        for _ in range(2):
            result = await retriever.retrieve("Fabhalta adoption")
            assert [(one.arm, one.reason) for one in result.degraded] == [("dense", "no answer within 0.2 s")]
            assert titles(result)[0] == "Fabhalta adoption"
    assert hanging.asked == 2


class Loading(HashedEmbeddings):
    """A local model that takes its time to load."""

    loaded = False

    async def embed(self, texts: Any) -> Any:
        if not self.loaded:
            await asyncio.sleep(0.5)
            self.loaded = True
        return await super().embed(texts)


async def test_loading_a_local_model_is_not_held_against_the_queries_that_wait_for_it(
    corpus: Database, tmp_path: Path
) -> None:
    dense = dense_arm.DenseArm(ChunkRepository(corpus), Loading(96), loads=True)
    retriever = faked(corpus, tmp_path, dense, dense=0.3)  # type: ignore[arg-type]
    for result in await asyncio.gather(*(retriever.retrieve("Fabhalta adoption") for _ in range(2))):
        assert result.degraded == ()
        assert titles(result)[0] == "Fabhalta adoption"


async def test_cosines_of_the_database_are_those_of_the_vectors(corpus: Database) -> None:
    chunks = ChunkRepository(corpus)
    (query,) = await EMBEDDINGS.embed(["hematologists adopt Fabhalta"])
    texts = [(chunk.chunk_id, f"{text.title}\n{chunk.content}") for text in REPORTS for chunk in text.chunks()]
    vectors = await EMBEDDINGS.embed([text for _, text in texts])
    expected = {chunk_id: float(value) for (chunk_id, _), value in zip(texts, vectors @ query, strict=True)}
    found = await chunks.nearest_exactly(
        dense_arm.as_text(query), model=EMBEDDINGS.model, dims=EMBEDDINGS.dims, limit=10, among=ChunkFilter()
    )
    assert dict(found) == pytest.approx(expected, abs=1e-5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


async def test_the_index_for_many_vectors_finds_what_comparing_all_finds(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = HashedEmbeddings(384)
    embeddings.model = "all-MiniLM-L6-v2"  # the model that has an HNSW index
    words = ["growth", "adoption", "calls", "samples", "triggers", "share", "west", "south"]
    rng = np.random.default_rng(7)
    await add(db, [Text(f"Note {n}", " ".join(rng.choice(words, 5))) for n in range(200)], embeddings)
    (query,) = await embeddings.embed(["adoption of samples in the west"])
    asked = {"model": embeddings.model, "dims": 384}
    chunks, vector = ChunkRepository(db), dense_arm.as_text(query)
    exact = await chunks.nearest_exactly(vector, limit=100, among=ChunkFilter(), **asked)
    by_index = await chunks.nearest_by_index(vector, limit=100, **asked)
    # Many of these texts are equally near: what counts is how near the found ones are, not which of equals they are.
    ninetieth = sorted(dict(exact).values(), reverse=True)[89]
    assert sum(score >= ninetieth - 1e-5 for score in dict(by_index).values()) >= 90
    monkeypatch.setattr(dense_arm, "COMPARED_AT_MOST", 100)
    asked_which = []
    monkeypatch.setattr(ChunkRepository, "nearest_by_index", _noting(asked_which, ChunkRepository.nearest_by_index))
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=embeddings)
    assert (await retriever.retrieve("adoption of samples")).chunks
    assert (await retriever.retrieve("adoption of samples", filters=KISQALI)).chunks
    assert len(asked_which) == 1


def _noting(calls: list[Any], function: Any) -> Any:
    async def noting(*arguments: Any, **named: Any) -> Any:
        calls.append(named)
        return await function(*arguments, **named)

    return noting


async def test_a_document_is_found_as_soon_as_it_is_there_and_no_longer_when_it_is_gone(
    retriever: HybridRetriever, corpus: Database
) -> None:
    late = Text("Pediatric zebrafish", "Zebrafish are out of scope.")
    assert "Pediatric zebrafish" not in titles(await retriever.retrieve("zebrafish"))
    await add(corpus, [late], EMBEDDINGS)
    assert titles(await retriever.retrieve("zebrafish"))[0] == "Pediatric zebrafish"
    await remove(corpus, late)
    assert "Pediatric zebrafish" not in titles(await retriever.retrieve("zebrafish"))


async def test_repeated_chunks_take_no_place_among_the_candidates_and_scores_stay_on_one_scale(
    db: Database, tmp_path: Path
) -> None:
    repeated = [
        Text("Same", "Kisqali TRx rose in the northeast by twelve percent.", source_id=f"{n}") for n in range(25)
    ]
    others = [Text(f"Other {n}", f"Plan {n} of the northeast team and more about nothing") for n in range(10)]
    await add(db, [*repeated, *others], EMBEDDINGS)
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=EMBEDDINGS)
    result = await retriever.retrieve("Kisqali TRx rose northeast twelve percent", k=8)
    assert (titles(result)[0], len(set(titles(result)))) == ("Same", 8)
    # By rank no chunk could have more than 1 / 61.
    assert all(chunk.score > 0.1 for chunk in result.chunks)
    assert [chunk.score for chunk in result.chunks] == sorted((c.score for c in result.chunks), reverse=True)


async def test_chunks_that_repeat_a_better_one_are_left_out(db: Database, tmp_path: Path) -> None:
    await add(db, [Text("Same", "growth in the south"), Text("Other", "growth in the south")], EMBEDDINGS)
    async with db.transaction() as session:
        await session.execute("UPDATE rag_documents SET title = 'Same'")
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=EMBEDDINGS)
    assert len((await retriever.retrieve("growth")).chunks) == 1


async def test_equal_scores_are_ordered_by_chunk_id(corpus: Database, tmp_path: Path) -> None:
    first, second = (hit(REPORTS[0]), hit(REPORTS[1]))
    arms = (FakeArm("dense", [first]), FakeArm("graph", [second]))
    await corpus.execute(
        "UPDATE retrieval_configurations SET dense_weight = 0.5, graph_weight = 0.5, text_weight = 0 WHERE is_active"
    )
    found = (await faked(corpus, tmp_path, *arms).retrieve("growth")).chunks
    assert [chunk.chunk_id for chunk in found] == sorted([first.chunk_id, second.chunk_id])
    assert found[0].score == found[1].score


async def test_a_newly_active_configuration_is_used_by_the_next_query(
    retriever: HybridRetriever, corpus: Database
) -> None:
    before = await retriever.retrieve("Fabhalta adoption")
    await corpus.execute(
        "INSERT INTO retrieval_configurations (version, k, chunk_size, chunk_overlap, dense_weight, text_weight,"
        " graph_weight) VALUES (99, 1, 200, 20, 0, 1, 0)"
    )
    await corpus.execute("SELECT activate_retrieval_configuration(99, 'anna')")
    after = await retriever.retrieve("Fabhalta adoption")
    assert (before.config_version != 99, after.config_version, len(after.chunks)) == (True, 99, 1)
    assert set(after.chunks[0].parts) == {"text"}


async def test_without_an_active_configuration_nothing_is_searched(
    retriever: HybridRetriever, corpus: Database
) -> None:
    await corpus.execute("UPDATE retrieval_configurations SET is_active = false, status = 'retired'")
    with pytest.raises(DataUnavailable, match="no retrieval configuration is active"):
        await retriever.retrieve("growth")


async def test_the_rerank_flag_joins_scores_instead_of_ranks(corpus: Database, tmp_path: Path) -> None:
    # By rank the first chunk wins; by score the second is far ahead in one arm and close behind in the other.
    first, second = REPORTS[0], REPORTS[1]
    dense = FakeArm("dense", [hit(first, 0.90), hit(second, 0.89)])
    text = FakeArm("text", [hit(second, 30.0), hit(first, 1.0)])
    retriever = faked(corpus, tmp_path, dense, text, rerank=None)
    await corpus.execute(
        "UPDATE retrieval_configurations SET dense_weight = 0.6, text_weight = 0.4, graph_weight = 0, rerank = false"
    )
    assert titles(await retriever.retrieve("growth")) == [first.title, second.title]
    await corpus.execute("UPDATE retrieval_configurations SET rerank = true")
    again = await retriever.retrieve("growth")
    assert titles(again) == [second.title, first.title]
    assert again.chunks[0].score == pytest.approx(0.6 * 1.89 / 2 + 0.4)


async def add_path(database: Database, path_id: str, *nodes: str, status: str = "proceed", **columns: Any) -> None:
    row = {"confidence_level": 0.9, "brand": None, **columns}
    await database.execute(
        "INSERT INTO causal_paths (path_id, discovery_date, start_node, end_node, intermediate_nodes, path_length,"
        " causal_effect_size, method_used, validation_status, confidence_level, brand)"
        " VALUES (%s, '2025-01-01', %s, %s, %s, %s, 0.2, 'twfe', %s, %s, %s)",
        [path_id, nodes[0], nodes[-1], [*nodes[1:-1]], len(nodes) - 1, status, row["confidence_level"], row["brand"]],
    )
    text = f"{' to '.join(nodes)} {row['brand'] or ''}"
    title = row.get("title", f"Path {path_id}")
    await add(database, [Text(title, text, source_type="causal_path", source_id=path_id)], EMBEDDINGS)


async def test_causal_paths_of_what_the_question_names_are_walked_surest_first(db: Database, tmp_path: Path) -> None:
    await add_path(db, "p1", "rep_calls", "nrx", confidence_level=0.8)
    await add_path(db, "p2", "samples", "trx", confidence_level=0.9)
    await add_path(db, "p3", "nrx", "conversion", confidence_level=0.9)
    await add_path(db, "p4", "rep_calls", "trx", status="block")
    await add_path(db, "p5", "rep_calls", "trx", status="unvalidated")
    await add_path(db, "p6", "rep_calls", "email_opens", "nrx", confidence_level=0.7, brand="Fabhalta")
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=Unavailable("embeddings", "off"))
    result = await retriever.retrieve("Do rep calls drive new prescriptions of Kisqali?")
    ranked = sorted((part.rank, c.source_id) for c in result.chunks if (part := c.parts.get("graph")) is not None)
    # Both measures named, then one hop further; another brand's, the blocked and the untested path are not walked.
    assert [path for _, path in ranked] == ["p1", "p3"]
    assert result.entities["brands"] == ["Kisqali"]
    assert result.entities["measures"] == ["rep_calls", "nrx"]


async def test_a_path_more_than_three_hops_away_is_not_reached(db: Database, tmp_path: Path) -> None:
    chain = ["samples", "a", "b", "c", "d"]
    for number, (start, end) in enumerate(zip(chain, chain[1:], strict=False)):
        await add_path(db, f"hop{number + 1}", start, end)
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=Unavailable("embeddings", "off"))
    result = await retriever.retrieve("what do samples lead to")
    assert [c.source_id for c in result.chunks if "graph" in c.parts] == ["hop1", "hop2", "hop3"]


DOCUMENTS = (
    Text("Kisqali storage", "Kisqali tablets are stored in the refrigerator before dispensing.", "Kisqali"),
    Text("Kisqali TRx", "TRx of Kisqali is the count of all its prescriptions in a month.", "Kisqali"),
)


@pytest.mark.parametrize(
    ("query", "first", "walked"),
    [
        ("How are Kisqali tablets stored?", "Kisqali storage", False),
        ("Kisqali in the northeast", None, False),
        ("How is the count of TRx of Kisqali defined?", "Kisqali TRx", True),
        ("Do rep calls drive TRx of Kisqali?", "Causal path p7", True),
    ],
    ids=["a brand only", "brand and region", "one measure", "two measures"],
)
async def test_many_causal_paths_leave_room_for_what_documents_say(
    db: Database, tmp_path: Path, query: str, first: str | None, walked: bool
) -> None:
    await add(db, [*DOCUMENTS, *(Text(f"Note {n}", f"Meeting note {n} about budgets.") for n in range(20))], EMBEDDINGS)
    for n in range(30):
        start = "rep_calls" if n == 7 else f"driver_{n}"
        await add_path(db, f"p{n}", start, "trx", brand="Kisqali", title=f"Causal path p{n}")
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=EMBEDDINGS)
    result = await retriever.retrieve(query)
    assert first is None or titles(result)[0] == first
    paths = [chunk for chunk in result.chunks if "graph" in chunk.parts]
    assert bool(paths) == walked
    assert len(paths) <= MOST_PATHS


async def test_a_question_that_names_nothing_asks_no_path(db: Database, tmp_path: Path) -> None:
    await add_path(db, "p1", "rep_calls", "nrx")
    retriever = open_retriever(db, rag_config(tmp_path), embeddings=Unavailable("embeddings", "off"))
    result = await retriever.retrieve("zebrafish embryos")
    assert result.chunks == ()
    assert [one.arm for one in result.degraded] == ["dense"]


async def test_every_retrieval_is_a_span_with_one_child_for_each_arm(corpus: Database, tmp_path: Path) -> None:
    connector, sink = memory_connector()
    retriever = open_retriever(corpus, rag_config(tmp_path), embeddings=EMBEDDINGS, tracer=connector)
    result = await retriever.retrieve("Fabhalta adoption, ask jane.doe@example.org")
    await connector.flush()
    spans = {span["operation_type"]: span for span in sink.spans}
    parent = spans["retrieve"]
    arms = [spans[f"retrieve {arm}"] for arm in ("dense", "text", "graph")]
    assert {arm["parent_span_id"] for arm in arms} == {parent["span_id"]}
    assert parent["attributes"]["retrieval_config_id"] == result.config.config_id
    assert parent["attributes"]["timings_ms"]["total"] > 0
    assert all(arm["attributes"]["found"] >= 0 for arm in arms)
    assert "jane.doe" not in str(sink.spans)


async def test_two_retrievers_at_once_make_one_index_and_find_the_same(corpus: Database, tmp_path: Path) -> None:
    pair = [open_retriever(corpus, rag_config(tmp_path), embeddings=EMBEDDINGS) for _ in range(2)]
    results = await asyncio.gather(*(one.retrieve("rep calls and samples") for one in pair))
    assert results[0].chunks == results[1].chunks
    assert len([*tmp_path.rglob("words.npz")]) == 1
    assert not [*tmp_path.rglob(".words-*")]


class TestCommand:
    @pytest.fixture
    def run(self, corpus: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        from src.cli.corpus import corpus_app

        monkeypatch.setenv("DATABASE_URL", corpus.dsn)
        monkeypatch.setenv("E2I_INDEX_DIR", str(tmp_path))
        monkeypatch.setenv("E2I_EMBEDDINGS", "none")
        monkeypatch.setenv("COLUMNS", "160")

        async def run(*arguments: str) -> Any:
            return await asyncio.to_thread(CliRunner().invoke, corpus_app, ["search", *arguments])

        return run

    async def test_prints_title_and_text_and_names_the_arm_that_failed(self, run: Any) -> None:
        done = await run("PNH testing", "-k", "1")
        assert done.exit_code == 0, done.output
        assert "Fabhalta adoption" in done.stdout
        assert "hematologists" in done.stdout
        assert "without dense search: switched off" in done.stderr

    async def test_says_of_an_arm_that_knows_a_part_that_it_took_part(
        self, run: Any, corpus: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from src.rag.embeddings import selection

        monkeypatch.setattr(selection, "open_embeddings", lambda *_, **__: EMBEDDINGS)
        await add(corpus, [Text("Late", "Not embedded yet.")])
        done = await run("PNH testing")
        assert "dense search in part: only 6 of 7 chunks" in done.stderr

    async def test_explains_ranks_weights_entities_and_times(self, run: Any) -> None:
        done = await run("Fabhalta adoption", "--explain")
        assert "recognised: brand Fabhalta ('Fabhalta')" in done.stdout
        assert "milliseconds: configuration" in done.stdout
        assert "not found" in done.stdout

    async def test_gives_json_for_programs(self, run: Any) -> None:
        document = json.loads((await run("Fabhalta adoption", "--brand", "fabhalta", "--explain", "--json")).stdout)
        best = document["chunks"][0]
        assert (best["title"], best["brand"]) == ("Fabhalta adoption", "Fabhalta")
        assert best["arms"]["text"]["rank"] == 1
        assert document["filters"] == {"brand": "Fabhalta"}
        assert document["degraded"] == [
            {"arm": "dense", "reason": "switched off: embedding.provider is none in config/rag.yaml", "searched": 0.0}
        ]

    async def test_refuses_an_unknown_brand_before_anything_is_searched(self, run: Any) -> None:
        done = await run("growth", "--brand", "Humira")
        assert isinstance(done.exception, ContractViolation)
        assert "there is no brand 'Humira'" in str(done.exception)


async def test_an_empty_corpus_says_how_to_fill_it(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.app.retrieval import SearchRequest, search_corpus

    monkeypatch.setenv("DATABASE_URL", db.dsn)
    with pytest.raises(DataUnavailable, match="e2i corpus add"):
        await search_corpus(SearchRequest("growth"))
