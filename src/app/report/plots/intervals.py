"""How do several effects with their limits compare, one row each?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.app.report.numbers import shorten
from src.app.report.plots.marks import Mark, explain
from src.app.report.plots.svg import ACCENT, INK, MUTED, WARM, bare, drawing, label_room, tick_text, to_svg
from src.causal_engine.heterogeneity.report import Bounded, EffectGroup

_ROW = 0.24
_LABEL_WIDTH = 38
_EFFECT = Mark("o", ACCENT, ACCENT, 5.0, "estimated effect")
_PREDICTED = Mark("D", "white", WARM, 4.5, "predicted effect")


def draw_forest(rows: Sequence[tuple[str, Bounded]], average: float | None, units: str) -> str:
    """Labelled effects with limits, a line at none and one at ``average``; inline SVG."""
    labels = [shorten(label, _LABEL_WIDTH) for label, _ in rows]
    left, height = label_room(labels, least=1.2), _ROW * len(rows) + 0.95
    width = left + 5.2
    with drawing(width, height) as figure:
        axes = figure.add_axes((left / width, 0.6 / height, 4.95 / width, _ROW * len(rows) / height))
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        if average is not None and math.isfinite(average):
            axes.axvline(average, color=ACCENT, linewidth=0.7, alpha=0.6)
        for place, (_, effect) in enumerate(rows):
            axes.plot([effect.lower, effect.upper], [place, place], color=_EFFECT.edge, linewidth=1.3)
            _EFFECT.draw(axes, effect.value, place)
        axes.set_yticks(range(len(rows)), labels, fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(tick_text)
        axes.set_xlabel(shorten(units, 60), fontsize=8, color=INK)
        bare(axes)
        return to_svg(figure)


def draw_groups(groups: Sequence[EffectGroup], units: str) -> str:
    """Estimated effect with limits and predicted effect of each group; inline SVG."""
    with drawing(6.8, 2.9) as figure:
        axes = figure.add_axes((0.13, 0.17, 0.84, 0.7))
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        for group in groups:
            axes.plot([group.rank] * 2, [group.effect.lower, group.effect.upper], color=_EFFECT.edge, linewidth=1.5)
            _EFFECT.draw(axes, group.rank, group.effect.value)
            _PREDICTED.draw(axes, group.rank + 0.12, group.predicted)
        axes.set_xticks([group.rank for group in groups])
        axes.set_xlim(0.5, len(groups) + 0.5)
        axes.yaxis.set_major_formatter(tick_text)
        axes.set_xlabel("group by predicted effect, smallest first", fontsize=8, color=INK)
        axes.set_ylabel(shorten(units, 40), fontsize=8)
        explain(axes, (_EFFECT, _PREDICTED))
        bare(axes)
        return to_svg(figure)
