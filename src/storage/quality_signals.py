"""What tells of the quality of answers beside their scores: what was said of traces, outcomes, how people behaved?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from src.storage.database import Database, Row, json_value

FROM_TRACE, OF_BEHAVIOUR, OF_MODEL = "trace", "behaviour", "model_version"
"""What a signal of a trace's score, of a behaviour and of an outcome applies to."""
ABANDONED_AFTER = "1 hour"
"""A session without a question for so long is left."""


class KeptScore(Protocol):
    """A score of a trace, in 0–1."""

    @property
    def trace_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> float: ...


@dataclass(frozen=True, slots=True)
class TraceScore:
    """What somebody or something else said of a trace: a value by its name."""

    trace_id: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Behaved:
    """An answer after which people behaved in some way; ``component`` is the agent that is answerable for it."""

    interaction_id: str
    component: str
    prompt_versions: Mapping[str, int]


_COMPONENT = "coalesce(answered.agents ->> 0, 'orchestrator')"
_SCORES = f"""
INSERT INTO learning_signals AS known
    (signal_id, cycle_id, session_id, interaction_id, trace_id, component, signal_type, signal_value, signal_details,
     applies_to_type, applies_to_id, brand)
SELECT given.signal_id, %(cycle_id)s, answered.session_id, answered.interaction_id, answered.trace_id, {_COMPONENT},
       (CASE WHEN given.value >= 0.5 THEN 'implicit_positive' ELSE 'implicit_negative' END)::signal_type,
       given.value, jsonb_build_object('name', given.name), '{FROM_TRACE}', answered.trace_id, answered.brand
FROM unnest(%(ids)s::uuid[], %(traces)s::text[], %(names)s::text[], %(values)s::double precision[])
    AS given (signal_id, trace_id, name, value)
JOIN LATERAL (
    SELECT * FROM rag_interactions AS one WHERE one.trace_id = given.trace_id ORDER BY one.created_at LIMIT 1
) AS answered ON true
ON CONFLICT (signal_id) DO UPDATE SET
    cycle_id = excluded.cycle_id, signal_type = excluded.signal_type, signal_value = excluded.signal_value,
    created_at = now(), processed_at = NULL
    WHERE known.signal_value IS DISTINCT FROM excluded.signal_value
RETURNING interaction_id
"""
# An answer that was learnt from before something was said of it is to be learnt from again.
_AGAIN = f"""
UPDATE rag_interactions SET learning_cycle_id = NULL, learning_claimed_at = NULL, learnt_at = NULL
WHERE learnt_at IS NOT NULL AND interaction_id IN (
    SELECT interaction_id FROM learning_signals WHERE processed_at IS NULL AND applies_to_type = '{FROM_TRACE}'
)
"""
_KEPT = f"""
SELECT trace_id, signal_details ->> 'name' AS name, signal_value AS value FROM learning_signals
WHERE applies_to_type = '{FROM_TRACE}' AND trace_id = ANY(%s) ORDER BY trace_id, name
"""
# Outcomes are counted from where the model's last signal ended: each once, however often this is run.
_OUTCOMES = f"""
WITH counted AS (
    SELECT applies_to_id AS model_version, max((signal_details ->> 'until')::timestamptz) AS until
    FROM learning_signals WHERE signal_type = 'outcome' AND applies_to_type = '{OF_MODEL}' GROUP BY 1
), fresh AS (
    SELECT made.model_version, count(*) AS outcomes,
           avg(power(made.prediction_value - made.actual_outcome, 2)) AS brier,
           avg(made.prediction_value) AS predicted, avg(made.actual_outcome) AS observed,
           min(made.outcome_recorded_at) AS began, max(made.outcome_recorded_at) AS until
    FROM ml_predictions AS made LEFT JOIN counted USING (model_version)
    WHERE made.actual_outcome IS NOT NULL AND made.outcome_recorded_at <= now()
      AND (counted.until IS NULL OR made.outcome_recorded_at > counted.until)
    GROUP BY made.model_version
), kept AS (
    INSERT INTO learning_signals
        (signal_id, cycle_id, component, signal_type, signal_value, signal_details, applies_to_type, applies_to_id)
    SELECT md5('outcome/' || model_version || '/' || until::text)::uuid, %(cycle_id)s, 'model_deployer', 'outcome',
           1 - brier, jsonb_build_object('outcomes', outcomes, 'brier', brier, 'predicted', predicted,
                                         'observed', observed, 'since', began, 'until', until),
           '{OF_MODEL}', model_version
    FROM fresh ON CONFLICT (signal_id) DO NOTHING RETURNING applies_to_id
)
SELECT coalesce(sum(outcomes), 0)::integer AS outcomes FROM fresh JOIN kept ON applies_to_id = model_version
"""
_ANSWERED = f"answered.interaction_id, {_COMPONENT} AS component, answered.prompt_versions"
_SAID = f"""
SELECT DISTINCT {_ANSWERED} FROM learning_signals AS said JOIN rag_interactions AS answered USING (interaction_id)
WHERE said.created_at >= %(since)s AND {{condition}}
"""
_BEHAVIOURS: Mapping[str, str] = {
    "question_repeated": f"""
SELECT {_ANSWERED} FROM (
    SELECT *, lead(created_at) OVER (
        PARTITION BY session_id, btrim(regexp_replace(lower(query), '\\W+', ' ', 'g')) ORDER BY created_at
    ) AS asked_again
    FROM rag_interactions WHERE session_id IS NOT NULL AND created_at >= %(since)s
) AS answered WHERE asked_again IS NOT NULL
""",
    "answer_rated_low": _SAID.format(
        condition="(said.signal_type = 'thumbs_down' OR said.signal_type = 'rating' "
        "AND said.signal_value <= %(low_rating)s)"
    ),
    "correction_given": _SAID.format(condition="said.signal_type = 'correction'"),
    "session_abandoned": f"""
SELECT {_ANSWERED} FROM (
    SELECT DISTINCT ON (session_id) * FROM rag_interactions
    WHERE session_id IS NOT NULL AND created_at >= %(since)s ORDER BY session_id, created_at DESC
) AS answered
LEFT JOIN learning_signals AS judged
    ON judged.interaction_id = answered.interaction_id AND judged.signal_type = 'evaluation'
WHERE answered.created_at < now() - interval '{ABANDONED_AFTER}'
  AND (answered.declined IS NOT NULL OR judged.rubric_decision IN ('AUTO_UPDATE', 'ESCALATE'))
""",
}
_BEHAVIOUR = f"""
INSERT INTO learning_signals
    (signal_id, cycle_id, component, signal_type, signal_value, signal_details, applies_to_type, applies_to_id)
VALUES (%(signal_id)s, %(cycle_id)s, %(component)s, 'implicit_negative', %(count)s, %(details)s,
        '{OF_BEHAVIOUR}', %(name)s)
ON CONFLICT (signal_id) DO NOTHING
"""


