"""Which changes were wished for, where does each stand, and what came of it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.domain.improvement import ActionStatus, ChangeKind, Proposal
from src.domain.rubric import RubricDecision
from src.errors import RunNotFound
from src.storage.database import Database, Row, Session
from src.storage.json_columns import json_column

FEWEST_CHARACTERS = 6
UNDER_WAY = (ActionStatus.PROPOSED, ActionStatus.AWAITING_APPROVAL, ActionStatus.MEASURING, ActionStatus.APPLIED)
"""A component has at most one change in these states: others wait until it is decided."""


@dataclass(frozen=True, slots=True)
class ImprovementAction:
    """A row of ``improvement_actions``: a change, where it stands and what it did.

    ``before_config`` and ``after_config`` are {"text": …} of a prompt or the settings of retrieval. Scores, gain and
    ``outcome_delta`` are in the unit of the target: rubric points (1–5) for prompts, 0–1 for retrieval.
    """

    action_id: str
    component: str
    decision: RubricDecision
    improvement_type: ChangeKind
    priority: str
    status: ActionStatus
    action_description: str
    idempotency_key: str
    created_at: datetime
    learning_signal_id: str | None = None
    trigger_score: float | None = None
    before_config: Mapping[str, Any] | None = None
    after_config: Mapping[str, Any] | None = None
    prompt_version_id: str | None = None
    retrieval_config_id: str | None = None
    knowledge_ids: tuple[str, ...] = ()
    approved_by: str | None = None
    blocked_reason: str | None = None
    baseline_score: float | None = None
    outcome_measured: bool = False
    outcome_improved: bool | None = None
    outcome_delta: float | None = None
    samples_measured: int | None = None
    applied_at: datetime | None = None
    measured_at: datetime | None = None
    rolled_back_at: datetime | None = None
    rollback_reason: str | None = None
    cycle_id: str | None = None
    origin: str | None = None
    judged_by: str | None = None
    expected_gain: float | None = None
    evidence_ids: tuple[str, ...] = ()


ACTION_COLUMNS = tuple(field.name for field in dataclasses.fields(ImprovementAction))
_SELECTED = f"SELECT {', '.join(ACTION_COLUMNS)} FROM improvement_actions"
_PROPOSED = """
INSERT INTO improvement_actions
    (action_id, learning_signal_id, component, trigger_score, decision, improvement_type, priority, status,
     action_description, before_config, after_config, prompt_version_id, retrieval_config_id, knowledge_ids,
     blocked_reason, idempotency_key, cycle_id, origin, judged_by, expected_gain, evidence_ids, created_at)
VALUES
    (%(action_id)s, %(signal_id)s, %(component)s, %(trigger_score)s, %(decision)s, %(kind)s, %(priority)s, %(status)s,
     %(reason)s, %(before)s, %(after)s, %(prompt_version_id)s, %(retrieval_config_id)s, %(knowledge_ids)s::uuid[],
     %(blocked_reason)s, %(key)s, %(cycle_id)s, %(origin)s, %(judged_by)s, %(expected_gain)s, %(evidence_ids)s::text[],
     coalesce(%(at)s, now()))
ON CONFLICT DO NOTHING
"""
_LISTED = f"""
{_SELECTED}
WHERE (%(statuses)s::text[] IS NULL OR status::text = ANY(%(statuses)s))
    AND (%(component)s::text IS NULL OR component = %(component)s)
