"""For whom is the effect larger or smaller, and is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import (
    EstimatorName,
    Lag,
    OutcomeColumn,
    SegmentColumn,
    TreatmentColumn,
)
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.contrasts import LEVEL
from src.agents.tool_composer.tools.segments import Segment, Segmented, segmented_effect
from src.agents.tool_composer.tools.studies import AskedStudy, ask, unit_of_effect, units_in_words
from src.agents.tool_composer.tools.telling import Telling
from src.agents.tool_composer.tools.verdicts import tell_estimate
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.domain.small_cells import SMALLEST_CELL, suppressed_rows
from src.errors import EstimationError

MAX_COLUMNS = 3
NOT_A_VERDICT = (
    "The segment effects rest on the same assumptions as the overall effect; whether it may be read as cause and "
    "effect is what causal_effect_estimator says."
)


class CateAnalyzerArguments(ToolArguments):
    """The effect of ``treatment`` on ``outcome`` within each value of the columns ``by``, one column at a time."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    by: Annotated[
        tuple[SegmentColumn, ...],
        Field(
            min_length=1,
            max_length=MAX_COLUMNS,
            description="Columns whose values are the segments, each looked at on its own.",
            examples=[["region"], ["specialty", "decile"]],
        ),
    ]
    lag: Lag = None
    estimator: EstimatorName = None


def compute(inputs: ToolInputs, arguments: CateAnalyzerArguments) -> ToolOutput:
    """Effects by segment with a test whether they differ. Raises EstimationError where no segment has an estimate."""
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag, estimator=arguments.estimator)
    telling = Telling(inputs)
    unit = tell_overall(telling, asked)
    parts: list[Segmented] = []
    summaries: list[str] = []
    columns = tuple(dict.fromkeys(arguments.by))
    for column in columns:
        try:
            part = segmented_effect(asked, inputs.declared, column)
            summaries.append(tell_segments(telling, part, unit, asked))
        except EstimationError as error:
            if column == columns[-1] and not parts:
                raise
            telling.say(StatementKind.CAVEAT, f"Nothing by {plain(column)}: {error}.")
        else:
            parts.append(part)
    telling.say(StatementKind.CAVEAT, NOT_A_VERDICT)
    for assumption in asked.identification.assumptions:
        telling.say(StatementKind.ASSUMPTION, assumption)
    rows = [row for part in parts for row in segment_rows(part)]
    return telling.output(" ".join(summaries), rows, len(asked.frame))


def tell_overall(telling: Telling, asked: AskedStudy) -> str:
    """Record the effect over all rows, or why there is none; the unit of the effects."""
    unit = unit_of_effect(asked.study())
    try:
        held = asked.fitted()
    except EstimationError as error:
        telling.say(StatementKind.WARNING, f"Over all rows together there is no effect to compare with: {error}.")
        return unit
    if held.fitted is not None:
        words = tell_estimate(telling, "effect", held.fitted.estimate, unit)
        telling.say(StatementKind.FINDING, f"Over all rows the estimated effect is {words}.")
    return unit


def tell_segments(telling: Telling, part: Segmented, unit: str, asked: AskedStudy) -> str:
    """Record the segments of one column; one sentence on where the effect is largest and whether that is chance."""
    estimates, told = part.estimates, part.told
    if estimates is None:
        reasons = [one.why_not for one in part.segments if one.why_not]
        raise EstimationError(reasons[0] if reasons else _too_few(part, asked))
    words = {one.name: tell_segment(telling, one, unit) for one in told}
    chance = estimates.heterogeneity_p_value()
    telling.figure(f"heterogeneity_p_value[{part.column}]", chance, "p-value")
    tell_left_out(telling, part, asked)
    _tell_exceptions(telling, part, unit)
    return _in_one_sentence(part, words, chance, asked)


def _too_few(part: Segmented, asked: AskedStudy) -> str:
    units = units_in_words(asked.spec.unit_key)
    return f"every {plain(part.column)} has fewer than {SMALLEST_CELL} {units}, or would reveal one that has"


