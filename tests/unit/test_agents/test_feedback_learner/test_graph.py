"""Which way does a batch take through the graph, what does it leave, and how does it go on after an interruption?"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from src.agents.configuration import load_agents_config
from src.agents.feedback_learner.agent import FeedbackLearnerAgent, checkpoint_serializer
from src.agents.feedback_learner.graph import build_graph
from src.agents.feedback_learner.nodes.finalize_cycle import CycleLeftOpen
from src.agents.feedback_learner.services import PLACE
from src.agents.feedback_learner.state import (
    Behaviour,
    Collected,
    ComponentVerdict,
    EarlierAction,
    KnownLesson,
    LearningContext,
    LearnRequest,
    LearnState,
    Step,
    TrainingSignal,
    Window,
)
from src.agents.tiers import identity
from src.domain.alerts import AlertSeverity
from src.domain.improvement import ActionStatus, ChangeKind, DetectedPattern, LearningItem
from src.domain.rubric import RubricDecision
from src.errors import ContractViolation, DatabaseUnavailable, DataUnavailable, HPOError
from src.mlops.tracing.orphans import find_orphans
from src.storage.audit_chain import AuditEntry
from tests.unit.test_agents.test_feedback_learner.learning_parts import (
    CYCLE,
    Parts,
    decided,
    deps,
    item,
    items,
    learn,
    parts,
)

A, S, U, E = (
    RubricDecision.ACCEPTABLE,
    RubricDecision.SUGGESTION,
    RubricDecision.AUTO_UPDATE,
    RubricDecision.ESCALATE,
)
BEFORE = ["audit_init", "enrich", "collect", "analyze", "rubric"]
NODES = [*BEFORE, "extract", "update", "finalize", "queue_suggestion", "raise_alert"]
COMPONENTS = ("explainer", "rag_answer", "causal_impact", "tool_composer")


def batch(*decisions: RubricDecision) -> list[LearningItem]:
    """Five answers for each decision, each of another component."""
    return [
        one
        for number, decision in enumerate(decisions)
        for one in decided(decision, COMPONENTS[number], first=10 * number + 1)
    ]


def test_the_graph_has_these_nodes_and_every_node_a_budget() -> None:
    graph = build_graph()
    assert set(graph.nodes) - {"__start__"} == set(NODES)
    assert set(load_agents_config().agents[PLACE].node_timeouts) == set(NODES)
    assert (identity(PLACE).tier, FeedbackLearnerAgent.tier) == (5, 5)


@pytest.mark.parametrize(
    ("decisions", "after_rubric"),
    [
        ((), []),
        ((A,), []),
        ((A, A), []),
        ((S,), ["queue_suggestion"]),
        ((U,), ["extract", "update"]),
        ((E,), ["raise_alert"]),
        ((S, U), ["queue_suggestion", "extract", "update"]),
        ((E, U), ["raise_alert", "extract", "update"]),
        ((U, E, S, A), ["raise_alert", "queue_suggestion", "extract", "update"]),
    ],
)
async def test_the_decisions_of_a_batch_choose_its_route(
    decisions: tuple[RubricDecision, ...], after_rubric: list[str]
) -> None:
    ran = await learn(parts(*batch(*decisions)))
    assert ran.route == [*BEFORE, *after_rubric, "finalize"]
    assert ran.result.meta.status == "completed"
    assert ran.result.decisions == dict(zip(COMPONENTS, decisions, strict=False))


async def test_each_component_gets_what_its_own_decision_calls_for() -> None:
    ran = await learn(parts(*batch(U, S, E, A)))
    made = ran.parts
    assert [one[0] for one in made.pipeline.proposed] == ["explainer"]
    assert made.pipeline.suggested == ["rag_answer"]
    assert ran.result.alerted == ("causal_impact",)
    (alert,) = made.alerts.sent
    assert (alert.severity, alert.details["component"]) == (AlertSeverity.CRITICAL, "causal_impact")
    assert set(ran.result.actions) == {"action-explainer", "action-rag_answer"}
    assert ran.result.knowledge == ("lesson-1",)


async def test_a_component_that_waits_is_given_back_and_the_rest_is_finished() -> None:
    made = parts(*decided(A), *items(2, component="rag_answer", first=50))
    ran = await learn(made)
    assert ran.result.waiting == {"rag_answer": "2 of the 5 judged answers that a decision needs"}
    assert made.items.given_back == [[one.interaction_id for one in items(2, first=50)]]
    assert made.items.finished == 1
    assert made.cycles.ended[0]["summary"]["decisions"] == {"explainer": "ACCEPTABLE", "rag_answer": "waits"}


async def test_a_cycle_is_closed_with_its_strictest_decision_and_without_a_word_of_an_answer() -> None:
    made = parts(*(dataclasses.replace(one, answer="Secret words.", query="Secret?") for one in batch(U, S)))
    await learn(made)
    (ended,) = made.cycles.ended
    assert (ended["status"], ended["decision"], ended["items"]) == ("completed", "AUTO_UPDATE", 10)
    assert "Secret" not in str(ended)


FAILING = {
    "enrich": ("history", "active"),
    "collect": ("items", "claim"),
    "rubric": ("evaluations", "recent_weaknesses"),
    "queue_suggestion": ("pipeline", "suggest"),
    "extract": ("pipeline", "propose"),
    "update": ("pipeline", "carry_on"),
    "raise_alert": ("alerts", "send"),
}


def breaking(made: Parts, node: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    part, method = FAILING[node]
    monkeypatch.setattr(getattr(made, part), method, fails)


@pytest.mark.parametrize("node", FAILING)
async def test_an_error_of_any_node_ends_the_cycle_as_failed_and_gives_its_answers_back(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parts(*batch(U, S, E))
    breaking(made, node, HPOError("too few items"), monkeypatch)
    ran = await learn(made)
    assert ran.route[-2:] == [node, "finalize"]
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.error.node) == ("HPOError", node)
    assert (ran.result.meta.status, ran.result.training_signal) == ("failed", None)
    (ended,) = made.cycles.ended
    assert ended["status"] == "failed"
    assert ended["summary"]["error"] == {"type": "HPOError", "message": "too few items", "node": node}
    assert (made.items.given_back, made.items.finished) == ([None], 0)


async def test_what_nobody_expected_closes_the_cycle_and_leaves_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parts(*batch(U))
    breaking(made, "extract", KeyError("inputs"), monkeypatch)
    with pytest.raises(KeyError, match="inputs"):
        await learn(made)
    assert [one["status"] for one in made.cycles.ended] == ["failed"]
    assert made.items.given_back == [None]


async def test_a_cycle_that_cannot_be_closed_stays_open_and_is_closed_when_it_is_resumed() -> None:
    made, saver = parts(*batch(U)), InMemorySaver(serde=checkpoint_serializer())
    made.cycles.fails = DatabaseUnavailable("the server is gone")
    with pytest.raises(CycleLeftOpen, match="the server is gone"):
        await learn(made, saver=saver)
    assert made.items.given_back == []
    made.cycles.fails = None
    ran = await learn(made, saver=saver)
    assert ran.route == ["finalize"]
    assert len(made.pipeline.proposed) == len(made.pipeline.carried) == 1
    assert (ran.result.meta.status, made.cycles.ended[0]["status"]) == ("completed", "completed")


class Killed(BaseException):
    """What a process does not survive."""


@pytest.mark.parametrize("node", [one for one in FAILING if one != "enrich"])
async def test_a_killed_cycle_goes_on_at_the_node_where_it_stopped(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = await learn(parts(*batch(U, S, E)))
    made, saver = parts(*batch(U, S, E)), InMemorySaver(serde=checkpoint_serializer())
    with monkeypatch.context() as patch:
        breaking(made, node, Killed(), patch)  # type: ignore[arg-type]
        with pytest.raises(Killed):
            await learn(made, saver=saver)
    assert (made.cycles.ended, made.items.given_back) == ([], [])
    ran = await learn(made, saver=saver)
    assert ran.route == unbroken.route[unbroken.route.index(node) :]
    kept = ("items", "patterns", "decisions", "actions", "steps", "alerted", "training_signal", "counts")
    assert [getattr(ran.result, name) for name in kept] == [getattr(unbroken.result, name) for name in kept]


async def test_a_closed_cycle_leaves_no_checkpoint() -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    await learn(parts(*batch(A)), saver=saver)
    assert [one async for one in saver.alist(None)] == []


def test_what_a_checkpoint_holds_comes_back_equal() -> None:
    serializer = checkpoint_serializer()
    written = (
        LearnRequest(Window("2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"), (CYCLE,), ("explainer",)),
        LearningContext(
            "2026-01-01T00:00:00+00:00",
            (KnownLesson("k", "failure", "explainer", "too long"),),
            (EarlierAction("a", "explainer", ActionStatus.CONFIRMED, True),),
        ),
        Collected((CYCLE,), (Behaviour("correction_given", "explainer", (CYCLE,)),), outcomes=2),
        DetectedPattern("explainer", "latency", 2, "high", (CYCLE,), "slow"),
        ComponentVerdict("explainer", U, 2.0, (CYCLE,), "llm", "mean 2.00 of 5", ("low_user_rating",)),
        ComponentVerdict("explainer", None, None, (), "heuristic", "waits"),
        Step("explainer", None, None, "nothing better"),
        TrainingSignal(0.0, accuracy=0.5),
    )
    assert serializer.loads_typed(serializer.dumps_typed(written)) == written
    assert [serializer.loads_typed(serializer.dumps_typed(one)) for one in written] == list(written)


async def test_checkpoints_hold_no_text_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    saver = InMemorySaver(serde=checkpoint_serializer())
    made = parts(*(dataclasses.replace(one, answer="Secret words.", corrections=("Secret.",)) for one in batch(U)))
    breaking(made, "update", Killed(), monkeypatch)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        await learn(made, saver=saver)
    written = [one.checkpoint async for one in saver.alist(None)]
    assert written
    assert "Secret" not in str(written)
    assert "Secret" not in str(saver.blobs)


async def test_every_key_that_nodes_write_is_declared() -> None:
    declared = set(LearnState.__annotations__)
    given, _ = deps()
    run = dataclasses.replace(given, workspace={PLACE: parts(*batch(U, S, E)).services()})
    asked = {"request": LearnRequest(batch_id=CYCLE)}
    seen: set[str] = set()
    async for update in build_graph().astream(asked, context=run, stream_mode="updates"):
        for written in update.values():
            seen |= set(written or {})
    assert seen <= declared
    assert declared - seen == {"request", "error"}


async def test_every_node_is_a_span_of_one_trace_without_orphans() -> None:
    ran = await learn(parts(*batch(U, S, E)))
    (root,) = ran.spans("learn")
    assert find_orphans(ran.sink.spans) == []
    for node in NODES:
        (span,) = ran.spans(node)
        assert (span["parent_span_id"], span["agent_name"]) == (root["span_id"], PLACE)


class Chain:
    """A hash chain in memory."""

    def __init__(self) -> None:
        self.nodes: list[str] = []

    async def append(self, agent: str, node: str, input_sha256: str, output_sha256: str) -> AuditEntry:
        assert len(input_sha256) == len(output_sha256) == 64
        self.nodes.append(node)
        return AuditEntry("chain", len(self.nodes) - 1, "0" * 64)


async def test_every_node_leaves_an_entry_in_the_audit_chain() -> None:
    given, _ = deps()
    chain = Chain()
    await FeedbackLearnerAgent(parts(*batch(U, S, E)).services()).learn(
        {"batch_id": CYCLE}, dataclasses.replace(given, audit=chain)
    )
    assert sorted(chain.nodes) == sorted(NODES)
    assert chain.nodes[0] == "audit_init"


async def test_a_change_that_needs_a_person_is_put_to_one_and_holds_nothing_up() -> None:
    made = parts(*batch(U, U))
    made.pipeline.status = ActionStatus.AWAITING_APPROVAL
    ran = await learn(made)
    assert made.desk.asked == ["action-explainer", "action-rag_answer"]
    assert {one.status for one in ran.result.steps} == {ActionStatus.AWAITING_APPROVAL}


async def test_without_a_change_nothing_is_carried_on_and_the_reason_is_told() -> None:
    made = parts(*batch(U))
    made.pipeline.nothing = "nothing better was found"
    ran = await learn(made)
    assert (made.pipeline.carried, ran.result.actions) == ([], ())
    assert "no change of explainer: nothing better was found" in ran.result.meta.warnings


def retrieved(those: list[LearningItem], ragas: float) -> list[LearningItem]:
    metrics = {"context_precision": ragas, "context_recall": ragas}
    return [dataclasses.replace(one, retrieval_config_id="settings-1", ragas=metrics) for one in those]


@pytest.mark.parametrize(
    ("those", "proposed"),
    [
        (items(5), [("explainer", ChangeKind.PROMPT)]),
        (retrieved(items(5), 0.9), [("explainer", ChangeKind.PROMPT)]),
        (retrieved(items(5), 0.3), [("explainer", ChangeKind.PROMPT), ("retrieval", ChangeKind.RETRIEVAL)]),
        (retrieved(items(5, 4.5), 0.3), [("retrieval", ChangeKind.RETRIEVAL)]),
        (items(5, component="causal_impact"), [("causal_impact", ChangeKind.WORKFLOW)]),
        (items(5, component="nobody_configured_it"), [("nobody_configured_it", ChangeKind.WORKFLOW)]),
        ([*items(4), *retrieved([item(9)], 0.1)], [("explainer", ChangeKind.WORKFLOW)]),
    ],
)
async def test_the_scores_choose_the_kind_of_change(
    those: list[LearningItem], proposed: list[tuple[str, ChangeKind]]
) -> None:
    ran = await learn(parts(*those))
    assert [one[:2] for one in ran.parts.pipeline.proposed] == proposed


async def test_given_items_are_learnt_from_and_their_rows_left_alone() -> None:
    made = parts()
    given, _ = deps()
    agent = FeedbackLearnerAgent(made.services())
    result = await agent.process_feedback(items(5, None), given)
    assert (len(result.items), result.counts["judged_now"]) == (5, 5)
    assert (made.evaluations.stored, made.items.claims, made.cycles.started) == ([], [], ["manual"])
    with pytest.raises(DataUnavailable, match="nothing to learn from"):
        await agent.process_feedback([], given)


async def test_the_handoff_tells_others_of_the_last_cycle() -> None:
    given, _ = deps()
    agent = FeedbackLearnerAgent(parts(*batch(U, E)).services())
    with pytest.raises(DataUnavailable, match="nothing was learnt yet"):
        agent.get_handoff()
    result = await agent.learn(LearnRequest(batch_id=CYCLE), given)
    told = agent.get_handoff()
    assert (told.agent, told.batch_id, told.status) == (PLACE, CYCLE, "completed")
    assert told.decisions == {"explainer": "AUTO_UPDATE", "rag_answer": "ESCALATE"}
    assert told.actions == {"action-explainer": "measuring"}
    assert result.training_signal is not None
    assert told.reward == result.training_signal.reward
    assert "rag_answer: a person was told" in told.next_steps


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mood": "good"}, "unknown key 'mood'"),
        ({"trigger": "whim"}, "no trigger 'whim'"),
        ({"limit": 0}, "limit must be a whole number"),
        ({"items": "one"}, "items must be a list"),
        ({"items": ["one"]}, "items: 'one' is no id"),
        ({"batch_id": "x"}, "batch_id: 'x' is no id"),
        ({"window": {"begin": "2026-01-01", "end": "2026-01-02"}}, "has no offset"),
        ({"window": {"begin": "soon", "end": "later"}}, "no time in ISO 8601"),
        ({"window": {"begin": "2026-01-02T00:00:00+00:00", "end": "2026-01-01T00:00:00+00:00"}}, "ends before"),
        ({"window": {"start": "x"}}, "unknown key 'start' in the window"),
    ],
)
async def test_a_request_that_is_not_valid_is_refused_before_anything_is_read(
    changed: dict[str, Any], message: str
) -> None:
    made = parts(*batch(A))
    with pytest.raises(ContractViolation, match=message):
        await learn(made, {"batch_id": CYCLE, **changed})
    assert made.cycles.ended == []


async def test_a_request_narrows_what_is_claimed() -> None:
    made = parts(*batch(A))
    window = {"begin": "2026-01-01T00:00:00+00:00", "end": "2026-02-01T00:00:00+02:00"}
    await learn(made, {"batch_id": CYCLE, "window": window, "items": [CYCLE], "focus_components": ["explainer"]})
    (claim,) = made.items.claims
    assert (claim["components"], claim["only"]) == (("explainer",), (CYCLE,))
    assert claim["until"] - claim["since"] == timedelta(days=31, hours=-2)
