"""Does the estimate depend on the estimator or on what was adjusted for? All of them, sorted, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.app.report.numbers import shorten
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, PALE, WARM, bare, drawing, to_svg
from src.causal_engine.results import EffectEstimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 26
_LABEL_WIDTH = 34
_ROW = 0.2


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
    near = values[np.abs(values - centre) <= 12 * scale]
    ends = [0.0, *near.tolist()] if abs(centre) <= 40 * scale else near.tolist()
    for spec in specs:
        for end in (spec.estimate.ci.lower, spec.estimate.ci.upper):
            if math.isfinite(end) and (spec.role == "primary" or abs(end - centre) <= 6 * scale):
                ends.append(end)
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    return min(ends) - margin, max(ends) + margin


def draw_specification_curve(specs: Sequence[Specification], units: str) -> str:
    """Draw the curve above, which estimator and columns each dot used below; inline SVG."""
    rows, _ = matrix_rows(specs)
    left, right, top, axis_height = 2.75, 0.25, 0.45, 2.7
    width = max(6.8, left + right + 0.17 * len(specs))
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
    looks = {"primary": ("D", ACCENT, ACCENT, 6.5), "naive": ("s", "white", WARM, 5.5), "other": ("o", INK, INK, 3.8)}
    for x, spec in enumerate(specs):
        marker, face, edge, size = looks[spec.role]
        lower, upper = spec.estimate.ci.lower, spec.estimate.ci.upper
        if math.isfinite(lower) and math.isfinite(upper):
            thick = 2.2 if spec.role == "primary" else 1.1
            axes.plot([x, x], [max(lower, low), min(upper, high)], color=edge, linewidth=thick, solid_capstyle="butt")
        _mark_ends_off_scale(axes, x, (lower, upper), (low, high), edge)
        if low <= spec.estimate.value <= high:
            style = {"markerfacecolor": face, "markeredgecolor": edge, "markersize": size, "zorder": 3}
            axes.plot([x], [spec.estimate.value], marker=marker, linestyle="none", **style)
    _label_roles(axes, specs, looks)
    axes.set_ylabel(shorten(f"Effect: {units}", 44), fontsize=8)
    axes.yaxis.set_label_coords(-0.7 / axes.get_figure().get_figwidth() / axes.get_position().width, 0.5)  # type: ignore[union-attr]
    axes.set_xticks([])
    bare(axes)
    axes.spines["bottom"].set_visible(False)


def _mark_ends_off_scale(
    axes: Axes, x: int, ends: tuple[float, float], limits: tuple[float, float], colour: str
) -> None:
    if not ends[0] >= limits[0]:
        axes.plot([x], [limits[0]], marker="v", color=colour, markersize=5, clip_on=False, linestyle="none")
    if not ends[1] <= limits[1]:
        axes.plot([x], [limits[1]], marker="^", color=colour, markersize=5, clip_on=False, linestyle="none")


def _label_roles(axes: Axes, specs: Sequence[Specification], looks: dict[str, tuple[str, str, str, float]]) -> None:
    from matplotlib.lines import Line2D

    words = {"primary": "primary estimate", "naive": "naive, nothing adjusted for", "other": "alternative"}
    present = [role for role in words if any(spec.role == role for spec in specs)]
    handles = [
        Line2D([], [], marker=looks[role][0], linestyle="none", markerfacecolor=looks[role][1],
               markeredgecolor=looks[role][2], markersize=looks[role][3], label=words[role])
        for role in present
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(handles), frameon=False,
        fontsize=8, handletextpad=0.3, columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip


def _draw_matrix(axes: Axes, specs: Sequence[Specification], rows: Sequence[tuple[str, list[bool]]]) -> None:
    estimators = len({spec.estimate.estimator for spec in specs})
    for index, (label, dots) in enumerate(rows):
        if index % 2 == 0:
            axes.axhspan(index - 0.5, index + 0.5, color=PALE, linewidth=0)
        for x, dot in enumerate(dots):
            marked = specs[x].role
            colour = ACCENT if marked == "primary" else WARM if marked == "naive" else INK
            style = {"color": colour, "markersize": 4.2} if dot else {"color": FAINT, "markersize": 1.8}
            axes.plot([x], [index], marker="o", linestyle="none", **style)
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