def tell_segment(telling: Telling, segment: Segment, unit: str) -> str:
    """Record the value of one segment; its words."""
    measured = segment.measured
    assert measured is not None
    name = f"{segment.column}={segment.name}"
    words = telling.figure(f"effect[{name}]", measured.value, unit, measured.ci.lower, measured.ci.upper)
    telling.figure(f"n_rows[{name}]", segment.n_rows, "rows")
    telling.say(
        StatementKind.FINDING,
        f"Where {plain(segment.column)} is {segment.name}: {words}, from {segment.n_rows:,} rows.",
    )
    return words


def tell_left_out(telling: Telling, part: Segmented, asked: AskedStudy) -> None:
    """Say which segments are not shown, and why."""
    hidden = [one for one in part.segments if one.hidden]
    if hidden:
        telling.say(
            StatementKind.CAVEAT,
            f"{len(hidden)} {'value' if len(hidden) == 1 else 'values'} of {plain(part.column)} "
            f"{'is' if len(hidden) == 1 else 'are'} not shown: fewer than {SMALLEST_CELL} "
            f"{units_in_words(asked.spec.unit_key)}, or it would reveal such a group.",
        )
    for one in part.segments:
        if one.why_not and not one.hidden:
            telling.say(StatementKind.CAVEAT, f"No estimate where {plain(part.column)} is {one.name}: {one.why_not}.")


def segment_rows(part: Segmented) -> Iterator[Mapping[str, Any]]:
    """The segments as rows, largest value first, those too small to be shown without values."""
    told = list(part.told)
    rest = [one for one in part.segments if one not in told]
    standing_out = set(_standing_out(part))
    yield from suppressed_rows(
        [_row(one, one.name in standing_out) for one in (*told, *rest)], by=("column", "segment"), size="n_units"
    )


def _row(segment: Segment, stands_out: bool) -> dict[str, Any]:
    measured = segment.measured
    return {
        "column": segment.column,
        "segment": segment.name,
        "value": None if measured is None else measured.value,
        "lower": None if measured is None else measured.ci.lower,
        "upper": None if measured is None else measured.ci.upper,
        "stands_out": stands_out,
        "n_rows": segment.n_rows,
        "n_units": segment.n_units,
        "note": segment.why_not,
    }


def _standing_out(part: Segmented) -> Mapping[str, float]:
    """Segments that differ from the others, and by how much (false discoveries held to 5 %)."""
    estimates, told = part.estimates, part.told
    if estimates is None or len(told) < 2:
        return {}
    weights = np.array([one.n_rows for one in told], dtype=np.float64)
    differences, adjusted = estimates.against_the_rest(weights)
    return {
        one.name: float(difference)
        for one, difference, chance in zip(told, differences, adjusted, strict=True)
        if chance < LEVEL
    }


def _tell_exceptions(telling: Telling, part: Segmented, unit: str) -> None:
    for name, difference in _standing_out(part).items():
        size = telling.figure(f"difference[{part.column}={name}]", difference, unit)
        side = "above" if difference > 0 else "below"
        telling.say(
            StatementKind.OPPORTUNITY if difference > 0 else StatementKind.FINDING,
            f"{plain(part.column)} {name} lies {side} the other segments (difference {size}), beyond chance.",
        )


def _in_one_sentence(part: Segmented, words: Mapping[str, str], chance: float | None, asked: AskedStudy) -> str:
    first, last = part.told[0], part.told[-1]
    subject = f"The estimated effect of {plain(asked.spec.treatment)} on {plain(asked.spec.outcome)}"
    if first.name == last.name:
        where = f"where {plain(part.column)} is {first.name}"
        return f"{subject} {where} is {words[first.name]}; no other segment can be shown."
    if chance is not None and chance < LEVEL:
        verdict = f"it differs between segments (p = {number(chance)})"
    else:
        tail = "" if chance is None else f" (p = {number(chance)})"
        verdict = f"the segments do not differ by more than chance explains{tail}, so the order says little"
    return (
        f"{subject} by {plain(part.column)} goes from {words[last.name]} in {last.name} to {words[first.name]} in "
        f"{first.name}; {verdict}."
    )


TOOL = ComposerTool(
    "cate_analyzer",
    "Estimates the effect of a treatment within each segment (region, specialty, decile, brand…) and tests whether the "
    "segments really differ.",
    CateAnalyzerArguments,
    "panel",
    compute,
    cost=4.0,
)
