"""How large is the effect by every estimator and control definition, and within segments?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import columns, controls, count, interval, number, p_value
from src.app.report.plots.specification_curve import (
    Specification,
    draw_specification_curve,
    matrix_rows,
    specifications,
    value_limits,
)
from src.app.report.small_cells import arms_hidden, hidden_segments
from src.causal_engine.results import Analysis, EffectEstimate

_ROLES = {"primary": "primary", "naive": "naive", "other": "alternative"}


def estimate_section(analysis: Analysis, units: str) -> Section:
    """Specification curve, table of all estimates, and the estimators that could not answer."""
    specs = specifications(analysis.primary, analysis.naive, analysis.curve)
    blocks: list[Block] = []
    if not analysis.identification.identified:
        blocks.append(Note("The effect is not identified: no number below may be read as an effect."))
    elif analysis.primary is None:
        blocks.append(Note("There is no primary estimate: no estimator could answer."))
    if specs:
        blocks += [_figure(specs, units), _table(analysis, specs)]
    else:
        blocks.append(Note("No estimate was made, so there is no curve to draw."))
    if specs or analysis.failures:
        blocks.append(_failures(analysis))
    return Section("estimates", "Estimates by estimator and control definition", tuple(blocks))


def _figure(specs: tuple[Specification, ...], units: str) -> Figure:
    values = [spec.estimate.value for spec in specs]
    alt = (
        f"Specification curve of {len(specs)} estimates from {number(min(values))} to {number(max(values))}, sorted, "
        "with 95 % intervals; below, a dot for the estimator and the columns each adjusted for."
    )
    caption = (
        "Each column is one estimate with its 95 % interval; dots below show its estimator and what it adjusted for."
    )
    _, unshown = matrix_rows(specs)
    low, high = value_limits(specs)
    wild = sum(s.estimate.ci.lower < low or s.estimate.ci.upper > high for s in specs)
    if wild:
        caption += f" Intervals off the scale end in arrowheads ({wild}); the table has their numbers."
    if unshown:
        caption += f" {unshown} further sets of adjusted columns are in the table only."
    return Figure(partial(draw_specification_curve, specs, units), alt, caption)


def _table(analysis: Analysis, specs: tuple[Specification, ...]) -> Table:
    reference = analysis.primary.adjusted_for if analysis.primary is not None else ()
    rows = tuple(
        (
            _ROLES[spec.role],
            spec.estimate.estimator,
            spec.estimate.label or "–",
            number(spec.estimate.value),
            interval(spec.estimate.ci),
            p_value(spec.estimate.p_value),
            str(spec.estimate.estimand),
            _rows_used(spec.estimate),
            _adjusted(spec, reference),
            spec.estimate.se_method,
        )
        for spec in specs
    )
    header = ("Role", "Estimator", "Controls", "Effect", "95 % interval", "p", "Estimand", "n", "Adjusted for", "SE")
    stressed = frozenset(i for i, spec in enumerate(specs) if spec.role == "primary")
    return Table(header, rows, heading="All estimates", emphasis=stressed, folded=len(rows) > 12)


def _adjusted(spec: Specification, reference: tuple[str, ...]) -> str:
    names = spec.estimate.adjusted_for
    return columns(names) if spec.role == "primary" else controls(names, reference)


def _rows_used(estimate: EffectEstimate) -> str:
    dropped = f", {count(estimate.n_dropped)} dropped" if estimate.n_dropped else ""
    return f"{count(estimate.n)}{dropped}"


def _failures(analysis: Analysis) -> Block:
    if not analysis.failures:
        return Paragraph("Every estimator that was tried answered.")
    rows = tuple((f.estimator, f.label or "–", f.error, f.message) for f in analysis.failures)
    return Table(("Estimator", "Controls", "Error", "Reason"), rows, heading="Estimators that could not answer")


def segment_section(analysis: Analysis) -> Section | None:
    """Effects within segments, small ones suppressed; None when none were estimated."""
    if analysis.primary is None or not analysis.primary.segments:
        return None
    segments = analysis.primary.segments
    hidden = hidden_segments(segments)
    rows = []
    for segment in segments:
        words = hidden.get((segment.column, segment.segment))
        numbers = (words, "–", "–") if words else (number(segment.value), interval(segment.ci), count(segment.n))
        rows.append((segment.column, segment.segment, *numbers))
    table = Table(("Column", "Segment", "Effect", "95 % interval", "n"), tuple(rows))
    note = Paragraph("Segments differ only where their intervals clearly do; the more segments, the more chance finds.")
    return Section("segments", "Effects within segments", (table, note))


def arm_note(estimate: EffectEstimate) -> str:
    """Rows of the treated arm, or why they are not shown."""
    if estimate.n_treated is None:
        return "no separate arms"
    return "suppressed" if arms_hidden(estimate) else count(estimate.n_treated)
