"""`e2i models`: what is registered, how versions compare, and their way to production and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.app.model_lifecycle import Changed, ModelDetails
    from src.storage.model_registry import RegisteredModel
    from src.storage.training_runs import TrainingRun

NOT_DONE = 1
SHOWN_ROWS = 20

app = typer.Typer(
    name="models",
    help="Registered models: versions and their evidence, promotion, rollback, serving and predictions.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a registered model.")]
Version = Annotated[int | None, typer.Option(min=1, help="Default: the champion, otherwise the newest.")]
Approver = Annotated[str | None, typer.Option(help="Who approves it.")]
Reason = Annotated[str | None, typer.Option(help="Why it is approved.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the registered models: how many versions, the newest one, and the champion in production.

    Example: e2i models list
    """
    from dataclasses import asdict

    from src.app.model_lifecycle import list_models as listed

    with output.progress("models", quiet=json) as step:
        found = output.run(listed(on_progress=step))
    if json:
        output.print_json({"models": [asdict(model) for model in found]})
        return
    if not found:
        typer.echo("no model is registered; train one with e2i train")
        return
    grid = output.grid("model", "versions", "newest", "champion")
    for model in found:
        output.add_row(grid, model.name, str(model.versions), model.newest, model.champion or "none")
    output.print_rich(grid)


@app.command()
def show(name: Name, version: Version = None, json: Json = False) -> None:
    """Show a version: stage, metrics, the training it comes from, and where it is served.

    Example: e2i models show churn_lightgbm --version 3
    """
    from dataclasses import asdict

    from src.app.model_lifecycle import show_model

    with output.progress("models", quiet=json) as step:
        details, versions = output.run(show_model(name, version, on_progress=step))
    if json:
        output.print_json({**details.document(), "versions": [asdict(one) for one in versions]})
        return
    _print_details(details)
    grid = output.grid("version", "stage", "champion", "algorithm", "AUC", "registered")
    for one in versions:
        registered = one.registered_at.strftime("%Y-%m-%d %H:%M")
        champion = "yes" if one.is_champion else ""
        output.add_row(grid, one.model_version, one.stage, champion, one.algorithm, _figure(one.auc), registered)
    output.print_rich(grid)


@app.command()
def compare(
    wanted: Annotated[list[str], typer.Argument(metavar="MODEL[:VERSION]...", help="At least two versions.")],
    json: Json = False,
) -> None:
    """Put versions side by side: metrics on the test rows and the training they come from.

    Example: e2i models compare churn_lightgbm:2 churn_lightgbm:3 churn_logistic_regression
    """
    from dataclasses import asdict

    from src.app.model_lifecycle import compare_models

    with output.progress("models", quiet=json) as step:
        found = output.run(compare_models(wanted, on_progress=step))
    if json:
        rows = [{"model": asdict(model), "training": training and asdict(training)} for model, training in found]
        output.print_json({"versions": rows})
        return
    output.print_rich(_comparison(found))


@app.command()
def promote(
    name: Name,
    to: Annotated[str, typer.Option(help="staging, shadow, production, deprecated or archived.")],
    version: Version = None,
    approver: Approver = None,
    reason: Reason = None,
    waive: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="A rule to set aside, e.g. shadow; needs --approver.")
    ] = None,
    evidence: Annotated[Path | None, typer.Option(help="JSON file of what was seen in shadow.")] = None,
    json: Json = False,
) -> None:
    """Move a version to a stage, if the rules of config/mlflow/mlflow.yaml allow it; exit 1 when they do not.

    Example: e2i models promote churn_lightgbm --to production --version 3 --approver "A. Lee" --reason "pilot" \
--waive shadow
    """
    from src.app.model_lifecycle import approval_from, change, evidence_from, promotion

    approval = approval_from(approver, reason, waive or ())
    request = promotion(name, version, to, approval, evidence_from(evidence))
    with output.progress("promoting", quiet=json) as step:
        done = output.run(change(request, on_progress=step))
    _tell(done, json, f"{name}: {_new_stage(done) or 'unchanged'}")


