"""What was asked and answered, from which evidence, and which answers still wait for their scores?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.errors import RunNotFound
from src.storage.database import Database, Row, json_value

FEWEST_CHARACTERS = 6
STALE = timedelta(minutes=30)
_JSON = ("contexts", "citations", "agents", "prompt_versions")


@dataclass(frozen=True, slots=True)
class Interaction:
    """A question and its answer. ``contexts`` are {chunk_id, score, text}; confidence in 0–1, latency in ms.

    ``run_id`` is the run of a causal analysis; a declined answer says in ``declined`` what was missing. ``sampled``
    says whether it is scored unasked. ``evaluation_claimed_at`` is the claim of the worker that reads it here.
    """

    trace_id: str
    query: str
    answer: str
    contexts: Sequence[Mapping[str, Any]] = ()
    citations: Sequence[Mapping[str, Any]] = ()
    agents: Sequence[str] = ()
    prompt_versions: Mapping[str, int] = field(default_factory=dict)
    run_id: str | None = None
    session_id: str | None = None
    retrieval_config_id: str | None = None
    confidence: float | None = None
    latency_ms: float | None = None
    user_expertise: str | None = None
    brand: str | None = None
    method: str | None = None
    declined: str | None = None
    sampled: bool = True
    interaction_id: str = ""
    created_at: datetime | None = None
    evaluated_at: datetime | None = None
    evaluation_claimed_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.interaction_id:
            object.__setattr__(self, "interaction_id", str(uuid5(NAMESPACE_URL, f"interaction/{self.trace_id}")))

    @property
    def component(self) -> str:
        """The agent that a judgement of this answer is about."""
        return self.agents[0] if self.agents else "orchestrator"


_TIMES = ("created_at", "evaluated_at", "evaluation_claimed_at")
_COLUMNS = tuple(one.name for one in dataclasses.fields(Interaction) if one.name not in _TIMES)
_FOUND = """
SELECT * FROM rag_interactions
WHERE interaction_id::text LIKE %(start)s OR trace_id LIKE %(start)s OR run_id::text LIKE %(start)s
ORDER BY created_at DESC LIMIT 2
"""
_WAITS = """
evaluated_at IS NULL AND answer IS NOT NULL AND (sampled OR %(unsampled)s)
AND (%(only)s::uuid[] IS NULL OR interaction_id = ANY(%(only)s::uuid[]))
"""
_CLAIMED = f"""
UPDATE rag_interactions SET evaluation_claimed_at = clock_timestamp()
WHERE interaction_id IN (
    SELECT interaction_id FROM rag_interactions
    WHERE {_WAITS}
      AND (evaluation_claimed_at IS NULL OR evaluation_claimed_at < now() - %(stale)s::interval)
      AND interaction_id <> ALL(%(but_not)s::uuid[])
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING *
"""
_HELD = "interaction_id = %(interaction_id)s AND evaluation_claimed_at = %(claim)s"


class InteractionRepository:
    """Writes and reads ``rag_interactions``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, interaction: Interaction) -> None:
        """Store an answer; the answer of a trace is stored once."""
        values = {name: getattr(interaction, name) for name in _COLUMNS}
        values |= {name: json_value(_plain(values[name])) for name in _JSON}
        columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        await self._database.execute(
            f"INSERT INTO rag_interactions ({columns}) VALUES ({places}) ON CONFLICT (interaction_id) DO NOTHING",
            values,
        )

    async def find(self, reference: str) -> Interaction:
        """The answer by its run, trace or own id, or the only one whose id begins so. Raises RunNotFound."""
        start = reference.strip().lower()
        if len(start) < FEWEST_CHARACTERS or not set(start) <= set("0123456789abcdef-"):
            raise RunNotFound(
                f"'{reference[:60]}' is no id; give at least {FEWEST_CHARACTERS} characters of a run's id"
            )
        rows = await self._database.fetch(_FOUND, {"start": f"{start}%"})
        if len(rows) != 1:
            problem = "several answers have ids that begin with" if rows else "no answer is kept with the id"
            raise RunNotFound(f"{problem} '{reference[:60]}'; 'e2i runs' lists them")
        return _interaction(rows[0])

    async def claim(
        self,
        limit: int,
        *,
        only: Sequence[str] | None = None,
        but_not: Sequence[str] = (),
        unsampled: bool = False,
    ) -> list[Interaction]:
        """Up to ``limit`` answers without scores, oldest first, that no other worker holds.

        Those outside the sample only with ``unsampled``. A claim that is half an hour old is given up: its worker is
        gone.
        """
        values = _waits(only, unsampled) | {"limit": limit, "stale": STALE, "but_not": list(but_not)}
        rows = await self._database.fetch(_CLAIMED, values)
        return sorted((_interaction(row) for row in rows), key=lambda one: (str(one.created_at), one.interaction_id))

    async def release(self, claimed: Sequence[Interaction]) -> None:
        """Let others score answers that were claimed; a claim that another worker made since stays."""
        for one in claimed:
            await self._database.execute(
                f"UPDATE rag_interactions SET evaluation_claimed_at = NULL WHERE {_HELD}", _claim_of(one)
            )

    async def holds(self, claimed: Interaction) -> bool:
        """Whether an answer is still this worker's to score: nobody rated it or took it over since."""
        return (
            await self._database.fetchrow(f"SELECT 1 FROM rag_interactions WHERE {_HELD}", _claim_of(claimed))
            is not None
        )

    async def evaluated(self, claimed: Interaction) -> None:
        """Note that an answer has its scores, unless it was rated or taken over since it was claimed."""
        await self._database.execute(
            f"UPDATE rag_interactions SET evaluated_at = now(), evaluation_claimed_at = NULL WHERE {_HELD}",
            _claim_of(claimed),
        )

    async def reopen(self, interaction_id: str) -> None:
        """Have an answer scored again, whoever scores it now: somebody said something about it."""
        await self._database.execute(
            "UPDATE rag_interactions SET evaluated_at = NULL, evaluation_claimed_at = NULL, sampled = true "
            "WHERE interaction_id = %s",
            (interaction_id,),
        )

    async def waiting(self, *, only: Sequence[str] | None = None, unsampled: bool = False) -> int:
        """Answers without scores; those outside the sample only with ``unsampled``."""
        row = await self._database.fetchrow(
            f"SELECT count(*) AS waiting FROM rag_interactions WHERE {_WAITS}", _waits(only, unsampled)
        )
        return int(row["waiting"]) if row else 0


def _waits(only: Sequence[str] | None, unsampled: bool) -> dict[str, Any]:
    return {"only": None if only is None else list(only), "unsampled": unsampled}


def _claim_of(claimed: Interaction) -> dict[str, Any]:
    return {"interaction_id": claimed.interaction_id, "claim": claimed.evaluation_claimed_at}


def _interaction(row: Row) -> Interaction:
    known = {one.name: row[one.name] for one in dataclasses.fields(Interaction)}
    ids = ("interaction_id", "run_id", "session_id", "retrieval_config_id")
    return Interaction(**known | {name: str(known[name]) for name in ids if known[name] is not None})


def _plain(value: Any) -> Any:
    return (
        dict(value) if isinstance(value, Mapping) else [dict(one) if isinstance(one, Mapping) else one for one in value]
    )
