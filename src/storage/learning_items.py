"""Which answers is there to learn from, what is known of each, and which cycle learns from them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.domain.improvement import LearningItem
from src.domain.rubric import RubricDecision
from src.storage.canaries import RETRIEVAL
from src.storage.database import Database, Row
from src.storage.evaluation_results import RAGAS_COLUMNS, RUBRIC_COLUMNS

THUMB = "user_thumb"
"""The name of a thumb among an item's feedback: 1 up, 0 down."""
_SAID_BY_PEOPLE = "('rating', 'correction', 'thumbs_up', 'thumbs_down')"
# The evaluation of an answer is the newest one; an item speaks of the agent that it judged, or that answered.
_ITEMS = f"""
SELECT answered.interaction_id, answered.trace_id, answered.query, answered.answer, answered.contexts,
       answered.created_at, answered.prompt_versions, answered.retrieval_config_id, answered.brand::text AS brand,
       answered.latency_ms, answered.declined, answered.evaluated_at,
       coalesce(%(component)s, judged.component, answered.agents ->> 0, 'orchestrator') AS component,
       judged.signal_id, judged.rubric_weighted, judged.combined_score, judged.rubric_decision, judged.signal_details,
       {", ".join(f"result.{name}" for name in (*RAGAS_COLUMNS, *RUBRIC_COLUMNS))},
       result.evaluation_id, result.method, result.rubric_method, said.rating, said.thumb, said.corrections,
       given.inputs
FROM rag_interactions AS answered
LEFT JOIN LATERAL (
    SELECT * FROM learning_signals AS known
    WHERE known.interaction_id = answered.interaction_id AND known.signal_type = 'evaluation'
    ORDER BY known.created_at DESC, known.signal_id LIMIT 1
) AS judged ON true
LEFT JOIN LATERAL (
    SELECT * FROM evaluation_results AS known WHERE known.learning_signal_id = judged.signal_id
    ORDER BY known.created_at DESC, known.evaluation_id LIMIT 1
) AS result ON true
LEFT JOIN LATERAL (
    SELECT (array_agg(known.signal_value ORDER BY known.created_at DESC)
                FILTER (WHERE known.signal_type = 'rating'))[1]::double precision AS rating,
           (array_agg(known.signal_value ORDER BY known.created_at DESC)
                FILTER (WHERE known.signal_type IN ('thumbs_up', 'thumbs_down')))[1]::double precision AS thumb,
           array_agg(known.signal_details ->> 'correction' ORDER BY known.created_at)
                FILTER (WHERE known.signal_details ? 'correction') AS corrections
    FROM learning_signals AS known
    WHERE known.interaction_id = answered.interaction_id AND known.signal_type IN {_SAID_BY_PEOPLE}
) AS said ON true
LEFT JOIN interaction_inputs AS given
    ON given.interaction_id = answered.interaction_id
    AND given.component = coalesce(%(component)s, judged.component, answered.agents ->> 0, 'orchestrator')
"""
_OF_CYCLE = f"""
{_ITEMS} WHERE answered.learning_cycle_id = %(cycle_id)s::uuid ORDER BY answered.created_at, answered.interaction_id
"""
_USES = f"""
CASE WHEN %(component)s = '{RETRIEVAL}' THEN answered.retrieval_config_id IS NOT NULL
     ELSE answered.prompt_versions ? %(component)s OR judged.component = %(component)s END
"""
_EVALUATED = f"""
{_ITEMS}
WHERE answered.evaluated_at IS NOT NULL AND judged.signal_id IS NOT NULL AND {_USES}
    AND (%(since)s::timestamptz IS NULL OR answered.created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR answered.created_at < %(until)s)
    AND (%(prompt_version)s::integer IS NULL
         OR answered.prompt_versions ->> %(component)s = %(prompt_version)s::integer::text)
    AND (%(config_id)s::uuid IS NULL OR answered.retrieval_config_id = %(config_id)s::uuid)
    AND (NOT %(with_inputs)s OR given.inputs IS NOT NULL)
ORDER BY answered.created_at DESC, answered.interaction_id LIMIT %(limit)s
"""
# Nobody learnt from it, or somebody said something about it since. Those that no cycle holds.
_FREE = f"""
answered.answer IS NOT NULL
AND (answered.learning_cycle_id IS NULL OR (answered.learnt_at IS NOT NULL AND EXISTS (
    SELECT FROM learning_signals AS said WHERE said.interaction_id = answered.interaction_id
        AND said.signal_type IN {_SAID_BY_PEOPLE} AND said.processed_at IS NULL
)))
"""
_SCORED = "answered.evaluated_at IS NOT NULL"
_UNSCORED = "answered.evaluated_at IS NULL AND answered.sampled"
_HELD = "SELECT count(*) AS n FROM rag_interactions WHERE learning_cycle_id = %(cycle_id)s::uuid"
_CLAIMED = f"""
UPDATE rag_interactions SET
    learning_cycle_id = %(cycle_id)s::uuid, learning_claimed_at = clock_timestamp(), learnt_at = NULL
WHERE interaction_id IN (
    SELECT answered.interaction_id FROM rag_interactions AS answered
    WHERE {_FREE} AND ({_SCORED} OR (%(unscored)s AND {_UNSCORED}))
        AND (%(components)s::text[] IS NULL OR answered.prompt_versions ?| %(components)s::text[]
             OR (answered.retrieval_config_id IS NOT NULL AND '{RETRIEVAL}' = ANY(%(components)s::text[]))
             OR coalesce(answered.agents ->> 0, 'orchestrator') = ANY(%(components)s::text[])
             OR EXISTS (SELECT FROM learning_signals AS judged WHERE judged.interaction_id = answered.interaction_id
                            AND judged.signal_type = 'evaluation' AND judged.component = ANY(%(components)s::text[])))
        AND (%(only)s::uuid[] IS NULL OR answered.interaction_id = ANY(%(only)s::uuid[]))
        AND (%(since)s::timestamptz IS NULL OR answered.created_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR answered.created_at < %(until)s)
    ORDER BY answered.created_at, answered.interaction_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""
# What was said after the claim was not known to the cycle: it waits for another.
_PROCESSED = """
UPDATE learning_signals AS known SET processed_at = clock_timestamp(), cycle_id = %(cycle_id)s::uuid
FROM rag_interactions AS answered
WHERE answered.learning_cycle_id = %(cycle_id)s::uuid AND answered.learnt_at IS NULL
    AND known.interaction_id = answered.interaction_id AND known.processed_at IS NULL
    AND (known.signal_type = 'evaluation' OR known.created_at <= answered.learning_claimed_at)
