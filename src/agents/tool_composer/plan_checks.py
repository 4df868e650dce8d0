"""May a plan be carried out? Its tools exist, its arguments hold, its columns are there, its order has no circle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from src.agents.tool_composer.dag import is_share, needs, ordered, references
from src.agents.tool_composer.state import PlannedStep
from src.agents.tool_composer.tools.contract import ComposerTool, Frame, ToolArguments
from src.errors import ContractViolation, UnknownColumn, nearest_names

MOST_STEPS = 16
# Arguments of any tool that name columns of its rows.
COLUMN_ARGUMENTS = frozenset(
    {"treatment", "outcome", "by", "measure", "column", "columns", "features", "groups", "group"}
)

Tools = Mapping[str, ComposerTool[Any]]
Columns = Mapping[Frame, Collection[str]]


def checked_plan(
    steps: Sequence[PlannedStep], tools: Tools, columns: Columns, n_sub_questions: int
) -> tuple[PlannedStep, ...]:
    """The steps in an order in which they can run, each with all that it depends on named.

    ``columns`` are those of each kind of rows where they are known. Raises ContractViolation, one line, for the first
    thing that is wrong.
    """
    if not steps:
        raise ContractViolation("the plan has no steps")
    if len(steps) > MOST_STEPS:
        raise ContractViolation(f"the plan has {len(steps)} steps; at most {MOST_STEPS} are carried out")
    for step in steps:
        if step.tool not in tools:
            raise ContractViolation(f"there is no tool '{step.tool[:80]}'; {nearest_names(step.tool[:80], tools)}")
        if not 0 <= step.sub_question < n_sub_questions:
            raise ContractViolation(f"step {step.ordinal} answers part {step.sub_question}, which the question has not")
        kind = check_arguments(tools[step.tool], step.arguments)
        _check_columns(step, columns.get(kind))
    return tuple(replace(step, depends_on=tuple(sorted(needs(step)))) for step in ordered(steps))


def check_arguments(tool: ComposerTool[Any], arguments: Mapping[str, Any]) -> Frame:
    """The kind of rows that a call reads; figures yet to come count as right numbers.

    Raises ContractViolation for arguments the tool does not take.
    """
    later = {*references(arguments), *(name for name, value in arguments.items() if is_share(value))}
    for name in later:
        if name not in tool.arguments.model_fields:
            raise ContractViolation(_unknown(tool, name))
    told = {name: value for name, value in arguments.items() if name not in later} | dict.fromkeys(later, 1.0)
    try:
        return tool.frame_for(tool.arguments.model_validate(told))
    except ValidationError as error:
        problems = [one for one in error.errors(include_url=False) if not (one["loc"] and one["loc"][0] in later)]
        if problems:
            raise ContractViolation(_first(tool, problems[0])) from None
        return tool.frame


def arguments_of(tool: ComposerTool[Any], arguments: Mapping[str, Any]) -> ToolArguments:
    """The arguments as the tool takes them. Raises ContractViolation."""
    try:
        validated: ToolArguments = tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        raise ContractViolation(_first(tool, error.errors(include_url=False)[0])) from None
    return validated


def _first(tool: ComposerTool[Any], problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the arguments"
    if problem["type"] == "extra_forbidden":
        return _unknown(tool, place)
    return f"{tool.name}: {place[:80]}: {problem['msg']}"


def _unknown(tool: ComposerTool[Any], name: str) -> str:
    return f"{tool.name} has no argument '{name[:80]}'; {nearest_names(name[:80], tool.arguments.model_fields)}"


def _check_columns(step: PlannedStep, known: Collection[str] | None) -> None:
    if known is None:
        return
    for name in _columns_named(step.arguments):
        if name not in known:
            raise UnknownColumn(name[:80], [str(column) for column in known])


def _columns_named(arguments: Mapping[str, Any]) -> Iterator[str]:
    for argument in COLUMN_ARGUMENTS.intersection(arguments):
        value = arguments[argument]
        for name in value if isinstance(value, list | tuple) else [value]:
            if isinstance(name, str):
                yield name