@app.command()
def rollback(
    name: Name,
    approver: Annotated[str, typer.Option(help="Who approves it.")],
    reason: Annotated[str, typer.Option(help="Why production goes back.")],
    version: Annotated[int | None, typer.Option(min=1, help="Default: the champion before the present one.")] = None,
    environment: Annotated[str, typer.Option(help="development, staging or production.")] = "production",
    json: Json = False,
) -> None:
    """Bring the champion before the present one back into production; exit 1 when there is none.

    Example: e2i models rollback churn_lightgbm --approver "A. Lee" --reason "false alarms since Monday"
    """
    from typing import cast

    from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest
    from src.app.model_lifecycle import approval_from, change

    request = DeployRequest(
        action=Action.ROLLBACK,
        model_name=name,
        version=version,
        approval=approval_from(approver, reason, ()),
        environment=cast(Any, environment),
        reason=reason,
    )
    with output.progress("rolling back", quiet=json) as step:
        done = output.run(change(request, on_progress=step))
    stage = _new_stage(done)
    _tell(done, json, f"{name}: back to {stage}" if stage else f"{name}: unchanged")


@app.command()
def serve(
    name: Name,
    version: Version = None,
    environment: Annotated[str, typer.Option(help="development, staging or production.")] = "development",
    strategy: Annotated[str, typer.Option(help="direct, or shadow beside what is served.")] = "direct",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: a free one.")] = None,
    stop: Annotated[str | None, typer.Option(metavar="ENDPOINT", help="End this endpoint instead.")] = None,
    json: Json = False,
) -> None:
    """Serve a version from a process on this machine, which goes on after this command; exit 1 when it does not start.

    Example: e2i models serve churn_lightgbm --version 3 --port 8090
    """
    from src.app.model_lifecycle import change, serving, stop_serving

    if stop is not None:
        ended = stop_serving(stop)
        output.print_json({"stopped": ended}) if json else typer.echo(
            f"{stop}: {'ended' if ended else 'is not served'}"
        )
        raise typer.Exit(0 if ended else NOT_DONE)
    request = serving(name, version, environment, strategy, port)
    with output.progress("serving", quiet=json) as step:
        done = output.run(change(request, on_progress=step))
    endpoint = done.result.endpoint
    where = f"{endpoint.name} at {endpoint.url} (process {endpoint.pid})" if endpoint is not None else "not served"
    _tell(done, json, f"{name}: {where}")


