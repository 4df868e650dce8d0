"""When does the outcome move around the treatment: before it (a warning) or after it?"""

from __future__ import annotations

import math

from src.app.report.numbers import shorten
from src.app.report.plots.marks import Mark, explain
from src.app.report.plots.svg import ACCENT, INK, MUTED, PALE, WARM, bare, drawing, tick_text, to_svg
from src.causal_engine.results import PanelDiagnostics

_Z = 1.959963984540054
_MARKS = {
    "lag": Mark("o", ACCENT, ACCENT, 6.5, "lag"),
    "lead": Mark("s", "white", MUTED, 6.5, "lead (passed)"),
    "failed lead": Mark("X", WARM, WARM, 7.5, "lead (FAILED)"),
}


def timed_effects(panel: PanelDiagnostics) -> list[tuple[int, float, float, str]]:
    """(periods after treatment, value, standard error, kind) with leads at negative times, in time order.

    Kind is lag, lead or failed lead; entries without a finite value are left out.
    """
    lags = [(lag, value, std_error, "lag") for lag, value, std_error in panel.lag_profile]
    leads = [(-abs(t.lead), t.value, t.std_error, "lead" if t.passed else "failed lead") for t in panel.leads]
    return sorted(entry for entry in [*leads, *lags] if math.isfinite(entry[1]) and math.isfinite(entry[2]))


def draw_timing_plot(panel: PanelDiagnostics, units: str) -> str:
    """Effects by time from treatment with 95 % intervals; failing leads are crosses; inline SVG."""
    from matplotlib.ticker import MaxNLocator

    entries = timed_effects(panel)
    with drawing(6.8, 2.9) as figure:
        axes = figure.add_axes((0.13, 0.17, 0.84, 0.7))
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        first = min(entry[0] for entry in entries)
        if first < 0:
            axes.axvspan(first - 0.6, -0.5, color=PALE, linewidth=0, zorder=0)
        for when, value, std_error, kind in entries:
            mark = _MARKS[kind]
            reach = _Z * std_error
            axes.plot([when, when], [value - reach, value + reach], color=mark.edge, linewidth=1.3)
            mark.draw(axes, when, value)
        axes.set_xlim(first - 0.6, max(entry[0] for entry in entries) + 0.6)
        axes.yaxis.set_major_formatter(tick_text)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("periods after treatment (shaded: before it, where no effect can be)", fontsize=8, color=INK)
        axes.set_ylabel(shorten(units, 40), fontsize=8)
        explain(axes, [mark for kind, mark in _MARKS.items() if any(entry[3] == kind for entry in entries)])
        bare(axes)
        return to_svg(figure)
