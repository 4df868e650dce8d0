"""Which assumptions does the causal graph make, and what role did each column get?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.app.report.numbers import shorten
from src.app.report.plots.layers import Layout, layered_layout
from src.app.report.plots.svg import ACCENT, INK, MUTED, WARM, drawing, to_svg
from src.causal_engine.results import Identification

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WRAP = 20
_BOX_WIDTH, _BOX_HEIGHT = 1.62, 0.52
_COLUMN, _ROW = 2.15, 0.68
# Face, edge, line style, line width, text colour; the role is also written in the box.
_LOOKS: dict[str, tuple[str, str, str, float, str]] = {
    "treatment": (ACCENT, ACCENT, "solid", 1.2, "white"),
    "outcome": (INK, INK, "solid", 1.2, "white"),
    "adjusted for": ("white", ACCENT, "solid", 2.0, INK),
    "instrument": ("white", INK, "dashdot", 1.2, INK),
    "unmeasured": ("white", MUTED, "dotted", 1.4, INK),
    "excluded": ("#fbf1ea", WARM, "dashed", 1.2, INK),
    "not used": ("white", MUTED, "solid", 0.8, INK),
}


def node_roles(identification: Identification, treatment: str, outcome: str) -> dict[str, str]:
    """Role of every node: treatment, outcome, unmeasured, adjusted for, the role it was excluded for, or not used."""
    excluded = {node.name: node.role for node in identification.excluded}
    listed = (*identification.nodes, *(name for edge in identification.edges for name in edge), *identification.latent)
    roles = dict.fromkeys(listed, "not used")
    roles.update({name: role for name, role in excluded.items() if name in roles})
    for names, role in (
        (identification.instruments, "instrument"),
        (identification.mediators, "mediator"),
        (identification.adjustment_set, "adjusted for"),
        (identification.latent, "unmeasured"),
        ((treatment,), "treatment"),
        ((outcome,), "outcome"),
    ):
        roles.update({name: role for name in names if name in roles})
    return roles


def is_drawable(identification: Identification) -> bool:
    """Whether there is a graph with at least one edge and no cycle."""
    import networkx as nx

    return bool(identification.edges) and nx.is_directed_acyclic_graph(nx.DiGraph(list(identification.edges)))


def draw_graph(identification: Identification, treatment: str, outcome: str) -> str:
    """Draw the graph from left to right by topological generation; inline SVG."""
    roles = node_roles(identification, treatment, outcome)
    layout = layered_layout(list(roles), identification.edges)
    width = max(_COLUMN * (layout.n_layers - 1) + _BOX_WIDTH + 0.2, 3.2)
    height = _ROW * (layout.n_rows - 1) + _BOX_HEIGHT + 0.2
    with drawing(width, height) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        middle = _COLUMN * (layout.n_layers - 1) / 2
        axes.set_xlim(middle - width / 2, middle + width / 2)
        axes.set_ylim(-height / 2, height / 2)
        axes.set_axis_off()
        for edge, route in layout.routes.items():
            _draw_edge(axes, [(x * _COLUMN, y * _ROW) for x, y in route], edge == (treatment, outcome))
        _draw_nodes(axes, layout, roles)
        return to_svg(figure)


def _draw_nodes(axes: Axes, layout: Layout, roles: dict[str, str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    for name, (column, row) in layout.positions.items():
        role = roles[name]
        face, edge, line, weight, ink = _LOOKS.get(role, _LOOKS["excluded"])
        x, y = column * _COLUMN, row * _ROW
        corner = (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2)
        rounding = 0.22 if role == "unmeasured" else 0.06
        box = FancyBboxPatch(
            corner, _BOX_WIDTH, _BOX_HEIGHT, boxstyle=f"round,pad=0,rounding_size={rounding}",
            facecolor=face, edgecolor=edge, linestyle=line, linewidth=weight, zorder=3,
        )  # fmt: skip
        axes.add_patch(box)
        lines = wrap_name(name)
        axes.text(x, y + 0.08, "\n".join(lines), ha="center", va="center", fontsize=7.4, color=ink, zorder=4,
                  linespacing=1.0, fontweight="bold" if role in ("treatment", "outcome") else "normal")  # fmt: skip
        axes.text(x, y - 0.17, shorten(role, 28), ha="center", va="center", fontsize=6.2, color=ink, zorder=4,
                  fontstyle="italic")  # fmt: skip


def _draw_edge(axes: Axes, route: Sequence[tuple[float, float]], stressed: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = _BOX_WIDTH / 2
    start, end = (route[0][0] + half, route[0][1]), (route[-1][0] - half, route[-1][1])
    points = [start]
    codes = [Path.MOVETO]
    stops = [*route[1:-1], end]
    for stop in stops:
        before = points[-1]
        target = stop if stop is end else (stop[0] - half, stop[1])
        bend = (before[0] + target[0]) / 2
        points += [(bend, before[1]), (bend, target[1]), target]
        codes += [Path.CURVE4] * 3
        if stop is not end:
            points.append((stop[0] + half, stop[1]))
            codes.append(Path.LINETO)
    arrow = FancyArrowPatch(
        path=Path(points, codes), arrowstyle="-|>", mutation_scale=9, color=ACCENT if stressed else MUTED,
        linewidth=2.0 if stressed else 0.9, shrinkA=0, shrinkB=0, zorder=2, fill=False,
    )  # fmt: skip
    arrow.set_facecolor(ACCENT if stressed else MUTED)
    axes.add_patch(arrow)


def wrap_name(name: str) -> list[str]:
    """A name on at most two lines, broken after underscores, dots or blanks where there are any."""
    spaced = shorten(name, 2 * _WRAP - 4)
    for mark in "_.-/":
        spaced = spaced.replace(mark, f"{mark}\0")
    pieces = spaced.replace(" ", " \0").split("\0")
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece) > _WRAP:
            lines.append("")
        lines[-1] += piece
    fitted = [part for line in lines for part in textwrap.wrap(line, _WRAP) or [line]]
    return (
        fitted
        if len(fitted) <= 2
        else [spaced.replace("\0", "")[:_WRAP], shorten(spaced.replace("\0", "")[_WRAP:], _WRAP)]
    )
