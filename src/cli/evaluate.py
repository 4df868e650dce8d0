"""Score answers, and look at their scores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.app.answer_evaluation import PendingReport

CHECK_FAILED = 1
PROVIDERS = ("auto", "anthropic", "openai", "none")

app = typer.Typer(help="Score answers by RAGAS metrics and the rubric.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def pending(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most answers to score now.")] = 100,
    provider: Annotated[str, typer.Option(help="Judge: auto, anthropic, openai, or none for heuristics.")] = "auto",
    loop: Annotated[float | None, typer.Option(min=1, help="Look again every so many seconds, until stopped.")] = None,
    json: Json = False,
) -> None:
    """Score the answers that wait for it; exit 1 when some could not be scored.

    Example: e2i evaluate pending --limit 50
    """
    if provider not in PROVIDERS:
        raise ContractViolation(f"there is no judge '{provider[:30]}'; use {', '.join(PROVIDERS)}")
    while True:
        report = _score(limit, provider, quiet=json)
        _print(report, json)
        if loop is None:
            break
        time.sleep(loop)
    if report.failed:
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


def _score(limit: int, provider: str, *, quiet: bool) -> PendingReport:
    from typing import cast

    from src.app.answer_evaluation import evaluate_pending
    from src.rag.judging.opening import JudgeChoice

    async def work() -> PendingReport:
        with output.bar("Scoring", quiet=quiet) as step:
            return await evaluate_pending(limit=limit, provider=cast(JudgeChoice, provider), on_progress=step)

    return output.run(work())


def _print(report: PendingReport, json: bool) -> None:
    if json:
        failed = [{"interaction_id": one, "reason": reason} for one, reason in report.failed]
        output.print_json({"scored": list(report.scored), "failed": failed, "waiting": report.waiting})
        return
    output.print_rich(f"{len(report.scored)} scored, {len(report.failed)} could not be, {report.waiting} wait.")
    for one, reason in report.failed:
        output.print_rich(f"· {one}: {reason}")
