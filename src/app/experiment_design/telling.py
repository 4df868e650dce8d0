"""How does a planned experiment look in the terminal and as a page?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.app.experiment_design.planning import Planned
from src.app.report.blocks import Block, Bullets, Figure, Section, Table
from src.app.report.numbers import count, interval, number, percent
from src.app.report.pages import render_page
from src.app.report.plots.svg import ACCENT, MUTED, bare, drawing, tick_text, to_svg
from src.app.report.wording import STAMP
from src.causal_engine.experiment.from_data import Estimated

if TYPE_CHECKING:
    from rich.console import RenderableType

ESTIMATED = {
    "mean": "Mean",
    "sd": "Standard deviation",
    "icc": "Intraclass correlation",
    "autocorrelation": "Autocorrelation of neighbouring periods",
    "correlation": "Correlation with the covariate",
}


@dataclass(frozen=True, slots=True)
class DesignPage:
    """What the template shows."""

    title: str
    stamp: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    origin: str


def headline(planned: Planned) -> str:
    """The answer in a sentence or two."""
    trial, lines = planned.trial, []
    chance = f"{percent(trial.power)} power, two-sided {percent(trial.alpha)}"
    if planned.units is not None:
        found = "no difference that is possible" if planned.detectable is None else number(planned.detectable)
        lines.append(f"With {count(planned.units)} units the experiment finds a difference of {found} ({chance}).")
    if planned.difference is not None:
        if planned.needed is None:
            lines.append(f"No experiment of a realistic size finds {number(planned.difference)}.")
        else:
            clusters = planned.clusters_needed
            whole = "" if clusters is None else f" in {count(clusters)} clusters"
            lines.append(f"To find {number(planned.difference)} it takes {count(planned.needed)} units{whole}.")
    if planned.power is not None and planned.units is not None:
        lines.append(f"With {count(planned.units)} units the chance to find it is {percent(planned.power)}.")
    return " ".join(lines)


def facts_of(planned: Planned) -> tuple[tuple[str, str], ...]:
    """What the answer rests on."""
    trial = planned.trial
    facts = [
        ("Outcome", f"{trial.baseline.kind}, mean {number(trial.baseline.mean)}"),
        ("Treated share", percent(trial.share_treated)),
        ("Variance factor", number(trial.variance_factor)),
    ]
    if trial.clusters is not None:
        facts.append(("Design effect", number(trial.clusters.design_effect)))
    if planned.variation is not None:
        facts += [(ESTIMATED[name], text) for name, text in _estimates(planned)]
    return tuple(facts)


def _estimates(planned: Planned) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in ESTIMATED:
        one: Estimated | None = getattr(planned.variation, name)
        if one is not None:
            found.append((name, f"{number(one.value)} (95 % interval {interval(one.ci)})"))
    return found


def design_text(planned: Planned | None, assigned: Mapping[str, Any] | None) -> RenderableType:
    """For the terminal."""
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    parts: list[RenderableType] = []
    if planned is not None:
        parts += [Text(headline(planned), style="bold")]
        parts += [Text(f"{name}: {text}") for name, text in facts_of(planned)]
        parts += [Text(f"· {note}", style="dim") for note in planned.notes]
    for table in _tables(planned, assigned):
        grid = Grid(box=None, padding=(0, 2, 0, 0), title=table.heading, title_justify="left")
        for column in table.columns:
            grid.add_column(column)
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        parts += [Text(""), grid]
    if assigned is not None:
        parts += [Text(f"written: {assigned['path']}"), Text(f"hash {assigned['sha256']}")]
    return Group(*parts)


def design_page(planned: Planned, assigned: Mapping[str, Any] | None, title: str) -> str:
    """One self-contained HTML page."""
    blocks: list[Block] = [Bullets(planned.notes)]
    if planned.curve:
        blocks.append(
            Figure(
                draw=lambda: draw_power_curve(planned.curve, planned.trial.power),
                alt="Power against the true difference",
                caption="Chance to find a difference, by its true size; dashed: the power that is wanted.",
            )
        )
    sections = [Section("power", "Power", tuple(blocks))]
    tables = _tables(planned, assigned)
    if tables:
        sections.append(Section("tables", "Length and assignment", tuple(tables)))
    origin = "design" if assigned is None else f"assignment {assigned['sha256']}"
    page = DesignPage(title, STAMP, headline(planned), facts_of(planned), tuple(sections), origin)
    return render_page("design.html.j2", page)


def _tables(planned: Planned | None, assigned: Mapping[str, Any] | None) -> list[Table]:
    tables = []
    if planned is not None and planned.lengths:
        rows = tuple((count(one.periods), number(one.detectable), count(one.units_needed)) for one in planned.lengths)
        tables.append(Table(("Periods", "Finds", "Units needed"), rows, heading="By length of the experiment"))
    if assigned is not None:
        arms = tuple((arm, count(n)) for arm, n in assigned["units_per_arm"].items())
        tables.append(Table(("Arm", "Units"), arms, heading="Assignment"))
        balance = tuple((one["arm"], one["covariate"], number(one["smd"])) for one in assigned["balance"])
        if balance:
            tables.append(
                Table(("Arm", "Covariate", "Standardised difference from control"), balance, heading="Balance")
            )
    return tables


def draw_power_curve(curve: Sequence[tuple[float, float]], wanted: float) -> str:
    """Power against the true difference, inline SVG."""
    with drawing(6.0, 2.9) as figure:
        axes = figure.add_axes((0.11, 0.18, 0.86, 0.76))
        axes.plot([x for x, _ in curve], [power for _, power in curve], color=ACCENT, linewidth=1.6)
        axes.axhline(wanted, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("True difference", fontsize=8)
        axes.set_ylabel("Power", fontsize=8)
        axes.xaxis.set_major_formatter(tick_text)
        bare(axes)
        return to_svg(figure)
