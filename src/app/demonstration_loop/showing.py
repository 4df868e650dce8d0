"""What is there to see at each step of the circle, in plain words and in the rows of the tables?"""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from src.app.demonstration_loop.circle import EXPLAINER, RETRIEVAL, Circle
from src.app.demonstration_loop.model import SURE
from src.app.demonstration_loop.world import World
from src.app.improving.telling import evidence_lines, spend_words
from src.domain.improvement import ActionStatus, Hop
from src.optimization.pipeline.results import ActionStory, HopDone
from src.storage.database import Database

ASKED_FIRST, ASKED_AFTER, ASKED_BADLY = 40, 6, 14
HOURS = 25.0
"""How far the clock is moved where the loop waits for a day."""
_TABLES = (
    *("rag_interactions", "interaction_inputs", "evaluation_results", "learning_signals", "cognitive_cycles"),
    *("improvement_actions", "improvement_hops", "prompt_versions", "retrieval_configurations", "prompt_ab_tests"),
    *("prompt_ab_observations", "experiment_knowledge_store"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One step: what happened, what can be read in which table, and whether it is what should have happened."""

    title: str
    said: tuple[str, ...]
    rows: dict[str, int] = field(default_factory=dict)
    holds: bool = True


async def show(circle: Circle, world: World) -> AsyncIterator[Shown]:
    """The circle, step by step. Without a model only retrieval is changed."""
    with_model = circle.model is not None
    yield await spoilt(circle)
    yield await _asked(circle, world, with_model)
    yield await _learnt(circle, with_model)
    for component in (EXPLAINER, RETRIEVAL) if with_model else (RETRIEVAL,):
        yield await tested(circle, component)
    yield await _canary(circle, with_model)
    yield await _better(circle, with_model)
    if circle.model is not None:
        yield await _taken_back(circle)
    yield await _confirmed(circle)


async def spoilt(circle: Circle) -> Shown:
    """A weak prompt, where there is a model, and poor retrieval settings."""
    await circle.spoil()
    settings = await circle.settings_in_use()
    said = [f"Retrieval settings {settings.version} look at causal paths only, and give {settings.k} passage."]
    if circle.with_prompts:
        said.insert(0, f"Version {await circle.prompt_in_use()} of the explainer's prompt asks for one short sentence.")
    small = circle.rounds.improvement.options.config
    said.append(
        f"Of the configuration differ: at least {small.gate.min_items} test questions, a canary of "
        f"{small.canary.share:.0%} and {small.canary.target_items} sessions in each arm, "
        f"{small.safety.min_measure_samples} answers to confirm, the margins of latency and of the RAGAS mean in the "
        "canary, and the budget of GEPA. The loop's clock is moved on where it waits."
    )
    return Shown("A weak prompt and poor retrieval are in use", tuple(said), await rows_of(circle))


async def _asked(circle: Circle, world: World, with_model: bool) -> Shown:
    answers = await circle.ask(ASKED_FIRST)
    await circle.session.tracer.flush()
    said = [f"{len(answers)} different questions were asked and answered; every answer was scored."]
    if with_model:
        scores = await circle.scores(EXPLAINER, await circle.prompt_in_use())
        said.append(f"Rubric: {statistics.fmean(scores):.2f} of 5 on average.")
    settings = await circle.settings_in_use()
    said.append(f"RAGAS mean: {_mean(await circle.scores(RETRIEVAL, settings.config_id)):.2f} of 1.")
    given = world.opik.scores(answers[0].meta.trace_id)
    said.append(f"Opik shows {len(given)} scores on the trace of the first answer: {', '.join(sorted(given)[:4])} ...")
    return Shown("Questions are asked and scored", tuple(said), await rows_of(circle), holds=bool(given))


async def _learnt(circle: Circle, with_model: bool) -> Shown:
    report = await circle.learn()
    learnt = report.learnt
    if learnt is None:
        return Shown("A cycle learns from the answers", report.said, holds=False)
    said = [f"{name}: {decision}" for name, decision in learnt.decisions.items()]
    said += [f"{one.component}: {one.reason}" for one in learnt.steps]
    said += [f"error: {learnt.error.message}"] if learnt.error is not None else []
    wanted = {RETRIEVAL, *([EXPLAINER] if with_model else [])}
    begun = {one.component for one in learnt.steps if one.status is ActionStatus.MEASURING}
    return Shown("A cycle learns from the answers", tuple(said), await rows_of(circle), holds=wanted <= begun)


async def tested(circle: Circle, component: str) -> Shown:
    """The newest change of a component: what was changed, and the evidence hop by hop."""
    story = await story_of(circle, component)
    said = [line for line in story.diff.splitlines()[2:] if line.startswith(("+", "-"))]
    said += [f"Spend: {spend_words(story.spend)}"]
    for hop in story.hops:
        said += [f"{hop.hop}: {line}" for line in evidence_lines(hop)[:6]]
        said += _recorded_elsewhere(hop)
    return Shown(f"What was made of {component}, and how it did on questions its maker never saw", tuple(said))


def _recorded_elsewhere(hop: HopDone) -> list[str]:
    names = {"mlflow_run_id": "MLflow run", "opik_optimization_id": "Opik trace", "version_id": "saved as"}
    found = hop.evidence.get("artifacts") or {}
    return [f"{hop.hop}: {said} {found[name]}" for name, said in names.items() if name in found]


async def _canary(circle: Circle, with_model: bool) -> Shown:
    asked = await circle.ask_both_arms(circle.rounds.improvement.options.config.canary.target_items)
    circle.clock.forward(HOURS)
    carried = await circle.measure()
    said = [f"{asked} more sessions; half of them by the candidate. The clock is moved on by {HOURS:g} hours."]
    holds = True
    for component in (EXPLAINER, RETRIEVAL) if with_model else (RETRIEVAL,):
        story = await story_of(circle, component)
        look = next((one for one in reversed(story.hops) if one.hop is Hop.MEASURED), None)
        said += [f"{component}: {line}" for line in (evidence_lines(look) if look is not None else ())]
        said.append(f"{component}: {story.action.status}")
        holds = holds and story.action.status is ActionStatus.APPLIED
    said += [f"error: {one.error}" for one in carried if one.error]
    return Shown("A share of the sessions tries it, then all of them", tuple(said), await rows_of(circle), holds=holds)


async def _better(circle: Circle, with_model: bool) -> Shown:
    settings = await circle.settings_in_use()
    said, holds = [], True
    answers = await circle.ask(ASKED_AFTER)
    if with_model:
        version = await circle.prompt_in_use()
        used = {number for one in answers if (number := one.prompt_versions.get(EXPLAINER)) is not None}
        since, before = await circle.scores(EXPLAINER, version), await circle.scores(EXPLAINER, version - 1)
        said.append(f"The next answers use version {version}: {_mean(since):.2f} of 5, before {_mean(before):.2f}.")
        holds = used == {version} and _mean(since) > _mean(before)
    said.append(f"They use retrieval settings {settings.version} too.")
    return Shown("The next answers use what was changed, and score higher", tuple(said), holds=holds)


async def _taken_back(circle: Circle) -> Shown:
    assert circle.model is not None
    version = await circle.prompt_in_use()
    circle.model.spoilt_by = SURE
    await circle.ask(ASKED_BADLY)
    await circle.measure()
    story = await story_of(circle, EXPLAINER)
    lessons = await circle.rounds.improvement.services.knowledge.active(EXPLAINER)
    said = [
        f"The model now answers version {version} badly; {ASKED_BADLY} questions later the scores have dropped.",
        f"{story.action.status}: {story.action.rollback_reason}",
        f"Version {await circle.prompt_in_use()} is in use again.",
        *(f"Lesson kept ({one.lesson_type}): {one.title}" for one in lessons),
    ]
    holds = story.action.status is ActionStatus.ROLLED_BACK and await circle.prompt_in_use() == version - 1
    return Shown("A regression is injected and rolled back", tuple(said), await rows_of(circle), holds=holds)


async def _confirmed(circle: Circle) -> Shown:
    if circle.model is None:
        await circle.ask(ASKED_AFTER)
    for _ in range(2):
        circle.clock.forward(HOURS)
        await circle.measure()
    story = await story_of(circle, RETRIEVAL)
    action = story.action
    delta = (
        "" if action.outcome_delta is None else f", {action.outcome_delta:+.3f} over {action.samples_measured} answers"
    )
    lessons = await circle.rounds.improvement.services.knowledge.active(RETRIEVAL)
    said = (
        f"The clock is moved on by twice {HOURS:g} hours: retrieval is {action.status}{delta}.",
        *(f"Lesson kept ({one.lesson_type}): {one.title}" for one in lessons),
        f"Its record has {len(story.hops)} entries and is {'whole' if story.intact else 'NOT whole'}.",
    )
    holds = action.status is ActionStatus.CONFIRMED and story.intact and Hop.CLOSED in {one.hop for one in story.hops}
    return Shown("What lasts is confirmed", said, await rows_of(circle), holds=holds)


async def story_of(circle: Circle, component: str) -> ActionStory:
    """All that is known of the newest change of a component."""
    action = await circle.latest(component)
    return await circle.rounds.improvement.pipeline.explain(action.action_id)


async def rows_of(circle: Circle) -> dict[str, int]:
    """How many rows each table of the loop has."""
    return {table: await _count(circle.session.database, table) for table in _TABLES}


async def _count(database: Database, table: str) -> int:
    row = await database.fetchrow(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"]) if row else 0


def _mean(scores: Sequence[float]) -> float:
    return statistics.fmean(scores) if scores else float("nan")
