"""How did adopters and the others part, period by period around adoption?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import count, interval, number
from src.app.report.plots.profile import draw_profile
from src.causal_engine.results import ADOPTION_AXIS, Analysis, ProfilePoint
from src.domain.small_cells import SUPPRESSED, is_small


def event_study_section(analysis: Analysis, units: str) -> Section | None:
    """Effects by periods since adoption; None when the estimate has none."""
    profile = analysis.primary.profile if analysis.primary is not None else None
    if profile is None or profile.axis != ADOPTION_AXIS:
        return None
    shown = tuple(point for point in profile.points if not is_small(point.n))
    blocks: list[Block] = [Paragraph(profile.note)]
    if shown:
        alt = (
            f"Effects with 95 % intervals from {number(shown[0].at)} to {number(shown[-1].at)} periods since adoption; "
            f"the last is {number(shown[-1].value)}."
        )
        draw = partial(draw_profile, shown, "periods since adoption (shaded: before it)", units, split_at=0.0)
        blocks.append(Figure(draw, alt, "Effect by periods since adoption, with 95 % intervals."))
    else:
        blocks.append(Note("No picture: every period rests on too few units to be shown."))
    rows = tuple(_row(point) for point in profile.points)
    blocks.append(Table(("Periods since adoption", "Effect", "95 % interval", "Units"), rows, folded=len(rows) > 12))
    return Section("event-study", "Around adoption, period by period", tuple(blocks))


def _row(point: ProfilePoint) -> tuple[str, ...]:
    if is_small(point.n):
        return number(point.at), SUPPRESSED, "–", "–"
    return number(point.at), number(point.value), interval(point.ci), count(point.n)
