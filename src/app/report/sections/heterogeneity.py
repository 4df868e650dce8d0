"""Do effects differ between units, and whom should one treat more or less?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from src.app.report.blocks import Block, Bullets, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import ABSENT, count, number, p_value, percent
from src.app.report.plots.intervals import draw_forest, draw_groups
from src.app.report.plots.uplift import draw_uplift
from src.causal_engine.heterogeneity.report import (
    Bounded,
    Decision,
    HeterogeneityReport,
    SegmentFinding,
    SelectionSummary,
    TriedEffect,
)
from src.causal_engine.heterogeneity.wording import bounds, claim_sentence, segment_words
from src.causal_engine.results import Analysis, Verdict

MOST_SEGMENTS = 24
NO_DECISIONS = "Whom to treat more or less is not told: what was found is association, no effect."
ACTIONS = {"more": "more", "less": "less", "keep": "as today"}


def heterogeneity_section(analysis: Analysis, units: str) -> Section | None:
    """Tests, groups, curve, segments, rules and decisions; None where single effects were not asked for."""
    report = analysis.heterogeneity
    if report is None:
        return None
    if report.refusal is not None:
        note = Note(f"Effects of single units were not estimated: {report.refusal}")
        return Section("heterogeneity", "Who gains more, who less", (note,))
    causal = may_decide(analysis)
    blocks: list[Block] = [Paragraph(claim_sentence(report, causal=causal)), *map(Note, cautions(analysis))]
    blocks.append(_tests(report))
    blocks += _groups(report, units)
    blocks += _curve(report, units)
    blocks += _segments(analysis, report, units)
    blocks += [_rules(report), *_decisions(report)] if causal else [Note(NO_DECISIONS)]
    if report.selection is not None:
        blocks.append(_candidates(report.selection))
    if report.notes:
        blocks.append(Bullets(report.notes))
    return Section("heterogeneity", "Who gains more, who less", tuple(blocks))


def may_decide(analysis: Analysis) -> bool:
    """Whether differences may be read as effects at all: association is no ground for treating anybody more or less."""
    return analysis.conclusion.verdict not in (Verdict.ASSOCIATION_ONLY, Verdict.NOT_IDENTIFIED)


def cautions(analysis: Analysis) -> tuple[str, ...]:
    """What keeps groups, segments, rules and decisions from being acted on."""
    report = analysis.heterogeneity
    lines = []
    if analysis.conclusion.verdict is not Verdict.SUPPORTED:
        lines.append(
            f"The verdict on the average is “{analysis.conclusion.verdict}”: nothing below is a reason to act."
        )
    if report is not None and not report.found:
        lines.append(
            "The groups, segments and rules below are shown for completeness; their differences may be chance. "
            "Plan with one effect for everybody."
        )
    return tuple(lines)


def _tests(report: HeterogeneityReport) -> Table:
    rows = []
    if report.calibration is not None:
        slope = report.calibration
        rows.append(("Calibration slope (1: as predicted, 0: none)", bounds(slope.slope), p_value(slope.p_value)))
    if report.segment_test is not None:
        role = "" if report.modifiers_named else ", no modifiers were named: not counted"
        words = f"Largest difference among {report.segment_test.segments} segments{role}"
        rows.append((words, "–", p_value(report.segment_test.p_value)))
    if report.top_minus_bottom is not None:
        rows.append(("Largest minus smallest predicted group", bounds(report.top_minus_bottom), "–"))
    if report.uplift is not None:
        rows.append(("Qini: mean gain over a lot, per unit", bounds(report.uplift.qini), "–"))
        rows.append(("AUTOC: mean advantage of the first treated", bounds(report.uplift.autoc), "–"))
    rows.append(("Decisive, adjusted for the number of tests", "–", p_value(report.p_value)))
    return Table(("Test", "Value", "p"), tuple(rows), heading="Is there any difference?")


def _groups(report: HeterogeneityReport, units: str) -> tuple[Block, ...]:
    if not report.groups:
        return ()
    first, last = report.groups[0], report.groups[-1]
    alt = f"Effects in {len(report.groups)} groups, from {number(first.effect.value)} to {number(last.effect.value)}."
    rows = tuple((str(g.rank), number(g.predicted), *_cells(g.effect), count(g.n)) for g in report.groups)
    figure = Figure(
        partial(draw_groups, report.groups, units), alt, "Effects by predicted effect; limits hold for all groups."
    )
    return figure, Table(("Group", "Predicted", "Effect", "95 % limits", "n"), rows, heading="By predicted effect")


def _curve(report: HeterogeneityReport, units: str) -> tuple[Block, ...]:
    curve = report.uplift
    if curve is None or not curve.points:
        return ()
    half = min(curve.points, key=lambda point: abs(point.share - 0.5))
    alt = f"Treating the most promising half gains {number(half.gain.value)} per unit of the population."
    caption = "Gain by share treated (Qini curve), with a band for the whole curve, against a lot of the same size."
    return (Figure(partial(draw_uplift, curve, units), alt, caption),)


def _segments(analysis: Analysis, report: HeterogeneityReport, units: str) -> tuple[Block, ...]:
    hidden = tuple((segment_words(h.column, h.segment), h.reason) for h in report.hidden)
    beside: tuple[Block, ...] = (Table(("Segment", "Not shown because"), hidden, folded=True),) if hidden else ()
    if not report.segments:
        return (Note("No segments are compared: fewer than two are large enough."), *beside)
    shown = _widest(report.segments)
    average = report.selection.average.value if report.selection is not None else None
    forest = [(segment_words(one.column, one.segment), one.effect) for one in shown]
    alt = f"Effects of {len(shown)} segments with simultaneous limits."
    figure = Figure(
        partial(draw_forest, forest, average, units), alt, "Effects by segment; limits hold for all at once."
    )
    rows = tuple(
        (segment_words(one.column, one.segment), *_cells(one.effect), *_cells(one.difference), count(one.n))
        for one in shown
    )
    header = ("Segment", "Effect", "95 % limits", "Against the rest", "95 % limits", "n")
    heading = "By segment" + (
        "" if len(shown) == len(report.segments) else f" ({len(shown)} of {len(report.segments)})"
    )
    return figure, Table(header, rows, heading=heading), *beside


def _widest(segments: Sequence[SegmentFinding]) -> list[SegmentFinding]:
    """All segments, or the ones that differ most from the rest, in their order."""
    ranked = sorted(segments, key=lambda one: -abs(one.difference.value))[:MOST_SEGMENTS]
    return [one for one in segments if one in ranked]


def _rules(report: HeterogeneityReport) -> Table:
    rows = tuple(
        (
            rule.name,
            percent(rule.share_treated) if not report.continuous_treatment else number(rule.share_treated),
            bounds(rule.outcome),
            ABSENT if rule.net is None else bounds(rule.net),
            "–" if rule.rule_minus is None else bounds(rule.rule_minus),
        )
        for rule in report.policies
    )
    used = "Units added per unit" if report.continuous_treatment else "Treated"
    header = ("Rule", used, "Outcome against today", "Net against today", "First rule's advantage")
    return Table(header, rows, heading="What rules for whom to treat bring, per unit")


def _decisions(report: HeterogeneityReport) -> tuple[Block, ...]:
    if not report.decisions:
        return ()
    listed = [one for one in report.decisions if (one.column, one.segment) in _named(report)]
    if report.cost_per_unit is None:
        told = (
            "No cost was given (--cost-per-unit, --value-per-outcome), so none is weighed: “more” and “less” are about "
            "the outcome alone. Break-even is what one treatment may cost, in outcome units, before it does not pay."
        )
    else:
        told = (
            f"One unit of treatment costs {number(report.cost_per_unit)}, one unit of the outcome is worth "
            f"{number(report.value_per_outcome)}; “more” or “less” only where the limits leave no loss against today. "
            "Break-even is what one treatment may cost, on average over the segment, before it does not pay; extra "
            "cost, net, regret and break-even are in this money."
        )
    header = ("Segment", "Do", "Extra treatment", "Extra outcome", "Extra cost", "Net", "Regret at most", "Break-even")
    return (
        Table(
            header,
            tuple(_row(one, report.value_per_outcome) for one in listed),
            heading="Whom to treat more, whom less",
        ),
        Note(told),
    )


def _named(report: HeterogeneityReport) -> set[tuple[str, str]]:
    return {(one.column, one.segment) for one in _widest(report.segments)}


def _row(decision: Decision, value: float | None) -> tuple[str, ...]:
    kept = decision.action == "keep"
    return (
        segment_words(decision.column, decision.segment),
        ACTIONS[decision.action],
        number(decision.extra_treatment),
        "0" if kept else bounds(decision.extra_outcome),
        ABSENT if decision.extra_cost is None else number(decision.extra_cost),
        ABSENT if decision.net is None else ("0" if kept else bounds(decision.net)),
        number(decision.regret),
        bounds(_priced(decision.break_even, 1.0 if value is None else value)),
    )


def _priced(value: Bounded, price: float) -> Bounded:
    """A value in outcome units as money; a negative price turns the limits round."""
    lower, upper = sorted((price * value.lower, price * value.upper))
    return Bounded(price * value.value, lower, upper)


def _candidates(selection: SelectionSummary) -> Table:
    weights = dict(selection.weights)
    rows = tuple(_tried(one, weights.get(one.name)) for one in selection.tried)
    header = ("Effect function", "R-loss", "DR-loss", "Energy score", "Weight in the mixture", "Failure")
    return Table(header, rows, heading=f"Compared effect functions ({selection.reason})", folded=True)


def _tried(one: TriedEffect, weight: float | None) -> tuple[str, ...]:
    energy = None if one.energy is None else one.energy.value
    failure = "–" if one.error_type is None else f"{one.error_type}: {one.error_message}"
    losses = (_loss(one.r_loss), _loss(one.dr_loss), number(energy))
    return one.name, *losses, "–" if weight is None else percent(weight), failure


def _loss(value: float | None) -> str:
    """Relative losses lie close to 1: four decimals."""
    return ABSENT if value is None else f"{value:.4f}"


def _cells(value: Bounded) -> tuple[str, str]:
    return number(value.value), f"{number(value.lower)} to {number(value.upper)}"
