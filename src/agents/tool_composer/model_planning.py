"""What does a language model make of a question, and does it hold? Parts and plans, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from src.agents.tool_composer.asking_models import Asked, ask_model
from src.agents.tool_composer.dag import ordered
from src.agents.tool_composer.decomposing import MOST_PARTS, ROBUSTNESS, VALUE, WHAT_IF, scope_of
from src.agents.tool_composer.names import Names, read_names
from src.agents.tool_composer.plan_checks import MOST_STEPS, Columns, checked_plan
from src.agents.tool_composer.services import Services
from src.agents.tool_composer.state import ComposeContext, PlannedStep, SubQuestion
from src.domain.figures import unfounded_numbers
from src.domain.vocabulary import Intent
from src.errors import E2IError

FACETS = (*(one.value for one in Intent if one is not Intent.MULTI_FACETED), WHAT_IF, ROBUSTNESS, VALUE)
LONGEST_PART = 300


class PartReply(BaseModel):
    """One part of the question."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=3, max_length=LONGEST_PART)
    intent: Literal[FACETS]  # type: ignore[valid-type]
    depends_on: list[int] = []


class DecomposedReply(BaseModel):
    """The parts of the question in their order."""

    model_config = ConfigDict(extra="forbid")

    sub_questions: list[PartReply] = Field(min_length=1, max_length=MOST_PARTS)


class StepReply(BaseModel):
    """One call of a tool. ``arguments_json`` is a JSON object by the tool's schema."""

    model_config = ConfigDict(extra="forbid")

    ordinal: int = Field(ge=0, le=MOST_STEPS)
    tool: str
    arguments_json: str
    sub_question: int = Field(ge=0)
    depends_on: list[int] = []


class PlanReply(BaseModel):
    """The calls of a plan."""

    model_config = ConfigDict(extra="forbid")

    steps: list[StepReply] = Field(min_length=1, max_length=MOST_STEPS)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The parts a model found, None with a reason in ``asked`` where they do not hold."""

    sub_questions: tuple[SubQuestion, ...] | None
    asked: Asked


@dataclass(frozen=True, slots=True)
class Planned:
    """The steps a model planned, None with a reason in ``asked`` where they do not hold."""

    steps: tuple[PlannedStep, ...] | None
    asked: Asked


async def decompose_by_model(
    services: Services, question: str, whole: Names, context: ComposeContext, today: date
) -> Decomposition:
    """Ask for the parts; they may name nothing that the question does not."""

    def check(reply: DecomposedReply) -> tuple[str, ...]:
        return _parts_problems(reply, services, question, whole, today)

    asked = await ask_model(services, "decompose", {"question": question}, DecomposedReply, check)
    if not isinstance(asked.reply, DecomposedReply):
        return Decomposition(None, asked)
    parts = []
    for one in asked.reply.sub_questions:
        scope, _ = scope_of(read_names(one.text, services.vocabulary, today), whole, context)
        parts.append(SubQuestion(one.text.strip(), one.intent, tuple(one.depends_on), scope))
    return Decomposition(tuple(parts), asked)


async def plan_by_model(
    services: Services, sub_questions: Sequence[SubQuestion], columns: Columns, declared: Mapping[str, Any]
) -> Planned:
    """Ask for the calls; they must fit the tools' schemas and the columns there are, without a circle."""
    facts = {
        "sub_questions": [
            {"position": index, "text": one.text, "intent": one.intent, "rows": str(one.scope)}
            for index, one in enumerate(sub_questions)
        ],
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "rows": tool.frame,
                "arguments": tool.arguments.model_json_schema(),
            }
            for tool in services.tools.values()
        ],
        "columns": {kind: list(names) for kind, names in columns.items()},
        "declared_treatments": sorted(str(name) for name in declared.get("questions", {})),
    }

    def check(reply: PlanReply) -> tuple[str, ...]:
        try:
            _steps(reply, services, columns, len(sub_questions))
        except (E2IError, ValueError) as error:
            return (str(error),)
        return ()

    asked = await ask_model(services, "plan", facts, PlanReply, check)
    if not isinstance(asked.reply, PlanReply):
        return Planned(None, asked)
    return Planned(_steps(asked.reply, services, columns, len(sub_questions)), asked)


def _steps(reply: PlanReply, services: Services, columns: Columns, n_parts: int) -> tuple[PlannedStep, ...]:
    steps = [
        PlannedStep(one.ordinal, one.tool, _object(one.arguments_json), one.sub_question, tuple(one.depends_on))
        for one in reply.steps
    ]
    return checked_plan(steps, services.tools, columns, n_parts)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        raise ValueError("arguments_json is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("arguments_json is no JSON object")
    return found


def _parts_problems(
    reply: DecomposedReply, services: Services, question: str, whole: Names, today: date
) -> tuple[str, ...]:
    found = []
    n_parts = len(reply.sub_questions)
    for index, one in enumerate(reply.sub_questions):
        found += _part_problems(one, services, question, whole, today)
        found += [
            f"part {index} cannot depend on part {needed}" for needed in one.depends_on if not 0 <= needed < n_parts
        ]
    if not found:
        found += _circle(reply)
    return tuple(dict.fromkeys(found))


def _part_problems(part: PartReply, services: Services, question: str, whole: Names, today: date) -> list[str]:
    try:
        own = read_names(part.text, services.vocabulary, today)
    except E2IError as error:
        return [str(error)]
    found = [f"the number {one} is not in the question" for one in unfounded_numbers(part.text, (), [question])]
    for column, values in own.kept:
        found += [f"the question does not name {one}" for one in _new(values, whole.values(column))]
    measures = (*whole.treatments, *whole.either, *whole.outcomes)
    found += [f"the question does not name {one}" for one in _new((*own.treatments, *own.outcomes), measures)]
    found += ["the question does not name that period"] if set(own.periods) - set(whole.periods) else []
    return found


def _circle(reply: DecomposedReply) -> list[str]:
    steps = [PlannedStep(i, "", {}, i, tuple(one.depends_on)) for i, one in enumerate(reply.sub_questions)]
    try:
        ordered(steps)
    except E2IError as error:
        return [str(error)]
    return []


def _new(names: Collection[str], known: Collection[str]) -> list[str]:
    return [name for name in names if name not in known]
