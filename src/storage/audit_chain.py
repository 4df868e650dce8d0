"""What did the nodes of a run leave behind, and has anybody changed it since?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import RunNotFound
from src.storage.database import Database, Row

CHAIN, SEQUENCE, DIGEST = "audit_chain", "audit_sequence", "audit_sha256"
"""Attributes of a node's span that name its entry."""
ANSWER = "answer"
"""The node whose entry has the digests of a question and an answer as they are stored."""
FEWEST_CHARACTERS = 6


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Where an entry stands, counted from 0, and its SHA-256: over its fields, its time and the entry before."""

    chain_id: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """One entry: which node ran when, with the digests of the state it was given and of what it wrote."""

    sequence: int
    agent: str
    node: str
    input_sha256: str
    output_sha256: str
    entry_sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """Whether a chain is what its run left. ``broken_at`` is the first entry that does not fit, ``problem`` says how.

    ``witnesses`` are the spans of the run that name an entry. Without any (they are stored for as many days as the
    retention says) entries cut off at the end, or a chain written anew from some entry on, cannot be told.
    """

    chain_id: str
    intact: bool
    entries: int
    witnesses: int = 0
    broken_at: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChainSummary:
    """A chain in a list: its agents, entries, and when the first and the last were added."""

    chain_id: str
    agents: tuple[str, ...]
    entries: int
    began_at: datetime
    ended_at: datetime


_LAST = """
SELECT sequence, node, input_sha256, output_sha256, entry_sha256 FROM audit_chain
WHERE chain_id = %s AND agent = %s::agent_name_enum ORDER BY sequence DESC LIMIT 1
"""
# Not waited for until it is on disk: the commit of the node's checkpoint, or of the answer, which is waited for, takes
# every commit before it there too.
_APPENDED = """
SELECT entry.sequence, entry.entry_sha256
FROM set_config('synchronous_commit', 'off', true), append_audit_entry(%s, %s, %s, %s, %s) AS entry
"""
_FITS = """
SELECT chain_id::text AS chain_id, count(*)::int AS entries,
       min(position) FILTER (WHERE sequence <> position)::int AS missing,
       min(sequence) FILTER (WHERE entry_sha256 <> digest) AS changed,
       min(sequence) FILTER (WHERE previous_sha256 <> expected_previous) AS unlinked
FROM (
    SELECT known.chain_id, known.sequence, known.entry_sha256, known.previous_sha256,
           audit_entry_digest(known) AS digest, row_number() OVER in_order - 1 AS position,
           coalesce(lag(known.entry_sha256) OVER in_order, repeat('0', 64)) AS expected_previous
    FROM audit_chain AS known WHERE %(chain)s::uuid IS NULL OR known.chain_id = %(chain)s::uuid
    WINDOW in_order AS (PARTITION BY known.chain_id ORDER BY known.sequence)
) AS entry
GROUP BY chain_id
"""
# A chain has the id of its trace, or of a run, which knows its trace.
_WITNESSES = f"""
SELECT span.attributes ->> '{CHAIN}' AS chain_id, count(*)::int AS witnesses,
       min((span.attributes ->> '{SEQUENCE}')::int) FILTER (WHERE known.chain_id IS NULL) AS absent
FROM ml_observability_spans AS span
LEFT JOIN audit_chain AS known
    ON known.chain_id::text = span.attributes ->> '{CHAIN}'
    AND known.sequence = (span.attributes ->> '{SEQUENCE}')::int
    AND known.entry_sha256 = span.attributes ->> '{DIGEST}'
WHERE span.attributes ? '{CHAIN}'
    AND (%(chain)s::uuid IS NULL OR (
        span.attributes ->> '{CHAIN}' = %(chain)s::text
        AND span.trace_id IN (
            SELECT %(chain)s::text UNION ALL
            SELECT run.trace_id FROM analysis_runs AS run WHERE run.run_id = %(chain)s::uuid
        )
    ))
