"""What did the agents find out?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from langgraph.runtime import Runtime

from src.agents.orchestrator.clarifying import answer_named, last_findings, seen_by
from src.agents.orchestrator.dispatching import Asked, ask
from src.agents.orchestrator.routing import in_groups
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import Dispatch, OrchestratorState, OrchestratorUpdate, Part
from src.agents.runtime import Deps, traced_node
from src.agents.specialists import Task
from src.domain.findings import Finding
from src.domain.guards import Guards
from src.domain.vocabulary import Intent
from src.errors import ContractViolation

_ON_THE_LAST_ANSWER = (Intent.EXPLANATION, Intent.FEEDBACK)
_KEPT_BACK = 0.95
"""Share of the node's time for its agents, so that a slow one is told of instead of ending the run."""


@traced_node("orchestrator", "dispatch")
async def dispatch_agents(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """Ask group after group; the agents of one group at the same time. No agent's failure is the others' failure."""
    deps, services = runtime.context, services_of(runtime.context)
    planned, budget = state.get("dispatches", ()), runtime.context.node_timeouts.get("dispatch")
    began = services.clock()
    asked: dict[int, list[Asked]] = {}
    for group in in_groups(planned):
        left = None if budget is None else budget * _KEPT_BACK - (services.clock() - began)
        tasks = [_task(state, planned[at], asked, deps) for at in group]
        async with asyncio.TaskGroup() as running:
            started = [
                running.create_task(_told(ask(planned[at], task, services, left, whole=_whole(state)), deps))
                for at, task in zip(group, tasks, strict=True)
            ]
        asked |= {at: one.result() for at, one in zip(group, started, strict=True)}
    ended = [one for at in sorted(asked) for one in asked[at]]
    return {
        "dispatches": tuple(one.dispatch for one in ended),
        # Several parts may have been left to the same documents.
        "findings": tuple(dict.fromkeys(_last(asked[at]) for at in sorted(asked))),
        "degraded": (*state.get("degraded", ()), *_missing(asked), *_done_without(asked)),
    }


async def _told(asking: Awaitable[list[Asked]], deps: Deps) -> list[Asked]:
    """What an agent found is shown as it comes."""
    found = await asking
    last = found[-1].finding
    deps.on_progress(f"{last.agent}: {last.headline or last.reason}")
    return found


def _task(state: OrchestratorState, dispatch: Dispatch, asked: dict[int, list[Asked]], deps: Deps) -> Task:
    request, part = state["request"], _part(state, dispatch)
    understood, classified = part.understood, state.get("classification")
    return Task(
        question=dispatch.question,
        agent=dispatch.agent,
        trace_id=deps.trace_id,
        session_id=request.session_id,
        understood=understood,
        brand=understood.brand if understood else request.brand,
        region=understood.region if understood else request.region,
        expertise=(classified.expertise if classified else None) or request.user_expertise,
        role=request.role,
        dataset=request.dataset,
        prior=_prior(state, part, asked, services_of(deps).guards),
        whole=_whole(state),
    )


def _whole(state: OrchestratorState) -> str:
    classified = state.get("classification")
    return state["request"].query if classified is None else classified.resolved


def _part(state: OrchestratorState, dispatch: Dispatch) -> Part:
    classified = state.get("classification")
    if classified is None or dispatch.part >= len(classified.parts):
        raise ContractViolation(f"the plan names part {dispatch.part} of a question that does not have it")
    return classified.parts[dispatch.part]


def _prior(state: OrchestratorState, part: Part, asked: dict[int, list[Asked]], guards: Guards) -> tuple[Finding, ...]:
    """What a part builds on: the parts before it, or the last answer of the session as far as the role may see it."""
    if part.depends_on:
        return tuple(_last(asked[at]) for at in part.depends_on if at in asked)
    if part.intent not in _ON_THE_LAST_ANSWER:
        return ()
    turns = seen_by(state.get("turns", ()), state["request"].role, guards)
    named = answer_named(part.text, turns)
    return named.findings if named is not None else last_findings(turns)


def _last(asked: Sequence[Asked]) -> Finding:
    """What counts of an agent and the one asked in its place: the answer, else why there is none."""
    return next((one.finding for one in asked if one.finding.answered), asked[0].finding)


def _done_without(asked: dict[int, list[Asked]]) -> list[str]:
    """What those who answered had to do without, each by name."""
    answered = [found for at in sorted(asked) if (found := _last(asked[at])).answered]
    return list(dict.fromkeys(f"{one.agent}: {text}" for one in answered for text in one.degraded))


def _missing(asked: dict[int, list[Asked]]) -> list[str]:
    return [
        f"{one.dispatch.agent}: {one.finding.status}: {one.finding.reason}"
        for at in sorted(asked)
        for one in asked[at]
        if not one.finding.answered
    ]
