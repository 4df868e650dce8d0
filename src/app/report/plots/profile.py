"""How does an effect run along an axis: points with intervals, a curve with a band, or a plain line?"""

from __future__ import annotations

from collections.abc import Sequence

from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, INK, MUTED, PALE, bare, drawing, tick_text, to_svg
from src.causal_engine.results import ProfilePoint


def draw_profile(
    points: Sequence[ProfilePoint], axis: str, units: str, *, split_at: float | None = None, band: bool = False
) -> str:
    """Values with 95 % intervals along ``axis``; what lies before ``split_at`` is shaded; inline SVG."""
    at = [point.at for point in points]
    with drawing(6.8, 2.9) as figure:
        axes = figure.add_axes((0.13, 0.17, 0.84, 0.78))
        if band:
            lower, upper = [point.ci.lower for point in points], [point.ci.upper for point in points]
            axes.fill_between(at, lower, upper, color=ACCENT, alpha=0.18, linewidth=0)
            axes.plot(at, [point.value for point in points], color=ACCENT, linewidth=1.6)
        else:
            axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            for point in points:
                axes.plot([point.at] * 2, [point.ci.lower, point.ci.upper], color=ACCENT, linewidth=1.3)
                axes.plot([point.at], [point.value], marker="o", color=ACCENT, markersize=5.5, linestyle="none")
        if split_at is not None and at[0] < split_at:
            axes.axvspan(at[0] - 0.6, split_at - 0.5, color=PALE, linewidth=0, zorder=0)
        axes.yaxis.set_major_formatter(tick_text)
        axes.set_xlabel(shorten(axis, 70), fontsize=8, color=INK)
        axes.set_ylabel(shorten(units, 40), fontsize=8)
        bare(axes)
        return to_svg(figure)


def draw_line(pairs: Sequence[tuple[float, float]], axis: str, values: str) -> str:
    """A line through (x, y) ``pairs`` with the zero line; inline SVG."""
    with drawing(6.8, 2.5) as figure:
        axes = figure.add_axes((0.13, 0.2, 0.84, 0.75))
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot([x for x, _ in pairs], [y for _, y in pairs], color=ACCENT, linewidth=1.6)
        axes.yaxis.set_major_formatter(tick_text)
        axes.set_xlabel(shorten(axis, 70), fontsize=8, color=INK)
        axes.set_ylabel(shorten(values, 40), fontsize=8)
        bare(axes)
        return to_svg(figure)
