"""Which cells of a grid stand out, and how large are their effects?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.app.grid.results import CellResult
from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, bare, drawing, label_room, tick_text, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FULL_COLOUR_AT = 5.0
_LABEL_WIDTH = 34


def draw_heatmap(parts: Sequence[str], pairs: Sequence[str], rows: Sequence[Sequence[CellResult]], level: float) -> str:
    """Estimate over standard error by part (rows) and treatment → outcome (columns), inline SVG."""
    from matplotlib import colormaps

    left, top = label_room([shorten(part, _LABEL_WIDTH) for part in parts], least=0.9), 1.5
    width, height = left + 0.2 + 0.75 * max(len(pairs), 4), top + 0.1 + 0.3 * len(parts)
    with drawing(width, height) as figure:
        across = 0.75 * len(pairs) / width
        axes = figure.add_axes((left / width, 0.1 / height, across, 0.3 * len(parts) / height))
        colours = colormaps["RdBu_r"]
        for y, row in enumerate(rows):
            for x, cell in enumerate(row):
                _square(axes, x, y, cell, colours, level)
        axes.set_xlim(-0.5, len(pairs) - 0.5)
        axes.set_ylim(len(parts) - 0.5, -0.5)
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(pairs)), [shorten(pair, 30) for pair in pairs], rotation=35, ha="left", fontsize=8)
        axes.set_yticks(range(len(parts)), [shorten(part, _LABEL_WIDTH) for part in parts], fontsize=8)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return to_svg(figure)


def _square(axes: Axes, x: int, y: int, cell: CellResult, colours: object, level: float) -> None:
    from matplotlib.patches import Rectangle

    z = cell.z
    if z is None or not math.isfinite(z):
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor="white", edgecolor=FAINT, hatch="////"))
        return
    shade = 0.5 + 0.5 * max(-1.0, min(1.0, z / _FULL_COLOUR_AT))
    colour = colours(shade)  # type: ignore[operator]
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, linewidth=0))
    ink = "white" if abs(z) > 0.7 * _FULL_COLOUR_AT else INK
    axes.text(x, y, tick_text(round(z, 1)), ha="center", va="center", fontsize=7.5, color=ink)
    if cell.q_value is not None and cell.q_value <= level:
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=INK, linewidth=1.3))


def draw_forest(labels: Sequence[str], cells: Sequence[CellResult], level: float) -> str:
    """One line per cell: estimate and interval; inline SVG."""
    left = label_room([shorten(label, _LABEL_WIDTH) for label in labels], least=0.9)
    width, height = left + 5.0, 0.55 + 0.24 * len(cells)
    with drawing(width, height) as figure:
        axes = figure.add_axes((left / width, 0.4 / height, 4.8 / width, 1 - 0.5 / height))
        for y, cell in enumerate(cells):
            _line(axes, y, cell, level)
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.set_yticks(range(len(cells)), [shorten(label, _LABEL_WIDTH) for label in labels], fontsize=8)
        axes.xaxis.set_major_formatter(tick_text)
        bare(axes)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return to_svg(figure)


def _line(axes: Axes, y: int, cell: CellResult, level: float) -> None:
    estimate = cell.estimate
    if estimate is None:
        return
    found = cell.q_value is not None and cell.q_value <= level
    if math.isfinite(estimate.ci.lower) and math.isfinite(estimate.ci.upper):
        axes.plot([estimate.ci.lower, estimate.ci.upper], [y, y], color=ACCENT, linewidth=1.3)
    face = ACCENT if found else "white"
    axes.plot([estimate.value], [y], marker="o", markersize=4.5, markerfacecolor=face, markeredgecolor=ACCENT)