class QualitySignalRepository:
    """Writes ``learning_signals`` of traces, outcomes and behaviour, and finds the behaviour in the answers' rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep_scores(self, scores: Sequence[KeptScore], cycle_id: str) -> list[str]:
        """Keep scores of the traces of answers, and have those answers learnt from (again).

        Scores lie in 0–1. One that is kept already changes nothing; a changed one replaces it. Gives the answers (ids)
        of which something new was said; scores of traces without a kept answer are left out.
        """
        values = {
            "cycle_id": cycle_id,
            "ids": [str(uuid5(NAMESPACE_URL, f"signal/{one.trace_id}/trace/{one.name}")) for one in scores],
            "traces": [one.trace_id for one in scores],
            "names": [one.name for one in scores],
            "values": [one.value for one in scores],
        }
        async with self._database.transaction() as session:
            rows = await session.fetch(_SCORES, values)
            await session.execute(_AGAIN)
            return sorted({str(row["interaction_id"]) for row in rows})

    async def scores_of(self, trace_ids: Sequence[str]) -> list[TraceScore]:
        """The scores that are kept of traces, by trace and name."""
        rows = await self._database.fetch(_KEPT, (list(trace_ids),))
        return [TraceScore(row["trace_id"], row["name"], float(row["value"])) for row in rows]

    async def keep_outcomes(self, cycle_id: str) -> int:
        """Keep how the predictions of each model turned out since its last signal; gives how many outcomes are new.

        The value is 1 minus the Brier score: 1 is perfect.
        """
        row = await self._database.fetchrow(_OUTCOMES, {"cycle_id": cycle_id})
        return int(row["outcomes"]) if row else 0

    async def behaviours(self, name: str, since: datetime, *, low_rating: int) -> list[Behaved]:
        """The answers after which people behaved so since then, by id.

        ``question_repeated``: the same question came again in the session. ``answer_rated_low``: a rating of at most
        ``low_rating``, or a thumb down. ``correction_given``. ``session_abandoned``: a declined or badly judged answer
        was the session's last, and an hour has passed. Raises KeyError for another name.
        """
        rows = await self._database.fetch(_BEHAVIOURS[name], {"since": since, "low_rating": low_rating})
        return sorted((_behaved(row) for row in rows), key=lambda one: one.interaction_id)

    async def keep_behaviour(self, name: str, component: str, interaction_ids: Sequence[str], cycle_id: str) -> bool:
        """Keep that a behaviour was seen after these answers; False where just that is kept already."""
        seen = sorted(interaction_ids)
        values: dict[str, Any] = {
            "signal_id": str(uuid5(NAMESPACE_URL, f"signal/behaviour/{name}/{component}/{','.join(seen)}")),
            "cycle_id": cycle_id,
            "component": component,
            "count": len(seen),
            "details": json_value({"interactions": seen}),
            "name": name,
        }
        return await self._database.execute(_BEHAVIOUR, values) == 1


def _behaved(row: Row) -> Behaved:
    return Behaved(str(row["interaction_id"]), row["component"], row["prompt_versions"])