"""
_OWN_PROCESSED = """
UPDATE learning_signals SET processed_at = clock_timestamp()
WHERE cycle_id = %(cycle_id)s::uuid AND processed_at IS NULL AND interaction_id IS NULL
"""
_LEARNT = """
UPDATE rag_interactions SET learnt_at = clock_timestamp()
WHERE learning_cycle_id = %(cycle_id)s::uuid AND learnt_at IS NULL
"""
_GIVEN_BACK = """
UPDATE rag_interactions SET learning_cycle_id = NULL, learning_claimed_at = NULL
WHERE learning_cycle_id = %(cycle_id)s::uuid AND learnt_at IS NULL
    AND (%(only)s::uuid[] IS NULL OR interaction_id = ANY(%(only)s::uuid[]))
"""
_WAITING = f"""
SELECT count(*) FILTER (WHERE {_SCORED}) AS scored, count(*) FILTER (WHERE {_UNSCORED}) AS unscored,
       min(answered.created_at) FILTER (WHERE {_SCORED} OR ({_UNSCORED})) AS oldest
FROM rag_interactions AS answered WHERE {_FREE}
"""
_NEW = f"""
SELECT count(*) AS n FROM rag_interactions AS answered
WHERE {_FREE} AND ({_SCORED} OR ({_UNSCORED})) AND (%(since)s::timestamptz IS NULL OR answered.created_at >= %(since)s)
"""
_APPLIED = """
UPDATE learning_signals SET improvement_applied = true,
    improvement_details = coalesce(improvement_details, '{}') || jsonb_build_object('action_id', %(action_id)s::text)
