"""Does treatment come before the outcome on this panel, or does it follow it?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import count, number, p_value, percent
from src.app.report.plots.panel import draw_timing_plot, timed_effects
from src.causal_engine.results import PanelDiagnostics


def panel_section(panel: PanelDiagnostics | None, units: str) -> Section | None:
    """Leads, lags, pre-trends and the pooled relation; None without a panel."""
    if panel is None:
        return None
    failed = [test for test in panel.leads if not test.passed]
    said = "Leads are silent and pre-trends, where they can be tested, are parallel."
    if failed:
        said = "A lead fails: later treatment 'explains' an earlier outcome, so treatment follows the outcome."
    elif not panel.passed:
        said = "Pre-trends are not parallel: the groups were already drifting apart before treatment."
    blocks: list[Block] = [Paragraph(said), *_timing(panel, units, said)]
    if panel.leads:
        blocks.append(_leads(panel))
    blocks.append(_facts(panel))
    return Section("panel", "Timing on the panel", tuple(blocks))


def _timing(panel: PanelDiagnostics, units: str, said: str) -> tuple[Block, ...]:
    entries = timed_effects(panel)
    if not entries:
        return (Note("No timing plot: neither leads nor lags were estimated."),)
    alt = f"Effects by period from treatment, from {entries[0][0]} to {entries[-1][0]}. {said}".replace("-", "−")
    return (Figure(partial(draw_timing_plot, panel, units), alt, "Effect by period, with 95 % intervals."),)


def _leads(panel: PanelDiagnostics) -> Table:
    rows = tuple(
        (
            f"+{test.lead}" if test.lead > 0 else number(test.lead),
            number(test.value),
            number(test.std_error),
            p_value(test.p_value),
            number(test.ratio_to_effect),
            "passed" if test.passed else "FAILED",
        )
        for test in panel.leads
    )
    header = ("Lead", "Value", "Standard error", "p", "Ratio to effect", "Result")
    return Table(header, rows, heading="Lead (placebo) tests")


def _facts(panel: PanelDiagnostics) -> Table:
    rows = (
        ("Units", count(panel.n_units)),
        ("Periods", count(panel.n_periods)),
        ("Treatment variation within units", percent(panel.treatment_varies_within)),
        ("Staggered adoption", "yes" if panel.staggered else "no"),
        ("Pre-trend test, p", f"{p_value(panel.pre_trend_p_value)} {panel.pre_trend_note}".strip()),
        ("Pooled elasticity", number(panel.pooled_elasticity)),
        ("Pooled semi-elasticity", number(panel.pooled_semi_elasticity)),
        ("Standard error of the pooled semi-elasticity", number(panel.pooled_std_error)),
    )
    return Table(("Panel", "Value"), rows)
