"""How does the mean outcome run with the dose?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import count, interval, number
from src.app.report.plots.profile import draw_profile
from src.causal_engine.results import DOSE_AXIS, Analysis
from src.domain.small_cells import is_small


def dose_section(analysis: Analysis) -> Section | None:
    """The dose–response curve with pointwise intervals; None when the estimate has none."""
    profile = analysis.primary.profile if analysis.primary is not None else None
    if profile is None or profile.axis != DOSE_AXIS:
        return None
    shown = tuple(point for point in profile.points if not is_small(point.n))
    blocks: list[Block] = [Paragraph(profile.note)]
    if len(shown) < 2:
        blocks.append(Note("No curve: too few units near any dose to be shown."))
        return Section("dose", "By dose", tuple(blocks))
    first, last = shown[0], shown[-1]
    alt = (
        f"Mean {analysis.outcome} by {analysis.treatment}: {number(first.value)} at {number(first.at)}, "
        f"{number(last.value)} at {number(last.at)}, with a band of 95 % intervals."
    )
    draw = partial(draw_profile, shown, analysis.treatment, analysis.outcome, band=True)
    blocks.append(Figure(draw, alt, f"Mean {analysis.outcome} at each dose, adjusted, with pointwise 95 % intervals."))
    rows = tuple((number(p.at), number(p.value), interval(p.ci), count(p.n)) for p in shown)
    header = (analysis.treatment, f"Mean {analysis.outcome}", "95 % interval", "Rows nearby")
    blocks.append(Table(header, rows, folded=True))
    return Section("dose", "By dose", tuple(blocks))
