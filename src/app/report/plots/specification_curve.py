"""Does the estimate depend on the estimator or on what was adjusted for? All of them, sorted, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.app.report.numbers import shorten
from src.app.report.plots.marks import Mark, explain
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, PALE, WARM, bare, drawing, label_room, tick_text, to_svg
from src.causal_engine.results import EffectEstimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 26
_LABEL_WIDTH = 34
_ROW = 0.2
# Spreads from the median beyond which an interval leaves the scale rather than flatten all others.
_BULK = 15.0
_MARKS = {
    "primary": Mark("D", ACCENT, ACCENT, 6.5, "primary estimate"),
    "naive": Mark("s", "white", WARM, 5.5, "naive, nothing adjusted for"),
    "other": Mark("o", INK, INK, 3.8, "alternative"),
}


@dataclass(frozen=True, slots=True)
class Specification:
    """One dot of the curve. ``role`` is primary, naive or other."""

    estimate: EffectEstimate
    role: str


def specifications(
    primary: EffectEstimate | None, naive: EffectEstimate | None, curve: Sequence[EffectEstimate]
) -> tuple[Specification, ...]:
    """Every distinct estimate once, sorted by value; those without a finite value are left out."""
    found: dict[tuple[object, ...], Specification] = {}
    candidates = [(primary, "primary"), (naive, "naive"), *((estimate, "other") for estimate in curve)]
    for estimate, role in candidates:
        if estimate is not None and math.isfinite(estimate.value):
            key = (estimate.estimator, estimate.estimand, estimate.value, estimate.n, frozenset(estimate.adjusted_for))
            found.setdefault(key, Specification(estimate, role))
    return tuple(sorted(found.values(), key=lambda spec: (spec.estimate.value, spec.estimate.estimator)))


def matrix_rows(specs: Sequence[Specification]) -> tuple[list[tuple[str, list[bool]]], int]:
    """Return the dot matrix, (label, dot per specification), and how many rows did not fit.

    Columns that are adjusted for in exactly the same specifications share one row.
    """
    estimators = dict.fromkeys(spec.estimate.estimator for spec in specs)
    rows = [(name, [spec.estimate.estimator == name for spec in specs]) for name in estimators]
    patterns: dict[tuple[bool, ...], list[str]] = {}
    for column in dict.fromkeys(name for spec in specs for name in spec.estimate.adjusted_for):
        pattern = tuple(column in spec.estimate.adjusted_for for spec in specs)
        patterns.setdefault(pattern, []).append(column)
    adjusted = [(_group_label(names), list(pattern)) for pattern, names in patterns.items()]
    room = max(MOST_ROWS - len(rows), 6)
    return rows + adjusted[:room], max(len(adjusted) - room, 0)


def value_limits(specs: Sequence[Specification]) -> tuple[float, float]:
    """Limits of the effect axis: zero and every dot near the bulk; wild intervals run off the scale."""
    import numpy as np

    values = np.array([spec.estimate.value for spec in specs])
    halves = np.array([(spec.estimate.ci.upper - spec.estimate.ci.lower) / 2 for spec in specs])
    finite = halves[np.isfinite(halves)]
    centre = float(np.median(values))
    scale = max(float(np.median(np.abs(values - centre))), float(np.median(finite)) if finite.size else 0.0, 1e-12)
    near = values[np.abs(values - centre) <= _BULK * scale]
    ends = [0.0, *near.tolist()] if abs(centre) <= 3 * _BULK * scale else near.tolist()
    for spec in specs:
        for end in (spec.estimate.ci.lower, spec.estimate.ci.upper):
            if math.isfinite(end) and (spec.role == "primary" or abs(end - centre) <= _BULK * scale):
                ends.append(end)
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    return min(ends) - margin, max(ends) + margin


def draw_specification_curve(specs: Sequence[Specification], units: str) -> str:
    """Draw the curve above, which estimator and columns each dot used below; inline SVG."""
    rows, _ = matrix_rows(specs)
    left, right, top, axis_height = label_room([label for label, _ in rows], least=1.05), 0.25, 0.45, 2.7
    width = left + right + max(5.2, 0.17 * len(specs))
    below = _ROW * len(rows) + 0.15
    height = top + axis_height + 0.12 + below
    with drawing(width, height) as figure:
        across = (width - left - right) / width
        curve = figure.add_axes((left / width, (below + 0.12) / height, across, axis_height / height))
        matrix = figure.add_axes((left / width, 0.1 / height, across, (below - 0.1) / height))
        _draw_curve(curve, specs, units)
        _draw_matrix(matrix, specs, rows)
        for axes in (curve, matrix):
            axes.set_xlim(-0.8, max(len(specs), 6) - 0.2)
        return to_svg(figure)


def _draw_curve(axes: Axes, specs: Sequence[Specification], units: str) -> None:
    low, high = value_limits(specs)
    axes.set_ylim(low, high)
    if low < 0 < high:
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for x, spec in enumerate(specs):
        mark = _MARKS[spec.role]
        lower, upper = spec.estimate.ci.lower, spec.estimate.ci.upper
        if math.isfinite(lower) and math.isfinite(upper):
            thick = 2.2 if spec.role == "primary" else 1.1
            axes.plot([x, x], [max(lower, low), min(upper, high)], color=mark.edge, linewidth=thick)
        _mark_ends_off_scale(axes, x, (lower, upper), (low, high), mark.edge)
        if low <= spec.estimate.value <= high:
            mark.draw(axes, x, spec.estimate.value)
    explain(axes, [mark for role, mark in _MARKS.items() if any(spec.role == role for spec in specs)])
    axes.set_ylabel(shorten(f"Estimate: {units}", 44), fontsize=8)
    axes.set_xticks([])
    axes.yaxis.set_major_formatter(tick_text)
    bare(axes)
    axes.spines["bottom"].set_visible(False)


def _mark_ends_off_scale(
    axes: Axes, x: int, ends: tuple[float, float], limits: tuple[float, float], colour: str
) -> None:
    if ends[0] < limits[0]:
        Mark("v", colour, colour, 5).draw(axes, x, limits[0], clip=False)
    if ends[1] > limits[1]:
        Mark("^", colour, colour, 5).draw(axes, x, limits[1], clip=False)


def _draw_matrix(axes: Axes, specs: Sequence[Specification], rows: Sequence[tuple[str, list[bool]]]) -> None:
    estimators = len({spec.estimate.estimator for spec in specs})
    for index, (label, dots) in enumerate(rows):
        if index % 2 == 0:
            axes.axhspan(index - 0.5, index + 0.5, color=PALE, linewidth=0)
        for x, dot in enumerate(dots):
            colour = _MARKS[specs[x].role].edge if dot else FAINT
            Mark("o", colour, colour, 4.2 if dot else 1.8).draw(axes, x, index)
        axes.text(-0.012, index, label, ha="right", va="center", fontsize=8, transform=axes.get_yaxis_transform())
    if estimators < len(rows):
        axes.axhline(estimators - 0.5, color=MUTED, linewidth=0.7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_axis_off()


def _group_label(names: Sequence[str]) -> str:
    if len(names) == 1:
        return shorten(names[0], _LABEL_WIDTH)
    more = f" + {len(names) - 1} more"
    joined = ", ".join(names)
    return joined if len(joined) <= _LABEL_WIDTH else shorten(names[0], _LABEL_WIDTH - len(more)) + more
