"""Are sessions counted, found again, forgotten when idle, and never mixed up?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from src.app.conversation_retention import forget_idle_conversations
from src.app.session import open_checkpointer
from src.errors import RunNotFound
from src.storage.conversations import ConversationRepository, Usage
from src.storage.database import Database


@pytest.fixture
def conversations(db: Database) -> ConversationRepository:
    return ConversationRepository(db)


async def ask(
    conversations: ConversationRepository, session_id: str, *, tokens: int = 0, dollars: float = 0.0, end: bool = True
) -> str:
    trace_id = str(uuid4())
    await conversations.begin(session_id, trace_id, role="analyst", expertise="analyst", request={"query": "why?"})
    if end:
        await conversations.end(trace_id, status="answered", tokens=tokens, dollars=dollars)
    return trace_id


async def test_what_a_session_uses_adds_up_and_is_its_own(conversations: ConversationRepository) -> None:
    mine, other = str(uuid4()), str(uuid4())
    assert await conversations.usage(mine) == Usage()
    await ask(conversations, mine, tokens=10, dollars=0.25)
    await ask(conversations, mine, tokens=5, dollars=0.5)
    await ask(conversations, other, tokens=7)
    assert await conversations.usage(mine) == Usage(2, 2, 15, 0.75)
    assert await conversations.usage(other) == Usage(1, 1, 7, 0.0)


async def test_only_questions_of_the_last_hour_count_as_such(
    conversations: ConversationRepository, db: Database
) -> None:
    session = str(uuid4())
    first = await ask(conversations, session)
    await ask(conversations, session)
    await db.execute(
        "UPDATE conversation_questions SET asked_at = asked_at - interval '61 minutes' WHERE trace_id = %s", (first,)
    )
    assert (await conversations.usage(session)).questions_last_hour == 1


async def test_a_question_that_ended_is_counted_once(conversations: ConversationRepository) -> None:
    session = str(uuid4())
    trace = await ask(conversations, session, tokens=10)
    await conversations.end(trace, status="failed", tokens=99)
    assert (await conversations.usage(session)).tokens == 10


async def test_an_interrupted_question_is_found_with_its_request(conversations: ConversationRepository) -> None:
    session = str(uuid4())
    trace = await ask(conversations, session, end=False)
    (found,) = await conversations.unfinished()
    assert (found.session_id, found.trace_id, found.request) == (session, trace, {"query": "why?"})
    await conversations.end(trace, status="answered")
    assert list(await conversations.unfinished()) == []


async def test_an_interrupted_question_is_found_after_others_were_asked_in_its_session(
    conversations: ConversationRepository,
) -> None:
    session = str(uuid4())
    first = await ask(conversations, session, end=False)
    await ask(conversations, session)
    third = await ask(conversations, session, end=False)
    assert [one.trace_id for one in await conversations.unfinished()] == [first, third]
    await conversations.end(third, status="answered")
    assert [(one.trace_id, one.request) for one in await conversations.unfinished()] == [(first, {"query": "why?"})]


@pytest.mark.parametrize(("status", "rule"), [("declined", "individuals"), ("refused", "questions_per_hour")])
async def test_why_a_question_was_not_answered_is_kept(
    conversations: ConversationRepository, db: Database, status: str, rule: str
) -> None:
    trace = await ask(conversations, str(uuid4()), end=False)
    await conversations.end(trace, status=status, rule=rule)
    row = await db.fetchrow("SELECT status, rule FROM conversation_questions WHERE trace_id = %s", (trace,))
    assert row == {"status": status, "rule": rule}


async def test_a_refused_question_counts_neither_as_asked_nor_as_unfinished(
    conversations: ConversationRepository,
) -> None:
    session = str(uuid4())
    await ask(conversations, session, tokens=3)
    for at in (session, str(uuid4())):
        rule = "questions_per_hour"
        await conversations.refuse(at, str(uuid4()), role="analyst", expertise="analyst", rule=rule)
    assert await conversations.usage(session) == Usage(1, 1, 3, 0.0)
    assert list(await conversations.unfinished()) == []


async def test_a_session_is_found_by_the_beginning_of_its_id(conversations: ConversationRepository) -> None:
    session = str(uuid4())
    await ask(conversations, session)
    assert await conversations.named(session[:8].upper()) == session
    assert [one.session_id for one in await conversations.recent(5)] == [session]


@pytest.mark.parametrize("start", ["abc", "no-such-session", "0123456789", "%%%%%%%%"])
async def test_a_session_that_is_not_there_is_named(conversations: ConversationRepository, start: str) -> None:
    await ask(conversations, "99999999-0000-4000-8000-000000000000")
    with pytest.raises(RunNotFound, match="there is no session"):
        await conversations.named(start)


async def test_an_idle_session_is_forgotten_with_its_memory_and_one_that_answers_is_not(
    conversations: ConversationRepository, db: Database
) -> None:
    idle, answering, fresh = (str(uuid4()) for _ in range(3))
    await ask(conversations, idle)
    await ask(conversations, answering, end=False)
    async with open_checkpointer(db) as checkpointer:
        for session in (idle, answering, fresh):
            await checkpointer.aput(
                {"configurable": {"thread_id": session, "checkpoint_ns": ""}}, _checkpoint(), {"step": 0}, {}
            )
    later = datetime.now(UTC) + timedelta(days=31)
    foreseen = await forget_idle_conversations(db, days=30, dry_run=True, now=later)
    assert (foreseen.forgotten, len(await conversations.recent(9))) == (1, 2)
    await ask(conversations, fresh)
    used_later = "UPDATE conversations SET last_used_at = now() + interval '20 days' WHERE session_id = %s"
    await db.execute(used_later, (fresh,))
    done = await forget_idle_conversations(db, days=30, now=later)
    assert done.forgotten == 1
    assert {one.session_id for one in await conversations.recent(9)} == {answering, fresh}
    threads = await db.fetch("SELECT DISTINCT thread_id FROM checkpoints.checkpoints")
    assert {row["thread_id"] for row in threads} == {answering, fresh}


def _checkpoint() -> dict[str, object]:
    return {
        "v": 4,
        "id": str(uuid4()),
        "ts": datetime.now(UTC).isoformat(),
        "channel_values": {},
        "channel_versions": {},
        "versions_seen": {},
    }
