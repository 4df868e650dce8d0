"""What do others say of our answers in the tracing service, and how does that bear on an answer?"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from src.domain.improvement import LearningItem
from src.domain.rubric import CRITERIA
from src.mlops.opik_connector import OpikConnector
from src.rag.combined import COMBINED
from src.rag.opik_integration import RUBRIC_PREFIX, UNMEASURED
from src.rag.scores import METRICS
from src.resilience.outcomes import Unavailable
from src.storage.quality_signals import KeptScore, TraceScore

# What we give a trace ourselves stands in our own rows already: read back it would count twice.
OWN_SCORES = frozenset(
    {*METRICS, *(f"{RUBRIC_PREFIX}{name}" for name in (*CRITERIA, "weighted"))}
    | {COMBINED, UNMEASURED, "user_rating", "user_thumb"}
)
_LOWEST, _HIGHEST = 1, 5


class FeedbackRows(Protocol):
    """The scores of traces in the database."""

    async def query_feedback(self, since: datetime | None = None, agent: str | None = None) -> Sequence[KeptScore]:
        """Scores since then, oldest first."""
        ...


class TraceFeedback:
    """Scores of traces that are not our own: those of Opik, and those that only the database has."""

    def __init__(self, connector: OpikConnector | None, rows: FeedbackRows) -> None:
        """``connector`` is None where no Opik server is configured: the database then is all there is."""
        self._connector, self._rows = connector, rows

    async def since(self, moment: datetime) -> tuple[Sequence[TraceScore], str]:
        """Scores given since ``moment``, one for each trace and name, and why Opik could not be asked.

        A score that both have is Opik's: somebody may have changed it there.
        """
        found = _by_name(await self._rows.query_feedback(moment))
        missing = ""
        if self._connector is not None:
            theirs = await self._connector.query_feedback(moment)
            if isinstance(theirs, Unavailable):
                missing = theirs.reason
            else:
                found |= _by_name(theirs)
        return tuple(TraceScore(*key, value) for key, value in sorted(found.items())), missing


def _by_name(those: Iterable[KeptScore]) -> dict[tuple[str, str], float]:
    """The mean over the spans of a trace that were given the same score."""
    values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for one in those:
        if one.name not in OWN_SCORES:
            values[one.trace_id, one.name].append(float(one.value))
    return {key: statistics.fmean(several) for key, several in values.items()}


def with_scores(items: Sequence[LearningItem], scores: Iterable[KeptScore]) -> tuple[LearningItem, ...]:
    """The items with what was said of their traces."""
    by_trace: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in scores:
        by_trace[one.trace_id][one.name] = one.value
    return tuple(
        dataclasses.replace(item, feedback={**item.feedback, **by_trace[item.trace_id]})
        if item.trace_id in by_trace
        else item
        for item in items
    )


def rating_of(item: LearningItem) -> float | None:
    """How people rated an answer, 1 to 5: in their own words, else the mean of what was said of its trace.

    Scores of a trace lie in 0–1; of others the scale is not known, and they do not count.
    """
    if item.rating is not None:
        return float(item.rating)
    shares = _shares(item.feedback)
    return _LOWEST + (_HIGHEST - _LOWEST) * statistics.fmean(shares) if shares else None


def _shares(feedback: Mapping[str, float]) -> list[float]:
    return [value for _, value in sorted(feedback.items()) if 0 <= value <= 1]
