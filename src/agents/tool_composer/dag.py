"""In which order can steps run that need one another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from src.agents.tool_composer.state import PlannedStep
from src.errors import ContractViolation


def references(arguments: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """The arguments that take a figure of an earlier step: its ordinal and the name of the figure, by argument."""
    return {name: (value["from"], str(value["field"])) for name, value in arguments.items() if is_reference(value)}


def is_reference(value: Any) -> bool:
    """Whether an argument has the form ``{"from": ordinal, "field": name}``."""
    return isinstance(value, Mapping) and set(value) == {"from", "field"} and type(value["from"]) is int


def is_share(value: Any) -> bool:
    """Whether an argument has the form ``{"share": number, "of": column}``: so much of the column's mean."""
    return isinstance(value, Mapping) and set(value) == {"share", "of"} and isinstance(value["share"], int | float)


def needs(step: PlannedStep) -> frozenset[int]:
    """Ordinals a step waits for: those it names and those it takes figures from."""
    return frozenset(step.depends_on).union(source for source, _ in references(step.arguments).values())


def ordered(steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    """The steps so that each comes after what it needs, the lowest ordinal first.

    Raises ContractViolation for an ordinal that is there twice or not at all, and for a cycle.
    """
    by_ordinal = {step.ordinal: step for step in steps}
    if len(by_ordinal) != len(steps):
        raise ContractViolation("two steps of the plan have the same ordinal")
    for step in steps:
        for needed in needs(step):
            if needed not in by_ordinal:
                raise ContractViolation(f"step {step.ordinal} ({step.tool}) needs step {needed}, which is not planned")
    sorter = TopologicalSorter({step.ordinal: needs(step) for step in sorted(steps, key=lambda one: one.ordinal)})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(str(ordinal) for ordinal in error.args[1])
        raise ContractViolation(f"the steps of the plan wait for one another in a circle: {circle}") from error
    found: list[PlannedStep] = []
    ready: list[int] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        first = ready.pop(0)
        found.append(by_ordinal[first])
        sorter.done(first)
    return tuple(found)