GROUP BY 1
"""
# The entry of an answer has the digests of the very texts that are stored; one answered in two goes may have two.
_ANSWERS = f"""
SELECT known.chain_id::text AS chain_id, max(known.sequence) AS forged
FROM audit_chain AS known
JOIN rag_interactions AS answer ON answer.trace_id = known.chain_id::text
WHERE known.node = '{ANSWER}' AND (%(chain)s::uuid IS NULL OR known.chain_id = %(chain)s::uuid)
GROUP BY 1
HAVING NOT bool_or(
    known.input_sha256 = encode(sha256(convert_to(answer.query, 'UTF8')), 'hex')
    AND known.output_sha256 = encode(sha256(convert_to(answer.answer, 'UTF8')), 'hex')
)
"""
_UNTOLD = """
SELECT asked.trace_id AS chain_id FROM conversation_questions AS asked
WHERE asked.status IN ('answered', 'asked_back', 'declined')
    AND (%(chain)s::text IS NULL OR asked.trace_id = %(chain)s::text)
    AND NOT EXISTS (SELECT FROM audit_chain AS known WHERE known.chain_id::text = asked.trace_id)
"""
_ENTRIES = """
SELECT sequence, agent::text AS agent, node, input_sha256, output_sha256, entry_sha256, created_at
FROM audit_chain WHERE chain_id = %s ORDER BY sequence
"""
_RECENT = """
SELECT chain_id::text AS chain_id, array_agg(DISTINCT agent::text) AS agents, count(*)::int AS entries,
       min(created_at) AS began_at, max(created_at) AS ended_at
FROM audit_chain GROUP BY chain_id ORDER BY ended_at DESC LIMIT %s
"""
_NAMED = f"""
SELECT DISTINCT id FROM (
    SELECT chain_id::text AS id FROM audit_chain WHERE chain_id::text LIKE %(start)s
    UNION ALL
    SELECT run_id::text FROM analysis_runs AS run
    WHERE (run_id::text LIKE %(start)s OR trace_id LIKE %(start)s)
        AND (EXISTS (SELECT FROM audit_chain WHERE chain_id = run_id)
             OR EXISTS (SELECT FROM ml_observability_spans AS span
                        WHERE span.trace_id = run.trace_id AND span.attributes ->> '{CHAIN}' = run_id::text))
    UNION ALL
    SELECT attributes ->> '{CHAIN}' FROM ml_observability_spans
    WHERE trace_id LIKE %(start)s AND attributes ? '{CHAIN}'
    UNION ALL
    SELECT trace_id FROM conversation_questions
    WHERE trace_id LIKE %(start)s AND status IN ('answered', 'asked_back', 'declined')
) AS named ORDER BY id
"""


class AuditChain:
    """Takes the entries of one run: ``AuditLog`` over ``audit_chain``. ``chain_id`` is the UUID of a run or a trace."""

    def __init__(self, database: Database, chain_id: str) -> None:
        self._database = database
        self._chain_id = chain_id
        self._going_on: set[str] = set()

    async def append(self, agent: str, node: str, input_sha256: str, output_sha256: str) -> AuditEntry:
        """Add an entry. Raises DatabaseUnavailable.

        A node that is run once more after an interruption, because its entry was kept and its checkpoint was not, and
        that reads and writes the same again, has its one entry; one that then writes something else has two.
        """
        told = (node, input_sha256, output_sha256)
        known = None if agent in self._going_on else await self._repeated(agent, told)
        row = known or await self._database.fetchrow(_APPENDED, (self._chain_id, agent, *told))
        assert row is not None
        self._going_on.add(agent)
        return AuditEntry(self._chain_id, row["sequence"], row["entry_sha256"])

    async def _repeated(self, agent: str, told: tuple[str, str, str]) -> Row | None:
        """The agent's last entry, if it says just this."""
        row = await self._database.fetchrow(_LAST, (self._chain_id, agent))
        return row if row and (row["node"], row["input_sha256"], row["output_sha256"]) == told else None


