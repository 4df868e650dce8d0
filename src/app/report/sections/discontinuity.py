"""What happens at the cutoff, and does anything else change there?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import count, number, p_value
from src.app.report.plots.discontinuity import draw_cutoff_plot
from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport
from src.causal_engine.results import Analysis


def discontinuity_section(analysis: Analysis, units: str) -> Section | None:
    """Binned means on both sides, density and covariates at the cutoff; None for other designs."""
    found = analysis.discontinuity
    if found is None:
        return None
    switch = "switches for everybody" if found.sharp else "becomes more or less likely"
    said = f"{analysis.treatment} {switch} where {found.running_variable} reaches {number(found.cutoff)}."
    blocks: list[Block] = [Paragraph(said), *_picture(found, analysis.outcome), _facts(analysis, found)]
    if found.covariates:
        blocks.append(_covariates(found))
    else:
        blocks.append(Note("No covariate was named, so none could be looked at for a jump of its own."))
    return Section("discontinuity", "At the cutoff", tuple(blocks))


def _picture(found: DiscontinuityReport, outcome: str) -> tuple[Block, ...]:
    if not found.bins:
        return (Note("No picture: every interval near the cutoff has too few units to be shown."),)
    low, high = found.bins[0].middle, found.bins[-1].middle
    alt = (
        f"Mean {outcome} in {len(found.bins)} intervals of {found.running_variable} from {number(low)} to "
        f"{number(high)}, with a line at the cutoff {number(found.cutoff)}."
    )
    caption = (
        "Means within equal intervals; shaded: the bandwidth of the estimate. Intervals of few units are left out."
    )
    return (Figure(partial(draw_cutoff_plot, found, outcome), alt, caption),)


def _facts(analysis: Analysis, found: DiscontinuityReport) -> Table:
    primary = analysis.primary
    rows = [
        ("Bandwidth", number(found.bandwidth)),
        ("Units within it, left", count(found.n_left)),
        ("Units within it, right", count(found.n_right)),
        ("Density just left", number(found.density_left)),
        ("Density just right", number(found.density_right)),
        ("Same density on both sides, p", p_value(found.density_p_value)),
    ]
    if primary is not None and primary.diagnostic("conventional") is not None:
        rows.append(("Effect without bias correction", number(primary.diagnostic("conventional"))))
    if primary is not None and primary.diagnostic("first_stage_f") is not None:
        rows.append(("First-stage F of the jump in treatment", number(primary.diagnostic("first_stage_f"))))
    return Table(("At the cutoff", "Value"), tuple(rows))


def _covariates(found: DiscontinuityReport) -> Table:
    rows = tuple(
        (one.covariate, number(one.value), number(one.std_error), p_value(one.p_value)) for one in found.covariates
    )
    return Table(
        ("Covariate", "Jump", "Standard error", "p"),
        rows,
        heading="Jumps of what was settled before (there should be none)",
    )
