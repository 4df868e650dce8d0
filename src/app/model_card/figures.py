"""How are a model's curves, its calibration and its features drawn?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, PALE, WARM, bare, drawing, label_room, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, ...]]

_ROW = 0.3
_LONGEST_LABEL = 40


def draw_curves(roc: Points, pr: Points, share: float | None) -> str:
    """ROC and precision-recall curve side by side; dashed: what guessing gives (``share`` of positives)."""
    with drawing(8.6, 3.9) as figure:
        left, right = figure.subplots(1, 2)
        _curve(left, roc, "false positive rate", "true positive rate")
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        _curve(right, pr, "recall", "precision")
        if share is not None:
            right.axhline(share, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        figure.subplots_adjust(left=0.08, right=0.98, top=0.96, bottom=0.14, wspace=0.25)
        return to_svg(figure)


def _curve(axes: Axes, points: Points, across: str, up: str) -> None:
    axes.plot([x for x, *_ in points], [y for _, y, *_ in points], color=ACCENT, linewidth=1.6)
    _unit_square(axes, across, up)


def _unit_square(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    bare(axes)


def draw_calibration(points: Points) -> str:
    """Observed share over mean predicted probability by bin, the diagonal, and how many rows each bin has."""
    with drawing(5.6, 5.0) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        upper.plot([p[0] for p in points], [p[1] for p in points], color=ACCENT, marker="o", markersize=4.5)
        _unit_square(upper, "", "observed share")
        lower.bar([p[0] for p in points], [p[2] for p in points], width=0.04, color=ACCENT)
        lower.set_xlabel("predicted probability")
        lower.set_ylabel("rows")
        bare(lower)
        figure.subplots_adjust(left=0.13, right=0.97, top=0.97, bottom=0.1, hspace=0.12)
        return to_svg(figure)


def draw_importance(ranked: Sequence[tuple[str, float, int]]) -> str:
    """Mean absolute SHAP values from the largest down; hatched where a larger value lowers the prediction."""
    names = [shorten(name, _LONGEST_LABEL) for name, _, _ in ranked]
    room = label_room(names, least=1.0)
    width, height = room + 5.6, 0.6 + _ROW * len(ranked)
    with drawing(width, height) as figure:
        axes = figure.add_axes((room / width, 0.45 / height, 4.6 / width, _ROW * len(ranked) / height))
        for place, (_, value, direction) in enumerate(ranked):
            colour, hatch = (WARM, "//") if direction < 0 else (ACCENT if direction > 0 else MUTED, None)
            axes.barh(place, value, height=0.62, color=colour, hatch=hatch, linewidth=0)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(ranked) - 0.5, -0.5)
        axes.set_xlabel("mean absolute SHAP value")
        bare(axes)
        return to_svg(figure)


def draw_segments(rows: Sequence[tuple[str, float, int]], overall: float | None, metric: str) -> str:
    """A metric by segment, the line at its value over all rows."""
    names = [f"{shorten(name, _LONGEST_LABEL)} (n {n:,})" for name, _, n in rows]
    room = label_room(names, least=1.0)
    width, height = room + 5.6, 0.6 + _ROW * len(rows)
    with drawing(width, height) as figure:
        axes = figure.add_axes((room / width, 0.45 / height, 4.6 / width, _ROW * len(rows) / height))
        axes.barh(range(len(rows)), [value for _, value, _ in rows], height=0.62, color=PALE, edgecolor=FAINT)
        axes.plot([value for _, value, _ in rows], range(len(rows)), linestyle="none", marker="o", color=ACCENT)
        if overall is not None:
            axes.axvline(overall, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(metric)
        bare(axes)
        return to_svg(figure)


def picture(base64_png: str) -> str:
    """A picture within the page."""
    return f'<img src="data:image/png;base64,{base64_png}" alt="" style="max-width:100%">'
