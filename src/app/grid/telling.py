"""How does a grid look in the terminal, as CSV and as JSON?"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.app.grid.results import CellResult, GridResult
from src.app.report.numbers import interval, number, p_value
from src.app.report.wording import STAMP

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_SHOWN = 40
_NUMBERS = ("value", "std_error", "ci_lower", "ci_upper", "p_value", "q_value", "n")


def ordered(result: GridResult) -> list[CellResult]:
    """Tested cells by adjusted p-value, then those without a number, each in the order of the grid."""
    return sorted(result.cells, key=lambda cell: (cell.q_value is None, cell.q_value or 0.0, cell.number))


def summary_lines(result: GridResult) -> tuple[str, ...]:
    """What was found, refused, hidden and failed, in sentences."""
    lines = [result.headline]
    if result.refusals:
        why = ", ".join(f"{kind} {count:,}" for kind, count in result.refusals.items())
        lines.append(f"Cells without an estimate: {sum(result.refusals.values()):,} ({why}).")
    if result.suppressed:
        lines.append(f"Cells not shown: {result.suppressed:,} (fewer than eleven, or they would reveal such a cell).")
    if result.failed:
        kinds = sorted({f"{cell.reason_type}: {cell.reason}" for cell in result.failed})
        lines.append(f"Cells that failed, to be asked again: {len(result.failed):,} ({'; '.join(kinds[:3])}).")
    lines += registration_lines(result)
    return tuple(lines)


def registration_lines(result: GridResult) -> list[str]:
    """How the cells stand to the plan they are held against; nothing without one."""
    held = [cell for cell in result.cells if cell.registration]
    exact = sum(cell.registration[0].startswith("As registered") for cell in held)
    if not held:
        return []
    return [f"{exact:,} of {len(held):,} answered cells are as registered; the others say where they depart from it."]


def grid_text(result: GridResult) -> RenderableType:
    """Summary and the cells with the smallest adjusted p-values."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    keys = list(result.cells[0].name)
    for heading in (*keys, "effect", "95 % interval", "q", "verdict", "run"):
        table.add_column(heading, justify="right" if heading in ("effect", "q") else "left")
    cells = ordered(result)
    for cell in cells[:MOST_SHOWN]:
        table.add_row(*(Text(text) for text in (*cell.name.values(), *cell_texts(cell), (cell.run_id or "")[:13])))
    more = len(cells) - MOST_SHOWN
    tail = [Text(f"… and {more:,} more: e2i grids show {result.grid.grid_id} --out FILE.csv", style="dim")]
    head = [Text(line, style="bold" if line is result.headline else "") for line in summary_lines(result)]
    plans = [Text(line) for cell in cells[:1] for line in cell.registration]
    return Group(*head, *plans, Text(""), table, *(tail if more > 0 else []), Text(f"grid {result.grid.grid_id}"))


def cell_texts(cell: CellResult) -> tuple[str, str, str, str]:
    """Effect, interval, adjusted p-value and verdict as words."""
    if cell.suppressed:
        return cell.suppressed, "", "", ""
    if cell.estimate is None:
        return "–", "", "", f"{cell.status}: {cell.reason}"
    q = "–" if cell.q_value is None else p_value(cell.q_value)
    return number(cell.estimate.value), interval(cell.estimate.ci), q, cell.verdict or ""


def grid_csv(result: GridResult) -> str:
    """One line per cell in the order of the grid; numbers that may not be shown are empty, ``note`` says why."""
    out = io.StringIO()
    keys = list(result.cells[0].name)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, "status", "verdict", "estimator", "estimand", *_NUMBERS, "run_id", "note", "registration"])
    for cell in result.cells:
        document = cell_document(cell)
        told = [document[name] for name in ("status", "verdict", "estimator", "estimand", *_NUMBERS, "run_id")]
        note = cell.suppressed or cell.reason or ""
        row = [*cell.name.values(), *told, note, " ".join(cell.registration)]
        writer.writerow([_cell_text(value) for value in row])
    return out.getvalue()


def grid_document(result: GridResult) -> dict[str, Any]:
    """Everything as one JSON document, small cells taken out."""
    grid = result.grid
    return {
        "stamp": STAMP,
        "grid_id": grid.grid_id,
        "title": grid.document["title"],
        "status": grid.status,
        "digest": grid.digest,
        "dataset": grid.document["dataset"],
        "dataset_id": grid.dataset_id,
        "data_sha256": grid.document["data_sha256"],
        "code_version": grid.document["code_version"],
        "adjustment": result.adjustment.value,
        "level": result.level,
        "n_cells": len(result.cells),
        "n_tested": len(result.tested),
        "n_discoveries": len(result.discoveries),
        "n_supported": result.supported,
        "n_suppressed": result.suppressed,
        "n_failed": len(result.failed),
        "refusals": dict(result.refusals),
        "summary": list(summary_lines(result)),
        "cells": [cell_document(cell) for cell in result.cells],
    }


def cell_document(cell: CellResult) -> dict[str, Any]:
    """One cell as JSON."""
    shown: Mapping[str, Any] = dict.fromkeys(_NUMBERS)
    estimate = cell.estimate
    if estimate is not None and not cell.suppressed:
        values = (estimate.value, estimate.std_error, estimate.ci.lower, estimate.ci.upper, estimate.p_value)
        shown = dict(zip(_NUMBERS, (*values, cell.q_value, cell.size), strict=True))
    return {
        **cell.name,
        "status": cell.status,
        "verdict": None if cell.suppressed else cell.verdict,
        "estimator": None if estimate is None else estimate.estimator,
        "estimand": None if estimate is None else estimate.estimand.value,
        **shown,
        "suppressed": cell.suppressed,
        "run_id": cell.run_id,
        "reason_type": cell.reason_type,
        "reason": cell.reason,
        "registration": list(cell.registration),
    }


def _cell_text(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
