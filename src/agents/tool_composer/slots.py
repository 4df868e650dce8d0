"""Which of the values at hand does a tool take, and in which form?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from src.agents.tool_composer.dag import is_reference, is_share
from src.agents.tool_composer.plan_checks import Tools
from src.agents.tool_composer.state import PlannedStep, Scope, SubQuestion
from src.agents.tool_composer.tools.contract import ComposerTool
from src.errors import QuestionNotUnderstood

PERIOD_ARGUMENTS = ("period", "current")


def fitted(tool: ComposerTool[Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``wanted`` that the tool has and that are there, each in the form its schema takes: list or single.

    Raises QuestionNotUnderstood for a value that it does not take: left out, another question would be answered.
    """
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if name in tool.arguments.model_fields and value is not None and value != ():
            form = next((form for form in _forms(value) if _takes(tool, name, form)), None)
            if form is None:
                raise QuestionNotUnderstood(
                    f"{name.replace('_', ' ')} {value} is outside what {tool.name} takes; name another"
                )
            found[name] = form
    return found


def settled(step: PlannedStep, part: SubQuestion, tools: Tools) -> PlannedStep:
    """The step on the rows of its part: a tool that takes a period itself gets it as its argument, with all months."""
    fields = tools[step.tool].arguments.model_fields
    takes = next((name for name in PERIOD_ARGUMENTS if name in fields), None)
    if takes is None or (part.scope.start is None and part.scope.end is None):
        return replace(step, scope=part.scope)
    arguments = dict(step.arguments)
    compared_segments = takes == "current" and arguments.get("segment") is not None
    if compared_segments:
        return replace(step, scope=part.scope)
    arguments.setdefault(takes, period_in_words(part.scope))
    return replace(step, arguments=arguments, scope=Scope(part.scope.kept))


def unsettled(step: PlannedStep, part: SubQuestion) -> PlannedStep:
    """The step without the months of its part: what is kept for another question."""
    months = period_in_words(part.scope)
    kept = {name: value for name, value in step.arguments.items() if not (name in PERIOD_ARGUMENTS and value == months)}
    return replace(step, arguments=kept, scope=Scope())


def period_in_words(scope: Scope) -> str:
    """Months as tools read them."""
    start, end = (None if day is None else f"{day:%Y-%m}" for day in (scope.start, scope.end))
    if start and end:
        return start if start == end else f"{start} to {end}"
    return f"from {start}" if start else f"until {end}"


def _forms(value: Any) -> Iterable[Any]:
    if is_reference(value) or is_share(value):
        return [value]
    if isinstance(value, tuple | list):
        return [list(value), *([value[0]] if value else [])]
    return [value, [value]]


def _takes(tool: ComposerTool[Any], name: str, value: Any) -> bool:
    """Whether a field accepts a value by itself, whatever the others are."""
    if is_reference(value) or is_share(value):
        return True
    try:
        tool.arguments.model_validate({name: value})
    except ValidationError as error:
        return not any(one["loc"] and one["loc"][0] == name for one in error.errors(include_url=False))
    return True
