"""Which shape, colour and words stand for what? One mark, the same on the axes and in the legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Mark:
    """A point style; ``words`` explain it in a legend."""

    shape: str
    face: str
    edge: str
    size: float
    words: str = ""

    def draw(self, axes: Axes, x: float, y: float, *, over: float = 3.0, clip: bool = True) -> None:
        """Put the mark at (x, y) in data coordinates; a higher ``over`` lies on top."""
        axes.plot(
            [x],
            [y],
            marker=self.shape,
            linestyle="none",
            markerfacecolor=self.face,
            markeredgecolor=self.edge,
            markersize=self.size,
            zorder=over,
            clip_on=clip,
        )


def explain(axes: Axes, marks: Sequence[Mark]) -> None:
    """Put a legend of ``marks`` above the axes, where it covers no data."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            marker=mark.shape,
            linestyle="none",
            markerfacecolor=mark.face,
            markeredgecolor=mark.edge,
            markersize=mark.size,
            label=mark.words,
        )
        for mark in marks
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=max(len(handles), 1),
        frameon=False,
        fontsize=8,
        handletextpad=0.3,
        columnspacing=1.4,
        borderaxespad=0.2,
    )
