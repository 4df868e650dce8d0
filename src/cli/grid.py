"""`e2i effect --grid` and `e2i grids`: many effects at once, with their number allowed for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from src.app.grid.results import GridResult
    from src.causal_engine.experiment.multiplicity import Adjustment

FAILED = 1
ENDINGS = (".html", ".csv", ".json")

app = typer.Typer(name="grids", help="Effects that were asked for together: e2i effect --grid grid.yaml")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Fdr = Annotated[str, typer.Option("--fdr", help="How many questions at once are allowed for: bh, by or holm.")]
Out = Annotated[list[Path] | None, typer.Option("--out", help="File to write: .html, .csv or .json; repeatable.")]


@app.command("list")
def list_grids(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20, json: Json = False
) -> None:
    """List the grids that were asked for.

    Example: e2i grids list
    """
    from src.app.tracing import traced_database
    from src.storage.effect_grids import GridRepository

    async def work() -> Any:
        async with traced_database() as database:
            return await GridRepository(database).recent(limit)

    found = output.run(work())
    if json:
        names = ("grid_id", "status", "n_cells", "dataset_id", "started_at", "ended_at")
        output.print_json([{**{n: getattr(one, n) for n in names}, "title": one.document["title"]} for one in found])
        return
    table = output.grid("grid", "started (UTC)", "status", "cells", "what")
    for one in found:
        started = f"{one.started_at:%Y-%m-%d %H:%M}"
        output.add_row(table, one.grid_id[:13], started, one.status, f"{one.n_cells:,}", str(one.document["title"]))
    output.print_rich(table if found else "No grid was asked for yet; try: e2i effect --grid grid.yaml")


@app.command("show")
def show_grid(
    grid: Annotated[str, typer.Argument(help="Id of a grid, or its beginning.")],
    fdr: Fdr = "bh",
    out: Out = None,
    json: Json = False,
) -> None:
    """Show what a grid found, and write it to files.

    Example: e2i grids show 0199c2 --out grid.html --out grid.csv
    """
    from src.app.grid.results import grid_result
    from src.app.tracing import traced_database
    from src.storage.effect_grids import GridRepository

    adjustment = adjustment_named(fdr)
    check_endings(out or ())

    async def work() -> GridResult:
        async with traced_database() as database:
            return await grid_result(GridRepository(database), grid, adjustment)

    tell(output.run(work()), out or (), as_json=json)


def answer_grid(
    file: Path, *, plan: str | None, workers: int, fdr: str, out: Sequence[Path], role: str, json: bool
) -> None:
    """Answer the grid in ``file``; exit 1 where a cell failed."""
    from src.app.grid.running import Order, run_grid
    from src.app.session import open_session
    from src.domain.guards import load_guards
    from src.execution.executor import open_executor
    from src.settings import var_dir

    adjustment = adjustment_named(fdr)
    check_endings(out)
    order = Order(file, load_guards(), workers, plan, role)

    async def work() -> GridResult:
        with output.bar("grid:", quiet=json) as report:
            async with open_session() as session:
                return await run_grid(session, order, open_executor, adjustment=adjustment, on_progress=report)

    result = output.run(work())
    tell(result, out or (var_dir() / "reports" / f"grid-{result.grid.grid_id}.html",), as_json=json)
    if result.failed:
        raise typer.Exit(FAILED)


def tell(result: GridResult, out: Sequence[Path], *, as_json: bool) -> None:
    """Write the files, and print."""
    from src.app.grid.page import grid_page
    from src.app.grid.telling import grid_csv, grid_document, grid_text

    for path in out:
        if path.suffix == ".json":
            output.write_file(_json_text(grid_document(result)), path)
        else:
            output.write_file(grid_page(result) if path.suffix == ".html" else grid_csv(result), path)
    if as_json:
        output.print_json({**grid_document(result), "files": [str(path) for path in out]})
        return
    output.print_rich(grid_text(result), *(f"written: {path}" for path in out))
    sys.stdout.flush()


def adjustment_named(name: str) -> Adjustment:
    """The adjustment of that name. Raises ContractViolation."""
    from src.causal_engine.experiment.multiplicity import Adjustment
    from src.errors import ContractViolation

    if name not in list(Adjustment):
        raise ContractViolation(f"unknown adjustment '{name[:40]}'; use {', '.join(Adjustment)}")
    return Adjustment(name)


def check_endings(out: Sequence[Path]) -> None:
    """Raises ContractViolation for a file of another kind than can be written."""
    from src.errors import ContractViolation

    for path in out:
        if path.suffix not in ENDINGS:
            raise ContractViolation(f"cannot write '{path}': its name must end in {', '.join(ENDINGS)}")
        if path.is_dir():
            raise ContractViolation(f"cannot write '{path}': it is a folder")


def _json_text(document: Any) -> str:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode() + "\n"
