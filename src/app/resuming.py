"""What was interrupted, and how is it finished: questions of conversations first, then the analyses left over?"""

from __future__ import annotations

from dataclasses import dataclass

from src.agents.orchestrator.agent import QueryResult
from src.app.effects import Answer, load_answer, resume_answers
from src.app.orchestration import open_assistant
from src.app.session import Session
from src.storage.conversations import ConversationRepository, Unfinished


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was finished: ``questions`` with the analyses each rests on, ``analyses`` that no question waits for, and
    the ``stamp`` of answers."""

    questions: tuple[tuple[QueryResult, tuple[Answer, ...]], ...]
    analyses: tuple[Answer, ...]
    stamp: str = ""


async def resume(session: Session, run_id: str | None = None) -> Resumed:
    """Finish what was interrupted, or the run ``run_id`` with the question it is part of.

    What another process is working on is left alone. Raises RunNotFound, and what the answers themselves raise.
    """
    conversations = ConversationRepository(session.database)
    waiting = [one for one in await conversations.unfinished() if run_id is None]
    if run_id is not None:
        run = await session.runs.get(run_id)
        if run.status == "running":
            waiting = [one for one in await conversations.unfinished() if one.trace_id == run.trace_id]
    if run_id is not None and waiting:
        return await _questions(session, waiting)
    finished = await _questions(session, waiting) if waiting else Resumed((), ())
    held = {one.trace_id for one in await conversations.unfinished()}
    analyses = await resume_answers(session, run_id, of_questions=held)
    return Resumed(finished.questions, tuple(analyses), finished.stamp)


async def _questions(session: Session, waiting: list[Unfinished]) -> Resumed:
    async with open_assistant(session) as assistant:
        results = await assistant.resume(waiting)
        told = []
        for result in results:
            told.append((result, tuple([await load_answer(session, one) for one in result.run_ids])))
        return Resumed(tuple(told), (), assistant.guards.stamp)
