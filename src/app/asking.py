"""How does a question in plain words become an answer, or a question back?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from src.agents.runtime import Filter
from src.app.effects import Answer, answer_effect
from src.app.questions import EffectQuestion
from src.app.session import Session
from src.domain.question import ClarificationNeeded, Understood, understand
from src.domain.vocabulary import load_vocabulary
from src.errors import QuestionNotUnderstood
from src.storage.gateway import Op
from src.storage.records import DatasetRecord


@dataclass(frozen=True, slots=True)
class Clarification:
    """The question back, with what there is to choose from."""

    question_back: str
    options: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {"clarification": self.question_back, "options": list(self.options)}

    def text(self) -> str:
        """For the terminal."""
        return "\n".join([self.question_back, *(f"  · {option}" for option in self.options)])


def read_question(question: str) -> Understood | Clarification:
    """What ``question`` asks, or what to ask back.

    Raises QuestionNotUnderstood for text that names nothing known, or asks for something else than an effect.
    """
    understood = understand(question, load_vocabulary(), today=datetime.now(UTC).date())
    if isinstance(understood, ClarificationNeeded):
        return Clarification(understood.question_back, understood.options)
    if understood.treatment is None or understood.outcome is None:
        raise QuestionNotUnderstood(
            f"this is a question of the kind '{understood.intent.replace('_', ' ')}'; e2i ask answers causal "
            'questions, for example "Do rep calls increase new prescriptions of Kisqali in the Northeast?"'
        )
    return understood


async def answer_question(session: Session, question: str, understood: Understood, *, dataset: str) -> Answer:
    """Answer an understood question on the panel ``dataset``; raises DatasetNotFound without a panel."""
    record = await session.datasets.record(dataset)
    effect_question = EffectQuestion(
        dataset=record.dataset_id,
        treatment=understood.treatment,
        outcome=understood.outcome,
        lag=understood.lag,
        filters=_filters(understood),
        text=question,
    )
    return await answer_effect(
        session, effect_question, declared=_declared(record, understood), understood=_document(understood)
    )


def _filters(understood: Understood) -> tuple[Filter, ...]:
    chosen = (("brand", understood.brand), ("region", understood.region), ("specialty", understood.specialty))
    filters = [Filter(column, Op.EQ, value) for column, value in chosen if value]
    period = understood.period
    if period is not None and period.start is not None:
        filters.append(Filter("month", Op.GE, period.start.isoformat()))
    if period is not None and period.end is not None:
        filters.append(Filter("month", Op.LE, period.end.isoformat()))
    if period is not None and period.since_launch:
        filters.append(Filter("months_since_launch", Op.GE, "0"))
    return tuple(filters)


def _declared(record: DatasetRecord, understood: Understood) -> dict[str, Any]:
    """What the panel declares about this treatment, for the brand where brands differ."""
    questions = record.declared.get("questions", {})
    base = {key: value for key, value in record.declared.items() if key != "questions"}
    entry = questions.get(f"{understood.treatment}@{understood.brand}") or questions.get(str(understood.treatment))
    if entry is None:
        return base
    return {**base, **_for_outcome(entry, str(understood.outcome))}


def _for_outcome(entry: dict[str, Any], outcome: str) -> dict[str, Any]:
    """Declared knowledge told for one script count holds for the others: only the name changes."""
    told = entry["outcome"]
    renamed = {told: outcome}
    edges = [[renamed.get(node, node) for node in edge] for edge in entry["graph"]["edges"]]
    return {**entry, "outcome": outcome, "graph": {**entry["graph"], "edges": edges}}


def _document(understood: Understood) -> dict[str, Any]:
    return {
        "sentence": understood.sentence(),
        "brand": understood.brand,
        "region": understood.region,
        "specialty": understood.specialty,
        "period": str(understood.period) if understood.period else None,
        "treatment": understood.treatment,
        "outcome": understood.outcome,
        "kpi": next((one.kpi for one in load_vocabulary().measures if one.column == understood.outcome), None),
        "lag": understood.lag,
        "direction_pushed": understood.direction_pushed,
        "assumptions": list(understood.assumptions),
        "matched": [asdict(match) for match in understood.matched],
    }
