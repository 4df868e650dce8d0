"""Ask a causal question, look at what was answered, ask it again."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import grid as grids
from src.cli import output, registration
from src.cli.scoring import score_soon
from src.errors import E2IError

if TYPE_CHECKING:
    from src.app.effects import Answer
    from src.app.questions import EffectQuestion
    from src.app.resuming import Resumed

CHECK_FAILED = 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Strict = Annotated[
    bool, typer.Option("--fail-unless-supported", help="Exit with 1 unless a causal effect is supported.")
]


class BadOption(E2IError):
    """An option of a command makes no sense."""


def effect(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option(help="CSV (also compressed) or Parquet file.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Id or name of a dataset, or table:NAME.")] = None,
    treatment: Annotated[str | None, typer.Option(help="Column of what was done.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column of what it may have changed.")] = None,
    confounders: Annotated[str, typer.Option(help="Columns to adjust for, comma-separated.")] = "",
    graph: Annotated[Path | None, typer.Option(help="Causal graph: .json, .gml or .dot.")] = None,
    instrument: Annotated[str, typer.Option(help="Instrument columns, comma-separated.")] = "",
    mediators: Annotated[str, typer.Option(help="Mediator columns, comma-separated.")] = "",
    mediation: Annotated[
        bool, typer.Option("--mediation", help="Split the effect: through the mediators, and not through them.")
    ] = False,
    panel: Annotated[str, typer.Option(help="UNIT,TIME columns when units repeat over time.")] = "",
    cluster: Annotated[str, typer.Option(help="Cluster column, or two A,B, for standard errors.")] = "",
    lag: Annotated[int | None, typer.Option(min=0, max=36, help="Periods from treatment to outcome.")] = None,
    segments: Annotated[str, typer.Option(help="Effect modifiers to report by, comma-separated.")] = "",
    negative_control: Annotated[str, typer.Option(help="Outcomes the treatment cannot have changed.")] = "",
    post_treatment: Annotated[str, typer.Option(help="Columns measured after the treatment.")] = "",
    randomized: Annotated[bool, typer.Option("--randomized", help="The treatment was assigned at random.")] = False,
    treated: Annotated[str | None, typer.Option(help="Value of the treated arm of a text treatment.")] = None,
    control: Annotated[str | None, typer.Option(help="Value of the control arm of a text treatment.")] = None,
    estimand: Annotated[str, typer.Option(help="ate, att, sate, satt or ato.")] = "ate",
    estimator: Annotated[str | None, typer.Option(help="Estimator to use instead of the design's default.")] = None,
    trim: Annotated[bool, typer.Option("--trim", help="Leave out rows without overlap; changes the estimand.")] = False,
    minimum_effect: Annotated[float | None, typer.Option(help="Smallest effect that matters.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="Row filter, e.g. region=northeast; repeatable.")] = None,
    running_variable: Annotated[str | None, typer.Option(help="Column whose cutoff decides who is treated.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Value of it where treatment switches.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random state.")] = None,
    role: Annotated[str, typer.Option(help="Whose columns may be used (config/guards.yaml).")] = "analyst",
    register: Annotated[Path | None, typer.Option(help="Lock this plan (YAML); no data are read.")] = None,
    by: Annotated[str | None, typer.Option(help="Who registers; default: the user's name.")] = None,
    plan: Annotated[str | None, typer.Option(help="Carry out this registered plan (id or hash).")] = None,
    deviation: Annotated[
        list[str] | None, typer.Option(metavar="NAME=REASON", help="With --plan: a choice made otherwise, and why.")
    ] = None,
    heterogeneity: Annotated[
        bool, typer.Option("--heterogeneity", help="Test whether effects differ between units; for whom to act.")
    ] = False,
    cost_per_unit: Annotated[
        float | None, typer.Option(min=0, help="With --heterogeneity: money one unit of the treatment costs.")
    ] = None,
    value_per_outcome: Annotated[
        float | None, typer.Option(help="With --heterogeneity: money one unit of the outcome is worth.")
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="Many effects at once, from this file (YAML).")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="With --grid: processes that share the cells.")] = 1,
    fdr: Annotated[str, typer.Option(help="With --grid: bh, by or holm.")] = "bh",
    out: Annotated[list[Path] | None, typer.Option(help="With --grid: .html, .csv or .json; repeatable.")] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Estimate a causal effect and say whether it can be trusted.

    Example: e2i effect --data smoking.csv --treatment qsmk --outcome wt82_71 --confounders age,sex,wt71
    Example: e2i effect --register plan.yaml, later e2i effect --plan 0199c2
    Example: e2i effect --grid grid.yaml --workers 2 --out grid.html --out grid.csv
    """
    from src.app.questions import EffectQuestion, check_columns
    from src.domain.guards import load_guards

    registration.check_combination(context)
    if register is not None:
        registration.register(register, by=by, role=role, json=json, given=registration.said_options(context))
        return
    if grid is not None:
        if given := registration.said_options(context):
            raise BadOption(f"--grid takes every choice from {grid.name}; write '{given[0]}' into the file")
        grids.answer_grid(grid, plan=plan, workers=workers, fdr=fdr, out=out or (), role=role, json=json)
        return
    clusters = _clusters(cluster)
    question = EffectQuestion(
        data=data,
        dataset=dataset,
        treatment=treatment,
        outcome=outcome,
        confounders=_names(confounders),
        effect_modifiers=_names(segments),
        instruments=_names(instrument),
        mediators=_names(mediators),
        negative_controls=_names(negative_control),
        post_treatment=_names(post_treatment),
        graph=graph,
        panel=_panel(panel),
        cluster=clusters[0] if clusters else None,
        second_cluster=clusters[1] if len(clusters) > 1 else None,
        mediation=mediation,
        lag=lag,
        estimand=_estimand(estimand),
        estimator=estimator,
        randomized=randomized,
        treated=treated,
        control=control,
        trim=trim,
        minimum_effect=minimum_effect,
        filters=tuple(_filter(text) for text in where or ()),
        random_state=seed,
        running_variable=running_variable,
        cutoff=cutoff,
        heterogeneity=_heterogeneous(heterogeneity, cost_per_unit, value_per_outcome),
        cost_per_unit=cost_per_unit,
        value_per_outcome=value_per_outcome,
    )
    if plan is not None:
        said = registration.said_options(context)
        answer = registration.carry_out(plan, question, said, deviation or (), role=role, quiet=json)
    elif (data is None) == (dataset is None):
        raise BadOption("name the data: either --data FILE or --dataset ID")
    else:
        check_columns(question, load_guards(), role)
        answer = output.run(_answer(question, quiet=json))
    _print_answer(answer, as_json=json)
    score_soon(answer.run.trace_id)
    _exit_unless_supported(answer, strict)


def runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20, json: Json = False
) -> None:
    """List the questions answered so far.

    Example: e2i runs --limit 5
    """
    from src.app.rendering import run_table
    from src.app.session import open_session

    async def work() -> Any:
        async with open_session() as session:
            return await session.runs.recent(limit)

    found = output.run(work())
    if json:
        output.print_json([_run_line(run) for run in found])
    else:
        output.print_rich(run_table(found))


def show(run: Annotated[str, typer.Argument(help="Run id, or its beginning.")], json: Json = False) -> None:
    """Show everything a run was: data hash, code version, seed, queries, versions, results.

    Example: e2i show 0199c2
    """
    from src.app.effects import load_answer
    from src.app.rendering import answer_document, run_details
    from src.app.session import open_session

    async def work() -> Answer:
        async with open_session() as session:
            return await load_answer(session, run)

    answer = output.run(work())
    output.print_json(answer_document(answer)) if json else output.print_rich(run_details(answer))


def rerun(run: Annotated[str, typer.Argument(help="Run id, or its beginning.")], json: Json = False) -> None:
    """Answer the same question again and compare bit for bit; exit 1 when anything differs.

    Example: e2i rerun 0199c2
    """
    from src.app.effects import rerun_answer
    from src.app.rendering import comparison_text
    from src.app.session import open_session

    async def work() -> Any:
        with output.progress("Answering again", quiet=json) as step:
            async with open_session(step) as session:
                return await rerun_answer(session, run)

    comparison = output.run(work())
    output.print_json(comparison.document()) if json else output.print_rich(comparison_text(comparison))
    if not comparison.identical:
        raise typer.Exit(CHECK_FAILED)


def resume(
    run: Annotated[str | None, typer.Argument(help="Run id; all interrupted runs without it.")] = None,
    json: Json = False,
) -> None:
    """Finish questions and analyses that were interrupted, from their last checkpoint.

    Example: e2i resume
    """
    from src.app import resuming
    from src.app.session import open_session

    async def work() -> Resumed:
        with output.progress("Resuming", quiet=json) as step:
            async with open_session(step) as session:
                return await resuming.resume(session, run)

    finished = output.run(work())
    _print_resumed(finished, as_json=json)
    for question, _ in finished.questions:
        score_soon(question.meta.trace_id)


