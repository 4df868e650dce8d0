"""Are treated and untreated comparable? Balance of covariates and overlap of propensities."""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.app.report.numbers import shorten
from src.app.report.plots.marks import Mark, explain
from src.app.report.plots.svg import ACCENT, FAINT, INK, MUTED, PALE, WARM, bare, drawing, label_room, to_svg
from src.causal_engine.results import BalanceRow, OverlapReport

BALANCED = 0.1
_WIDEST = 3.0
_LABEL_WIDTH = 40
_BEFORE = Mark("o", "white", WARM, 5.2, "before adjustment")
_AFTER = Mark("s", ACCENT, ACCENT, 4.6, "after")


def sorted_balance(rows: Sequence[BalanceRow]) -> list[BalanceRow]:
    """Rows with a finite raw difference, the largest first."""
    finite = [row for row in rows if math.isfinite(row.smd_raw)]
    return sorted(finite, key=lambda row: (-abs(row.smd_raw), row.covariate))


def draw_love_plot(rows: Sequence[BalanceRow]) -> str:
    """Absolute standardised mean differences before (hollow) and after (filled) weighting; inline SVG."""
    ordered = sorted_balance(rows)
    left, top, bottom = label_room([shorten(row.covariate, _LABEL_WIDTH) for row in ordered], least=0.9), 0.4, 0.45
    width, height = left + 4.6, top + bottom + 0.22 * max(len(ordered), 3)
    with drawing(width, height) as figure:
        axes = figure.add_axes((left / width, bottom / height, 4.35 / width, 1 - (top + bottom) / height))
        for y, row in enumerate(ordered):
            if y % 2 == 0:
                axes.axhspan(y - 0.5, y + 0.5, color=PALE, linewidth=0)
            raw = min(abs(row.smd_raw), _WIDEST)
            if row.smd_weighted is not None and math.isfinite(row.smd_weighted):
                after = min(abs(row.smd_weighted), _WIDEST)
                axes.plot([raw, after], [y, y], color=MUTED, linewidth=0.8, zorder=2)
                _AFTER.draw(axes, after, y, over=4, clip=False)
            _BEFORE.draw(axes, raw, y, clip=False)
            label = shorten(row.covariate, _LABEL_WIDTH)
            axes.text(-0.015, y, label, ha="right", va="center", fontsize=8, transform=axes.get_yaxis_transform())
        axes.axvline(BALANCED, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        largest = max((abs(v) for row in ordered for v in (row.smd_raw, row.smd_weighted or 0.0)), default=0.0)
        axes.set_xlim(0, min(max(largest * 1.08, 0.25), _WIDEST * 1.05))
        axes.set_ylim(max(len(ordered), 3) - 0.5, -0.5)
        axes.set_yticks([])
        axes.set_xlabel("absolute standardised mean difference (dashed: 0.1)", fontsize=8)
        explain(axes, [_BEFORE, _AFTER] if any(row.smd_weighted is not None for row in ordered) else [_BEFORE])
        bare(axes)
        axes.spines["left"].set_visible(False)
        return to_svg(figure)


def draw_overlap_plot(overlap: OverlapReport) -> str:
    """Mirrored histograms of the estimated propensity, treated above and untreated below; inline SVG.

    Bars are shares within the arm, so arms of unlike size can be compared.
    """
    width, height = 6.8, 3.0
    treated, control = _shares(overlap.counts_treated), _shares(overlap.counts_control)
    with drawing(width, height) as figure:
        axes = figure.add_axes((0.11, 0.16, 0.86, 0.77))
        low, high = overlap.bins[0], overlap.bins[-1]
        for start, end in ((low, max(low, 0.02)), (min(high, 0.98), high)):
            if end > start:
                axes.axvspan(start, end, color=FAINT, linewidth=0, zorder=0)
        edges = list(overlap.bins[:-1])
        widths = [after - before for before, after in zip(overlap.bins, overlap.bins[1:], strict=False)]
        down = [-share for share in control]
        axes.bar(edges, treated, widths, align="edge", linewidth=0.6, color=ACCENT, edgecolor="white")
        axes.bar(edges, down, widths, align="edge", linewidth=0.6, color="white", edgecolor=WARM, hatch="////")
        axes.axhline(0, color=INK, linewidth=0.8)
        peak = max(*treated, *control, 1e-9) * 1.18
        axes.set_ylim(-peak, peak)
        axes.set_xlim(min(low, 0.0), max(high, 1.0))
        for y, words in ((0.97, "treated ▲"), (0.03, "untreated ▼")):
            axes.text(
                0.5, y, words, transform=axes.transAxes, ha="center", va="top" if y > 0.5 else "bottom", fontsize=8
            )
        axes.yaxis.set_major_formatter(lambda share, _: f"{abs(share) * 100:.0f} %")
        axes.set_xlabel("estimated propensity of treatment (grey: outside 0.02 to 0.98)", fontsize=8)
        axes.set_ylabel("share of the arm", fontsize=8)
        bare(axes)
        return to_svg(figure)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [value / total if total else 0.0 for value in counts]
