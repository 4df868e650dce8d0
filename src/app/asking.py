"""How does a question in plain words become an answer, or a question back?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from src.agents.runtime import Filter
from src.app.effects import Answer, answer_effect
from src.app.questions import EffectQuestion, check_columns
from src.app.session import Session
from src.causal_engine.declaration import declared_for
from src.domain.guards import Guards
from src.domain.question import ClarificationNeeded, Understood, understand
from src.domain.vocabulary import load_vocabulary
from src.errors import QuestionNotUnderstood
from src.storage.gateway import Op


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


async def answer_question(
    session: Session,
    question: str,
    understood: Understood,
    *,
    dataset: str,
    trace_id: str | None = None,
    guards: Guards | None = None,
    role: str = "analyst",
    keep_answer: bool = True,
) -> Answer:
    """Answer an understood question on the panel ``dataset``; raises DatasetNotFound without a panel.

    Raises GuardrailViolation where the question names a column, or selects by one, that ``guards`` hide from ``role``,
    before anything is read. ``trace_id`` and ``keep_answer`` as for an effect.
    """
    record = await session.datasets.record(dataset)
    effect_question = EffectQuestion(
        dataset=record.dataset_id,
        treatment=understood.treatment,
        outcome=understood.outcome,
        lag=understood.lag,
        filters=filters_of(understood),
        text=question,
    )
    if guards is not None:
        check_columns(effect_question, guards, role)
    return await answer_effect(
        session,
        effect_question,
        declared=declared_for(record.declared, str(understood.treatment), str(understood.outcome), understood.brand),
        understood=_document(understood),
        trace_id=trace_id,
        keep_answer=keep_answer,
    )


def filters_of(understood: Understood) -> tuple[Filter, ...]:
    """The rows that a question is about."""
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
