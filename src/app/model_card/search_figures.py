"""How did a search for hyperparameters go, and which values did well?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src.app.model_card.card import CardSearch, CardTrial
from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, WARM, bare, drawing, tick_text, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Beyond these, lines and axes run into one another.
MOST_AXES = 10
# A range of more than this factor is drawn in logarithms.
WIDE = 50.0


def draw_history(search: CardSearch) -> str:
    """The value of each complete trial, the best so far, and ticks below for trials that were pruned or failed."""
    with drawing(7.6, 3.4) as figure:
        axes = figure.subplots()
        done = [trial for trial in search.trials if trial.value is not None and trial.state == "COMPLETE"]
        axes.plot([t.number for t in done], [t.value or 0.0 for t in done], "o", color=ACCENT, markersize=4, alpha=0.7)
        axes.step([t.number for t in done], _best_so_far(search, done), where="post", color=INK, linewidth=1.2)
        _ended_early(axes, search.trials)
        axes.set_xlabel("trial")
        axes.set_ylabel(search.metric)
        bare(axes)
        figure.subplots_adjust(left=0.12, right=0.98, top=0.95, bottom=0.16)
        return to_svg(figure)


def _best_so_far(search: CardSearch, done: Sequence[CardTrial]) -> list[float]:
    better = min if search.direction == "minimize" else max
    found: list[float] = []
    for trial in done:
        assert trial.value is not None
        found.append(better(found[-1], trial.value) if found else trial.value)
    return found


def _ended_early(axes: Axes, trials: Sequence[CardTrial]) -> None:
    transform = axes.get_xaxis_transform()
    for state, colour in (("PRUNED", MUTED), ("FAIL", WARM)):
        numbers = [trial.number for trial in trials if trial.state == state]
        axes.plot(numbers, [0.01] * len(numbers), "|", color=colour, markersize=9, transform=transform)


def draw_parallel(search: CardSearch) -> str:
    """One line per complete trial over its parameters and its value; the best third is drawn in colour."""
    done = [trial for trial in search.trials if trial.value is not None and trial.state == "COMPLETE"]
    names = sorted({name for trial in done for name in trial.params})[: MOST_AXES - 1]
    scales = [_Scale([trial.params.get(name) for trial in done]) for name in names]
    values = _Scale([trial.value for trial in done])
    with drawing(max(6.0, 1.2 * (len(names) + 1)), 3.8) as figure:
        axes = figure.subplots()
        best = _best_third(search, done)
        for trial in sorted(done, key=lambda trial: trial.number in best):
            heights = [*(s.place(trial.params.get(n)) for n, s in zip(names, scales, strict=True))]
            in_best = trial.number in best
            axes.plot(
                range(len(names) + 1),
                [*heights, values.place(trial.value)],
                color=ACCENT if in_best else FAINT,
                linewidth=1.3 if in_best else 0.8,
                alpha=0.8,
            )
        _upright(axes, [*names, search.metric], [*scales, values])
        figure.subplots_adjust(left=0.06, right=0.94, top=0.9, bottom=0.12)
        return to_svg(figure)


def _best_third(search: CardSearch, done: Sequence[CardTrial]) -> frozenset[int]:
    ordered = sorted(done, key=lambda trial: trial.value or 0.0, reverse=search.direction != "minimize")
    return frozenset(trial.number for trial in ordered[: max(1, len(ordered) // 3)])


def _upright(axes: Axes, names: Sequence[str], scales: Sequence[_Scale]) -> None:
    for place, (name, scale) in enumerate(zip(names, scales, strict=True)):
        axes.axvline(place, color=MUTED, linewidth=0.8)
        axes.text(place, 1.04, scale.highest, ha="center", va="bottom", fontsize=7, color=MUTED)
        axes.text(place, -0.03, scale.lowest, ha="center", va="top", fontsize=7, color=MUTED)
        axes.text(place, -0.12, shorten(name, 18), ha="center", va="top", fontsize=8)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(0, 1)
    axes.set_axis_off()


class _Scale:
    """Places values on 0 … 1: numbers in order (wide ranges in logarithms), words one after the other."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [value for value in values if value is not None]
        self._numeric = bool(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
        self._words = sorted({str(value) for value in known})
        low, high = (min(known), max(known)) if self._numeric else (0, max(len(self._words) - 1, 1))
        self._log = self._numeric and low > 0 and high / low > WIDE
        self._low, self._high = self._scaled(low), self._scaled(high)
        self.lowest = tick_text(low) if self._numeric else next(iter(self._words), "")
        self.highest = tick_text(high) if self._numeric else next(iter(reversed(self._words)), "")

    def place(self, value: Any) -> float:
        """Between 0 and 1; NaN, which is not drawn, without a value."""
        if value is None:
            return math.nan
        number = self._scaled(value if self._numeric else self._words.index(str(value)))
        return 0.5 if self._high == self._low else (number - self._low) / (self._high - self._low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self._log else float(value)
