"""`e2i data validate` and `e2i data prepare`: may this data be used?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.app.preparation import Prepared
    from src.app.validated import Validated
    from src.mlops.preparation.baseline import TargetBaseline

BLOCKED = 1
SHOWN_RULES = 40

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def validate(
    target: Annotated[str, typer.Argument(metavar="TABLE|FILE", help="A contract table, or a CSV or Parquet file.")],
    table: Annotated[str | None, typer.Option(help="For a file: the contract table its rows must fit.")] = None,
    split: Annotated[str | None, typer.Option(help="Only rows of this data_split, e.g. train.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report to this page.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page of --html.")] = False,
    store: Annotated[bool, typer.Option(help="Keep the report in the database.")] = True,
    encoding: Annotated[str, typer.Option(help="utf-8, latin-1 or cp1252 (CSV only).")] = "utf-8",
    json: Json = False,
) -> None:
    """Check every rule of the data contract, with Pandera and Great Expectations, and score the data.

    Exit status 1 when nothing may be built on the data.

    Example: e2i data validate triggers --html quality.html
    """
    from src.app.data_quality import ValidationRequest, validate_data

    if html is not None:
        _check_page(html, force=force)
    request = ValidationRequest(target, table=table, split=split, store=store, encoding=encoding)
    with output.bar(f"validating {Path(target).name}", quiet=json) as report:
        found = output.run(validate_data(request, on_progress=report))
    if html is not None:
        _write_page(found, html)
    if json:
        output.print_json(found.document() | {"html": None if html is None else str(html)})
    else:
        _print_validated(found, html)
    if not found.opens_gate:
        raise typer.Exit(BLOCKED)


def prepare(
    source: Annotated[str, typer.Argument(metavar="TABLE", help="A contract table.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    features: Annotated[str, typer.Option(help="Columns to predict it from, comma-separated.")],
    brand: Annotated[str | None, typer.Option(help="Only rows of this brand.")] = None,
    region: Annotated[str | None, typer.Option(help="Only rows of this region.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD.")] = None,
    known_at: Annotated[
        list[str] | None,
        typer.Option("--known-at", metavar="FEATURE=COLUMN", help="When a feature was known; may be repeated."),
    ] = None,
    split_strategy: Annotated[
        str | None,
        typer.Option(help="Plan a new split: chronological or patient_stratified; default: the rows' own, if any."),
    ] = None,
    split_id: Annotated[str | None, typer.Option(help="Use the registered split of this id.")] = None,
    experiment: Annotated[str, typer.Option(help="Name of the experiment the data is for.")] = "adhoc",
    skip_leakage_check: Annotated[
        bool, typer.Option("--skip-leakage-check", help="Do not look for leakage; the gate then stays shut.")
    ] = False,
    json: Json = False,
) -> None:
    """Decide whether data may be used for training, and split it: the gate of the agent data_preparer.

    Exit status 1 when the gate is shut.

    Example: e2i data prepare triggers --target acceptance_status --features confidence_score,lead_time_days
    """
    from src.app.preparation import preparation_request, prepare_data

    request = preparation_request(
        source,
        target=target,
        features=[name.strip() for name in features.split(",") if name.strip()],
        brand=brand,
        region=region,
        days=(start, end),
        known_at=known_at or (),
        experiment_id=experiment,
        split_id=split_id,
        split_strategy=split_strategy,
        skip_leakage_check=skip_leakage_check,
    )
    with output.progress(f"preparing {source}", quiet=json) as step:
        done = output.run(prepare_data(request, on_progress=step))
    output.print_json(done.document()) if json else _print_prepared(done)
    if not done.result.gate.passed:
        raise typer.Exit(BLOCKED)


def _check_page(path: Path, *, force: bool) -> None:
    """Before any work is done: may the page be written there?"""
    if not path.parent.is_dir():
        raise ContractViolation(f"{path}: the page cannot be written there (there is no folder {path.parent})")
    if path.is_dir():
        raise ContractViolation(f"{path}: the page cannot be written there (it is a folder)")
    if path.exists() and not force:
        raise ContractViolation(f"{path}: is already there; give --force to replace it")


def _write_page(found: Validated, path: Path) -> None:
    from src.app.quality_page import render_quality_page
    from src.app.report.pages import write_whole

    try:
        write_whole(render_quality_page(found), path)
    except OSError as error:
        raise ContractViolation(f"{path}: the page cannot be written there ({error.strerror})") from error


def _print_validated(found: Validated, html: Path | None) -> None:
    from dataclasses import asdict

    result = found.result
    typer.echo(_verdict(found))
    if result.reason:
        typer.echo(f"because {result.reason}")
    typer.echo("layers: " + ", ".join(f"{layer} {status}" for layer, status in found.layers.items()))
    scores = asdict(result.scores).items()
    typer.echo("scores: " + ", ".join(f"{name} {_share(value)}" for name, value in scores))
    typer.echo(f"weighted score {_share(found.score)}; the gate needs {found.thresholds.gate_score:.2f}")
    if found.broken:
        output.print_rich(_rules_table(found))
    if len(found.broken) > SHOWN_RULES:
        typer.echo(f"and {len(found.broken) - SHOWN_RULES} more broken rules (all of them with --html or --json)")
    if result.approximate:
        typer.echo(f"approximate, put together from batches: {', '.join(result.approximate)}")
    for note in found.notes:
        typer.echo(f"note: {note}")
    if html is not None:
        typer.echo(f"report: {html}")


def _verdict(found: Validated) -> str:
    result = found.result
    status = str(result.overall_status) if found.opens_gate or result.reason else "failed"
    of = f" ({result.data_split})" if result.data_split else ""
    held = result.expectations
    return (
        f"{result.table_name}{of}: {status}; {result.rows_validated:,} rows, "
        f"{held.passed:,} of {held.evaluated:,} expectations hold"
    )


def _rules_table(found: Validated) -> Any:
    grid = output.grid("broken rule", "column", "rows", f"first ({found.labels})", "weight", "found by")
    for rule in sorted(found.broken, key=lambda rule: (not rule.critical, rule.usual))[:SHOWN_RULES]:
        words = f"{rule.words} (could not be evaluated: {rule.error})" if rule.error else rule.words
        how_many = "all" if rule.count is None else f"{'~' if rule.approximate else ''}{rule.count:,}"
        output.add_row(grid, words, rule.column, how_many, rule.first_rows(), rule.weight, ", ".join(rule.layers))
    return grid


def _share(value: float | None) -> str:
    from src.app.validated import score_text

    return "not measured" if value is None else score_text(value)


def _print_prepared(done: Prepared) -> None:
    result, scope = done.result, done.request.scope
    gate = result.gate
    opened = "open" if gate.passed else "shut"
    ready = "ready for training" if result.is_ready else "not ready for training"
    typer.echo(f"{done.request.data_source} → {scope.target}: gate {opened}, {ready}")
    typer.echo("layers: " + ", ".join(f"{layer} {status}" for layer, status in gate.layers.items()))
    typer.echo(f"quality score {_share(gate.score)}")
    for heading, lines in (("blocks", gate.blockers), ("warning", _warnings(done)), ("degraded", result.meta.degraded)):
        for line in lines:
            typer.echo(f"{heading}: {line}")
    if result.splits is not None:
        output.print_rich(_splits_table(done))
    for view in result.feast.freshness:
        typer.echo(f"feature view {view.feature_view}: {view.status} ({view.message})")
    typer.echo(f"trace {result.meta.trace_id}")


def _warnings(done: Prepared) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*done.result.gate.warnings, *done.result.meta.warnings)))


def _splits_table(done: Prepared) -> Any:
    plan = done.result.splits
    assert plan is not None
    grid = output.grid("split", "rows", done.request.scope.target)
    for split, rows in plan.rows.items():
        output.add_row(grid, split, f"{rows:,}", _target_text(done.result.target_rate.get(split)))
    return grid


def _target_text(found: TargetBaseline | None) -> str:
    if found is None:
        return ""
    if found.shares:
        return ", ".join(f"{word} {share:.1%}" for word, share in found.shares.items())
    if found.rate is None:
        return f"not shown for {found.n} rows" if found.n else "not known"
    bounds = "" if found.lower is None else f" (95 % interval {found.lower:.4g} to {found.upper:.4g})"
    return f"{found.rate:.4g}{bounds}"
