"""`e2i train`: from raw rows to a registered, explained model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.app.training import Trained

NOT_DONE = 1
SHOWN_SEGMENTS = 10
_TRIAL = re.compile(r"trial (\d+) of (\d+)")
ALL_TRIALS = "trials"
_ENDED_BY = {
    "timeout": "its time was up (--timeout, limits in config/optuna_config.yaml)",
    "no_improvement": "trials had not been getting better (limits in config/optuna_config.yaml)",
    "memory": "memory was running out (limits in config/optuna_config.yaml)",
    "cancelled": "it was interrupted",
}
_STUDY = re.compile(r"study (\S+)$")


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A contract table, a dataset, or a CSV or Parquet file.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    features: Annotated[str, typer.Option(help="Columns or VIEW:FEATURE, comma-separated, or all.")] = "all",
    problem: Annotated[str, typer.Option(help="auto, binary, multiclass or regression.")] = "auto",
    brand: Annotated[str | None, typer.Option(help="Only rows of this brand.")] = None,
    region: Annotated[str | None, typer.Option(help="Only rows of this region.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="Train this one instead of the one chosen.")] = None,
    trials: Annotated[int, typer.Option(help="Trials of the search for hyperparameters.")] = 30,
    timeout: Annotated[float | None, typer.Option(help="Seconds the search may take.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the search.")] = 1,
    unit: Annotated[str | None, typer.Option(help="Column whose values stay in one split (no contract table).")] = None,
    time: Annotated[str | None, typer.Option(help="Column of a row's time (no contract table).")] = None,
    split_strategy: Annotated[
        str | None, typer.Option(help="chronological or patient_stratified; default: as the data suggests.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Value of the target that counts as 1.")] = None,
    criteria: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=BOUND", help="What the test rows must show; may be repeated.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What the search optimises; default: by problem.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of the experiment; default: by data and target.")] = None,
    seed: Annotated[int, typer.Option(help="Random state of everything that is drawn.")] = 42,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Search for hyperparameters.")] = True,
    resume: Annotated[str | None, typer.Option(metavar="STUDY", help="Go on with this search.")] = None,
    stage: Annotated[bool, typer.Option("--stage/--no-stage", help="Promote to staging.")] = True,
    approver: Annotated[str | None, typer.Option(help="Who answers for rules that are waived.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why they are waived.")] = None,
    waive: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Rule of staging to set aside, e.g. min_samples.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Train, tune, explain and register a model of a target, behind the data gate.

    Exit status 1 when the gate is shut, the training fails, criteria are not met or staging is refused.

    Example: e2i train triggers --target false_positive_flag --split-strategy patient_stratified --trials 20
    Example: e2i train wine.csv --target quality --algorithm lightgbm --criteria roc_auc=.7 --no-stage
    """
    from src.app.model_lifecycle import approval_from
    from src.app.training import train as train_model
    from src.app.training_order import ALL, TrainingOrder, checked, criteria_from, where_from

    file, dataset = where_from(data)
    named = tuple(dict.fromkeys(name.strip() for name in features.split(",") if name.strip()))
    order = checked(
        TrainingOrder(
            target=target,
            data=file,
            dataset=dataset,
            features=() if named == (ALL,) else named,
            problem=problem,
            brand=brand,
            region=region,
            days=(start, end),
            algorithm=algorithm,
            trials=trials if tune else 0,
            timeout_s=timeout,
            workers=workers,
            unit=unit,
            time=time,
            split_strategy=split_strategy,
            positive=positive,
            criteria=criteria_from(criteria or ()),
            metric=metric,
            experiment=experiment,
            resume=resume,
            random_state=seed,
        )
    )
    approval = approval_from(approver, reason, waive or ())
    with _steps(quiet=json) as step:
        done = output.run(train_model(order, approval=approval, promote=stage, on_progress=step))
    output.print_json(_document(done)) if json else _print(done)
    if not done.ok:
        raise typer.Exit(NOT_DONE)


