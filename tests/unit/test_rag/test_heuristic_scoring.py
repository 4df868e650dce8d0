"""Do the metrics without a model follow what an answer says, and say when they cannot?"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.errors import ConfigError
from src.rag.heuristics.calibration import (
    CALIBRATION_FILE,
    CalibrationFile,
    Regime,
    RegimeTable,
    Shape,
    calibrate,
    load_calibration,
    regime_of,
)
from src.rag.heuristics.claims import MAX_CLAIMS
from src.rag.heuristics.correctness import answer_correctness
from src.rag.heuristics.faithfulness import faithfulness, raw_faithfulness
from src.rag.heuristics.precision import average_precision, context_precision
from src.rag.heuristics.recall import context_recall
from src.rag.heuristics.relevancy import answer_relevancy
from src.rag.heuristics.scoring import heuristic_scores
from src.rag.samples import EvaluationSample, dataset_hash
from src.rag.scores import METRICS, Metric, MetricScore

BRANDS = ("Kisqali", "Fabhalta", "Remibrutinib")
REGIONS = ("Northeast", "South", "Midwest", "West")
MEASURES = ("TRx", "NRx", "new-to-brand prescriptions", "market share")
VERBS = ("rose", "fell")
UNSUPPORTED = (
    "Competitors withdrew from the market.",
    "Analysts in Paris expect a merger next spring.",
    "The moon is made of cheese.",
    "Patients prefer tablets over injections.",
)
METRICS_OF_ANSWER: tuple[Metric, ...] = ("faithfulness", "answer_correctness")


def sentence(brand: str, region: str, measure: str, verb: str, percent: int, quarter: int) -> str:
    return f"{brand} {measure} {verb} by {percent}% in the {region} in Q{quarter} 2024."


facts = st.tuples(
    st.sampled_from(BRANDS),
    st.sampled_from(REGIONS),
    st.sampled_from(MEASURES),
    st.sampled_from(VERBS),
    st.integers(2, 60),
    st.integers(1, 4),
)
Fact = tuple[str, str, str, str, int, int]


def sample_of(told: list[Fact]) -> EvaluationSample:
    """An answer that says the first fact, and contexts of one fact each with words around it."""
    contexts = tuple(
        f"The quarterly review is out. {sentence(*fact)} Rep calls were planned as usual." for fact in told
    )
    brand, region, measure, *_ = told[0]
    answer = sentence(*told[0])
    return EvaluationSample(f"How did {brand} {measure} change in the {region}?", answer, contexts, answer)


def score(sample: EvaluationSample, metric: Metric) -> float:
    value = heuristic_scores(sample)[metric].value
    assert value is not None
    return value


def distinct(told: list[Fact]) -> bool:
    """Whether no other fact could be meant by a corruption of the first one."""
    return len({fact[0] for fact in told}) == len(told) and len({fact[4] for fact in told}) == len(told)


several = st.lists(facts, min_size=2, max_size=3).filter(distinct)
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@quick
@given(several)
def test_losing_the_supporting_context_never_raises_what_rests_on_it(told: list[Fact]) -> None:
    whole = sample_of(told)
    less = replace(whole, contexts=whole.contexts[1:])
    for metric in ("faithfulness", "context_recall"):
        assert score(less, metric) < score(whole, metric)


@quick
@given(several, st.data())
def test_losing_any_context_never_raises_faithfulness_or_recall(told: list[Fact], data: st.DataObject) -> None:
    whole = sample_of(told)
    drop = data.draw(st.integers(0, len(told) - 1))
    less = replace(whole, contexts=tuple(text for at, text in enumerate(whole.contexts) if at != drop))
    for metric in ("faithfulness", "context_recall"):
        assert score(less, metric) <= score(whole, metric)


@quick
@given(several, st.integers(61, 99))
def test_another_number_lowers_the_score(told: list[Fact], wrong: int) -> None:
    right = sample_of(told)
    altered = replace(right, answer=str(right.answer).replace(f"{told[0][4]}%", f"{wrong}%"))
    for metric in METRICS_OF_ANSWER:
        assert score(altered, metric) < score(right, metric)


@quick
@given(several)
def test_the_number_of_another_brand_lowers_the_score(told: list[Fact]) -> None:
    right = sample_of(told)
    altered = replace(right, answer=str(right.answer).replace(f"by {told[0][4]}%", f"by {told[1][4]}%"))
    for metric in METRICS_OF_ANSWER:
        assert score(altered, metric) < score(right, metric)


@quick
@given(several)
def test_another_brand_lowers_the_score(told: list[Fact]) -> None:
    right = sample_of(told)
    for brand in set(BRANDS) - {told[0][0]}:
        swapped = replace(right, answer=str(right.answer).replace(told[0][0], brand))
        for metric in (*METRICS_OF_ANSWER, "answer_relevancy"):
            assert score(swapped, metric) < score(right, metric)


@quick
@given(several, st.sampled_from(UNSUPPORTED), st.booleans())
def test_an_unsupported_sentence_more_never_raises_the_score(told: list[Fact], extra: str, first: bool) -> None:
    right = sample_of(told)
    wrong = replace(right, answer=sentence("Fabhalta", "West", "TRx", "rose", 77, 2))
    for sample in (right, wrong):
        longer = replace(sample, answer=f"{extra} {sample.answer}" if first else f"{sample.answer} {extra}")
        for metric in (*METRICS_OF_ANSWER, "answer_relevancy"):
            assert score(longer, metric) <= score(sample, metric)


@quick
@given(several)
def test_the_order_of_contexts_moves_only_their_precision(told: list[Fact]) -> None:
    sample = sample_of(told)
    scores = heuristic_scores(sample)
    for order in itertools.permutations(sample.contexts):
        moved = heuristic_scores(replace(sample, contexts=order))
        assert {m for m in METRICS if moved[m] != scores[m]} <= {"context_precision"}


@quick
@given(several)
def test_the_relevant_context_first_is_more_precise_than_last(told: list[Fact]) -> None:
    sample = sample_of(told)
    last = replace(sample, contexts=(*sample.contexts[1:], sample.contexts[0]))
    assert score(last, "context_precision") <= score(sample, "context_precision")


def overall(sample: EvaluationSample) -> float:
    measured = [found.value for found in heuristic_scores(sample).values() if found.value is not None]
    return sum(measured) / len(measured)


@quick
@given(several, st.booleans())
def test_copying_every_context_does_not_win(told: list[Fact], known: bool) -> None:
    concise = sample_of(told)
    concise = concise if known else replace(concise, ground_truth=None)
    copied = replace(concise, answer=" ".join(concise.contexts))
    assert overall(copied) < overall(concise)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300), st.lists(st.text(max_size=300), max_size=3), st.text(max_size=200))
def test_any_text_gives_the_same_scores_within_bounds_twice(
    q: str, answer: str, contexts: list[str], truth: str
) -> None:
    encodable = [text.encode("utf-8", "replace").decode() for text in (q, answer, truth, *contexts)]
    sample = EvaluationSample(encodable[0], encodable[2], tuple(encodable[3:]), encodable[1])
    first = heuristic_scores(sample)
    assert first == heuristic_scores(sample)
    assert tuple(first) == METRICS
    for found in first.values():
        assert found.reason
        assert found.value is None or 0 <= found.value <= 1


BASE = sentence("Kisqali", "Northeast", "TRx", "rose", 12, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        "Kisqali TRx rose by 14% in the Northeast in Q3 2024.",
        "Kisqali TRx rose by -12% in the Northeast in Q3 2024.",
        "Kisqali TRx rose by 12 in the Northeast in Q3 2024.",
        "Fabhalta TRx rose by 12% in the Northeast in Q3 2024.",
        "Kisqali TRx rose by 12% in the West in Q3 2024.",
        "Kisqali TRx rose by 12% in the Northeast in Q2 2024.",
        "Kisqali TRx rose by 12% in the Northeast in Q3 2023.",
        "Kisqali TRx fell by 12% in the Northeast in Q3 2024.",
        "Kisqali TRx did not rise by 12% in the Northeast in Q3 2024.",
        "Kisqali NRx rose by 12% in the Northeast in Q3 2024.",
    ],
)
def test_every_corruption_of_a_fact_is_seen(wrong: str) -> None:
    right, other = faithfulness(BASE, [BASE], "How?"), faithfulness(wrong, [BASE], "How?")
    assert right.value is not None
    assert other.value is not None
    assert other.value < right.value - 0.1
    correct, incorrect = answer_correctness(BASE, BASE).value, answer_correctness(wrong, BASE).value
    assert correct == 1.0
    assert incorrect is not None
    assert incorrect < 0.7


@pytest.mark.parametrize(
    "same",
    [
        "KISQALI TRX ROSE BY 12 PERCENT IN THE NORTHEAST IN Q3 2024",
        "Kisqali TRx rose by 0.12 in the North East in the third quarter 2024.",
        "Ribociclib total prescriptions rose by 12 per cent in the Northeast in Q3 2024 [1].",
    ],
)
def test_the_same_fact_in_other_spelling_scores_the_same(same: str) -> None:
    found, plain = raw_faithfulness(same, [BASE]), raw_faithfulness(BASE, [BASE])
    assert found is not None
    assert plain is not None
    assert found.value == pytest.approx(plain.value, abs=0.05)


def test_a_cause_claimed_of_an_association_scores_below_the_association() -> None:
    context = ["Rep calls are associated with new prescriptions of Kisqali."]
    causal = raw_faithfulness("Rep calls caused new prescriptions of Kisqali.", context)
    observed = raw_faithfulness("Rep calls are linked with new prescriptions of Kisqali.", context)
    assert causal is not None
    assert observed is not None
    assert causal.value < observed.value


@pytest.mark.parametrize(
    ("said", "denied", "most"),
    [
        (
            "Rep calls affect new prescriptions of Kisqali.",
            "Rep calls do not affect new prescriptions of Kisqali.",
            0.75,
        ),
        (
            "Rep calls affect new prescriptions of Kisqali.",
            "Rep calls never affect new prescriptions of Kisqali.",
            0.75,
        ),
        ("Kisqali is able to gain share.", "Kisqali is unable to gain share.", 0.75),
        ("Calls explain the growth of Kisqali.", "Only calls explain the growth of Kisqali.", 0.9),
    ],
)
def test_a_denial_or_an_absolute_costs_most_where_the_contexts_do_not_know_it(
    said: str, denied: str, most: float
) -> None:
    plain, other = raw_faithfulness(said, [said]), raw_faithfulness(denied, [said])
    backed = raw_faithfulness(denied, [said, denied])
    assert plain is not None
    assert other is not None
    assert backed is not None
    assert other.value < most * plain.value
    assert backed.value > 0.9 * plain.value


def test_a_speaker_who_does_not_know_denies_nothing() -> None:
    modest = raw_faithfulness("I do not know the rest, but TRx rose by 12%.", ["TRx rose by 12%, the rest is unknown."])
    denying = raw_faithfulness(
        "Reps do not know the rest, but TRx rose by 12%.", ["TRx rose by 12%, the rest is unknown."]
    )
    assert modest is not None
    assert denying is not None
    assert modest.value > denying.value


def test_talk_beside_a_fact_costs_less_than_an_invention() -> None:
    talk, invention = (
        raw_faithfulness(f"{extra} {BASE}", [BASE]) for extra in ("That is great!", "Competitors left every market.")
    )
    assert talk is not None
    assert invention is not None
    assert talk.value > invention.value


def test_many_words_found_nowhere_weigh_more_than_the_same_share_of_few() -> None:
    short = raw_faithfulness("Calls doubled.", ["Calls were planned."])
    long = raw_faithfulness(
        "Calls visits samples letters doubled tripled vanished surprisingly.",
        ["Calls visits samples letters were planned."],
    )
    assert short is not None
    assert long is not None
    assert long.claims[0].beyond_doubt / long.claims[0].value < short.claims[0].beyond_doubt / short.claims[0].value


@pytest.mark.parametrize("place", ["query", "answer", "ground_truth", "contexts"])
def test_half_a_surrogate_pair_is_scored_and_gets_an_id(place: str) -> None:
    cut: str | tuple[str, ...] = f"{BASE} \ud83d"
    fields = {"query": "How?", "answer": BASE, "ground_truth": BASE, "contexts": (BASE,)}
    sample = EvaluationSample(**{**fields, place: (cut,) if place == "contexts" else cut})  # type: ignore[arg-type]
    assert len(sample.sample_id) == 16
    assert dataset_hash([sample]) != dataset_hash([EvaluationSample(**fields)])  # type: ignore[arg-type]
    assert tuple(heuristic_scores(sample)) == METRICS


QUESTION = "How did Kisqali TRx change in the Northeast?"


@pytest.mark.parametrize(
    ("sample", "metric", "value", "words"),
    [
        (EvaluationSample(QUESTION, None, (), BASE), "faithfulness", None, "no contexts"),
        (EvaluationSample(QUESTION, None, ("...",), BASE), "faithfulness", None, "no contexts with words"),
        (EvaluationSample(QUESTION, None, (BASE,), ""), "faithfulness", None, "empty"),
        (EvaluationSample(QUESTION, None, (BASE,), "I don't know."), "faithfulness", None, "nothing is known"),
        (EvaluationSample(QUESTION, None, (BASE,), None), "faithfulness", None, "no answer"),
        (EvaluationSample(QUESTION, None, (BASE,), "Calls rose. " * (MAX_CLAIMS + 1)), "faithfulness", None, "claims"),
        (EvaluationSample(QUESTION, None, (BASE,), ""), "answer_relevancy", 0.0, "empty"),
        (
            EvaluationSample(QUESTION, None, (BASE,), "There is no data on that."),
            "answer_relevancy",
            0.0,
            "non-committal",
        ),
        (EvaluationSample("?", None, (BASE,), BASE), "answer_relevancy", None, "no words"),
        (EvaluationSample(QUESTION, None, (), BASE), "context_precision", None, "no contexts"),
        (EvaluationSample(QUESTION, None, (BASE,), BASE), "context_recall", None, "no ground truth"),
        (EvaluationSample(QUESTION, BASE, (), BASE), "context_recall", None, "no contexts"),
        (EvaluationSample(QUESTION, None, (BASE,), BASE), "answer_correctness", None, "no ground truth"),
        (EvaluationSample(QUESTION, BASE, (BASE,), ""), "answer_correctness", None, "states nothing"),
    ],
)
def test_what_cannot_be_measured_is_none_with_the_reason(
    sample: EvaluationSample, metric: Metric, value: float | None, words: str
) -> None:
    found = heuristic_scores(sample)[metric]
    assert found.value == value
    assert words in found.reason


def test_what_is_no_text_leaves_everything_unmeasured() -> None:
    sample = EvaluationSample(QUESTION, None, (BASE,), 12)  # type: ignore[arg-type]
    assert {(found.value, found.reason) for found in heuristic_scores(sample).values()} == {
        (None, "the answer is no text")
    }


def test_retrieved_contexts_are_scored_where_a_pipeline_found_some() -> None:
    sample = EvaluationSample(
        QUESTION, BASE, (BASE,), BASE, retrieved_contexts=("Nothing of the kind was reported here.",)
    )
    assert score(sample, "faithfulness") < 0.5
    assert score(sample, "context_recall") == 0.0


def relevancy(question: str, answer: str) -> float:
    value = answer_relevancy(question, answer).value
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (BASE, "Kisqali TRx did change in the Northeast."),
        (BASE, "The weather in Boston was pleasant on 3 May 2024 and the hotel had 12 rooms."),
        (BASE, f"{BASE[:-1]}, but I do not know why. No information was provided on calls."),
        (BASE, "Kisqali TRx changed due to a combination of various factors."),
    ],
)
def test_an_answer_that_says_something_on_the_topic_is_more_relevant(better: str, worse: str) -> None:
    assert relevancy(QUESTION, better) > relevancy(QUESTION, worse)


def test_a_question_for_a_number_wants_a_number() -> None:
    asked = "How many rep calls did Kisqali get?"
    assert relevancy(asked, "Kisqali got 420 rep calls.") > relevancy(
        asked, "Kisqali got plenty of rep calls in Boston hospitals."
    )


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [([True, False], 1.0), ([False, True], 0.5), ([True, False, True], (1 + 2 / 3) / 2), ([False], 0.0)],
)
def test_precision_is_the_mean_precision_at_relevant_ranks(relevant: list[bool], expected: float) -> None:
    assert average_precision(relevant) == pytest.approx(expected)


def test_contexts_are_judged_by_the_ground_truth_where_there_is_one() -> None:
    off = "How did Kisqali TRx change in the Northeast? Nobody asked."
    assert context_precision(QUESTION, [off]).value == 1.0
    assert context_precision(QUESTION, [off, BASE], BASE).value == 0.5


def test_recall_counts_the_expected_sentences_found() -> None:
    other = sentence("Fabhalta", "West", "NRx", "fell", 30, 1)
    assert context_recall(f"{BASE} {other}", [BASE]).value == pytest.approx(0.5, abs=0.05)


def test_half_of_the_expected_answer_is_less_correct_than_all_of_it() -> None:
    other = sentence("Fabhalta", "West", "NRx", "fell", 30, 1)
    half, whole = (
        answer_correctness(BASE, f"{BASE} {other}").value,
        answer_correctness(f"{other} {BASE}", f"{BASE} {other}").value,
    )
    assert half is not None
    assert whole is not None
    assert 0.4 < half < 0.8 < whole


def tables(**agreement: float) -> CalibrationFile:
    found = {
        regime: RegimeTable(items=10, agreement=agreement.get(regime, 0.8), raw=(0.0, 1.0), probability=(0.0, top))
        for regime, top in zip(Regime, (0.9, 0.8, 0.95, 0.85, 1.0), strict=True)
    }
    return CalibrationFile(least_agreement=0.6, regimes=found)


@pytest.mark.parametrize(
    ("shape", "regime"),
    [
        (Shape(True, 30, 1, 9), Regime.SHORT_CONTEXT),
        (Shape(True, 300, 1, 9), Regime.QUESTION),
        (Shape(False, 300, 1, 9), Regime.SHORT_CLAIM),
        (Shape(False, 300, 1, 20), Regime.SENTENCE),
        (Shape(False, 300, 3, 9), Regime.SUMMARY),
    ],
)
def test_the_regime_is_read_from_the_item(shape: Shape, regime: Regime) -> None:
    assert regime_of(shape) is regime


def test_a_regime_in_which_people_disagree_abstains_and_says_so() -> None:
    found = faithfulness(BASE, [BASE * 20], calibration=tables(short_claim=0.55))
    assert found == MetricScore(None, found.reason, "short_claim", 0.55)
    assert "regime short_claim" in found.reason
    assert "55%" in found.reason


def test_a_measured_score_names_its_regime_and_agreement() -> None:
    found = faithfulness(BASE, [BASE], QUESTION, calibration=tables())
    assert (found.regime, found.agreement) == ("short_context", 0.8)
    assert "0 of 1 claims without support" in found.reason


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("raw", [0.0, 0.1, 0.35, 0.6, 0.9, 1.0])
@pytest.mark.parametrize(
    "file", [tables(), tables(short_claim=0.5), load_calibration()], ids=["all", "one", "configured"]
)
def test_shorter_contexts_and_more_claims_never_raise_a_probability(
    asked: bool, raw: float, file: CalibrationFile
) -> None:
    for claims, longest in itertools.product((1, 3), (9, 20)):
        whole = calibrate(raw, Shape(asked, 300, claims, longest), file).probability
        for corrupted in (Shape(asked, 50, claims, longest), Shape(asked, 300, claims + 1, longest)):
            after = calibrate(raw, corrupted, file).probability
            assert whole is None or after is None or after <= whole


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("least_agreement: 0.6", "least_agreement: 6"),
        ("  summary:", "  sumary:"),
        ("raw: [0.0,", "raw: [0.9,"),
        ("items:", "rows:"),
    ],
)
def test_a_table_that_is_wrong_is_refused(old: str, new: str, tmp_path: Path) -> None:
    copy = tmp_path / "tables.yaml"
    copy.write_text(CALIBRATION_FILE.read_text("utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"tables\.yaml"):
        load_calibration(copy)


@pytest.mark.parametrize(
    "text",
    ["a" * 100_000, "." * 100_000, "-1" * 50_000, "3, 000" * 16_000, "(" * 100_000, "汉字" * 50_000,
     "\u200b\u0301" * 50_000, "two hundred " * 8_000, "not " * 25_000, "e.g. " * 20_000,
     " ".join(map(str, range(10_000))),
     "i do not " * 11_000, "two " + "million " * 10_000, "9" * 100_000, "\n" * 100_000],
    ids=lambda text: repr(text[:8]),
)  # fmt: skip
def test_texts_made_to_be_slow_are_judged_or_refused_by_name(text: str) -> None:
    for found in heuristic_scores(EvaluationSample(QUESTION, BASE, (text, BASE), text)).values():
        assert found.reason
        assert found.value is None or 0 <= found.value <= 1
