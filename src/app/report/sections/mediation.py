"""How much of the effect runs through the mediators, and how firm is that?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Bullets, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import columns, count, number, p_value
from src.app.report.plots.profile import draw_line
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.results import Analysis

_NAMES = {
    "total": "Total",
    "direct": "Direct: not through the mediators",
    "indirect": "Indirect: through the mediators",
}


def mediation_section(analysis: Analysis, units: str) -> Section | None:
    """Total, direct and indirect effect with assumptions and sensitivity; None when no split was asked for."""
    found = analysis.mediation
    if found is None:
        return None
    title = "Through the mediators, and not"
    if found.refusal:
        return Section("mediation", title, (Note(f"The effect is not split: {found.refusal}."),))
    said = Paragraph(
        f"Split at {columns(found.mediators)}, adjusted for {columns(found.adjusted_for)}; {found.method}; "
        f"{count(found.n)} rows; in {units}."
    )
    blocks: list[Block] = [said, _table(found), Bullets(found.assumptions, "The split holds only if"), *_hidden(found)]
    return Section("mediation", title, tuple(blocks))


def _table(found: MediationReport) -> Table:
    rows = tuple(
        (
            _NAMES.get(part.name, part.name),
            number(part.value),
            f"{number(part.lower)} to {number(part.upper)}",
            p_value(part.p_value),
        )
        for part in found.effects
    )
    return Table(("Effect", "Value", "95 % interval", "p"), rows)


def _hidden(found: MediationReport) -> tuple[Block, ...]:
    """Indirect effect by how strongly something unmeasured ties mediator and outcome together."""
    if found.rho_without_indirect is None or not found.sensitivity:
        return (Note("No sensitivity analysis: the mediators do not go with the outcome in a linear model."),)
    where = number(found.rho_without_indirect)
    caption = (
        f"Indirect effect (linear model) if errors of mediator and outcome correlate at ρ; it vanishes at ρ = {where}."
    )
    first, last = found.sensitivity[0], found.sensitivity[-1]
    alt = (
        f"A line from {number(first[1])} at ρ = {number(first[0])} to {number(last[1])} at ρ = {number(last[0])}, "
        f"crossing zero at {where}."
    )
    draw = partial(draw_line, found.sensitivity, "ρ: correlation of what is left out", "indirect effect")
    return (Figure(draw, alt, caption),)
