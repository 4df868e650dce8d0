"""Which sessions are there, how much has each asked and spent, and which questions are not answered yet?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import RunNotFound
from src.storage.database import Database, json_value

_BEGIN = """
WITH session AS (
    INSERT INTO conversations (session_id, user_role, user_expertise, questions)
    VALUES (%(session_id)s, %(role)s, %(expertise)s, 1)
    ON CONFLICT (session_id) DO UPDATE SET
        questions = conversations.questions + 1, user_role = excluded.user_role,
        user_expertise = excluded.user_expertise, last_used_at = clock_timestamp()
    RETURNING session_id
)
INSERT INTO conversation_questions (trace_id, session_id, request)
SELECT %(trace_id)s, session_id, %(request)s::jsonb FROM session
"""
_REFUSE = """
WITH session AS (
    INSERT INTO conversations (session_id, user_role, user_expertise)
    VALUES (%(session_id)s, %(role)s, %(expertise)s)
    ON CONFLICT (session_id) DO UPDATE SET last_used_at = clock_timestamp()
    RETURNING session_id
)
INSERT INTO conversation_questions (trace_id, session_id, ended_at, status, rule)
SELECT %(trace_id)s, session_id, clock_timestamp(), 'refused', %(rule)s FROM session
"""
_END = """
WITH question AS (
    UPDATE conversation_questions SET ended_at = clock_timestamp(), status = %(status)s, rule = %(rule)s,
        request = NULL, tokens = %(tokens)s, dollars = %(dollars)s
    WHERE trace_id = %(trace_id)s AND ended_at IS NULL
    RETURNING session_id
)
UPDATE conversations AS c SET
    tokens = c.tokens + %(tokens)s, dollars = c.dollars + %(dollars)s, last_used_at = clock_timestamp()
FROM question WHERE c.session_id = question.session_id
"""
_USAGE = """
SELECT c.questions, c.tokens, c.dollars,
       (SELECT count(*) FROM conversation_questions AS q
        WHERE q.session_id = c.session_id AND q.status <> 'refused'
            AND q.asked_at > clock_timestamp() - interval '1 hour') AS last_hour
FROM conversations AS c WHERE c.session_id = %s
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session has used: questions in all and in the last hour, tokens, US dollars."""

    questions: int = 0
    questions_last_hour: int = 0
    tokens: int = 0
    dollars: float = 0.0


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A question whose answer was begun and not finished, with the request as JSON."""

    session_id: str
    trace_id: str
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One session for a list."""

    session_id: str
    user_role: str
    user_expertise: str
    questions: int
    tokens: int
    dollars: float
    started_at: datetime
    last_used_at: datetime


class ConversationRepository:
    """Writes and reads ``conversations`` and ``conversation_questions``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, session_id: str, trace_id: str, *, role: str, expertise: str, request: Any) -> None:
        """Note that a question is being answered; the session is made where it is new."""
        values = {"session_id": session_id, "trace_id": trace_id, "role": role, "expertise": expertise}
        await self._database.execute(_BEGIN, {**values, "request": json_value(request)})

    async def refuse(self, session_id: str, trace_id: str, *, role: str, expertise: str, rule: str) -> None:
        """Note a question that a limit of the session did not let through: it counts neither as asked nor as used."""
        values = {"session_id": session_id, "trace_id": trace_id, "role": role, "expertise": expertise, "rule": rule}
        await self._database.execute(_REFUSE, values)

    async def end(
        self, trace_id: str, *, status: str, rule: str | None = None, tokens: int = 0, dollars: float = 0.0
    ) -> None:
        """Note how it ended; a question that has ended stays as it is.

        ``status``: answered, asked_back, declined or refused (with the ``rule``), failed.
        """
        await self._database.execute(
            _END, {"trace_id": trace_id, "status": status, "rule": rule, "tokens": tokens, "dollars": dollars}
        )

    async def usage(self, session_id: str) -> Usage:
        """What a session has used; nothing for one that is new."""
        row = await self._database.fetchrow(_USAGE, (session_id,))
        if row is None:
            return Usage()
        return Usage(row["questions"], row["last_hour"], row["tokens"], row["dollars"])

    async def unfinished(self) -> Sequence[Unfinished]:
        """Questions that were begun and not finished, oldest first; a session may have several."""
        rows = await self._database.fetch(
            "SELECT session_id::text AS session_id, trace_id, request FROM conversation_questions"
            " WHERE status = 'running' ORDER BY asked_at, trace_id"
        )
        return [Unfinished(**row) for row in rows]

    async def recent(self, limit: int) -> Sequence[Conversation]:
        """Sessions, the one used last first."""
        columns = ", ".join(name if name != "session_id" else "session_id::text" for name in Conversation.__slots__)
        rows = await self._database.fetch(
            f"SELECT {columns} FROM conversations ORDER BY last_used_at DESC LIMIT %s", (limit,)
        )
        return [Conversation(**row) for row in rows]

    async def named(self, start: str) -> str:
        """The id of the only session that begins so. Raises RunNotFound."""
        wanted = start.strip().lower()
        rows = []
        if len(wanted) >= 6 and set(wanted) <= set("0123456789abcdef-"):
            rows = await self._database.fetch(
                "SELECT session_id::text AS session_id FROM conversations WHERE session_id::text LIKE %s LIMIT 2",
                (f"{wanted}%",),
            )
        if len(rows) != 1:
            problem = "several sessions begin with" if rows else "there is no session"
            raise RunNotFound(f"{problem} '{start[:60]}'; 'e2i sessions' lists them")
        return str(rows[0]["session_id"])

    async def idle(self, before: datetime) -> Sequence[str]:
        """Sessions nobody has used since ``before``, except those with a question not answered yet."""
        rows = await self._database.fetch(
            "SELECT session_id::text AS session_id FROM conversations AS c WHERE last_used_at < %s AND NOT EXISTS"
            " (SELECT FROM conversation_questions AS q WHERE q.session_id = c.session_id AND q.status = 'running')",
            (before,),
        )
        return [row["session_id"] for row in rows]

    async def forget(self, session_id: str, before: datetime) -> bool:
        """Delete a session that is idle since ``before`` still; False for one that was asked meanwhile."""
        rows = await self._database.fetch(
            "DELETE FROM conversations AS c WHERE session_id = %s AND last_used_at < %s AND NOT EXISTS"
            " (SELECT FROM conversation_questions AS q WHERE q.session_id = c.session_id AND q.status = 'running')"
            " RETURNING session_id",
            (session_id, before),
        )
        return bool(rows)
