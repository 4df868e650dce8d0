"""Which segments come first, by level or by effect, and how sure is their order?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.cate_analyzer import NOT_A_VERDICT, tell_left_out, tell_overall
from src.agents.tool_composer.tools.column_arguments import Lag, SegmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.panel_rows import checked_columns, rows_of
from src.agents.tool_composer.tools.segments import Segment, Segmented, segmented_effect, segmented_level
from src.agents.tool_composer.tools.studies import AskedStudy, ask, asked_about, row_in_words
from src.agents.tool_composer.tools.telling import Telling
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind
from src.errors import ContractViolation, EstimationError

TOP = 5
ORDER_OF_LEVELS = "A level shows where much is written, not what would change it: segments differ in many other ways."


class SegmentRankerArguments(ToolArguments):
    """Segments of ``by`` ranked by the mean of ``measure``, or with a ``treatment`` by its effect on ``measure``."""

    measure: Annotated[
        str,
        Field(
            min_length=1,
            max_length=120,
            description="Numeric column to rank by; the outcome when a treatment is named.",
            examples=["nrx", "trx", "rep_calls"],
        ),
    ]
    by: SegmentColumn
    treatment: Annotated[
        str | None,
        Field(
            max_length=120,
            description="Rank by the effect of this column on the measure; leave out to rank by the measure itself.",
            examples=["rep_calls"],
        ),
    ] = None
    top: Annotated[int, Field(ge=1, le=50, description="How many segments to name.", examples=[5])] = TOP
    lowest_first: Annotated[bool, Field(description="Begin with the lowest instead of the highest.")] = False
    lag: Lag = None


def compute(inputs: ToolInputs, arguments: SegmentRankerArguments) -> ToolOutput:
    """The ranking with possible ranks. Raises EstimationError where no segment may be shown."""
    telling = Telling(inputs)
    if arguments.treatment is None:
        checked_columns(rows_of(inputs), (arguments.measure, arguments.by))
        if arguments.by == arguments.measure:
            raise ContractViolation(f"'{arguments.by}' cannot be ranked by itself; name another column to group by")
        asked = asked_about(inputs, arguments.measure)
        unit = f"{plain(arguments.measure)} per {row_in_words(asked.spec.unit_key, asked.spec.time_key)}"
        part = segmented_level(asked.frame, asked.spec, arguments.measure, arguments.by)
        telling.say(StatementKind.CAVEAT, ORDER_OF_LEVELS)
    else:
        asked = ask(inputs, arguments.treatment, arguments.measure, lag=arguments.lag)
        unit = tell_overall(telling, asked)
        part = segmented_effect(asked, inputs.declared, arguments.by)
        telling.say(StatementKind.CAVEAT, NOT_A_VERDICT)
    return _ranked(telling, part, unit, asked, arguments)


def _ranked(
    telling: Telling, part: Segmented, unit: str, asked: AskedStudy, arguments: SegmentRankerArguments
) -> ToolOutput:
    estimates, told = part.estimates, list(part.told)
    if estimates is None:
        raise EstimationError(f"no '{part.column}' has enough rows of at least 11 units to be shown")
    best, worst = estimates.possible_ranks()
    places = {one.name: (int(low), int(high)) for one, low, high in zip(told, best, worst, strict=True)}
    shrunken = dict(zip((one.name for one in told), estimates.shrunken().tolist(), strict=True))
    if arguments.lowest_first:
        places = {name: (len(told) + 1 - high, len(told) + 1 - low) for name, (low, high) in places.items()}
        told.reverse()
    named = told[: arguments.top]
    words = {one.name: _tell(telling, one, unit, places[one.name], len(told)) for one in named}
    tell_left_out(telling, part, asked)
    rows = [_row(one, rank, places[one.name], shrunken[one.name]) for rank, one in enumerate(named, start=1)]
    return telling.output(_summary(named, words, places, len(told), arguments), rows, len(asked.frame))


def _tell(telling: Telling, segment: Segment, unit: str, places: tuple[int, int], n: int) -> str:
    measured = segment.measured
    assert measured is not None
    name = f"{segment.column}={segment.name}"
    words = telling.figure(f"value[{name}]", measured.value, unit, measured.ci.lower, measured.ci.upper)
    low, high = places
    rank = f"rank {low}" if low == high else f"rank {low} to {high}"
    telling.figure(f"best_rank[{name}]", low, "rank")
    telling.figure(f"worst_rank[{name}]", high, "rank")
    telling.say(
        StatementKind.FINDING, f"{plain(segment.column)} {segment.name}: {words}, {rank} of {n} by pairwise tests."
    )
    return words


def _row(segment: Segment, rank: int, places: tuple[int, int], shrunken: float) -> dict[str, Any]:
    measured = segment.measured
    assert measured is not None
    return {
        "column": segment.column,
        "segment": segment.name,
        "rank": rank,
        "best_rank": places[0],
        "worst_rank": places[1],
        "value": measured.value,
        "lower": measured.ci.lower,
        "upper": measured.ci.upper,
        "shrunken": shrunken,
        "n_rows": segment.n_rows,
        "n_units": segment.n_units,
    }


def _summary(
    named: Sequence[Segment],
    words: Mapping[str, str],
    places: Mapping[str, tuple[int, int]],
    n: int,
    arguments: SegmentRankerArguments,
) -> str:
    first = named[0]
    what = "lowest" if arguments.lowest_first else "highest"
    measure = plain(arguments.measure)
    subject = (
        measure if arguments.treatment is None else f"estimated effect of {plain(arguments.treatment)} on {measure}"
    )
    sure = places[first.name][1] == 1
    if n == 1:
        tail = "no other one can be shown"
    else:
        tail = "ahead of every other one beyond chance" if sure else "not clearly ahead of the next ones"
    return (
        f"The {what} {subject} by {plain(first.column)} is in {first.name}: {words[first.name]}; {tail} ({n} compared)."
    )


TOOL = ComposerTool(
    "segment_ranker",
    "Ranks segments (regions, specialties, territories…) by the mean of a measure, or by the effect of a treatment on "
    "it, and says which ranks are more than chance.",
    SegmentRankerArguments,
    "panel",
    compute,
    cost=5.0,
)
