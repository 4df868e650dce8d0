"""Does the circle go round with a real model of one's own?

A step holds where it met no error. A small model answers and judges as well as it can: whether its prompt becomes
better, and whether the gate finds enough evidence, is told and not demanded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from src.app.demonstration_loop.circle import EXPLAINER, RETRIEVAL, Circle
from src.app.demonstration_loop.showing import HOURS, Shown, rows_of, spoilt, story_of, tested
from src.app.demonstration_loop.world import World
from src.app.models import check_model
from src.domain.improvement import ActionStatus
from src.errors import DataUnavailable, E2IError, MalformedReply, ModelRefused
from src.optimization.pipeline.results import CarriedOn

LEAST_PER_ARM = 2


class ModelUnanswering(E2IError):
    """There is no server at the address, or it does not speak the format."""


async def show_served(circle: Circle, world: World, questions: int) -> AsyncIterator[Shown]:
    """The circle with the configured model, step by step; a step holds where it met no error.

    Raises ModelUnanswering before anything is asked when the model does not answer at all.
    """
    await _answering()
    begun = await spoilt(circle)
    yield replace(begun, said=(*begun.said, "Whatever the model thinks of its answers, they are to be improved."))
    yield await _asked(circle, world, questions)
    yield await _learnt(circle)
    changed = [one for one in (EXPLAINER, RETRIEVAL) if await _was_changed(circle, one)]
    for component in changed:
        yield await tested(circle, component)
    yield await _tried(circle, changed)
    yield await _ended(circle, changed)


async def _answering() -> None:
    """A reply of any kind is enough: one that is not as asked says something of the model, not of its server."""
    found = await check_model("judge")
    problem = found.call.problem if found.call is not None else None
    if problem is not None and problem.type not in (MalformedReply.__name__, ModelRefused.__name__):
        raise ModelUnanswering(f"the model does not answer ({problem.message}); see that its server runs")


async def _asked(circle: Circle, world: World, questions: int) -> Shown:
    answers = await circle.ask(questions)
    await circle.session.tracer.flush()
    by_model = sum(one.source == "llm" for one in answers)
    rubric = await circle.scores(EXPLAINER, await circle.prompt_in_use())
    means = await circle.scores(RETRIEVAL, (await circle.settings_in_use()).config_id)
    given = world.opik.scores(answers[0].meta.trace_id)
    said = (
        f"{len(answers)} questions were asked; the model worded {by_model} of the answers, a template the others.",
        f"It judged {len(rubric)} of them by the rubric and {len(means)} by RAGAS; the rest is unmeasured.",
        f"Opik shows {len(given)} scores on the trace of the first answer.",
    )
    return Shown("Questions are asked and scored", said, await rows_of(circle))


async def _learnt(circle: Circle) -> Shown:
    report = await circle.learn()
    learnt = report.learnt
    if learnt is None:
        return Shown("A cycle learns from the answers", report.said, holds=False)
    said = [f"{name}: {decision}" for name, decision in learnt.decisions.items()]
    said += [f"{one.component}: {one.reason}" for one in learnt.steps]
    said += [f"error: {learnt.error.message}"] if learnt.error is not None else []
    return Shown("A cycle learns from the answers", tuple(said), await rows_of(circle), holds=not report.failed)


async def _was_changed(circle: Circle, component: str) -> bool:
    try:
        await circle.latest(component)
    except DataUnavailable:
        return False
    return True


async def _tried(circle: Circle, changed: Sequence[str]) -> Shown:
    title = "A share of the sessions tries what passed the gate"
    running = [one for one in changed if await circle.canaries.running(one) is not None]
    if not running:
        return Shown(title, ("Nothing passed the gate: there is nothing to try.",), await rows_of(circle))
    asked = await circle.ask_both_arms(LEAST_PER_ARM)
    circle.clock.forward(HOURS)
    said = [f"{asked} more sessions for {', '.join(running)}; the clock is moved on by {HOURS:g} hours."]
    carried = await circle.measure()
    return Shown(title, (*said, *await _state(circle, running), *_errors(carried)), holds=not _errors(carried))


async def _ended(circle: Circle, changed: Sequence[str]) -> Shown:
    carried: list[CarriedOn] = []
    for _ in range(2):
        circle.clock.forward(HOURS)
        carried += await circle.measure()
    whole = [(await story_of(circle, one)).intact for one in changed]
    said = (
        f"The clock is moved on by twice {HOURS:g} hours.",
        *await _state(circle, changed),
        f"{sum(whole)} of {len(whole)} records are whole.",
        f"Version {await circle.prompt_in_use()} of the explainer's prompt is in use.",
    )
    holds = all(whole) and not _errors(carried)
    return Shown("Every change has come to its end", (*said, *_errors(carried)), await rows_of(circle), holds=holds)


async def _state(circle: Circle, components: Sequence[str]) -> list[str]:
    found = [(one, (await circle.latest(one)).status) for one in components]
    return [f"{name}: {status.value if isinstance(status, ActionStatus) else status}" for name, status in found]


def _errors(carried: Sequence[CarriedOn]) -> list[str]:
    return [f"error: {one.error}" for one in carried if one.error]
