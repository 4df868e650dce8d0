"""How does a grid look as one HTML page: what was found, a heatmap, a forest plot, every cell?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.app.grid.plots import draw_forest, draw_heatmap
from src.app.grid.results import CellResult, GridResult
from src.app.grid.telling import cell_texts, ordered, summary_lines
from src.app.report.blocks import Block, Bullets, Figure, Note, Section, Table
from src.app.report.numbers import count, moment
from src.app.report.pages import render_page
from src.app.report.wording import STAMP
from src.causal_engine.wording import plain

_MOST_IN_FOREST = 60
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class GridPage:
    """What the template shows."""

    title: str
    stamp: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    origin: str


def grid_page(result: GridResult) -> str:
    """The page; the same result gives the same bytes."""
    grid = result.grid
    facts = (
        ("Cells", count(len(result.cells))),
        ("Tested", count(len(result.tested))),
        ("Adjusted for their number", result.adjustment.words),
        ("Dataset", f"{grid.document['dataset']} ({grid.dataset_id})"),
        ("Started", moment(grid.started_at)),
    )
    sections = (_overview(result), *_forests(result), _all_cells(result), _refused(result), _provenance(result))
    page = GridPage(
        str(grid.document["title"]),
        STAMP,
        result.headline,
        facts,
        tuple(one for one in sections if one is not None),
        f"grid {grid.grid_id}",
    )
    return render_page("grid.html.j2", page)


def part_of(cell: CellResult) -> str:
    """The rows a cell is about, in words."""
    values = [value for key, value in cell.name.items() if key not in ("treatment", "outcome")]
    return " · ".join(values) or "all rows"


def pairs_of(result: GridResult) -> dict[Pair, list[CellResult]]:
    """Cells by treatment and outcome, in the order of the grid."""
    found: dict[Pair, list[CellResult]] = {}
    for cell in result.cells:
        found.setdefault((cell.name["treatment"], cell.name["outcome"]), []).append(cell)
    return found


def _overview(result: GridResult) -> Section:
    pairs = pairs_of(result)
    parts = list(dict.fromkeys(part_of(cell) for cell in result.cells))
    by_place: Mapping[tuple[str, Pair], CellResult] = {
        (part_of(cell), pair): cell for pair, cells in pairs.items() for cell in cells
    }
    titles = [_title(pair) for pair in pairs]
    rows = [[by_place[part, pair] for pair in pairs] for part in parts]
    figure = Figure(
        draw=lambda: draw_heatmap(parts, titles, rows, result.level),
        alt="Heatmap of estimates over their standard errors",
        caption=(
            "Colour: estimate over its standard error. A frame: a discovery after adjustment. Hatched: no number "
            "to show."
        ),
    )
    return Section("overview", "What was found", (Bullets(summary_lines(result)), figure))


def _forests(result: GridResult) -> list[Section]:
    return [_forest(pair, cells, result.level) for pair, cells in pairs_of(result).items()]


def _forest(pair: Pair, cells: Sequence[CellResult], level: float) -> Section:
    shown = [cell for cell in cells if cell.estimate is not None and not cell.suppressed][:_MOST_IN_FOREST]
    anchor = f"forest-{cells[0].number}"
    if not shown:
        return Section(anchor, _title(pair), (Note("No estimate can be shown."),))
    labels = [part_of(cell) for cell in shown]
    figure = Figure(
        draw=lambda: draw_forest(labels, shown, level),
        alt=f"Forest plot of the effects of {pair[0]} on {pair[1]}",
        caption="Estimates with 95 % intervals, each for itself; filled: a discovery after adjustment.",
    )
    return Section(anchor, _title(pair), (figure,))


def _all_cells(result: GridResult) -> Section:
    keys = tuple(plain(key) for key in result.cells[0].name)
    cells = [cell for cell in ordered(result) if cell.estimate is not None]
    found = {cell.number for cell in result.discoveries if not cell.suppressed}
    rows = tuple(_row(cell) for cell in cells)
    columns = (*keys, "Estimate", "95 % interval", "q", "Verdict", "Registered plan", "Run")
    emphasis = frozenset(i for i, cell in enumerate(cells) if cell.number in found)
    table: Block = Table(columns, rows, emphasis=emphasis) if rows else Note("No cell has an estimate.")
    return Section("cells", "All estimates", (table,))


def _row(cell: CellResult) -> tuple[str, ...]:
    held = cell.registration[0] if cell.registration else "–"
    return (*cell.name.values(), *cell_texts(cell), held, (cell.run_id or "–")[:13])


def _refused(result: GridResult) -> Section | None:
    cells = [cell for cell in result.cells if cell.estimate is None]
    if not cells:
        return None
    keys = tuple(plain(key) for key in cells[0].name)
    rows = tuple((*cell.name.values(), cell.status, cell.reason_type or "", cell.reason or "") for cell in cells)
    return Section("refused", "No estimate", (Table((*keys, "Status", "Kind", "Why"), rows),))


def _provenance(result: GridResult) -> Section:
    grid = result.grid
    rows = (
        ("Grid", grid.grid_id),
        ("Digest of questions, data and code", grid.digest),
        ("Content hash of the data (SHA-256)", str(grid.document["data_sha256"])),
        ("Code version", str(grid.document["code_version"])),
        ("Status", grid.status),
        ("Ended", moment(grid.ended_at)),
    )
    return Section("provenance", "Provenance", (Table(("Grid", ""), rows),))


def _title(pair: Pair) -> str:
    return f"{plain(pair[0])} → {plain(pair[1])}"