@app.command()
def predict(
    name: Name,
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet file with the model's features.")],
    version: Version = None,
    out: Annotated[Path | None, typer.Option(help="Write predictions to this .csv or .parquet file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    json: Json = False,
) -> None:
    """Predict the rows of a file, in its order.

    Example: e2i models predict churn_lightgbm new_rows.csv --out scored.csv
    """
    from src.app.model_lifecycle import predict_rows, write_predictions

    if out is not None:
        _check_out(out, force=force)
    with output.progress("predicting", quiet=json) as step:
        model, found = output.run(predict_rows(name, version, rows, on_progress=step))
    about = {"model": model.model_name, "version": model.model_version, "stage": model.stage, "rows": len(found)}
    if out is not None:
        output.run(write_predictions(found, out, force=force))
    if json:
        predictions = [] if out is not None else found.to_dict("records")
        output.print_json({**about, "file": None if out is None else str(out), "predictions": predictions})
        return
    typer.echo(f"{model.model_name} version {model.model_version} ({model.stage}): {len(found):,} rows")
    if out is not None:
        typer.echo(f"predictions: {out}")
        return
    output.print_rich(_predictions(found))
    if len(found) > SHOWN_ROWS:
        typer.echo(f"and {len(found) - SHOWN_ROWS:,} more rows (all of them with --out or --json)")


@app.command()
def card(
    name: Name,
    version: Version = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page of --out.")] = False,
    json: Json = False,
) -> None:
    """Write the card of a version, a page with its evidence and limits, and say where it is.

    Example: e2i models card churn_lightgbm --out card.html
    """
    from src.app.model_lifecycle import model_card

    if out is not None and (out.is_dir() or (out.exists() and not force)):
        raise ContractViolation(f"{out}: is already there; give --force to replace it")
    with output.progress("model card", quiet=json) as step:
        found, page = output.run(model_card(name, version, out, on_progress=step))
    if json:
        output.print_json(
            {"card": found.model_dump(mode="json", exclude={"explanation": {"beeswarm"}}), "page": str(page)}
        )
        return
    typer.echo(f"{found.name} version {found.version}, {found.stage}: {page}")


def _check_out(out: Path, *, force: bool) -> None:
    from src.storage.export import check_target

    check_target(out, force=force)


def _tell(done: Changed, json: bool, headline: str) -> None:
    result = done.result
    if json:
        output.print_json(done.document())
    else:
        typer.echo(headline)
        refused = result.promotion.refused_because if result.promotion is not None else ()
        for heading, lines in (("refused", refused), ("degraded", _degraded(done)), ("warning", result.meta.warnings)):
            for line in lines:
                typer.echo(f"{heading}: {line}")
        for check in result.health.checks if result.health is not None else ():
            typer.echo(f"{check.name}: {'ok' if check.ok else 'failed'} ({check.detail})")
    if not done.ok:
        raise typer.Exit(NOT_DONE)


def _new_stage(done: Changed) -> str | None:
    """Where the version was moved to, None when it was not."""
    promotion = done.result.promotion
    return done.result.stage if promotion is not None and promotion.ok else None


def _degraded(done: Changed) -> tuple[str, ...]:
    refused = done.result.promotion.refused_because if done.result.promotion is not None else ()
    return tuple(line for line in done.result.meta.degraded if not any(reason in line for reason in refused))


def _print_details(details: ModelDetails) -> None:
    model, training = details.model, details.training
    champion = ", champion" if model.is_champion else ""
    typer.echo(f"{model.model_name} version {model.model_version}: {model.stage}{champion}, {model.algorithm}")
    for line in details.approval.lines() if details.approval is not None else details.unknown:
        typer.echo(line)
    if details.approval is None and model.approved_by:
        typer.echo(f"approved by {model.approved_by}")
    if training is not None:
        grid = output.grid("metric", "train", "validation", "test")
        splits = (training.train_metrics, training.validation_metrics, training.test_metrics)
        for metric in dict.fromkeys(name for split in splits for name in split):
            output.add_row(grid, metric, *(_figure(split.get(metric)) for split in splits))
        output.print_rich(grid)
        typer.echo(f"training {training.id}, study {training.optuna_study_name or 'none'}, run {model.mlflow_run_id}")
    if details.explanation is not None:
        typer.echo(f"explained: {details.explanation.narrative or 'without words'}")
    for served in details.deployments:
        typer.echo(f"served: {served.endpoint_name} in {served.environment}, {served.status}")


def _comparison(found: list[tuple[RegisteredModel, TrainingRun | None]]) -> Any:
    headings = [f"{model.model_name}:{model.model_version}" for model, _ in found]
    grid = output.grid("", *headings)
    output.add_row(grid, "stage", *(model.stage for model, _ in found))
    output.add_row(grid, "algorithm", *(model.algorithm for model, _ in found))
    tests = [training.test_metrics if training is not None else {} for _, training in found]
    for metric in dict.fromkeys(name for metrics in tests for name in metrics):
        output.add_row(grid, f"test {metric}", *(_figure(metrics.get(metric)) for metrics in tests))
    return grid


def _predictions(found: Any) -> Any:
    grid = output.grid("row", *map(str, found.columns))
    for place, row in enumerate(found.head(SHOWN_ROWS).itertuples(index=False), start=1):
        output.add_row(grid, str(place), *(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    return grid


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