class AuditChains:
    """Reads and checks all chains."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, reference: str) -> tuple[str, ...]:
        """The chains of a run or a trace, by its id or the beginning of it. Raises RunNotFound."""
        start = reference.strip().lower()
        if len(start) < FEWEST_CHARACTERS or not set(start) <= set("0123456789abcdef-"):
            raise RunNotFound(
                f"'{reference[:60]}' is no id; give at least {FEWEST_CHARACTERS} characters of a run's id"
            )
        rows = await self._database.fetch(_NAMED, {"start": f"{start}%"})
        if not rows:
            raise RunNotFound(f"no audit chain belongs to '{reference[:60]}'; 'e2i runs' lists the runs")
        return tuple(row["id"] for row in rows)

    async def verify(self, chain_id: str) -> ChainVerdict:
        """Whether a chain is what its run left.

        Raises RunNotFound where neither it is, nor a span that names it, nor an answered question of that trace.
        """
        found = await self._verdicts(chain_id)
        if not found:
            raise RunNotFound(f"there is no audit chain {chain_id}; 'e2i runs' lists the runs")
        return found[0]

    async def verify_all(self) -> tuple[ChainVerdict, ...]:
        """Every chain, and every answered question that has none, by id, which is by time."""
        return await self._verdicts(None)

    async def entries(self, chain_id: str) -> tuple[RecordedNode, ...]:
        """The entries of a chain in their order."""
        return tuple(RecordedNode(**row) for row in await self._database.fetch(_ENTRIES, (chain_id,)))

    async def recent(self, limit: int = 20) -> tuple[ChainSummary, ...]:
        """The chains added to last."""
        rows = await self._database.fetch(_RECENT, (limit,))
        return tuple(ChainSummary(**row | {"agents": tuple(row["agents"])}) for row in rows)

    async def _verdicts(self, chain_id: str | None) -> tuple[ChainVerdict, ...]:
        wanted = {"chain": chain_id}
        async with self._database.transaction() as session:
            # All as of one moment: a run that goes on meanwhile has its span after its entry.
            await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            chains = {row["chain_id"]: row for row in await session.fetch(_FITS, wanted)}
            witnesses = {row["chain_id"]: row for row in await session.fetch(_WITNESSES, wanted)}
            forged = {row["chain_id"]: row["forged"] for row in await session.fetch(_ANSWERS, wanted)}
            untold = {row["chain_id"] for row in await session.fetch(_UNTOLD, wanted)}
        others = {name: [_other_answer(at)] for name, at in forged.items()} | {name: [_NO_ENTRIES] for name in untold}
        return tuple(
            _verdict(name, chains.get(name), witnesses.get(name), others.get(name, ()))
            for name in sorted({*chains, *witnesses, *untold})
        )


_NO_ENTRIES = (0, "a question was answered and no entry tells of it")


def _other_answer(at: int) -> tuple[int, str]:
    return (at, f"the answer or the question that is stored is not the one of entry {at}")


def _verdict(
    chain_id: str, chain: Row | None, seen: Row | None, others: Sequence[tuple[int, str]] = ()
) -> ChainVerdict:
    entries, witnesses = (chain or {}).get("entries", 0), (seen or {}).get("witnesses", 0)
    problems = [*_problems(chain or {}), *_absent(seen or {}, entries), *others]
    if not problems:
        return ChainVerdict(chain_id, True, entries, witnesses)
    broken_at, problem = min(problems, key=lambda one: one[0])
    return ChainVerdict(chain_id, False, entries, witnesses, broken_at, problem)


def _problems(chain: dict[str, Any]) -> Sequence[tuple[int, str]]:
    """What does not fit and at which entry, the most telling first where there are several at one."""
    missing, changed, unlinked = (chain.get(name) for name in ("missing", "changed", "unlinked"))
    found = []
    if changed is not None:
        found.append((changed, f"entry {changed} was changed: its fields do not give its digest"))
    if missing is not None:
        found.append((missing, f"entry {missing} is missing"))
    if unlinked is not None:
        found.append((unlinked, f"entry {unlinked} does not follow the entry before it as that stands"))
    return found


def _absent(seen: dict[str, Any], entries: int) -> Sequence[tuple[int, str]]:
    absent = seen.get("absent")
    if absent is None:
        return []
    if absent >= entries:
        return [(absent, f"entry {absent} is missing at the end: a span of the run names it")]
    return [(absent, f"entry {absent} is not the one that a span of the run names")]
