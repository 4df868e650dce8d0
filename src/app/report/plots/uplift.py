"""What is gained by treating the most promising units first, against treating by lot?"""

from __future__ import annotations

from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, INK, MUTED, bare, drawing, tick_text, to_svg
from src.causal_engine.heterogeneity.report import UpliftCurve


def draw_uplift(curve: UpliftCurve, units: str) -> str:
    """The Qini curve with its band and the straight line of a lot; inline SVG."""
    shares = [0.0, *(point.share for point in curve.points)]
    gains = [0.0, *(point.gain.value for point in curve.points)]
    lower = [0.0, *(point.gain.lower for point in curve.points)]
    upper = [0.0, *(point.gain.upper for point in curve.points)]
    with drawing(6.8, 3.1) as figure:
        axes = figure.add_axes((0.13, 0.16, 0.84, 0.74))
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.fill_between(shares, lower, upper, color=ACCENT, alpha=0.15, linewidth=0, label="95 % band of the curve")
        axes.plot(shares, gains, color=ACCENT, linewidth=1.6, label="largest predicted effects first")
        axes.plot([0, 1], [0, gains[-1]], color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="by lot")
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_formatter(tick_text)
        axes.set_xlabel("share of the units treated", fontsize=8, color=INK)
        axes.set_ylabel(shorten(f"Gain per unit: {units}", 44), fontsize=8)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=8, borderaxespad=0.2)
        bare(axes)
        return to_svg(figure)