def report(
    run: Annotated[str, typer.Argument(help="Run id, or its beginning.")],
    format: Annotated[str, typer.Option("--format", help="html, md or json.")] = "html",
    out: Annotated[Path | None, typer.Option(help="File to write; '-' prints. Default var/reports/RUN.FORMAT.")] = None,
    json: Json = False,
) -> None:
    """Write the report of a run: one self-contained file.

    Example: e2i report 0199c2 --format html
    """
    from src.app.effects import load_answer
    from src.app.rendering import save_report
    from src.app.session import open_session

    if format not in ("html", "md", "json"):
        raise BadOption(f"unknown report format '{format}'; use html, md or json")

    async def work() -> Answer:
        async with open_session() as session:
            return await load_answer(session, run)

    written = save_report(output.run(work()), format, out)
    if isinstance(written, str):
        sys.stdout.write(written)
    elif json:
        output.print_json({"path": str(written)})
    else:
        output.print_rich(str(written))


async def _answer(question: EffectQuestion, *, quiet: bool) -> Answer:
    from src.app.effects import answer_effect
    from src.app.session import open_session

    with output.progress("Answering", quiet=quiet) as step:
        async with open_session(step) as session:
            return await answer_effect(session, question)


def _print_answer(answer: Answer, *, as_json: bool) -> None:
    from src.app.rendering import answer_document, answer_text

    output.print_json(answer_document(answer)) if as_json else output.print_rich(answer_text(answer))


def _print_resumed(finished: Resumed, *, as_json: bool) -> None:
    """Questions as ``e2i ask`` shows them, then analyses as ``e2i effect`` does."""
    from src.app.query_view import query_document, query_text
    from src.app.rendering import answer_document

    if as_json:
        questions = [query_document(one, runs, stamp=finished.stamp) for one, runs in finished.questions]
        output.print_json([*questions, *(answer_document(one) for one in finished.analyses)])
        return
    for question, _ in finished.questions:
        output.print_rich(query_text(question, stamp=finished.stamp))
    for analysis in finished.analyses:
        _print_answer(analysis, as_json=False)
    if not finished.questions and not finished.analyses:
        output.print_rich("Nothing to resume: no answer was interrupted.")


def _exit_unless_supported(answer: Answer, strict: bool) -> None:
    from src.causal_engine.results import Verdict

    if strict and answer.run.verdict != Verdict.SUPPORTED.value:
        raise typer.Exit(CHECK_FAILED)


def _run_line(run: Any) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "question": run.question,
        "status": run.status,
        "verdict": run.verdict,
        "dataset_id": run.dataset_id,
        "started_at": run.started_at,
    }


def _names(text: str) -> tuple[str, ...]:
    """Column names between commas; a name that holds a comma is put in double quotes."""
    names = (name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row)
    return tuple(dict.fromkeys(name for name in names if name))


def _heterogeneous(asked: bool, cost: float | None, value: float | None) -> bool:
    """Whether single effects are asked for; prices come in a pair and have a use with them only."""
    if (cost is None) != (value is None):
        names = ("--cost-per-unit", "--value-per-outcome")
        given, missing = names if value is None else reversed(names)
        raise BadOption(f"{given} alone weighs nothing; give {missing} too, in the same money")
    if not all(math.isfinite(price) for price in (cost, value) if price is not None):
        raise BadOption("--cost-per-unit and --value-per-outcome are finite amounts of money")
    if cost is not None and not asked:
        raise BadOption(
            "--cost-per-unit and --value-per-outcome weigh the effects of single units; add --heterogeneity"
        )
    return asked


def _panel(text: str) -> tuple[str, str] | None:
    names = _names(text)
    if not names:
        return None
    if len(names) != 2:
        raise BadOption(f"--panel takes two columns, UNIT,TIME; got '{text}'")
    return names[0], names[1]


def _clusters(text: str) -> tuple[str, ...]:
    names = _names(text)
    if len(names) > 2:
        raise BadOption(f"--cluster takes one column, or two that errors may depend on either way; got '{text}'")
    return names


def _estimand(text: str) -> Any:
    from src.causal_engine.spec import Estimand

    asked = (Estimand.ATE, Estimand.ATT, Estimand.SATE, Estimand.SATT, Estimand.ATO)
    known = {estimand.value.lower(): estimand for estimand in asked}
    if text.lower() not in known:
        raise BadOption(f"unknown estimand '{text}'; use {', '.join(known)}")
    return known[text.lower()]


def _filter(text: str) -> Any:
    from src.app.conditions import condition

    return condition(text)
