"""`e2i data`: generate, load, list, describe, export and remove datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.app.generated_data import GeneratedData
    from src.storage.catalogue import DatasetDescription
    from src.storage.rejections import LoadReport

app = typer.Typer(
    name="data",
    help="Datasets: files and generated data in the catalogue, and the tables of the data contract.",
    no_args_is_help=True,
)

REJECTED = 1
SHOWN_REJECTS = 20
DEFAULT_ROWS = 100_000
DEFAULT_RANDOM_STATE = 20_260_101

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Key = Annotated[str, typer.Argument(metavar="DATASET", help="Id, name or file of a dataset, or table:NAME.")]


@app.command()
def generate(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="A process, e.g. confounded, or panel.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows (of the panel: HCP-months, rounded up).")] = DEFAULT_ROWS,
    random_state: Annotated[
        int, typer.Option(min=0, help="The same number gives the same data.")
    ] = DEFAULT_RANDOM_STATE,
    outcome: Annotated[str, typer.Option(help="continuous or binary.")] = "continuous",
    out: Annotated[Path | None, typer.Option(help="Keep the generated files in this new folder as well.")] = None,
    load: Annotated[bool, typer.Option("--load", help="panel: also load its eight tables.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="With --load: delete all rows of those tables.")] = False,
    json: Json = False,
) -> None:
    """Generate data with a known truth and enter it into the catalogue.

    Example: e2i data generate panel --rows 100000 --load
    """
    if process != "panel" and (load or replace):
        raise ContractViolation("--load and --replace are for the panel; other processes have no tables")
    if replace and not load:
        raise ContractViolation("--replace deletes rows and needs --load")
    with output.bar(f"generating {process}", quiet=json) as report:
        made = output.run(_generate(process, rows, random_state, outcome, out, (load, replace), report))
    _print_generated(made, as_json=json)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV (also gz, bz2, zst) or Parquet file.")],
    table: Annotated[str | None, typer.Option(help="Load into this table of the data contract.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the dataset; by default that of the file.")] = None,
    encoding: Annotated[str, typer.Option(help="utf-8, latin-1 or cp1252 (CSV only).")] = "utf-8",
    rejects: Annotated[Path | None, typer.Option(help="Write every rejected row to this CSV file.")] = None,
    skip_rejected: Annotated[bool, typer.Option("--skip-rejected", help="Load the other rows all the same.")] = False,
    json: Json = False,
) -> None:
    """Make a file a dataset, or load it into a contract table; all of it or nothing.

    Exit status 1 when rows break the data contract.

    Example: e2i data load triggers.csv --table triggers --rejects rejected.csv
    """
    if table is None and (rejects is not None or skip_rejected):
        raise ContractViolation("--rejects and --skip-rejected go with --table")
    if table is not None and name is not None:
        raise ContractViolation("give --table or --name, not both")
    with output.bar(f"loading {file.name}", quiet=json) as report:
        if table is None:
            record = output.run(_register(file, name, encoding, report))
        else:
            done = output.run(_load(file, table, encoding, rejects, skip_rejected, report))
    if table is None:
        _print_record(record, as_json=json)
        return
    _print_load(done, as_json=json)
    if done.rejected_total:
        raise typer.Exit(REJECTED)


@app.command("list")
def list_datasets(json: Json = False) -> None:
    """List the datasets of the catalogue and the tables of the data contract.

    Example: e2i data list --json
    """
    records, sizes = output.run(_list())
    if json:
        output.print_json({"datasets": records, "tables": sizes})
        return
    grid = output.grid("dataset", "kind", "rows", "id", "entered")
    for record in records:
        entered = f"{record.created_at:%Y-%m-%d %H:%M}"
        output.add_row(grid, record.name, record.kind, f"{record.n_rows:,}", record.dataset_id, entered)
    for table, n_rows in sizes.items():
        output.add_row(grid, f"table:{table}", "table", f"{n_rows:,}", "", "")
    output.print_rich(grid)


@app.command()
def describe(dataset: Key, json: Json = False) -> None:
    """Say what is in each column; personal columns and rare values are not shown.

    Example: e2i data describe table:hcp_profiles
    """
    with output.bar(f"describing {dataset}", quiet=json):
        found = output.run(_describe(dataset))
    if json:
        output.print_json(found)
        return
    _print_description(found)


@app.command()
def export(
    dataset: Key,
    out: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    include_personal: Annotated[bool, typer.Option("--include-personal", help="Also personal columns.")] = False,
    json: Json = False,
) -> None:
    """Write a dataset or table to a file; personal columns of contract tables are left out.

    Example: e2i data export table:triggers --out triggers.csv
    """
    with output.bar(f"exporting {dataset}", quiet=json):
        document = output.run(_export(dataset, out, force=force, include_personal=include_personal))
    if json:
        output.print_json(document)
        return
    left_out = f" without {', '.join(document['left_out'])}" if document["left_out"] else ""
    typer.echo(f"{document['rows']:,} rows written to {out}{left_out}")


@app.command()
def remove(dataset: Key, json: Json = False) -> None:
    """Forget a dataset and delete its stored rows; the file it came from stays.

    Example: e2i data remove sales
    """
    record = output.run(_remove(dataset))
    if json:
        output.print_json(record)
        return
    typer.echo(f"{record.name} ({record.dataset_id}) removed")


async def _generate(
    process: str,
    rows: int,
    random_state: int,
    outcome: str,
    out: Path | None,
    loading: tuple[bool, bool],
    report: output.Report,
) -> GeneratedData:
    from src.app.generated_data import register_panel, register_synthetic
    from src.app.tracing import traced_database
    from src.storage.catalogue import Catalogue

    def progress(step: str, done: int, total: int) -> None:
        report(step, done / total)

    async with traced_database() as db:
        catalogue = Catalogue(db)
        if process != "panel":
            return await register_synthetic(
                catalogue, process, rows, random_state, outcome=outcome, out_dir=out, on_progress=progress
            )
        from src.synthetic.panel.generation import hcps_for_rows

        wanted, replace_rows = loading
        return await register_panel(
            catalogue,
            db,
            hcps_for_rows(rows),
            random_state,
            load=wanted,
            replace_rows=replace_rows,
            out_dir=out,
            on_progress=progress,
        )


async def _register(file: Path, name: str | None, encoding: str, report: output.Report) -> Any:
    from src.app.tracing import traced_database
    from src.storage.catalogue import Catalogue, register_file

    async with traced_database() as db:
        return await register_file(
            Catalogue(db), file, name=name, encoding=encoding, on_progress=lambda rows, share: report("", share)
        )


async def _load(
    file: Path, table: str, encoding: str, rejects: Path | None, skip_rejected: bool, report: output.Report
) -> LoadReport:
    from src.app.tracing import traced_database
    from src.storage.loading import LoadOptions, load_table
    from src.storage.rejections import LoadRejected

    options = LoadOptions(encoding=encoding, skip_rejected=skip_rejected, rejects=rejects)
    async with traced_database() as db:
        try:
            return await load_table(
                file, table, db=db, options=options, on_progress=lambda rows, share: report(f"{rows:,} rows", share)
            )
        except LoadRejected as refused:
            return refused.report


async def _list() -> Any:
    from src.app.tracing import traced_database
    from src.storage.catalogue import Catalogue

    async with traced_database() as db:
        catalogue = Catalogue(db)
        return await catalogue.list(), await catalogue.table_sizes()


async def _describe(key: str) -> DatasetDescription:
    from src.app.tracing import traced_database
    from src.storage.catalogue import Catalogue

    async with traced_database() as db:
        return await Catalogue(db).describe(key)


async def _export(key: str, out: Path, *, force: bool, include_personal: bool) -> dict[str, Any]:
    from src.app.tracing import traced_database
    from src.contracts.tables import get_table
    from src.storage.catalogue import TABLE_PREFIX, Catalogue
    from src.storage.export import check_target, write_export

    check_target(out, force=force)
    async with traced_database() as db:
        catalogue = Catalogue(db)
        record = await catalogue.get(key)
        personal: frozenset[str] = frozenset()
        if record.kind == "table" and not include_personal:
            personal = get_table(record.dataset_id.removeprefix(TABLE_PREFIX)).personal_columns
        columns = [name for name in record.columns if name not in personal]
        schema = catalogue.schema(record, columns=columns)
        rows = await write_export(catalogue.batches(record, columns=columns), schema, out, force=force)
    return {"dataset": record.dataset_id, "rows": rows, "file": str(out), "left_out": sorted(personal)}


async def _remove(key: str) -> Any:
    from src.app.tracing import traced_database
    from src.storage.catalogue import Catalogue

    async with traced_database() as db:
        return await Catalogue(db).remove(key)


def _print_generated(made: GeneratedData, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"dataset": made.record, "truth": str(made.truth_path), "loads": made.loads})
        return
    _print_record(made.record, as_json=False)
    typer.echo(f"its truth: {made.truth_path}")
    if made.loads and not any(report.rows_loaded for report in made.loads.values()):
        typer.echo("the tables already hold these rows")
        return
    for name, report in made.loads.items():
        typer.echo(f"table {name}: {report.rows_loaded:,} rows loaded")


def _print_record(record: Any, *, as_json: bool) -> None:
    from src.storage.datasets import reading_notes

    notes = reading_notes(record)
    if as_json:
        output.print_json({"dataset": record, "notes": notes})
        return
    typer.echo(f"{record.name} ({record.dataset_id}): {record.n_rows:,} rows, {len(record.columns)} columns")
    for note in notes:
        typer.echo(f"note: {note}")


def _print_load(report: LoadReport, *, as_json: bool) -> None:
    if as_json:
        output.print_json(report)
        return
    if report.ignored_columns:
        typer.echo(f"not in the contract, left out: {', '.join(report.ignored_columns)}")
    if report.rejected_total:
        grid = output.grid("line", "column", "value", "rule")
        for row in report.rejected[:SHOWN_REJECTS]:
            output.add_row(grid, str(row.line), row.column, row.value, row.rule)
        output.print_rich(grid)
        typer.echo(
            f"{report.rows_rejected:,} of {report.rows_read:,} rows break the contract "
            f"({report.rejected_total:,} broken rules)"
        )
    loaded = f"{report.rows_loaded:,} rows loaded into {report.table} in {report.seconds:.1f} s"
    typer.echo(loaded if report.rows_loaded else f"nothing was loaded into {report.table}")


def _print_description(found: DatasetDescription) -> None:
    grid = output.grid("column", "type", "missing", "distinct", "minimum", "maximum", "most frequent")
    for column in found.columns:
        top = ", ".join(f"{value} ({count:,})" for value, count in column.top)
        output.add_row(
            grid,
            column.name,
            column.dtype,
            f"{column.missing_share:.1%}",
            "> 10,000" if column.distinct is None else f"{column.distinct:,}",
            _cell(column.minimum),
            _cell(column.maximum),
            "personal, not shown" if column.personal else top,
        )
    _print_heading(found)
    output.print_rich(grid)
    for note in found.notes:
        typer.echo(f"note: {note}")


def _print_heading(found: DatasetDescription) -> None:
    record = found.record
    typer.echo(f"{record.name} ({record.dataset_id}): {record.n_rows:,} rows from {record.source}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
