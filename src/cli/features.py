"""`e2i features`: register feature views, carry their values over, read them, and see how old they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.feature_store.results import FeatureFreshness, MaterializationResult

NOT_FRESH = 1

app = typer.Typer(
    name="features",
    help="The feature store: views, how fresh their values are, and the values of entities now and in the past.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Views = Annotated[list[str] | None, typer.Option("--view", help="Only this view; may be given several times.")]
Features = Annotated[
    list[str] | None, typer.Option("--features", help="VIEW:FEATURE, comma-separated or given several times.")
]


@app.command("list")
def list_views(json: Json = False) -> None:
    """List the feature views: whose features, from which table, and by which key they are looked up.

    Example: e2i features list
    """
    from src.app.feature_requests import declared_views

    found = declared_views()
    if json:
        output.print_json({"views": found})
        return
    for view in found:
        typer.echo(f"{view['name']}: {view['description']}")
        typer.echo(f"  key {_key_text(view)}, from {view['table']}, a value counts for {view['ttl_days']} days")
        typer.echo(f"  {', '.join(view['features'])}")


@app.command()
def apply(json: Json = False) -> None:
    """Register entities and views of feature_repo/ with Feast; doing it again changes nothing.

    Example: e2i features apply
    """
    from src.app.features import apply_views

    with output.progress("applying", quiet=json) as step:
        done = output.run(apply_views(on_progress=step))
    output.print_json(done.document()) if json else typer.echo(done.line())


@app.command()
def materialize(
    view: Views = None,
    start: Annotated[str | None, typer.Option(help="First event time (UTC), e.g. 2026-01-01; default: all.")] = None,
    end: Annotated[str | None, typer.Option(help="Last event time (UTC); default: now.")] = None,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Remove the views' online values first and carry everything over anew."),
    ] = False,
    incremental: Annotated[bool, typer.Option("--incremental", help="Only what is new since the last time.")] = False,
    json: Json = False,
) -> None:
    """Carry feature values over into the online store; a run that was killed is gone on with.

    Example: e2i features materialize --view hcp_profile --incremental
    """
    from src.app.features import MaterializationRequest, materialize_views

    request = MaterializationRequest.checked(
        view or (), start=start, end=end, from_scratch=from_scratch, incremental=incremental
    )
    with output.bar("materializing", quiet=json) as report:
        done = output.run(materialize_views(request, on_progress=report))
    output.print_json(_materialized_document(done)) if json else _print_materialized(done)


@app.command()
def freshness(view: Views = None, json: Json = False) -> None:
    """Say how old the online values of each view are; exit 1 when one is stale, expired or unknown.

    Example: e2i features freshness --view hcp_profile --json
    """
    from src.app.features import freshness_of

    with output.progress("reading", quiet=json) as step:
        found = output.run(freshness_of(view or (), on_progress=step))
    if json:
        output.print_json({"views": [_freshness_document(one) for one in found]})
    else:
        _print_freshness(found)
    if not all(one.is_fresh for one in found):
        raise typer.Exit(NOT_FRESH)


@app.command()
def get(
    entity: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; a key given again begins the next.")] = None,
    view: Views = None,
    features: Features = None,
    json: Json = False,
) -> None:
    """Read the values of entities as they are now, from the online store.

    Example: e2i features get --features hcp_profile:decile --entity hcp_id=hcp_000001
    """
    from src.app.feature_requests import entity_rows, feature_references
    from src.app.features import online_values

    references = feature_references(view or (), features or ())
    rows = entity_rows(entity or (), references)
    with output.progress("reading", quiet=json) as step:
        found = output.run(online_values(rows, references, on_progress=step))
    output.print_json({"entities": found}) if json else output.print_rich(_values_table(found))


@app.command()
def history(
    entities: Annotated[Path, typer.Option(help="CSV or Parquet file: the keys and event_timestamp.")],
    out: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")],
    view: Views = None,
    features: Features = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    json: Json = False,
) -> None:
    """Add to each row of a file the feature values that were known at its event_timestamp, and no later ones.

    Example: e2i features history --entities rows.csv --view hcp_profile --out training.parquet
    """
    from src.app.feature_requests import feature_references
    from src.app.features import write_history

    references = feature_references(view or (), features or ())
    with output.progress("joining", quiet=json) as step:
        done = output.run(write_history(entities, references, out, force=force, on_progress=step))
    if json:
        output.print_json(done)
        return
    typer.echo(f"{done['rows']:,} rows with {len(references)} features written to {out}")


def _key_text(view: dict[str, Any]) -> str:
    parts = view["key_parts"]
    return view["join_key"] if len(parts) == 1 else f"{view['join_key']} ({' + '.join(parts)})"


def _materialized_document(done: MaterializationResult) -> dict[str, Any]:
    return {"mode": done.mode, "rows": done.rows, "views": done.views}


def _print_materialized(done: MaterializationResult) -> None:
    grid = output.grid("view", "rows", "from", "to", "seconds", "")
    for view in done.views:
        resumed = "gone on with" if view.resumed else ""
        times = (f"{moment:%Y-%m-%d %H:%M}" if moment.year > 1970 else "the first" for moment in (view.start, view.end))
        output.add_row(grid, view.name, f"{view.rows:,}", *times, f"{view.duration_s:.1f}", resumed)
    output.print_rich(grid)
    typer.echo(f"{done.rows:,} rows carried over ({done.mode})")


def _freshness_document(one: FeatureFreshness) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one) | {"is_fresh": one.is_fresh}


def _print_freshness(found: tuple[FeatureFreshness, ...]) -> None:
    grid = output.grid("view", "status", "age", "warn / max", "last (UTC)")
    for one in found:
        age = "" if one.age_hours is None else f"{one.age_hours:.1f} h"
        limits = f"{one.warning_threshold_hours:g} / {one.max_age_hours:g} h"
        last = "never" if one.last_materialized is None else f"{one.last_materialized:%Y-%m-%d %H:%M}"
        output.add_row(grid, one.feature_view, str(one.status), age, limits, last)
    output.print_rich(grid)
    for one in found:
        if not one.is_fresh:
            typer.echo(one.message)


def _values_table(found: list[dict[str, Any]]) -> Any:
    from src.contracts.feature_views import get_feature_view

    grid = output.grid("feature", *(", ".join(one["keys"].values()) for one in found))
    for name in found[0]["values"]:
        output.add_row(grid, name, *(_value(one["values"][name]) for one in found))
    for view in found[0]["event_times"]:
        times = (one["event_times"][view] for one in found)
        output.add_row(grid, f"{view} as of", *("" if at is None else f"{at:%Y-%m-%d %H:%M}" for at in times))
        if any(one["expired"][view] for one in found):
            too_old = f"older than its view's {get_feature_view(view).ttl_days} days"
            output.add_row(grid, "", *(too_old if one["expired"][view] else "" for one in found))
    return grid


def _value(value: Any) -> str:
    if value is None:
        return "no value"
    return f"{value:g}" if isinstance(value, float) else str(value)
