"""What does each identification strategy ask the reader to believe, in plain words?"""

from __future__ import annotations

from collections.abc import Sequence

GRAPH_IS_RIGHT = (
    "The causal graph is right: a missing arrow is a claim that one thing does not directly cause the other, "
    "and the data cannot check every such claim."
)
NO_INTERFERENCE = "One unit's treatment does not change another unit's outcome."
EVERYONE_COULD = (
    "Units that look alike on what is adjusted for could have been treated or not; nobody is certain to be either."
)


def listed(names: Sequence[str]) -> str:
    """Write names as prose: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def randomization(treatment: str, outcome: str) -> tuple[str, ...]:
    return (
        f"Who got {treatment} was decided by chance, so treated and untreated units differ by luck only.",
        f"Nobody dropped out because of {treatment}, and {outcome} was measured the same way in both groups.",
        NO_INTERFERENCE,
    )


def no_hidden_confounding(treatment: str, outcome: str, adjusted: Sequence[str]) -> tuple[str, ...]:
    after = f" beyond {listed(adjusted)}" if adjusted else ""
    return (
        f"Nothing{after} drives both {treatment} and {outcome}. The data cannot prove this.",
        f"What is adjusted for was settled before {treatment}." if adjusted else f"{outcome} comes after {treatment}.",
        EVERYONE_COULD,
        NO_INTERFERENCE,
    )


def instrument(treatment: str, outcome: str, instruments: Sequence[str]) -> tuple[str, ...]:
    z = listed(instruments)
    return (
        f"{z} shifts {treatment} noticeably.",
        f"{z} reaches {outcome} only through {treatment}, and shares no hidden cause with {outcome}.",
        f"{z} never pushes anyone away from {treatment} whom it should push towards it.",
        "The effect found is that of units whose treatment the instrument moves, not of everyone.",
        NO_INTERFERENCE,
    )


def discontinuity(treatment: str, outcome: str, running: str, cutoff: float) -> tuple[str, ...]:
    at = f"{running} = {cutoff:g}"
    return (
        f"But for {treatment}, {outcome} would run smoothly through {at}: nothing else changes there.",
        f"Nobody chose on which side of {at} to be.",
        f"The effect found is that on units near {at}, not on everyone.",
        NO_INTERFERENCE,
    )


def unit_effects(treatment: str, outcome: str, unit: str, adjusted: Sequence[str]) -> tuple[str, ...]:
    beyond = f" beyond {listed(adjusted)}" if adjusted else ""
    return (
        f"Each {unit} is compared with itself over time: anything about it that stays the same cannot mislead.",
        f"Nothing that changes over time{beyond} drives both {treatment} and {outcome} of the same {unit}.",
        f"Without {treatment}, all units would have moved in parallel.",
        f"{treatment} does not respond to expected {outcome} (targeting on what is about to happen).",
        NO_INTERFERENCE,
    )


def front_door(treatment: str, outcome: str, mediators: Sequence[str]) -> tuple[str, ...]:
    m = listed(mediators)
    return (
        f"All of the effect of {treatment} on {outcome} runs through {m}.",
        f"Nothing hidden drives both {treatment} and {m}, or both {m} and {outcome}.",
        NO_INTERFERENCE,
    )
