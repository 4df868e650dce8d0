"""Score answers, and look at their scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.app.answer_evaluation import PendingReport

CHECK_FAILED = 1
PROVIDERS = ("auto", "anthropic", "openai", "none")
PIPELINES = ("corpus", "none")

app = typer.Typer(help="Score answers by RAGAS metrics and the rubric.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def pending(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most answers to score now.")] = 100,
    provider: Annotated[str, typer.Option(help="Judge: auto, anthropic, openai, or none for heuristics.")] = "auto",
    loop: Annotated[float | None, typer.Option(min=1, help="Look again every so many seconds, until stopped.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those outside the sample too (E2I_EVALUATION_RATE).")] = False,
    json: Json = False,
) -> None:
    """Score the answers that wait for it; exit 1 when some could not be scored.

    Example: e2i evaluate pending --limit 50
    """
    _one_of(provider, PROVIDERS, "judge")
    while True:
        report = _score(limit, provider, unsampled=every, quiet=json)
        _print(report, json)
        if loop is None:
            break
        time.sleep(loop)
    if report.failed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def run(
    dataset: Annotated[str, typer.Option(help="JSON or JSON lines file, or: default, adversarial.")] = "default",
    pipeline: Annotated[
        str, typer.Option(help="Whose answers: corpus (this system's), or none (those in the dataset).")
    ] = "corpus",
    provider: Annotated[str, typer.Option(help="Judge: auto, anthropic, openai, or none for heuristics.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many samples only.")] = None,
    compare: Annotated[str | None, typer.Option(help="Id of an earlier run, or its report as JSON.")] = None,
    log: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Log the run to MLflow.")] = True,
    strict: Annotated[
        bool, typer.Option("--fail-on-threshold", help="Exit with 1 below a threshold, or worse than before.")
    ] = False,
    json: Json = False,
) -> None:
    """Evaluate the answers to a set of questions.

    Example: e2i evaluate run --dataset questions.jsonl --fail-on-threshold
    """
    from src.app.rag_evaluation import EvaluationRequest, PipelineChoice, evaluate_answers
    from src.app.rag_evaluation_text import outcome_document, outcome_lines
    from src.rag.judging.opening import JudgeChoice

    request = EvaluationRequest(
        dataset=dataset,
        log_to_mlflow=log,
        provider=cast(JudgeChoice, _one_of(provider, PROVIDERS, "judge")),
        pipeline=cast(PipelineChoice, _one_of(pipeline, PIPELINES, "pipeline")),
        limit=limit,
        compare=compare,
    )
    with output.bar("Evaluating", quiet=json) as step:
        outcome = output.run(evaluate_answers(request, lambda done, of: step(f"{done} of {of}", done / of)))
    if json:
        output.print_json(outcome_document(outcome))
    else:
        for line in outcome_lines(outcome):
            output.print_rich(line)
    if strict and outcome.failed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Run or trace id of the answer, or its beginning.")], json: Json = False
) -> None:
    """Show the scores of an answer with their reasons.

    Example: e2i evaluate show 0199c2
    """
    from src.app.answer_evaluation import scored_answer
    from src.cli.answers import print_scores, scores_document

    found = output.run(scored_answer(run))
    output.print_json(scores_document(found)) if json else print_scores(found)
    if found.evaluation is None:
        raise typer.Exit(CHECK_FAILED)


def _one_of(name: str, known: Sequence[str], what: str) -> str:
    if name not in known:
        raise ContractViolation(f"there is no {what} '{name[:30]}'; use {', '.join(known)}")
    return name


def _score(limit: int, provider: str, *, unsampled: bool, quiet: bool) -> PendingReport:
    from src.app.answer_evaluation import evaluate_pending
    from src.rag.judging.opening import JudgeChoice

    async def work() -> PendingReport:
        with output.bar("Scoring", quiet=quiet) as step:
            judge = cast(JudgeChoice, provider)
            return await evaluate_pending(limit=limit, provider=judge, unsampled=unsampled, on_progress=step)

    return output.run(work())


def _print(report: PendingReport, json: bool) -> None:
    if json:
        failed = [{"interaction_id": one, "reason": reason} for one, reason in report.failed]
        output.print_json({"scored": list(report.scored), "failed": failed, "waiting": report.waiting})
        return
    output.print_rich(f"{len(report.scored)} scored, {len(report.failed)} could not be, {report.waiting} wait.")
    for one, reason in report.failed:
        output.print_rich(f"· {one}: {reason}")
