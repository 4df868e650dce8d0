"""What happens when somebody rates or corrects an answer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from src.app.interactions import in_sample, of_analysis
from src.app.tracing import traced_database
from src.causal_engine.results import Analysis
from src.causal_engine.serialise import from_json
from src.domain.identifiers import find_identifiers
from src.errors import ContractViolation, RunNotFound
from src.mlops.opik_connector import get_opik_connector
from src.storage.database import Database
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.runs import RunRepository
from src.storage.user_signals import UserSignalRepository

RATINGS = range(1, 6)
LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody says of an answer: a rating of 1–5, a thumb, the right answer in words, a comment."""

    rating: int | None = None
    thumb: str | None = None
    correction: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer it is about, and the ids of the signals by kind."""

    interaction: Interaction
    signals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """One signal somebody gave, with the question it is about; ``text`` is the correction or comment."""

    kind: str
    value: float | None
    text: str
    query: str
    run_id: str | None
    trace_id: str | None
    component: str
    at: datetime


async def give_feedback(reference: str, feedback: Feedback) -> Kept:
    """Keep what is said of the answer with that run or trace id, and give its trace the scores.

    Said again it replaces what was said before; a rated answer is scored again, knowing the rating. Raises
    ContractViolation for what cannot be kept, before anything is written, and RunNotFound.
    """
    check(feedback)
    async with traced_database() as database:
        interaction = await _answer(database, reference)
        signals = await _store(UserSignalRepository(database), interaction, feedback)
        if feedback.rating is not None:
            await InteractionRepository(database).reopen(interaction.interaction_id)
        _give_scores(interaction.trace_id, feedback)
        return Kept(interaction, signals)


def check(feedback: Feedback) -> None:
    """Raises ContractViolation for an empty feedback, a rating off the scale, or text that names persons."""
    if feedback.rating is None and feedback.thumb is None and feedback.correction is None:
        raise ContractViolation(
            "say --rating 1..5, --thumbs up|down or --correct TEXT; a comment goes with one of them"
        )
    if feedback.rating is not None and feedback.rating not in RATINGS:
        raise ContractViolation(f"a rating is a whole number from 1 (wrong) to 5 (right), not {feedback.rating}")
    if feedback.thumb not in (None, "up", "down"):
        raise ContractViolation(f"a thumb is up or down, not '{str(feedback.thumb)[:20]}'")
    for name, text in (("correction", feedback.correction), ("comment", feedback.comment)):
        if text is None:
            continue
        if not text.strip():
            raise ContractViolation(f"the {name} is empty")
        if len(text) > LONGEST_TEXT:
            raise ContractViolation(f"the {name} has {len(text):,} characters; {LONGEST_TEXT:,} are kept at most")
        if found := find_identifiers(text):
            raise ContractViolation(
                f"the {name} holds what looks like a person's {found[0].kind}; say it without naming persons"
            )


async def given_feedback(limit: int) -> list[Given]:
    """What people said, newest first."""
    async with traced_database() as database:
        return [
            Given(
                kind=row["signal_type"],
                value=None if row["signal_value"] is None else float(row["signal_value"]),
                text=str(row["signal_details"].get("correction") or row["signal_details"].get("comment") or ""),
                query=row["query"],
                run_id=None if row["run_id"] is None else str(row["run_id"]),
                trace_id=row["trace_id"],
                component=row["component"],
                at=row["created_at"],
            )
            for row in await UserSignalRepository(database).recent(limit)
        ]


async def _answer(database: Database, reference: str) -> Interaction:
    """The kept answer; an analysis whose answer was not kept when it was given is kept now."""
    interactions = InteractionRepository(database)
    try:
        return await interactions.find(reference)
    except RunNotFound:
        run = await RunRepository(PostgresGateway(database)).get(reference)
        if run.analysis is None:
            raise RunNotFound(f"run {run.run_id} is {run.status} and has no answer to rate") from None
        kept = of_analysis(run, from_json(Analysis, run.analysis))
        await interactions.add(replace(kept, sampled=in_sample(run.trace_id)))
        return await interactions.find(run.trace_id)


async def _store(signals: UserSignalRepository, interaction: Interaction, feedback: Feedback) -> dict[str, str]:
    subject: dict[str, Any] = {
        "interaction_id": interaction.interaction_id,
        "trace_id": interaction.trace_id,
        "session_id": interaction.session_id,
        "component": interaction.component,
        "brand": interaction.brand,
    }
    comment = {} if feedback.comment is None else {"comment": feedback.comment.strip()}
    kept: dict[str, str] = {}
    if feedback.rating is not None:
        kept["rating"] = await signals.give(subject, "rating", value=float(feedback.rating), details=comment)
    if feedback.thumb is not None:
        kind = f"thumbs_{feedback.thumb}"
        kept[kind] = await signals.give(subject, kind, value=float(feedback.thumb == "up"), details=comment)
    if feedback.correction is not None:
        kept["correction"] = await signals.give(
            subject,
            "correction",
            value=None,
            details={"correction": feedback.correction.strip(), **comment},
            is_training_example=True,
        )
    return kept


def _give_scores(trace_id: str, feedback: Feedback) -> None:
    connector = get_opik_connector()
    if feedback.rating is not None:
        share = (feedback.rating - 1) / (RATINGS[-1] - 1)
        connector.log_feedback(trace_id, share, "user_rating", f"{feedback.rating} of 5", source="ui")
    if feedback.thumb is not None:
        connector.log_feedback(trace_id, float(feedback.thumb == "up"), "user_thumb", feedback.thumb, source="ui")
