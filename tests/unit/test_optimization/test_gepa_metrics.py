"""Do the metrics tell good from bad, name what was wrong, and read what a program really gave?"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from src.errors import ConfigError
from src.optimization.gepa.configuration import PARTS, load_gepa_config
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.metrics import PARTS_OF, metric_for
from src.optimization.gepa.metrics.scored import GepaMetric, Part, overlap

CONFIG = load_gepa_config(environ={})

GOLD: dict[str, dict[str, Any]] = {
    "causal_impact": {
        "refuters": ["placebo treatment", "random common cause"],
        "methods": ["causal forest", "double machine learning"],
        "sensitivity": "E-value 2.3",
        "recommendation": ["raise visits in the northeast"],
        "refuted": False,
    },
    "feedback_learner": {
        "patterns": ["explainer: accuracy", "retrieval: coverage"],
        "recommendations": ["explainer accuracy", "retrieval coverage"],
        "lessons": ["explainer accuracy"],
    },
    "explainer": {
        "findings": "TRx rose by 4.2 [1.1, 7.3] in 2026",
        "must_mention": ["TRx rose", "interval from 1.1 to 7.3"],
        "reader": "executive",
    },
    "tool_composer": {
        "sub_questions": ["effect of visits", "heterogeneity by region"],
        "tools": ["estimate_effect", "segment"],
        "order": [["estimate_effect", "segment"]],
        "answer_points": ["effect of visits", "by region"],
    },
    "orchestrator": {"answer": "causal_impact and explainer", "max_latency_ms": 100},
}
GOOD: dict[str, dict[str, Any]] = {
    "causal_impact": {
        "refutation": "Placebo treatment and random common cause: both passed.",
        "sensitivity": "An unmeasured confounder would need an E-value of 2.3.",
        "method": "causal forest",
        "interpretation": "Raise visits in the northeast.",
    },
    "feedback_learner": {
        "patterns": ["Explainer: accuracy", "retrieval: coverage of the question"],
        "recommendations": "Change the explainer for accuracy and retrieval for coverage.",
        "updates": '[{"title": "accuracy", "description": "explainer accuracy fell", "component": "explainer"}]',
    },
    "explainer": {"answer": "TRx rose by 4.2. The interval goes from 1.1 to 7.3."},
    "tool_composer": {
        "sub_questions": "- What is the effect of visits?\n- Is there heterogeneity by region?",
        "plan": [{"tool": "estimate_effect"}, {"tool": "segment"}],
        "answer": "The effect of visits is positive; by region it differs.",
    },
    "orchestrator": {"answer": "causal_impact and explainer", "latency_ms": 80},
}
WORSE: dict[str, list[tuple[dict[str, Any], str]]] = {
    "causal_impact": [
        ({"refutation": "Placebo treatment passed."}, "random common cause"),
        ({"sensitivity": "It is robust."}, "the size of a hidden confounder is 2.3"),
        ({"sensitivity": "An E-value of 2.3."}, "hidden confounding is not named"),
        ({"method": "correlation"}, "does not fit"),
        ({"method": "causal forest, double machine learning, matching or regression"}, "does not fit"),
        ({"interpretation": "Interesting."}, "northeast"),
    ],
    "feedback_learner": [
        ({"patterns": ["explainer: accuracy"]}, "retrieval: coverage"),
        ({"patterns": ["explainer: accuracy", "retrieval: coverage", "explainer: latency"]}, "explainer: latency"),
        ({"recommendations": "Do something."}, "explainer accuracy"),
        ({"recommendations": "Explainer, retrieval: accuracy, coverage, latency, format"}, "about format, latency"),
        ({"updates": '[{"title": "accuracy"}]'}, "lack"),
    ],
    "explainer": [
        ({"answer": "TRx rose by 9.9. The interval goes from 1.1 to 7.3."}, "9.9"),
        ({"answer": "TRx rose by 4.2. It is proven. The interval goes from 1.1 to 7.3."}, "more certain"),
        ({"answer": "TRx rose by 4.2."}, "interval"),
        ({"answer": "TRx rose, with an interval from below to above."}, "none of the findings' figures"),
        ({"answer": "TRx rose by 4.2, the propensity is balanced. The interval goes from 1.1 to 7.3."}, "propensity"),
    ],
    "tool_composer": [
        ({"plan": [{"tool": "segment"}, {"tool": "estimate_effect"}]}, "estimate_effect before segment"),
        ({"plan": [{"tool": "estimate_effect"}]}, "segment"),
        ({"sub_questions": "What is the effect of visits?"}, "heterogeneity"),
        ({"answer": "It is positive."}, "by region"),
    ],
    "orchestrator": [
        ({"answer": "gap_analyzer"}, "instead of"),
        ({"latency_ms": 400}, "400 ms"),
    ],
}  # fmt: skip
CASES = [(agent, change, word) for agent, found in WORSE.items() for change, word in found]


def judged(agent: str, given: dict[str, Any]) -> Any:
    dspy = load_dspy()
    return metric_for(agent, CONFIG)(dspy.Example(**GOLD[agent]), dspy.Prediction(**given))


@pytest.mark.parametrize("agent", sorted(GOOD))
def test_what_is_right_gets_the_full_score_and_no_complaint(agent: str) -> None:
    found = judged(agent, GOOD[agent])
    assert (found.score, found.feedback) == (pytest.approx(1.0), "Nothing is wrong.")


@pytest.mark.parametrize(("agent", "change", "word"), CASES)
def test_each_fault_lowers_the_score_and_is_named(agent: str, change: dict[str, Any], word: str) -> None:
    good, worse = judged(agent, GOOD[agent]), judged(agent, {**GOOD[agent], **change})
    assert worse.score < good.score
    assert word in worse.feedback


@pytest.mark.parametrize("agent", sorted(GOOD))
def test_a_program_that_gave_nothing_scores_nothing(agent: str) -> None:
    found = judged(agent, {})
    assert found.score == 0.0
    assert found.feedback != "Nothing is wrong."


def test_an_estimate_that_was_refuted_and_is_reported_as_sound_has_no_refutation() -> None:
    dspy = load_dspy()
    gold = dspy.Example(**{**GOLD["causal_impact"], "refuted": True})
    metric = metric_for("causal_impact", CONFIG)
    sound = metric(gold, dspy.Prediction(**GOOD["causal_impact"]))
    admits = {"refutation": "Placebo treatment and random common cause: the effect is not supported."}
    honest = metric(gold, dspy.Prediction(**{**GOOD["causal_impact"], **admits}))
    assert sound.score == pytest.approx(0.7)
    assert honest.score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("phase", "output"),
    [("pattern", "patterns"), ("recommendation", "recommendations"), ("update", "updates")],
)
def test_a_phase_of_the_feedback_learner_is_judged_by_what_it_declares_alone(phase: str, output: str) -> None:
    dspy = load_dspy()
    gold = dspy.Example(phase=phase, **GOLD["feedback_learner"])
    found = metric_for("feedback_learner", CONFIG)(gold, dspy.Prediction(**{output: GOOD["feedback_learner"][output]}))
    assert found.score == pytest.approx(1.0)


@pytest.mark.parametrize("agent", sorted(CONFIG.agents))
def test_a_metric_takes_gepas_five_arguments_at_once_and_weighs_its_parts_as_configured(agent: str) -> None:
    metric = metric_for(agent, CONFIG)
    assert not inspect.iscoroutinefunction(type(metric).__call__)
    inspect.signature(metric).bind(None, None, None, None, None)
    assert metric.weights == CONFIG.agents[agent].weights
    assert set(metric.weights) == set(PARTS[CONFIG.agents[agent].metric])


def test_every_metric_can_be_configured() -> None:
    assert set(PARTS_OF) == set(PARTS)


def test_weights_decide_how_much_a_part_counts() -> None:
    dspy = load_dspy()
    parts = {"a": Part(1.0), "b": Part(0.0, "b is wrong")}
    scores = [
        GepaMetric("m", lambda gold, pred: parts, weights)(dspy.Example(), dspy.Prediction()).score
        for weights in ({"a": 0.7, "b": 0.3}, {"a": 0.2, "b": 0.8})
    ]
    assert scores == pytest.approx([0.7, 0.2])


def test_the_worst_part_is_told_first() -> None:
    dspy = load_dspy()
    parts = {"a": Part(0.5, "half"), "b": Part(0.1, "bad"), "c": Part(1.0)}
    metric = GepaMetric("m", lambda gold, pred: parts, dict.fromkeys("abc", 1 / 3))
    assert metric(dspy.Example(), dspy.Prediction()).feedback == "b 0.10 of 1: bad. a 0.50 of 1: half."


CONSTANT: dict[str, dict[str, Any]] = {
    "causal_impact": {
        "refutation": "All tests passed.",
        "sensitivity": "An unmeasured confounder of 1.5 would be needed.",
        "method": "linear regression",
        "interpretation": "The results matter for the business.",
    },
    "feedback_learner": {
        "patterns": ["orchestrator: latency"],
        "recommendations": "Improve the prompts.",
        "updates": '[{"title": "Lesson", "description": "Quality can be better.", "component": "any"}]',
        "summary": "Everything could be better.",
    },
    "explainer": {"answer": "The effect is positive. It should be acted upon."},
    "tool_composer": {"sub_questions": "What was asked?", "plan": [{"tool": "search"}], "answer": "See the data."},
    "orchestrator": {"answer": "yes", "latency_ms": 1},
}
"""What a program can say that reads nothing of what it is given."""


@pytest.mark.parametrize("agent", sorted(CONSTANT))
def test_a_program_that_reads_nothing_scores_nothing(agent: str) -> None:
    assert judged(agent, CONSTANT[agent]).score == 0.0


@pytest.mark.parametrize("agent", sorted(CONSTANT))
def test_what_nothing_is_known_to_be_right_for_is_not_judged(agent: str) -> None:
    dspy = load_dspy()
    for given in (CONSTANT[agent], GOOD[agent]):
        found = metric_for(agent, CONFIG)(dspy.Example(), dspy.Prediction(**given))
        assert found.score == 0.0


@pytest.mark.parametrize("phase", ["recommendation", "summary", "update"])
def test_a_list_of_every_kind_of_pattern_is_worse_than_the_right_one(phase: str) -> None:
    dspy = load_dspy()
    gold = dspy.Example(phase=phase, **GOLD["feedback_learner"])
    every = "explainer retrieval: accuracy latency relevance format coverage"
    lesson = '[{"title": "t", "description": "%s", "component": "explainer"}]'
    output = {"recommendation": "recommendations", "summary": "summary", "update": "updates"}[phase]
    scores = [
        metric_for("feedback_learner", CONFIG)(
            gold, dspy.Prediction(**{output: lesson % said if phase == "update" else said})
        ).score
        for said in ("explainer accuracy, retrieval coverage", every)
    ]
    assert scores[0] > 1.5 * scores[1]


def test_a_metric_gives_what_gepa_asks_for() -> None:
    from dspy.teleprompt.gepa.gepa_utils import ScoreWithFeedback

    assert isinstance(judged("explainer", GOOD["explainer"]), ScoreWithFeedback)


def test_what_is_found_where_nothing_is_right_is_wrong() -> None:
    invented = overlap(["x"], [], "tools")
    assert invented is not None
    assert (overlap([], [], "tools"), invented.score) == (None, 0.0)


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_part_lies_between_0_and_1(score: float) -> None:
    with pytest.raises(ValueError, match="0–1"):
        Part(score)


def test_an_agent_that_is_not_configured_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="explainer"):
        metric_for("explainr", CONFIG)
