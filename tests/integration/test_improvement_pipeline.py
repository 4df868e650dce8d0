"""Does a good change take every hop once and leave its rows behind, and do people have their say?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from src.domain.improvement import ActionStatus, ChangeKind, Hop, ItemScores, LearningItem, Variant, digest
from src.domain.prompts import load_prompt
from src.domain.rubric import RubricDecision
from src.errors import ContractViolation, DataUnavailable, GuardrailViolation
from src.optimization.gates.splits import split_items
from src.optimization.improver import Spend
from src.storage.database import Database
from src.storage.interaction_inputs import InteractionInputs
from tests.integration.improvement_loop import (
    BETTER,
    GAIN,
    OLD,
    Loop,
    ScriptedImprover,
    ScriptedReplay,
    noise,
    open_loop,
    with_rule,
)
from tests.unit.test_storage.loop_rows import scored

ALL = ["proposed", "candidate", "guarded", "tested", "approved", "canary", "measured", "promoted", "measured", "closed"]


@pytest.fixture
async def loop(db: Database) -> Loop:
    return await open_loop(db)


# The way of a good change.


async def test_a_proposal_is_a_row_with_its_first_hop(loop: Loop) -> None:
    action_id = await loop.proposed()
    action = await loop.action(action_id)
    assert (action["status"], action["component"], action["decision"]) == ("proposed", "explainer", "AUTO_UPDATE")
    assert (action["before_config"], action["after_config"]) == ({"text": OLD}, {"text": BETTER})
    assert (action["judged_by"], action["origin"], action["priority"]) == ("llm", "gepa", "high")
    assert action["expected_gain"] == pytest.approx(0.6)
    assert "actionability (6)" in action["action_description"]
    (hop,) = await loop.services.hops.hops(action_id)
    assert (hop.hop, hop.actor, hop.happened_at) == (Hop.PROPOSED, "loop", loop.clock())
    assert (hop.parent_sha256, hop.content_sha256) == (digest({"text": OLD}), digest({"text": BETTER}))
    assert f"+- {GAIN}" in hop.evidence["diff"]
    assert hop.evidence["judge"] == "optimising-judge"
    assert hop.evidence["spend"]["dollars"] == 0.05
    assert hop.evidence["train"]["n"] + hop.evidence["validation"]["n"] < len(loop.items)


async def test_a_change_that_passes_answers_a_share_of_the_sessions(loop: Loop) -> None:
    action_id = await loop.proposed()
    done = await loop.pipeline.carry_on(action_id)
    assert [hop.value for hop in done.done] == ALL[1:6]
    assert (done.status, done.waits_for) == (ActionStatus.MEASURING, "canary: 0 of 8 sessions after 0.0 hours")
    hops = {one.hop: one.evidence for one in await loop.services.hops.hops(action_id)}
    assert hops[Hop.GUARDED]["guardrails"] == {}
    verdict = hops[Hop.TESTED]["verdict"]
    assert (verdict["outcome"], verdict["looked"], verdict["look"]) == ("pass", True, 1)
    assert verdict["target"]["low"] > 0
    assert hops[Hop.TESTED]["judge"]["name"] == "gating-judge"
    assert hops[Hop.TESTED]["spend"]["dollars"] > 0
    assert hops[Hop.APPROVED] == {"needed": False}
    (version,) = await loop.rows("SELECT * FROM prompt_versions WHERE source_action_id = %s", action_id)
    assert (version["status"], version["content"], version["parent_version"]) == ("approved", BETTER, 1)
    assert version["offline_score"] > version["baseline_score"]
    (canary,) = await loop.rows("SELECT * FROM prompt_ab_tests WHERE action_id = %s", action_id)
    assert (canary["control_version"], canary["treatment_version"], canary["split"]) == (1, 2, 0.5)
    assert (canary["status"], canary["started_at"]) == ("running", loop.clock())
    assert await loop.active() == [1]
    assert (await loop.action(action_id))["baseline_score"] == pytest.approx(verdict["target"]["baseline"])


async def test_a_canary_that_is_not_worse_comes_into_use(loop: Loop) -> None:
    action_id = await loop.in_canary()
    await loop.answer_in_canary(action_id, 10, lambda arm: 3.0)
    assert (await loop.pipeline.carry_on(action_id)).status is ActionStatus.MEASURING
    loop.clock.pass_hours(25)
    done = await loop.pipeline.carry_on(action_id)
    assert Hop.PROMOTED in done.done
    assert done.status is ActionStatus.APPLIED
    action = await loop.action(action_id)
    assert action["applied_at"] == loop.clock()
    (canary,) = await loop.rows("SELECT * FROM prompt_ab_tests WHERE action_id = %s", action_id)
    looks = [one for one in await loop.services.hops.hops(action_id) if one.hop is Hop.MEASURED]
    assert (canary["status"], canary["winner"], len(canary["looks"])) == ("completed", "treatment", len(looks))
    assert [one.attempt for one in looks] == list(range(1, len(looks) + 1))
    assert await loop.active() == [2]
    assert await loop.rows("SELECT status FROM prompt_versions WHERE version = 1 AND component = 'explainer'") == [
        {"status": "retired"}
    ]


async def test_a_change_that_helped_is_confirmed_and_teaches(loop: Loop) -> None:
    action_id = await loop.applied()
    for _ in range(20):
        await loop.answer(2, 3.6)
    assert "24 hours are needed" in (await loop.pipeline.carry_on(action_id)).waits_for
    loop.clock.pass_hours(25)
    done = await loop.pipeline.carry_on(action_id)
    assert (done.status, done.done) == (ActionStatus.CONFIRMED, (Hop.MEASURED,))
    assert done.waits_for == "the end of the 48 hours in which a drop takes it back; 25.0 are over"
    action = await loop.action(action_id)
    assert (action["outcome_measured"], action["outcome_improved"], action["samples_measured"]) == (True, True, 20)
    assert action["outcome_delta"] == pytest.approx(0.6, abs=0.05)
    assert action["measured_at"] == loop.clock()
    loop.clock.pass_hours(23)
    done = await loop.pipeline.carry_on(action_id)
    assert (done.status, done.done, done.waits_for) == (ActionStatus.CONFIRMED, (Hop.CLOSED,), "")
    (lesson,) = await loop.rows("SELECT * FROM experiment_knowledge_store")
    assert (lesson["lesson_type"], lesson["validated"], lesson["source_id"]) == ("success", True, action_id)
    assert GAIN in lesson["description"]
    assert lesson["knowledge_json"]["change_sha256"] == digest({"text": BETTER})
    assert loop.mailbox.alerts == []
    assert await loop.services.hops.verify(action_id)


async def test_what_helped_is_given_to_the_next_candidate_and_learns_what_came_of_it(loop: Loop) -> None:
    first = await loop.applied()
    for _ in range(20):
        await loop.answer(2, 3.6)
    loop.clock.pass_hours(49)
    assert (await loop.pipeline.carry_on(first)).done == (Hop.MEASURED, Hop.CLOSED)
    await loop.next_cycle()
    loop.improver.contents = [{"text": with_rule(GAIN, "Write in long sentences.")}]
    second = await loop.proposed()
    (lesson,) = loop.improver.tasks[-1].lessons
    assert (await loop.action(second))["knowledge_ids"] == [lesson.knowledge_id]
    assert (await loop.pipeline.carry_on(second)).status is ActionStatus.REJECTED
    known = "SELECT times_applied, times_measured, success_rate FROM experiment_knowledge_store WHERE knowledge_id = %s"
    assert await loop.rows(known, lesson.knowledge_id) == [
        {"times_applied": 1, "times_measured": 1, "success_rate": 0.0}
    ]


async def test_test_items_never_reach_the_improver(loop: Loop) -> None:
    await loop.in_canary()
    (task,) = loop.improver.tasks
    shown = {item.interaction_id for item in (*task.train, *task.validation)}
    test = {item.interaction_id for item in split_items(loop.items, loop.services.settings.gate).test}
    assert shown.isdisjoint(test)
    assert shown | test == {item.interaction_id for item in loop.items}
    assert test in [set(ids) for _, ids in loop.replay.seen]


async def test_by_default_a_candidate_is_made_from_the_answers_kept_for_replay(loop: Loop) -> None:
    ids = [await scored(loop.db, f"Why is number {n} low?", prompt_versions={"explainer": 1}) for n in range(12)]
    inputs = InteractionInputs(loop.db)
    for interaction_id in ids[:8]:
        await inputs.keep(interaction_id, "explainer", {"findings": [interaction_id]})
    await loop.changed(item_sources={}).propose()
    (task,) = loop.improver.tasks
    shown = [*task.train, *task.validation]
    assert 0 < len(shown) < 8
    assert {item.interaction_id for item in shown} < set(ids[:8])
    assert all(item.inputs == {"findings": [item.interaction_id]} for item in shown)


async def test_the_same_cycle_again_is_the_same_change_and_costs_nothing(loop: Loop) -> None:
    first = await loop.propose()
    again = await loop.propose()
    assert first.action is not None
    assert again.action is not None
    assert again.action.action_id == first.action.action_id
    assert len(loop.improver.tasks) == 1
    assert loop.improver.tasks[0].run_name == f"{await loop.cycle()}-explainer"


@pytest.mark.parametrize("status", ["proposed", "awaiting_approval", "measuring", "applied"])
async def test_a_component_has_one_change_under_way(loop: Loop, status: str) -> None:
    action_id = await loop.proposed()
    await loop.db.execute("UPDATE improvement_actions SET status = %s::action_status", (status,))
    await loop.next_cycle()
    found = await loop.propose()
    assert found.action is None
    assert found.reason == f"a change of explainer is under way ({status}, {action_id})"
    assert len(loop.improver.tasks) == 1


async def test_what_was_paid_for_nothing_is_recorded_and_not_paid_again_at_once(loop: Loop) -> None:
    loop.improver.contents = [{"text": OLD}, {"text": BETTER}]
    found = await loop.propose()
    assert found.action is not None
    assert (found.action.status, found.spend.dollars) == (ActionStatus.BLOCKED, 0.05)
    assert (await loop.pipeline.carry_on(found.action.action_id)).done == (Hop.CLOSED,)
    assert (await loop.pipeline.explain(found.action.action_id)).spend.dollars == 0.05
    assert await loop.rows("SELECT 1 FROM experiment_knowledge_store") == []
    cycle_id = await loop.next_cycle()
    loop.clock.pass_hours(-0.1)
    soon = await loop.propose(cycle_id=cycle_id)
    assert (soon.action, len(loop.improver.tasks)) == (None, 1)
    assert soon.reason == "a candidate for explainer was paid for less than 6 hours ago"
    loop.clock.pass_hours(0.1)
    later = (await loop.propose(cycle_id=cycle_id)).action
    assert later is not None
    assert later.status is ActionStatus.PROPOSED


async def test_nothing_better_that_cost_nothing_is_no_action(loop: Loop) -> None:
    loop.improver.contents, loop.improver.spend = [{"text": OLD}], Spend()
    assert (await loop.propose()).action is None
    assert await loop.rows("SELECT 1 FROM improvement_actions") == []


# What is left to people.


async def test_of_a_workflow_only_a_suggestion_is_made(loop: Loop) -> None:
    found = await loop.propose("causal_impact")
    assert found.action is not None
    assert found.action.status is ActionStatus.QUEUED
    assert found.action.after_config == {"suggestion": "look at actionability"}
    assert loop.improver.tasks == []
    assert (await loop.pipeline.measure()) == ()


async def test_a_suggestion_is_queued_once_while_it_waits_and_a_person_takes_it_up(loop: Loop) -> None:
    cycle_id = await loop.cycle()
    queued = [
        await loop.pipeline.suggest("explainer", RubricDecision.SUGGESTION, loop.items[:3], [], cycle_id)
        for _ in range(2)
    ]
    assert queued[0].action is not None
    assert queued[0].action == queued[1].action
    action_id = queued[0].action.action_id
    again = await loop.pipeline.suggest(
        "explainer", RubricDecision.SUGGESTION, loop.items[3:6], [], await loop.next_cycle()
    )
    assert again.action == queued[0].action
    other = [replace(item, weaknesses=("evidence_chain",)) for item in loop.items[:3]]
    more = await loop.pipeline.suggest("explainer", RubricDecision.SUGGESTION, other, [], await loop.cycle())
    assert more.action is not None
    assert more.action.action_id != action_id
    assert (await loop.pipeline.carry_on(action_id)).waits_for == "a person"
    done = await loop.pipeline.approve(action_id, "anna")
    assert (done.status, done.done) == (ActionStatus.CONFIRMED, (Hop.APPROVED, Hop.CLOSED))
    assert done.waits_for == "anna: nothing follows from a suggestion by itself"
    assert (await loop.action(action_id))["approved_by"] == "anna"
    assert await loop.rows("SELECT 1 FROM experiment_knowledge_store") == []


async def test_a_wish_from_rules_alone_waits_for_a_person_who_agrees(loop: Loop) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    waiting = await loop.pipeline.carry_on(action_id)
    assert waiting.status is ActionStatus.AWAITING_APPROVAL
    assert waiting.waits_for == "a person's approval: the wish for it rests on scores by rules alone"
    assert (await loop.pipeline.carry_on(action_id)).done == ()
    done = await loop.pipeline.approve(action_id, "anna")
    assert (done.status, done.done) == (ActionStatus.MEASURING, (Hop.APPROVED, Hop.CANARY))
    approved = next(one for one in await loop.services.hops.hops(action_id) if one.hop is Hop.APPROVED)
    assert (approved.actor, approved.evidence) == ("anna", {"needed": True, "approved_by": "anna"})
    with pytest.raises(GuardrailViolation, match="only a change that is queued or awaiting_approval can be approved"):
        await loop.pipeline.approve(action_id, "anna")


async def test_a_wish_that_rests_on_rules_in_part_waits_for_a_person_too(loop: Loop) -> None:
    items = [replace(item, method="llm", rubric_weighted=4.5) for item in loop.items[:5]]
    items += [replace(item, method="heuristic", rubric_weighted=1.5) for item in loop.items[5:15]]
    found = await loop.pipeline.propose("explainer", RubricDecision.AUTO_UPDATE, items, [], await loop.cycle())
    assert found.action is not None
    assert (await loop.pipeline.carry_on(found.action.action_id)).status is ActionStatus.AWAITING_APPROVAL


async def test_of_two_people_at_once_one_decides_and_the_other_is_told(loop: Loop) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    await loop.pipeline.carry_on(action_id)
    words = (
        loop.pipeline.approve(action_id, "anna"),
        loop.pipeline.reject(action_id, "bert", "too long"),
        loop.pipeline.approve(action_id, "carl"),
    )
    said = await asyncio.gather(*words, return_exceptions=True)
    assert sorted(type(one).__name__ for one in said) == ["CarriedOn", "GuardrailViolation", "GuardrailViolation"]
    told = await loop.services.hops.hops(action_id)
    assert len([one for one in told if one.actor != "loop"]) == 1


@pytest.mark.parametrize("nobody", ["", "  ", "loop"])
async def test_nobody_and_the_loop_itself_cannot_decide(loop: Loop, nobody: str) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    await loop.pipeline.carry_on(action_id)
    for word in (
        loop.pipeline.approve(action_id, nobody),
        loop.pipeline.reject(action_id, nobody, "no"),
        loop.pipeline.roll_back(action_id, nobody, "no"),
    ):
        with pytest.raises(ContractViolation, match="is nobody: say who decides"):
            await word
    with pytest.raises(ContractViolation, match="give a reason"):
        await loop.pipeline.reject(action_id, "anna", " ")
    assert (await loop.action(action_id))["status"] == "awaiting_approval"


async def test_while_changes_are_paused_a_person_is_asked_the_same(loop: Loop) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    asked = (await loop.pipeline.carry_on(action_id)).waits_for
    await loop.services.switch.set(paused=True, by="anna", reason="audit")
    assert (await loop.pipeline.carry_on(action_id)).waits_for == asked


@pytest.mark.parametrize("refused", [True, False])
async def test_a_lesson_names_neither_who_decided_nor_anybody_else(loop: Loop, refused: bool) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    await loop.pipeline.carry_on(action_id)
    why = "NPI 1234567893 called: too long"
    if refused:
        await loop.pipeline.reject(action_id, "anna", why)
    else:
        await loop.pipeline.approve(action_id, "bert")
        await loop.pipeline.roll_back(action_id, "anna", why)
    (lesson,) = await loop.rows("SELECT one::text AS text FROM experiment_knowledge_store AS one")
    assert "too long" in lesson["text"]
    assert "anna" not in lesson["text"]
    for table in ("experiment_knowledge_store", "improvement_actions", "improvement_hops", "prompt_versions"):
        assert await loop.rows(f"SELECT 1 FROM {table} AS one WHERE one::text LIKE '%%1234567893%%'") == []
    action = await loop.action(action_id)
    assert "anna: " in (action["blocked_reason"] or action["rollback_reason"])


async def test_what_a_person_refused_is_not_tried_again(loop: Loop) -> None:
    action_id = await loop.proposed(item={"method": "heuristic"})
    await loop.pipeline.carry_on(action_id)
    done = await loop.pipeline.reject(action_id, "anna", "too long")
    assert (done.status, done.done) == (ActionStatus.REJECTED, (Hop.CLOSED,))
    assert (await loop.action(action_id))["blocked_reason"] == "refused by anna: too long"
    (version,) = await loop.rows("SELECT status FROM prompt_versions WHERE source_action_id = %s", action_id)
    assert version == {"status": "rejected"}
    await loop.next_cycle()
    again = (await loop.propose()).action
    assert again is not None
    assert again.status is ActionStatus.BLOCKED
    with pytest.raises(GuardrailViolation, match="only a change that is"):
        await loop.pipeline.reject(action_id, "anna", "again")


async def test_a_change_in_use_is_rolled_back_not_rejected(loop: Loop) -> None:
    action_id = await loop.in_canary()
    with pytest.raises(GuardrailViolation, match="can be rejected"):
        await loop.pipeline.reject(action_id, "anna", "no")
    done = await loop.pipeline.roll_back(action_id, "anna", "no")
    assert (done.status, done.done) == (ActionStatus.ROLLED_BACK, (Hop.ROLLED_BACK, Hop.CLOSED))
    assert await loop.active() == [1]
    assert await loop.rows("SELECT status FROM prompt_versions WHERE version = 2") == [{"status": "rejected"}]
    assert await loop.rows("SELECT status, winner FROM prompt_ab_tests") == [
        {"status": "completed", "winner": "control"}
    ]


@pytest.mark.parametrize(
    ("hours", "hops", "learnt"),
    [
        (25, (Hop.ROLLED_BACK, Hop.CLOSED), ["failure"]),
        (49, (Hop.ROLLED_BACK,), ["failure", "success"]),
    ],
)
async def test_a_confirmed_change_is_rolled_back_by_a_person_and_that_is_learnt(
    loop: Loop, hours: float, hops: tuple[Hop, ...], learnt: list[str]
) -> None:
    action_id = await loop.applied()
    for _ in range(20):
        await loop.answer(2, 3.1)
    loop.clock.pass_hours(hours)
    await loop.pipeline.carry_on(action_id)
    done = await loop.pipeline.roll_back(action_id, "anna", "the field team dislikes it")
    assert (done.status, done.done) == (ActionStatus.ROLLED_BACK, hops)
    assert await loop.active() == [1]
    lessons = await loop.rows("SELECT lesson_type FROM experiment_knowledge_store ORDER BY 1")
    assert [one["lesson_type"] for one in lessons] == learnt
    with pytest.raises(GuardrailViolation, match="can be rolled back"):
        await loop.pipeline.roll_back(action_id, "anna", "again")


# Retrieval.


async def retrieval_loop(db: Database) -> Loop:
    loop = await open_loop(db)
    active = dict((await loop.services.retrieval.active()).settings)
    improver = ScriptedImprover(ChangeKind.RETRIEVAL, [active | {"k": 14}], judge=None)
    items = [replace(item, component="retrieval") for item in loop.items]

    async def source(component: str) -> Sequence[LearningItem]:
        return items

    def worth(content: str, item: LearningItem) -> ItemScores:
        score = 0.5 + 0.15 * ("'k': 14" in content) + noise(content, item.interaction_id, spread=0.1)
        return ItemScores(item.interaction_id, score, {}, tokens=500, latency_ms=20.0)

    return loop.changed(
        improvers={ChangeKind.RETRIEVAL: improver},
        gate_replays={ChangeKind.RETRIEVAL: ScriptedReplay(worth, "labels")},
        item_sources={ChangeKind.RETRIEVAL: source},
    )


async def test_retrieval_settings_take_the_same_way_and_are_rolled_back(db: Database) -> None:
    loop = await retrieval_loop(db)
    action_id = await loop.proposed("retrieval", item={"method": "heuristic"})
    assert (await loop.action(action_id))["judged_by"] == "labels"
    assert (await loop.pipeline.carry_on(action_id)).status is ActionStatus.MEASURING
    await loop.answer_in_canary(action_id, 10, lambda arm: 0.7)
    loop.clock.pass_hours(25)
    assert (await loop.pipeline.carry_on(action_id)).status is ActionStatus.APPLIED
    assert (await loop.services.retrieval.active()).k == 14
    for _ in range(5):
        await loop.answer(2, 0.55, kind=ChangeKind.RETRIEVAL)
    done = await loop.pipeline.carry_on(action_id)
    assert done.status is ActionStatus.ROLLED_BACK
    assert (await loop.services.retrieval.active()).version == 1
    (row,) = await loop.rows("SELECT status FROM retrieval_configurations WHERE version = 2")
    assert row == {"status": "rolled_back"}
    assert (await loop.action(action_id))["outcome_delta"] == pytest.approx(-0.15, abs=0.03)


async def test_settings_chosen_by_hand_stay(db: Database) -> None:
    loop = await retrieval_loop(db)
    action_id = await loop.proposed("retrieval")
    await loop.pipeline.carry_on(action_id)
    active = dict((await loop.services.retrieval.active()).settings)
    by_hand = "00000000-0000-0000-0000-000000000001"
    chosen = await loop.services.retrieval.add_candidate(active | {"k": 5}, action_id=by_hand)
    await loop.services.retrieval.activate(chosen.config.version, "anna")
    assert (await loop.pipeline.carry_on(action_id)).status is ActionStatus.REJECTED
    assert (await loop.services.retrieval.active()).k == 5


# All changes together, at once, and told.


async def test_two_pipelines_at_once_do_each_hop_once(loop: Loop) -> None:
    action_id = await loop.proposed()
    await asyncio.gather(*(loop.pipeline.carry_on(action_id) for _ in range(3)))
    assert (await loop.pipeline.carry_on(action_id)).status is ActionStatus.MEASURING
    assert await loop.hops(action_id) == ALL[:6]
    await loop.answer_in_canary(action_id, 10, lambda arm: 3.0)
    loop.clock.pass_hours(25)
    await asyncio.gather(*(loop.pipeline.measure() for _ in range(3)))
    assert (await loop.hops(action_id)).count("promoted") == 1
    assert await loop.active() == [2]
    assert await loop.services.hops.verify(action_id)


async def test_what_fails_on_one_change_does_not_hold_up_the_others(loop: Loop) -> None:
    class Broken(ScriptedReplay):
        async def scores(self, variant: Variant, items: Sequence[LearningItem]) -> Sequence[ItemScores]:
            if variant.component == "explainer":
                raise DataUnavailable("no inputs are kept")
            return await super().scores(variant, items)

    broken = await loop.proposed()
    loop.improver.contents = [{"text": f"{load_prompt('rag_answer').text}\n- {GAIN}"}]
    good = await loop.proposed("rag_answer")
    found = await loop.changed(gate_replays={ChangeKind.PROMPT: Broken()}).pipeline.measure()
    assert {(one.action_id, one.status.value, one.error) for one in found} == {
        (broken, "proposed", "DataUnavailable: no inputs are kept"),
        (good, "measuring", ""),
    }
    assert {one.status.value for one in await loop.pipeline.measure()} == {"measuring"}


async def test_the_story_of_a_change_tells_everything(loop: Loop) -> None:
    action_id = await loop.in_canary()
    story = await loop.pipeline.explain(action_id)
    assert [one.hop.value for one in story.hops] == ALL[:6]
    assert f"+- {GAIN}" in story.diff
    assert (story.follows, story.intact, story.problem) == ("measured", True, "")
    assert story.spend.calls > 7
    assert story.spend.dollars is not None
    document = story.document()
    assert document["hops"][3]["evidence"]["verdict"]["target"]["low"] > 0
    assert document["action"]["created_at"] == loop.clock().isoformat()


async def test_an_altered_ledger_is_told(loop: Loop) -> None:
    action_id = await loop.in_canary()
    await loop.db.execute("ALTER TABLE improvement_hops DISABLE TRIGGER ALL")
    await loop.db.execute("UPDATE improvement_hops SET actor = 'nobody' WHERE hop = 'tested'")
    story = await loop.pipeline.explain(action_id)
    assert (story.intact, story.problem) == (False, "the ledger of this change was altered after it was written")
