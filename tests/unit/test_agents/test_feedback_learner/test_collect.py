"""What does a batch hold, and does everything that was said of its answers change what follows?"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from src.agents.feedback_learner.services import Scored
from src.agents.feedback_learner.trace_scores import TraceFeedback, rating_of, with_scores
from src.resilience.outcomes import Unavailable
from src.storage.cycles import CognitiveCycle, CycleRepository
from src.storage.database import Database
from src.storage.interactions import Interaction
from src.storage.learning_items import LearningItemRepository
from src.storage.quality_signals import QualitySignalRepository, TraceScore
from src.storage.user_signals import UserSignalRepository
from tests.unit.test_agents.test_feedback_learner.learning_parts import (
    BEGAN,
    Said,
    item,
    items,
    learn,
    parts,
    rated,
)
from tests.unit.test_storage.loop_rows import answered, scored

NOW = datetime.now(UTC)


@dataclasses.dataclass
class Given:
    """A score as Opik or the database has it."""

    trace_id: str
    name: str
    value: float
    span_id: str | None = None


class Rows:
    def __init__(self, *given: Given) -> None:
        self.given = given

    async def query_feedback(self, since: datetime | None = None, agent: str | None = None) -> Any:
        return self.given


class Opik(Rows):
    """An Opik server, or one that is away."""

    def __init__(self, *given: Given, reason: str = "") -> None:
        super().__init__(*given)
        self.reason = reason

    async def query_feedback(self, since: datetime | None = None, agent: str | None = None) -> Any:
        return Unavailable("opik", self.reason) if self.reason else self.given


async def found(rows: Rows, opik: Opik | None = None) -> tuple[list[tuple[str, str, float]], str]:
    scores, missing = await TraceFeedback(opik, rows).since(NOW)  # type: ignore[arg-type]
    return [(one.trace_id, one.name, one.value) for one in scores], missing


@pytest.mark.parametrize(
    "own", ["faithfulness", "rubric_actionability", "rubric_weighted", "combined_score", "user_rating", "user_thumb"]
)
async def test_our_own_scores_are_not_read_back(own: str) -> None:
    given = Given("t", own, 0.1)
    assert await found(Rows(given), Opik(given)) == ([], "")


async def test_a_score_that_both_have_counts_once_as_opik_has_it() -> None:
    rows = Rows(Given("t", "helpful", 0.2), Given("u", "tone", 0.5))
    opik = Opik(Given("t", "helpful", 0.6), Given("t", "helpful", 1.0, "span"))
    assert await found(rows, opik) == ([("t", "helpful", 0.8), ("u", "tone", 0.5)], "")


async def test_without_opik_the_database_answers_and_it_is_said_why() -> None:
    rows = Rows(Given("t", "helpful", 0.2))
    assert await found(rows, Opik(reason="no server")) == ([("t", "helpful", 0.2)], "no server")
    assert await found(rows) == ([("t", "helpful", 0.2)], "")


@pytest.mark.parametrize(
    ("rating", "feedback", "expected"),
    [
        (None, {}, None),
        (4, {"helpful": 0.0}, 4.0),
        (None, {"helpful": 0.0}, 1.0),
        (None, {"helpful": 1.0, "tone": 0.5}, 4.0),
        (None, {"user_thumb": 0.0}, 1.0),
        (None, {"stars": 7.0}, None),
    ],
)
def test_what_people_said_in_their_own_words_counts_before_what_a_trace_was_given(
    rating: int | None, feedback: dict[str, float], expected: float | None
) -> None:
    assert rating_of(dataclasses.replace(item(1), rating=rating, feedback=feedback)) == expected


def test_scores_join_the_answers_of_their_traces() -> None:
    one, other = with_scores(items(2), [TraceScore("trace-2", "helpful", 0.4), TraceScore("x", "helpful", 0.9)])
    assert (one.feedback, other.feedback) == ({}, {"helpful": 0.4})


@pytest.mark.parametrize(("value", "route"), [(0.1, ["queue_suggestion", "finalize"]), (1.0, ["finalize"])])
async def test_feedback_on_traces_changes_what_becomes_of_a_batch(value: float, route: list[str]) -> None:
    said = Said([TraceScore(f"trace-{number}", "helpful", value) for number in range(1, 6)])
    ran = await learn(parts(*items(5, 4.6), feedback=said))
    assert ran.route[5:] == route
    assert ran.result.counts["trace_scores"] == 5


async def test_scores_on_another_scale_are_left_out_and_named() -> None:
    ran = await learn(parts(*items(5, 4.6), feedback=Said([TraceScore("trace-1", "stars", 4.0)])))
    assert ran.result.counts["trace_scores"] == 0
    assert ran.result.meta.warnings == ("scores of traces outside of 0 to 1 were left out: stars",)


async def test_a_tracing_service_that_is_away_makes_the_cycle_partial() -> None:
    ran = await learn(parts(*items(5, 4.6), feedback=Said(missing="no server")))
    assert ran.result.meta.status == "partial"
    assert ran.result.meta.degraded == ("feedback of the tracing service could not be read: no server",)


async def test_feedback_is_read_from_a_day_before_the_last_cycle_or_a_week_back() -> None:
    first = parts(*items(5))
    await learn(first)
    later = parts(*items(5))
    later.cycles.last = CognitiveCycle("c", BEGAN, BEGAN, "manual", 5, None, "completed")
    await learn(later)
    now = first.services().clock()
    assert [first.feedback.asked_since, later.feedback.asked_since] == [
        [now - timedelta(days=7)],
        [BEGAN - timedelta(days=1)],
    ]


class Scorer:
    async def score_waiting(self, limit: int) -> Scored:
        return Scored(scored=3, failed=2)


@pytest.mark.parametrize("scorer", [None, Scorer()])
async def test_without_somebody_who_scores_answers_come_unscored(scorer: Scorer | None) -> None:
    made = parts(*items(5), more={"scorer": scorer})
    ran = await learn(made)
    assert made.items.claims[0]["unscored"] is (scorer is None)
    assert ran.result.counts["scored_now"] == (0 if scorer is None else 3)
    assert ("2 answers could not be scored and wait" in ran.result.meta.warnings) is (scorer is not None)


async def test_an_answer_is_in_the_batch_once() -> None:
    ran = await learn(parts(*items(5), *items(5)))
    assert len(ran.result.items) == 5


async def test_user_signals_are_counted() -> None:
    corrected = dataclasses.replace(item(2), corrections=("not NRx", "not 2025"))
    ran = await learn(parts(rated(item(1), 2), corrected, *items(3, first=3)))
    assert ran.result.counts["user_signals"] == 3


@pytest.mark.parametrize(("n", "counted"), [(5, 1), (4, 0)])
async def test_behaviour_counts_from_its_number_on(n: int, counted: int) -> None:
    made = parts(*items(5, 4.6))
    made.signals.seen = {"question_repeated": items(n)}
    ran = await learn(made)
    assert (ran.result.counts["behaviours"], len(made.signals.kept)) == (counted, counted)
    assert [one.kind for one in ran.result.patterns] == ["relevance"] * counted


# What follows is told by rows of a real database.


async def cycle(db: Database) -> str:
    return (await CycleRepository(db).start("manual")).cycle_id


async def end(db: Database, cycle_id: str) -> None:
    await LearningItemRepository(db).finish(cycle_id)
    await CycleRepository(db).finish(cycle_id, status="completed", decision=None, items=0, summary={})


async def rows_of(db: Database, kind: str) -> list[dict[str, Any]]:
    return await db.fetch("SELECT * FROM learning_signals WHERE applies_to_type = %s ORDER BY trace_id", (kind,))


async def test_a_score_of_a_trace_is_kept_once_and_replaced_by_a_changed_one(db: Database) -> None:
    signals, first = QualitySignalRepository(db), await cycle(db)
    one = await answered(db)
    said = [TraceScore(one.trace_id, "helpful", 0.2), TraceScore("nobody's", "helpful", 0.2)]
    assert await signals.keep_scores(said, first) == [one.interaction_id]
    assert await signals.keep_scores(said, first) == []
    (row,) = await rows_of(db, "trace")
    assert (row["signal_type"], row["signal_value"], row["interaction_id"]) == (
        "implicit_negative",
        0.2,
        one.interaction_id,
    )
    assert await signals.keep_scores([TraceScore(one.trace_id, "helpful", 0.9)], first) == [one.interaction_id]
    (row,) = await rows_of(db, "trace")
    assert row["signal_type"] == "implicit_positive"
    (kept,) = await signals.scores_of([one.trace_id, "nobody's"])
    assert (kept.trace_id, kept.name, kept.value) == (one.trace_id, "helpful", 0.9)


async def test_late_feedback_has_an_answer_learnt_from_again_once(db: Database) -> None:
    signals, repository, first = QualitySignalRepository(db), LearningItemRepository(db), await cycle(db)
    interaction_id = await scored(db)
    (learnt,) = await repository.claim(first, 10)
    await end(db, first)
    second = await cycle(db)
    await signals.keep_scores([], second)
    assert await repository.claim(second, 10) == ()
    await signals.keep_scores([TraceScore(learnt.trace_id, "helpful", 0.0)], second)
    assert [one.interaction_id for one in await repository.claim(second, 10)] == [interaction_id]
    await end(db, second)
    third = await cycle(db)
    await signals.keep_scores([TraceScore(learnt.trace_id, "helpful", 0.0)], third)
    assert await repository.claim(third, 10) == ()


async def test_answers_that_wait_are_given_back_and_the_others_kept(db: Database) -> None:
    repository, first = LearningItemRepository(db), await cycle(db)
    ids = [await scored(db, f"why {number}?") for number in range(3)]
    await repository.claim(first, 10)
    assert await repository.give_back(first, ids[:1]) == 1
    await end(db, first)
    assert [one.interaction_id for one in await repository.claim(await cycle(db), 10)] == ids[:1]


async def predicted(db: Database, number: int, outcome: float | None, recorded: datetime) -> None:
    await db.execute(
        "INSERT INTO ml_predictions (prediction_id, model_version, prediction_timestamp, hcp_id, prediction_type, "
        "prediction_value, actual_outcome, outcome_recorded_at) VALUES (%s, 'm-1', %s, 'h', "
        "(enum_range(NULL::prediction_type_enum))[1], 0.8, %s, %s)",
        (f"p{number}", recorded - timedelta(days=1), outcome, recorded),
    )


async def test_every_outcome_of_a_prediction_is_counted_once(db: Database) -> None:
    signals, first = QualitySignalRepository(db), await cycle(db)
    await predicted(db, 1, 1.0, NOW - timedelta(hours=3))
    await predicted(db, 2, 0.0, NOW - timedelta(hours=2))
    assert [await signals.keep_outcomes(first), await signals.keep_outcomes(first)] == [2, 0]
    (row,) = await rows_of(db, "model_version")
    assert row["signal_value"] == pytest.approx(1 - (0.2**2 + 0.8**2) / 2)
    await predicted(db, 3, 1.0, NOW - timedelta(hours=1))
    assert await signals.keep_outcomes(first) == 1
    values = [one["signal_details"]["outcomes"] for one in await rows_of(db, "model_version")]
    assert sorted(values) == [1, 2]


SESSION, OTHER = str(uuid4()), str(uuid4())


async def ids_of(db: Database, name: str, since: datetime = NOW - timedelta(days=7)) -> list[str]:
    return [one.interaction_id for one in await QualitySignalRepository(db).behaviours(name, since, low_rating=3)]


async def test_a_question_is_repeated_where_the_same_session_asks_it_again(db: Database) -> None:
    first = await answered(db, "What moved NRx?", session_id=SESSION)
    await answered(db, "what moved  nrx", session_id=SESSION)
    await answered(db, "What moved NRx?", session_id=OTHER)
    await answered(db, "What moved NRx?")
    assert await ids_of(db, "question_repeated") == [first.interaction_id]
    assert await ids_of(db, "question_repeated", NOW + timedelta(days=1)) == []


async def say(db: Database, one: Interaction, kind: str, value: float | None) -> None:
    subject = {"interaction_id": one.interaction_id, "trace_id": one.trace_id, "session_id": None}
    await UserSignalRepository(db).give(
        subject | {"component": one.component, "brand": None}, kind, value=value, details={}
    )


async def test_low_ratings_and_corrections_are_found(db: Database) -> None:
    low, high, down, corrected = [await answered(db, f"why {number}?") for number in range(4)]
    await say(db, low, "rating", 3.0)
    await say(db, high, "rating", 4.0)
    await say(db, down, "thumbs_down", 0.0)
    await say(db, corrected, "correction", None)
    assert await ids_of(db, "answer_rated_low") == sorted([low.interaction_id, down.interaction_id])
    assert await ids_of(db, "correction_given") == [corrected.interaction_id]


async def test_a_session_is_abandoned_after_a_bad_last_answer_and_an_hour(db: Database) -> None:
    last = await answered(db, "b", session_id=SESSION, declined="no such brand")
    await answered(db, "c", session_id=OTHER, declined="no such brand")
    await answered(db, "d", session_id=str(uuid4()))
    await db.execute(
        "UPDATE rag_interactions SET created_at = now() - interval '2 hours' WHERE session_id IS DISTINCT FROM %s",
        (OTHER,),
    )
    assert await ids_of(db, "session_abandoned") == [last.interaction_id]


async def test_a_behaviour_is_kept_once_for_the_same_answers(db: Database) -> None:
    signals, first = QualitySignalRepository(db), await cycle(db)
    seen = [await signals.keep_behaviour("question_repeated", "explainer", ids, first) for ids in ("ab", "ba", "abc")]
    assert seen == [True, False, True]
    rows = await rows_of(db, "behaviour")
    assert {(one["signal_type"], one["component"], one["applies_to_id"]) for one in rows} == {
        ("implicit_negative", "explainer", "question_repeated")
    }
