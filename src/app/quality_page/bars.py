"""How good is each dimension, and where is the gate? One bar per score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.app.report.plots.svg import ACCENT, INK, MUTED, PALE, WARM, bare, drawing, label_room, to_svg
from src.app.validated import score_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.34


@dataclass(frozen=True, slots=True)
class Bar:
    """``value`` between 0 and 1, None when it was not measured."""

    name: str
    value: float | None


def draw_bars(bars: Sequence[Bar], threshold: float) -> str:
    """Draw the bars from top to bottom with a line at ``threshold``; inline SVG."""
    left, right, top, bottom = label_room([bar.name for bar in bars], least=1.1), 1.1, 0.35, 0.4
    width, across = left + 5.0 + right, 5.0
    height = top + _ROW * len(bars) + bottom
    with drawing(width, height) as figure:
        axes = figure.add_axes((left / width, bottom / height, across / width, _ROW * len(bars) / height))
        for index, bar in enumerate(bars):
            _draw_bar(axes, index, bar, threshold)
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(threshold, -0.62, f"gate {threshold:.2f}", ha="center", va="bottom", fontsize=8)
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        bare(axes)
        return to_svg(figure)


def _draw_bar(axes: Axes, index: int, bar: Bar, threshold: float) -> None:
    axes.barh(index, 1.0, height=0.62, color=PALE, linewidth=0)
    if bar.value is None:
        axes.text(0.01, index, "not measured", va="center", fontsize=8, color=MUTED)
        return
    colour = ACCENT if bar.value >= threshold else WARM
    # A hatch as well: colour alone tells nothing to some readers.
    axes.barh(index, bar.value, height=0.62, color=colour, hatch=None if bar.value >= threshold else "//", linewidth=0)
    axes.text(1.02, index, score_text(bar.value), va="center", fontsize=8, clip_on=False)