ORDER BY created_at DESC, action_id LIMIT %(limit)s
"""
_UNFINISHED = f"""
{_SELECTED} AS known
WHERE status <> 'queued' AND NOT EXISTS (
    SELECT 1 FROM improvement_hops AS hop WHERE hop.action_id = known.action_id AND hop.hop = 'closed'
)
ORDER BY created_at, action_id
"""


def action_id_of(proposal: Proposal, cycle_id: str) -> str:
    """The id that the action of a proposal of a cycle has: known before its row is there."""
    return str(uuid5(NAMESPACE_URL, f"improvement/{proposal.idempotency_key(cycle_id)}"))


class ActionRepository:
    """Writes and reads ``improvement_actions``; their later steps are written by ``HopLedger``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def propose(
        self,
        proposal: Proposal,
        *,
        cycle_id: str,
        priority: str,
        status: ActionStatus = ActionStatus.PROPOSED,
        prompt_version_id: str | None = None,
        retrieval_config_id: str | None = None,
        blocked_reason: str | None = None,
        at: datetime | None = None,
        session: Session | None = None,
    ) -> ImprovementAction:
        """Store a proposal as an action, once for each cycle and change: the second time the first one is returned.

        ``priority`` is a member of the database's ``improvement_priority``; a blocked one needs its reason. Raises
        psycopg.IntegrityError for an unknown cycle, signal, version or settings.
        """
        key = proposal.idempotency_key(cycle_id)
        values = {name: getattr(proposal, name) for name in _OF_PROPOSAL} | {
            "action_id": action_id_of(proposal, cycle_id),
            "kind": proposal.kind.value,
            "decision": proposal.decision.value,
            "before": json_column(proposal.before),
            "after": json_column(proposal.after),
            "knowledge_ids": list(proposal.knowledge_ids),
            "evidence_ids": list(proposal.evidence_ids),
            "key": key,
            "cycle_id": cycle_id,
            "priority": priority,
            "status": status.value,
            "prompt_version_id": prompt_version_id,
            "retrieval_config_id": retrieval_config_id,
            "blocked_reason": blocked_reason,
            "at": at,
        }
        run = session or self._database
        await run.execute(_PROPOSED, values)
        row = await run.fetchrow(f"{_SELECTED} WHERE idempotency_key = %s", (key,))
        assert row is not None
        return action_of(row)

    async def get(self, action_id: str, *, session: Session | None = None) -> ImprovementAction:
        """An action by its whole id. Raises RunNotFound."""
        row = await (session or self._database).fetchrow(f"{_SELECTED} WHERE action_id::text = %s", (action_id,))
        if row is None:
            raise RunNotFound(f"there is no action {action_id}; 'e2i improve history' lists them")
        return action_of(row)

    async def find(self, reference: str) -> ImprovementAction:
        """The only action whose id begins so. Raises RunNotFound."""
        start = reference.strip().lower()
        if len(start) < FEWEST_CHARACTERS or not set(start) <= set("0123456789abcdef-"):
            raise RunNotFound(
                f"'{reference[:60]}' is no id; give at least {FEWEST_CHARACTERS} characters of an action's id"
            )
        rows = await self._database.fetch(f"{_SELECTED} WHERE action_id::text LIKE %s LIMIT 2", (f"{start}%",))
        if len(rows) != 1:
            problem = "several actions have ids that begin with" if rows else "no action has the id"
            raise RunNotFound(f"{problem} '{reference[:60]}'; 'e2i improve history' lists them")
        return action_of(rows[0])

    async def list(
        self,
        *,
        statuses: Collection[ActionStatus] | None = None,
        component: str | None = None,
        limit: int = 100,
    ) -> tuple[ImprovementAction, ...]:
        """Actions, newest first: all, or those in some states, or of one component."""
        wanted = None if statuses is None else [one.value for one in statuses]
        values = {"statuses": wanted, "component": component, "limit": limit}
        return tuple(action_of(row) for row in await self._database.fetch(_LISTED, values))

    async def under_way(self, component: str) -> ImprovementAction | None:
        """The change of a component between proposal and confirmation; the newest, should there be several."""
        found = await self.list(statuses=UNDER_WAY, component=component, limit=1)
        return found[0] if found else None

    async def unfinished(self) -> tuple[ImprovementAction, ...]:
        """Changes whose last hop is still to come, oldest first; what waits for a person to look at it is none."""
        return tuple(action_of(row) for row in await self._database.fetch(_UNFINISHED))

    async def last_activation(self, component: str) -> datetime | None:
        """When a change of a component was last activated, whatever became of it."""
        row = await self._database.fetchrow(
            "SELECT max(applied_at) AS at FROM improvement_actions WHERE component = %s", (component,)
        )
        return None if row is None else row["at"]

    async def activations_on(self, day: date) -> int:
        """Activations of all components on a UTC day."""
        begin = datetime.combine(day, time(), UTC)
        row = await self._database.fetchrow(
            "SELECT count(*) AS n FROM improvement_actions WHERE applied_at >= %s AND applied_at < %s",
            (begin, begin + timedelta(days=1)),
        )
        return 0 if row is None else int(row["n"])


_OF_PROPOSAL = ("component", "reason", "origin", "judged_by", "expected_gain", "trigger_score", "signal_id")


def action_of(row: Row) -> ImprovementAction:
    """An action from a row with ``ACTION_COLUMNS``."""
    return ImprovementAction(
        **row
        | {
            "decision": RubricDecision(row["decision"]),
            "improvement_type": ChangeKind(row["improvement_type"]),
            "status": ActionStatus(row["status"]),
            "knowledge_ids": tuple(row["knowledge_ids"]),
            "evidence_ids": tuple(row["evidence_ids"]),
        }
    )
