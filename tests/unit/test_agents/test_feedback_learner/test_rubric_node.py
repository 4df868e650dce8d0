"""Does the rubric node judge what nobody judged, and decide for each component as its answers demand?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from langgraph.runtime import Runtime

from src.agents.feedback_learner.deciding import combined_of, verdict_of
from src.agents.feedback_learner.nodes.rubric_node import judge_by_rubric
from src.agents.feedback_learner.services import PLACE, kept_batch
from src.agents.feedback_learner.state import Collected, ComponentVerdict, LearnRequest
from src.agents.runtime import Deps
from src.domain.improvement import LearningItem
from src.domain.rubric import CRITERIA, RubricContext, RubricDecision, RubricEvaluation
from src.mlops.scoring import calculate_combined_score, rubric_share
from tests.unit.test_agents.test_feedback_learner.learning_parts import (
    BAND,
    CYCLE,
    SETTINGS,
    Parts,
    decided,
    deps,
    item,
    items,
    parts,
    rated,
)
from tests.unit.test_agents.test_feedback_learner.parts import by
from tests.unit.test_agents.test_feedback_learner.rubric_pairs import CONTEXTS, SOUND

A, S, U, E = (
    RubricDecision.ACCEPTABLE,
    RubricDecision.SUGGESTION,
    RubricDecision.AUTO_UPDATE,
    RubricDecision.ESCALATE,
)


async def node(made: Parts, **request: Any) -> tuple[dict[str, Any], Deps]:
    """What the node writes for the answers of a cycle; nothing of them was prepared in this process."""
    given, _ = deps()
    run = dataclasses.replace(given, workspace={PLACE: made.services()})
    state = {
        "request": LearnRequest(batch_id=CYCLE, **request),
        "collected": Collected(tuple(one.interaction_id for one in made.items.items)),
    }
    written = await judge_by_rubric(state, Runtime(context=run))  # type: ignore[arg-type]
    return written, run


async def verdicts(*those: LearningItem, weak: Sequence[Sequence[str]] = ()) -> dict[str, ComponentVerdict]:
    made = parts(*those)
    made.evaluations.weak["explainer"] = tuple(tuple(one) for one in weak)
    written, _ = await node(made)
    return {one.component: one for one in written["verdicts"]}


@pytest.mark.parametrize("decision", [A, S, U, E])
async def test_the_band_of_the_mean_is_the_decision(decision: RubricDecision) -> None:
    verdict = (await verdicts(*decided(decision)))["explainer"]
    assert (verdict.decision, verdict.mean) == (decision, BAND[decision])


@pytest.mark.parametrize(
    ("weighted", "decision"), [(4.0, A), (3.999, S), (3.0, S), (2.999, U), (2.0, U), (1.999, E), (1.0, E)]
)
async def test_bands_are_half_open(weighted: float, decision: RubricDecision) -> None:
    assert (await verdicts(*items(5, weighted)))["explainer"].decision is decision


async def test_the_mean_decides_not_the_worst_answer() -> None:
    verdict = (await verdicts(*items(4, 4.6), item(9, 2.4)))["explainer"]
    assert verdict.decision is A
    assert verdict.mean == pytest.approx(4.16)


@pytest.mark.parametrize("n", [1, 4])
async def test_with_too_few_answers_a_component_waits_and_it_is_said(n: int) -> None:
    made = parts(*items(n, 1.2))
    written, _ = await node(made)
    (verdict,) = written["verdicts"]
    assert verdict.decision is None
    assert written["warnings"] == (f"explainer waits: {n} of the 5 judged answers that a decision needs",)


async def test_each_component_is_decided_for_itself() -> None:
    found = await verdicts(*decided(A), *decided(E, "causal_impact", first=10), *items(2, 2.5, first=20, component="x"))
    assert {name: one.decision for name, one in found.items()} == {"explainer": A, "causal_impact": E, "x": None}


async def test_an_answer_counts_for_the_prompt_that_wrote_it() -> None:
    by_both = [dataclasses.replace(one, prompt_versions={"orchestrator": 2, "rag_answer": 1}) for one in items(5)]
    assert set(await verdicts(*by_both)) == {"rag_answer"}
    by_rules = [dataclasses.replace(one, prompt_versions={"orchestrator": 2}) for one in items(5)]
    assert set(await verdicts(*by_rules)) == {"orchestrator"}


@pytest.mark.parametrize("rating", [1, 3])
async def test_low_ratings_of_people_demand_a_suggestion(rating: int) -> None:
    verdict = (await verdicts(*(rated(one, rating) for one in items(5, 4.6))))["explainer"]
    assert (verdict.decision, verdict.overrides) == (S, ("low_user_rating",))


async def test_ratings_count_by_their_mean() -> None:
    good = items(5, 4.6)
    said = [rated(good[0], 2), rated(good[1], 5), *good[2:]]
    assert (await verdicts(*said))["explainer"].decision is A


@pytest.mark.parametrize(("value", "decision"), [(0.0, S), (0.5, S), (0.9, A)])
async def test_what_was_said_of_a_trace_counts_as_a_rating(value: float, decision: RubricDecision) -> None:
    made = parts(*items(5, 4.6))
    made.signals.scores = {("trace-1", "helpful"): value}
    written, _ = await node(made)
    assert [one.decision for one in written["verdicts"]] == [decision]


async def test_a_weakness_that_comes_again_demands_a_suggestion() -> None:
    again = (await verdicts(*items(5, 4.6), weak=[("actionability",)] * 3))["explainer"]
    assert (again.decision, again.overrides) == (S, ("repeated_weakness",))
    assert (await verdicts(*items(5, 4.6), weak=[("actionability",)] * 2))["explainer"].decision is A


async def test_a_criterion_that_is_low_on_the_mean_demands_a_suggestion() -> None:
    low = {**dict.fromkeys(CRITERIA, 5.0), "regulatory_awareness": 1.8}
    verdict = (await verdicts(*(dataclasses.replace(one, rubric=low) for one in items(5, 4.5))))["explainer"]
    assert verdict.decision is S
    assert "criterion_below" in verdict.overrides
    assert verdict.weaknesses == ("regulatory_awareness",)


@pytest.mark.parametrize("decision", [U, E])
async def test_an_override_never_softens(decision: RubricDecision) -> None:
    said = [rated(one, 1) for one in decided(decision)]
    assert (await verdicts(*said, weak=[("actionability",)] * 9))["explainer"].decision is decision


async def test_all_ones_escalate() -> None:
    assert (await verdicts(*items(5, 1.0)))["explainer"].decision is E


class Recording:
    """Gives every answer the same judgement and keeps what it was shown."""

    def __init__(self, weighted: float) -> None:
        self.seen: list[RubricContext] = []
        self._by = by(weighted)

    async def evaluate(self, context: RubricContext) -> RubricEvaluation:
        self.seen.append(context)
        return await self._by.evaluate(context)


def unjudged(n: int = 5) -> list[LearningItem]:
    asks = "What is the effect of detailing calls on Kisqali TRx?"
    return [
        dataclasses.replace(one, query=asks, answer=SOUND, contexts=tuple(CONTEXTS)) for one in items(n, weighted=None)
    ]


async def test_answers_without_a_judgement_are_judged_and_stored() -> None:
    made, judge = parts(*unjudged()), Recording(3.5)
    made.more["rubric"] = judge
    written, run = await node(made)
    assert (written["judged_now"], len(judge.seen), len(made.evaluations.stored)) == (5, 5, 5)
    assert written["verdicts"][0].decision is not None
    rows = made.evaluations.stored[0]
    assert rows.signal["interaction_id"] == made.items.items[0].interaction_id
    assert (rows.signal["cycle_id"], rows.signal["signal_type"]) == (CYCLE, "evaluation")
    assert (rows.result["rubric_method"], rows.result["rubric_aggregate"]) == ("llm", pytest.approx(3.5))
    judged = kept_batch(run)
    assert judged is not None
    assert [one.rubric_weighted for one in judged] == [pytest.approx(3.5)] * 5


async def test_without_a_model_the_rules_judge_and_it_is_said() -> None:
    made = parts(*unjudged())
    written, _ = await node(made)
    (verdict,) = written["verdicts"]
    assert (verdict.judged_by, verdict.mean is not None) == ("heuristic", True)


async def test_a_judged_answer_is_not_judged_again() -> None:
    made, judge = parts(*items(5, 2.5)), Recording(5.0)
    made.more["rubric"] = judge
    written, _ = await node(made)
    assert (judge.seen, written["judged_now"], made.evaluations.stored) == ([], 0, [])
    assert written["verdicts"][0].decision is U


async def test_the_judge_knows_what_people_said_and_what_was_weak() -> None:
    made, judge = parts(rated(unjudged(1)[0], 2)), Recording(4.0)
    made.more["rubric"] = judge
    made.evaluations.weak["orchestrator"] = (("actionability",),)
    await node(made)
    (seen,) = judge.seen
    assert (seen.user_rating, seen.recent_weaknesses, seen.causal) == (2, (("actionability",),), True)


async def test_judging_keeps_the_metrics_that_were_measured_and_invents_none() -> None:
    made = parts(dataclasses.replace(unjudged(1)[0], ragas={"faithfulness": 0.5, "answer_relevancy": None}))
    made.more["rubric"] = by(3.0)
    await node(made)
    (rows,) = made.evaluations.stored
    assert rows.result["faithfulness"] == 0.5
    assert [rows.result[name] for name in ("answer_relevancy", "context_precision", "context_recall")] == [None] * 3
    assert rows.signal["combined_score"] == pytest.approx(0.4 * 0.5 + 0.6 * 0.5)


@pytest.mark.parametrize(
    "ragas", [{}, {"faithfulness": 0.9}, {"faithfulness": 0.9, "context_recall": 0.2, "answer_relevancy": None}]
)
def test_a_missing_metric_never_lowers_the_combined_score(ragas: dict[str, float | None]) -> None:
    one = dataclasses.replace(item(1, 4.0), ragas=ragas)
    assert combined_of(one) == calculate_combined_score(ragas, dict.fromkeys(CRITERIA, 4.0))
    if not ragas:
        assert combined_of(one) == pytest.approx(rubric_share(4.0))


@pytest.mark.parametrize(("methods", "judged_by"), [("llm", "llm"), ("heuristic", "heuristic"), ("mixed", "heuristic")])
def test_one_answer_that_rules_judged_makes_the_verdict_theirs(methods: str, judged_by: str) -> None:
    those = [
        dataclasses.replace(
            one, method="heuristic" if methods == "heuristic" or (methods == "mixed" and not n) else "llm"
        )
        for n, one in enumerate(items(5))
    ]
    assert verdict_of("explainer", those, SETTINGS).judged_by == judged_by


def with_passages(n: int, ragas: float | None) -> list[LearningItem]:
    metrics = {} if ragas is None else {"context_precision": ragas, "context_recall": ragas}
    return [dataclasses.replace(one, retrieval_config_id="settings-1", ragas=metrics) for one in items(n, 4.5)]


@pytest.mark.parametrize(("ragas", "decision"), [(0.71, A), (0.69, U), (0.05, U)])
async def test_retrieval_is_decided_by_the_ragas_scores_of_what_it_found(
    ragas: float, decision: RubricDecision
) -> None:
    found = await verdicts(*with_passages(5, ragas))
    assert (found["retrieval"].decision, found["explainer"].decision) == (decision, A)


async def test_retrieval_waits_for_scores_and_is_left_out_where_it_took_no_part() -> None:
    assert (await verdicts(*with_passages(5, None)))["retrieval"].decision is None
    assert "retrieval" not in await verdicts(*items(5))


async def test_a_focus_leaves_other_components_without_a_decision() -> None:
    made = parts(*items(5), *items(5, 1.5, first=10, component="causal_impact"))
    written, _ = await node(made, focus_components=("explainer",))
    assert [one.component for one in written["verdicts"]] == ["explainer"]


async def test_a_focus_leaves_retrieval_out() -> None:
    written, _ = await node(parts(*with_passages(5, 0.1)), focus_components=("explainer",))
    assert [one.component for one in written["verdicts"]] == ["explainer"]
