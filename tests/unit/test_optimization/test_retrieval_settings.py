"""Which settings can be tried, and which questions and labels are they tried on?"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.improvement import ChangeKind, Variant
from src.domain.vocabulary import load_vocabulary
from src.errors import ContractViolation, DataUnavailable
from src.optimization.retrieval.known_items import known_items, spoken_names
from src.optimization.retrieval.labels import LabelledQuery, answer_labels, labelled
from src.optimization.retrieval.measures import ranking_scores
from src.optimization.retrieval.replay import RetrievalReplay
from src.optimization.retrieval.search_space import SettingsSpace
from src.optimization.retrieval.settings import (
    K_FACTOR,
    MOST_K,
    WEIGHT_MOVE,
    WEIGHT_STEP,
    config_of,
    out_of_bounds,
)
from src.rag.retrieval.entities import recognise
from src.rag.retrieval_results import Degraded, RetrievalFilters, RetrievalResult, RetrievedChunk
from src.storage.answer_citations import AnswerQuality
from src.storage.rag_documents import DocumentSummary
from src.storage.retrieval_configurations import ARMS, RetrievalConfig

THEN = datetime(2026, 1, 5, tzinfo=UTC)
VOCABULARY = load_vocabulary()
A, B, C = (("file", name) for name in "abc")


def config(k: int, dense: float, text: float, graph: float) -> RetrievalConfig:
    return RetrievalConfig("id", 1, k, 512, 50, dense, text, graph, False)


@st.composite
def configs(draw: st.DrawFn) -> RetrievalConfig:
    first, second = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
    weights = (first / 20, (second - first) / 20, (20 - second) / 20)
    return config(draw(st.integers(1, 50)), *draw(st.permutations(weights)))


PLACE = st.floats(0, 1)


@given(current=configs(), k=PLACE, places=st.tuples(PLACE, PLACE), missing=st.sets(st.sampled_from(ARMS), max_size=2))
def test_every_trial_is_a_setting_that_may_follow_the_one_in_use(
    current: RetrievalConfig, k: float, places: tuple[float, float], missing: set[Any]
) -> None:
    space = SettingsSpace(current, missing)
    parameters = space.parameters()
    least, most = parameters["k"]["low"], parameters["k"]["high"]
    chosen: dict[str, Any] = {"k": least + round(k * (most - least)), "rerank": True}
    chosen |= dict(zip((name for name in parameters if name.endswith("_place")), places, strict=False))
    made = space.config(chosen)
    assert out_of_bounds(current.settings, made.settings) == []
    assert all(made.weight(arm) == pytest.approx(round(made.weight(arm) / WEIGHT_STEP) * WEIGHT_STEP) for arm in ARMS)
    for arm in missing:
        if current.weight(arm) <= 0.5 and len(missing) == 1:
            assert made.weight(arm) == pytest.approx(current.weight(arm))


def test_every_weight_that_one_change_allows_can_be_reached() -> None:
    current = config(10, 0.4, 0.3, 0.3)
    space = SettingsSpace(current)
    places = [step / 40 for step in range(41)]
    reached = {
        tuple(round(20 * made.weight(arm)) for arm in ARMS)
        for first in places
        for second in places
        if (made := space.config({"k": 10, "rerank": False, "dense_place": first, "text_place": second}))
    }
    moves = round(20 * WEIGHT_MOVE)
    allowed = {
        (dense, text, 20 - dense - text)
        for dense in range(21)
        for text in range(21 - dense)
        if all(abs(one - was) <= moves for one, was in zip((dense, text, 20 - dense - text), (8, 6, 6), strict=True))
    }
    assert reached == allowed


@pytest.mark.parametrize(("k", "least", "most"), [(2, 1, 6), (10, 4, MOST_K), (20, 7, MOST_K), (40, 14, 40)])
def test_k_moves_by_a_factor_and_not_above_the_most(k: int, least: int, most: int) -> None:
    parameter = SettingsSpace(config(k, 0.4, 0.3, 0.3)).parameters()["k"]
    assert (parameter["low"], parameter["high"]) == (least, most)
    assert least * K_FACTOR >= k


def test_settings_survive_being_written_and_read() -> None:
    one = config(7, 0.25, 0.75, 0.0)
    assert config_of(one.settings, config_id="id", version=1) == one
    with pytest.raises(ContractViolation, match="retrieval settings: k is a whole number"):
        config_of({**one.settings, "k": 51})


@pytest.mark.parametrize(
    ("found", "relevant", "ndcg", "recall", "mrr"),
    [
        ([A], {A: 1.0}, 1.0, 1.0, 1.0),
        ([B, A], {A: 1.0}, 1 / math.log2(3), 1.0, 0.5),
        ([B], {A: 1.0}, 0.0, 0.0, 0.0),
        ([], {A: 1.0}, 0.0, 0.0, 0.0),
        ([A, A, A, B], {A: 1.0, B: 1.0}, 1.0, 1.0, 1.0),
        ([B, A], {A: 3.0, B: 1.0}, (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)), 1.0, 1.0),
        ([*((str(n), "x") for n in range(10)), A], {A: 1.0}, 0.0, 1.0, 1 / 11),
    ],
)
def test_rankings_are_scored_as_computed_by_hand(
    found: list[tuple[str, str]],
    relevant: dict[tuple[str, str], float],
    ndcg: float,
    recall: float,
    mrr: float,
) -> None:
    scores = ranking_scores(found, relevant)
    assert (scores.ndcg, scores.recall, scores.mrr) == pytest.approx((ndcg, recall, mrr))


@given(order=st.permutations([A, B, C, ("file", "d")]), gains=st.tuples(*[st.floats(0.1, 5)] * 3))
def test_no_order_scores_above_the_best_one(order: list[Any], gains: tuple[float, float, float]) -> None:
    relevant = dict(zip((A, B, C), gains, strict=True))
    ideal = sorted(relevant, key=lambda key: -relevant[key])
    assert 0 < ranking_scores(order, relevant).ndcg <= ranking_scores(ideal, relevant).ndcg + 1e-12
    assert ranking_scores(ideal, relevant).ndcg == pytest.approx(1.0)


def document(source_type: str, source_id: str, title: str = "", **values: Any) -> DocumentSummary:
    known: dict[str, Any] = {"brand": None, "region": None, "metadata": {}, "updated_at": THEN} | values
    return DocumentSummary(
        document_id=source_id,
        source_type=source_type,
        source_id=source_id,
        title=title,
        effective_date=None,
        uri=None,
        chunking=None,
        chunks=1,
        tokens=10,
        models=[],
        **known,
    )


def summary(metric: str, brand: str | None, region: str | None, year: int) -> DocumentSummary:
    about = {"metric": metric, "from": f"{year}-01-01", "until": f"{year}-12-01"}
    return document("kpi_summary", f"{metric}/{brand}/{region}/{year}", brand=brand, region=region, metadata=about)


def path(path_id: str, start: str, end: str, brand: str | None = None) -> DocumentSummary:
    about = {"start_node": start, "end_node": end, "validation_status": "proceed"}
    return document("causal_path", path_id, brand=brand, metadata=about)


BRANDS, REGIONS = ("Kisqali", "Fabhalta", "Remibrutinib"), (None, "west", "northeast")
DOCUMENTS = [
    *(summary(metric, brand, region, 2024) for metric in ("BU5", "BU8") for brand in BRANDS for region in REGIONS),
    *(path(f"p-{start}-{brand}", start, "nrx", brand) for start in ("rep_calls", "samples") for brand in BRANDS),
    document("definition", "kpi/BU8", "KPI BU8: TRx share"),
    document("definition", "estimator/causal_forest", "Estimator causal forest"),
    document("file", "brand-plan.md", "Brand plan"),
    document("run_report", "r1", "Run"),
]


def test_a_question_names_the_brand_region_and_year_that_its_document_is_about() -> None:
    by_document = {(one.source_type, one.source_id): one for one in DOCUMENTS}
    written = known_items(DOCUMENTS, VOCABULARY, limit=100)
    assert len(written) == len(DOCUMENTS) - 2
    for query in written:
        about = by_document[next(iter(query.relevant))]
        named = recognise(query.query, VOCABULARY)
        assert named.brands == (() if about.brand is None else (about.brand,)), query.query
        assert named.regions == (() if about.region is None else (about.region,)), query.query
        if about.source_type == "kpi_summary":
            assert "2024" in query.query
        if about.source_type == "causal_path":
            assert {about.metadata["start_node"], "nrx"} <= {*named.nodes}, query.query


def test_the_same_corpus_gives_the_same_questions_and_they_are_worded_in_several_ways() -> None:
    written = known_items(DOCUMENTS, VOCABULARY, limit=100)
    assert written == known_items([*reversed(DOCUMENTS)], VOCABULARY, limit=100)
    assert len({query.query.split()[0] for query in written}) > 4
    assert len({query.item_id for query in written}) == len(written)


def test_a_limit_takes_as_many_of_each_type_as_of_the_others() -> None:
    written = known_items(DOCUMENTS, VOCABULARY, limit=6)
    assert sorted(next(iter(query.relevant))[0] for query in written) == [
        *("causal_path", "causal_path", "definition", "definition", "kpi_summary", "kpi_summary"),
    ]


def test_two_runs_of_one_analysis_are_one_question_with_two_answers() -> None:
    twice = [path("p1", "rep_calls", "nrx", "Kisqali"), path("p2", "rep_calls", "nrx", "Kisqali")]
    (query,) = known_items([*twice], VOCABULARY, limit=10)
    assert query.relevant == {("causal_path", "p1"): 1.0, ("causal_path", "p2"): 1.0}


def test_names_that_stand_for_several_measures_are_not_used() -> None:
    names = spoken_names(VOCABULARY)
    assert "promotion" not in {name for column in ("rep_calls", "samples", "email_opens") for name in names[column]}
    assert all(names.values())


def test_labels_survive_being_an_item() -> None:
    filters = RetrievalFilters("Kisqali", "west", date(2024, 1, 1), date(2024, 12, 31), ("file",))
    query = LabelledQuery("id", "What of Kisqali?", {A: 1.0, B: 0.5}, "correction", THEN, filters)
    assert labelled(query.item()) == query
    plain = replace(query, filters=RetrievalFilters())
    assert labelled(plain.item()) == plain
    assert labelled(replace(query.item(), inputs={})) is None


def answer(**values: Any) -> AnswerQuality:
    known: dict[str, Any] = {"cited": (A,), "declined": False, "rating": None, "thumbs_up": None, "judged": None}
    return AnswerQuality("i", "What of Kisqali?", THEN, corrections=values.pop("corrections", ()), **known | values)


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ({"rating": 4}, True),
        ({"rating": 3}, False),
        ({"thumbs_up": True}, True),
        ({"thumbs_up": False}, False),
        ({"judged": 0.85}, True),
        ({"judged": 0.84}, False),
        ({"judged": 0.99, "rating": 2}, False),
        ({"judged": 0.2, "thumbs_up": True}, True),
        ({"rating": 5, "thumbs_up": False}, False),
        ({"rating": 5, "declined": True}, False),
        ({"rating": 5, "cited": ()}, False),
        ({"rating": 5, "corrections": ("It was 12, not 9.",)}, False),
        ({}, False),
    ],
)
def test_citations_count_where_people_or_else_a_judge_found_the_answer_good(said: dict[str, Any], good: bool) -> None:
    found = [*answer_labels([answer(**said)], [])]
    assert [(one.origin, dict(one.relevant)) for one in found] == ([("answer", {A: 1.0})] if good else [])


def test_a_correction_that_names_a_document_labels_it_and_not_what_was_cited() -> None:
    known = [document("file", "b", "The Kisqali  brand plan"), document("file", "c", "TRx")]
    corrected = answer(corrections=("No: see the kisqali brand plan, TRx is there.",), declined=True)
    (found,) = answer_labels([corrected], known)
    assert (found.origin, dict(found.relevant)) == ("correction", {B: 1.0})


class Searched:
    """A retriever that finds the document A for every question; ``down`` says for which the dense arm fails."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.config = config(5, 0.5, 0.5, 0.0)

    def using(self, configuration: object) -> Searched:
        return self

    async def retrieve(self, query: str, **asked: Any) -> RetrievalResult:
        failed = (Degraded("dense", "timed out"),) if query in self.down else ()
        chunk = RetrievedChunk("1", "1", "text", 1.0, {}, "", *A, 0, 4)
        return RetrievalResult(query, (chunk,), self.config, timings={"total": 1.0}, degraded=failed)


async def test_an_outage_of_an_arm_is_not_taken_for_a_property_of_the_settings() -> None:
    retriever, names = Searched(), [f"q{number}" for number in range(4)]
    replay = RetrievalReplay(retriever, context_tokens=10)  # type: ignore[arg-type]  # a fake
    tried = Variant("retrieval", ChangeKind.RETRIEVAL, retriever.config.settings)
    items = [LabelledQuery(name, name, {A: 1.0}, "answer", THEN).item() for name in names]

    async def targets(*down: str) -> list[float | None]:
        retriever.down = {*down}
        return [one.target for one in await replay.scores(tried, items)]

    assert await targets() == [1.0] * 4
    assert await targets("q1") == [1.0, None, 1.0, 1.0]
    with pytest.raises(DataUnavailable, match="dense went or came back"):
        await targets(*names)
    assert await targets(*names) == [1.0] * 4
