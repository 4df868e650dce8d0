"""What becomes of one question given to one agent? A failure is a finding that says so; only a cancellation is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from src.agents.orchestrator.routing import OF_DOCUMENTS
from src.agents.orchestrator.services import Services
from src.agents.orchestrator.state import Dispatch
from src.agents.specialists import Task
from src.domain.findings import Finding, FindingStatus
from src.errors import (
    ContractViolation,
    DataUnavailable,
    E2IError,
    EstimationError,
    QuestionNotUnderstood,
    ServiceOutage,
)

_MOST_CHARACTERS = 300
_REFUSALS = (EstimationError, QuestionNotUnderstood, ContractViolation)
_OUTAGES = (ServiceOutage, DataUnavailable)
_IN_ITS_PLACE = (FindingStatus.UNAVAILABLE, FindingStatus.TIMEOUT, FindingStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Asked:
    """A dispatch that has ended, and what it gave."""

    dispatch: Dispatch
    finding: Finding


async def ask(
    dispatch: Dispatch, task: Task, services: Services, seconds_left: float | None = None, *, whole: str | None = None
) -> list[Asked]:
    """Ask the agent of ``dispatch``, and its fallback where it could not answer; both are told of.

    Documents are asked the ``whole`` question: they do not speak of its parts.

    ``seconds_left`` of the whole answer shorten the agent's own time. An agent that is not there, fails, crashes or
    takes too long gives a finding of that status. Cancellation leaves unchanged.
    """
    first = await _ask_one(dispatch, task, services, seconds_left)
    if dispatch.fallback is None or first.finding.status not in _IN_ITS_PLACE:
        return [first]
    instead = replace(dispatch, agent=dispatch.fallback, fallback=None)
    question = whole if whole and instead.agent == OF_DOCUMENTS else task.question
    again = replace(task, agent=instead.agent, question=question)
    second = await _ask_one(replace(instead, question=question), again, services, seconds_left)
    said = f"asked in place of {dispatch.agent}"
    note = f"{said}: {second.dispatch.reason}" if second.dispatch.reason else said
    return [first, replace(second, dispatch=replace(second.dispatch, reason=note))]


async def _ask_one(dispatch: Dispatch, task: Task, services: Services, seconds_left: float | None) -> Asked:
    began = services.clock()
    seconds = dispatch.timeout_ms / 1000.0
    seconds = seconds if seconds_left is None else max(min(seconds, seconds_left), 0.0)
    finding = await _finding(task, services, seconds)
    took = (services.clock() - began) * 1000.0
    return Asked(replace(dispatch, status=str(finding.status), latency_ms=took, reason=finding.reason), finding)


async def _finding(task: Task, services: Services, seconds: float) -> Finding:
    specialist = services.specialists.get(task.agent)
    if specialist is None:
        return _nothing(task, FindingStatus.UNAVAILABLE, "this agent is not available here")
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await specialist.answer(task)
    except E2IError as error:
        return _nothing(task, _status_of(error), str(error))
    except TimeoutError as error:
        if limit.expired():
            return _nothing(task, FindingStatus.TIMEOUT, f"no answer within {seconds:g} s")
        return _crashed(task, error)
    except Exception as error:  # noqa: BLE001 - one agent's defect costs its own part only, told by type and message
        return _crashed(task, error)


def _status_of(error: E2IError) -> FindingStatus:
    if isinstance(error, _OUTAGES):
        return FindingStatus.UNAVAILABLE
    return FindingStatus.DECLINED if isinstance(error, _REFUSALS) else FindingStatus.FAILED


def _crashed(task: Task, error: Exception) -> Finding:
    return _nothing(task, FindingStatus.FAILED, f"it stopped with {type(error).__name__}: {error}")


def _nothing(task: Task, status: FindingStatus, reason: str) -> Finding:
    line = " ".join(reason.split()) or str(status)
    short = line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
    return Finding(agent=task.agent, question=task.question, status=status, reason=short)