WHERE signal_type = 'evaluation' AND interaction_id = ANY(%(interactions)s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class WaitingItems:
    """Answers nobody has learnt from: with scores, and those of the sample without; when the oldest was given."""

    scored: int
    unscored: int
    oldest: datetime | None


class LearningItemRepository:
    """Reads answers with all that is known of them, and keeps which cycle learns from which."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> WaitingItems:
        """What a cycle could learn from now."""
        row = await self._database.fetchrow(_WAITING) or {}
        return WaitingItems(int(row.get("scored", 0)), int(row.get("unscored", 0)), row.get("oldest"))

    async def new_since(self, moment: datetime | None) -> int:
        """How many of those were given since a moment."""
        row = await self._database.fetchrow(_NEW, {"since": moment})
        return int(row["n"]) if row else 0

    async def claim(
        self,
        cycle_id: str,
        limit: int,
        components: Sequence[str] | None = None,
        *,
        only: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        unscored: bool = False,
    ) -> tuple[LearningItem, ...]:
        """The answers of a cycle: those that it holds already, else up to ``limit`` that nobody learnt from.

        Oldest first. An answer comes again when somebody rated or corrected it after it was learnt from.
        ``components``: only answers in which one of them had a part; ``only``: of these interactions; ``since`` and
        ``until`` (excluded): given between. ``unscored`` takes those of the sample without scores too.
        """
        values = {
            "cycle_id": cycle_id,
            "limit": limit,
            "components": list(components) if components else None,
            "only": list(only) if only else None,
            "since": since,
            "until": until,
            "unscored": unscored,
        }
        async with self._database.transaction() as session:
            held = await session.fetchrow(_HELD, values)
            if held is not None and not held["n"]:
                await session.execute(_CLAIMED, values)
        return await self.of_cycle(cycle_id)

    async def of_cycle(self, cycle_id: str) -> tuple[LearningItem, ...]:
        """The answers that a cycle holds or learnt from, oldest first, as they are known now."""
        rows = await self._database.fetch(_OF_CYCLE, {"cycle_id": cycle_id, "component": None})
        return tuple(_item(row) for row in rows)

    async def finish(self, cycle_id: str) -> int:
        """Note that the cycle learnt from its answers and signals; returns how many answers. Twice changes nothing."""
        async with self._database.transaction() as session:
            await session.execute(_PROCESSED, {"cycle_id": cycle_id})
            await session.execute(_OWN_PROCESSED, {"cycle_id": cycle_id})
            return await session.execute(_LEARNT, {"cycle_id": cycle_id})

    async def give_back(self, cycle_id: str, only: Sequence[str] | None = None) -> int:
        """Let another cycle learn from answers that this one holds, all or ``only`` these; returns how many."""
        values = {"cycle_id": cycle_id, "only": None if only is None else list(only)}
        return await self._database.execute(_GIVEN_BACK, values)

    async def evaluated(
        self,
        component: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        prompt_version: int | None = None,
        retrieval_config: str | None = None,
        limit: int = 10_000,
    ) -> tuple[LearningItem, ...]:
        """Scored answers in which a component had a part, oldest first; the newest ``limit`` of them.

        ``prompt_version`` and ``retrieval_config`` (id of the row): only those answered with it. Times are those of
        the answers; ``until`` is excluded.
        """
        return await self._read(component, since, until, prompt_version, retrieval_config, limit, with_inputs=False)

    async def for_component(
        self, component: str, limit: int = 1_000, *, with_inputs: bool | None = None
    ) -> tuple[LearningItem, ...]:
        """The newest ``limit`` scored answers that a variant of the component can be tried on, oldest first.

        By default those with ``inputs`` kept for replay; retrieval needs none.
        """
        wanted = component != RETRIEVAL if with_inputs is None else with_inputs
        return await self._read(component, None, None, None, None, limit, with_inputs=wanted)

    async def applied(self, interaction_ids: Sequence[str], action_id: str) -> int:
        """Note on the evaluations of answers which change came of them; returns how many."""
        values = {"interactions": list(interaction_ids), "action_id": action_id}
        return await self._database.execute(_APPLIED, values)

    async def _read(
        self,
        component: str,
        since: datetime | None,
        until: datetime | None,
        prompt_version: int | None,
        retrieval_config: str | None,
        limit: int,
        *,
        with_inputs: bool,
    ) -> tuple[LearningItem, ...]:
        values = {"component": component, "since": since, "until": until, "limit": limit, "with_inputs": with_inputs}
        values |= {"prompt_version": prompt_version, "config_id": retrieval_config}
        return tuple(_item(row) for row in reversed(await self._database.fetch(_EVALUATED, values)))


def _item(row: Row) -> LearningItem:
    judged = row["evaluation_id"] is not None
    details: dict[str, Any] = row["signal_details"] or {}
    return LearningItem(
        **{name: row[name] for name in _SAME},
        contexts=tuple(str(one["text"]) for one in row["contexts"] if one.get("text")),
        ragas={name: row[name] for name in RAGAS_COLUMNS} if judged else {},
        rubric={name: row[name] for name in RUBRIC_COLUMNS} if judged else {},
        combined=row["combined_score"],
        decision=None if row["rubric_decision"] is None else RubricDecision(row["rubric_decision"]),
        weaknesses=tuple(details.get("rubric", {}).get("weaknesses", ())),
        method=_method(row),
        rating=None if row["rating"] is None else round(row["rating"]),
        corrections=tuple(one for one in row["corrections"] or () if one),
        feedback={} if row["thumb"] is None else {THUMB: row["thumb"]},
        inputs=row["inputs"] or {},
    )


_SAME = (
    *("interaction_id", "trace_id", "component", "query", "answer", "created_at", "prompt_versions"),
    *("retrieval_config_id", "brand", "latency_ms", "declined", "rubric_weighted", "signal_id"),
)


def _method(row: Row) -> str | None:
    """Whether a model or the rules gave the scores that a change of the component would rest on."""
    if row["method"] is None:
        return None
    by_ragas = "llm" if row["method"] == "ragas" else "heuristic"
    return by_ragas if row["component"] == RETRIEVAL else row["rubric_method"] or by_ragas
