"""Does the outcome jump at the cutoff? Means of intervals on either side."""

from __future__ import annotations

from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, INK, MUTED, PALE, WARM, bare, drawing, tick_text, to_svg
from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport


def draw_cutoff_plot(found: DiscontinuityReport, outcome: str) -> str:
    """Binned means, left and right in two colours, the bandwidth shaded; inline SVG."""
    with drawing(6.8, 2.9) as figure:
        axes = figure.add_axes((0.13, 0.17, 0.84, 0.78))
        low, high = found.cutoff - found.bandwidth, found.cutoff + found.bandwidth
        axes.axvspan(low, high, color=PALE, linewidth=0, zorder=0)
        axes.axvline(found.cutoff, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for one in found.bins:
            colour = WARM if one.middle < found.cutoff else ACCENT
            axes.plot([one.middle], [one.mean_outcome], marker="o", markersize=5.5, color=colour, linestyle="none")
        axes.xaxis.set_major_formatter(tick_text)
        axes.yaxis.set_major_formatter(tick_text)
        axes.set_xlabel(shorten(found.running_variable, 60), fontsize=8, color=INK)
        axes.set_ylabel(shorten(outcome, 40), fontsize=8)
        bare(axes)
        return to_svg(figure)