@contextmanager
def _steps(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar on standard error: the step that runs, and how far the search for hyperparameters is.

    The search's name is a line there in any case: without it nobody could go on with a search that was interrupted.
    """
    with output.bar("training:", quiet=quiet) as report:
        share = 0.0

        def step(text: str) -> None:
            nonlocal share
            if study := _STUDY.search(text):
                typer.echo(f"search {study[1]}; if it is interrupted, go on with --resume {study[1]}", err=True)
                return
            found = _TRIAL.search(text)
            share = int(found[1]) / max(int(found[2]), 1) if found else share
            report(text.replace("_", " "), share)

        yield step


def _document(done: Trained) -> dict[str, Any]:
    from src.app.training_document import document

    return document(done)


def _print(done: Trained) -> None:
    order, result = done.order, done.trained
    typer.echo(f"{order.name} → {order.target} ({done.columns.problem}), {len(done.columns.features)} features")
    if done.columns.left_out:
        typer.echo(f"not used: {', '.join(done.columns.left_out)} (why: --json and the model card)")
    gate = done.prepared.result.gate
    score = "not measured" if gate.score is None else f"{gate.score:.3f}"
    typer.echo(f"gate {'open' if gate.passed else 'shut'}, quality score {score}")
    if done.selected is not None and done.selected.primary is not None:
        why = f": {done.selected.rationale.primary_reason}" if done.selected.rationale is not None else ""
        typer.echo(f"algorithm {done.selected.primary.algorithm}{why}")
    if result is not None and result.metrics:
        _print_result(done)
    for heading, lines in (("warning", _warnings(done)), ("problem", done.problems)):
        for line in lines:
            typer.echo(f"{heading}: {line}")
    if done.card is not None:
        typer.echo(f"model card: {done.card}")
    typer.echo(f"trace {done.trace_id}")


def _print_result(done: Trained) -> None:
    from src.app.model_card.keeping import card_of
    from src.app.model_card.verdict import verdict

    result = done.trained
    assert result is not None
    if result.hpo is not None:
        found = result.hpo
        why = _ENDED_BY.get(found.stopped_because, found.stopped_because)
        ended = "" if found.stopped_because == ALL_TRIALS else f", stopped early: {why}"
        typer.echo(
            f"search: {found.trials.completed} trials complete, {found.trials.pruned} pruned, {found.trials.failed} "
            f"failed{ended}; best {found.metric} {found.best_value:.4f} ({found.study_name})"
        )
    output.print_rich(_metrics_table(done))
    if done.card is not None:
        told = verdict(card_of(done))
        typer.echo(f"verdict: {told.words}: {told.headline}")
    if done.selected is not None and done.selected.baseline is not None:
        typer.echo(f"before tuning, default parameters, cross-validated: {done.selected.baseline.comparison}")
    if done.analyzed is not None and done.analyzed.shap is not None:
        ranked = ", ".join(one.feature for one in done.analyzed.shap.ranked[:5])
        typer.echo(f"goes most by: {ranked}")
    if done.registered is not None and done.registered.registered is not None:
        model = done.registered.registered
        stage = done.promoted.stage if done.promoted is not None and done.promoted.stage else done.registered.stage
        typer.echo(f"registered: {model.name} version {model.version}, {stage}")


def _metrics_table(done: Trained) -> Any:
    result = done.trained
    assert result is not None
    splits = [split for split in ("train", "validation", "test") if split in result.metrics]
    grid = output.grid("metric", *splits, "95 % interval (test)")
    names = dict.fromkeys(name for split in splits for name in result.metrics[split])
    # The intervals may wrap, a name that is cut in two cannot be read.
    grid.columns[0].min_width = max(map(len, names), default=0)
    for name in names:
        cells = [f"{result.metrics[s][name]:.4g}" if name in result.metrics[s] else "" for s in splits]
        bounds = result.intervals.get(name)
        output.add_row(grid, name, *cells, "" if bounds is None else f"{bounds[0]:.4g} to {bounds[1]:.4g}")
    return grid


def _warnings(done: Trained) -> tuple[str, ...]:
    results = (done.prepared.result, done.selected, done.trained, done.analyzed, done.registered, done.promoted)
    told = (line for result in results if result is not None for line in (*result.meta.warnings, *result.meta.degraded))
    known = "; ".join(done.problems)
    # The verdict of the gate travels with the agents behind it, which repeat it.
    once = dict.fromkeys(line.removeprefix("gate: ") for line in (*done.warnings, *told))
    return tuple(line for line in once if not any(known.endswith(part) for part in (line, line.partition(": ")[2])))
