"""`e2i mlflow`: where runs and models are recorded, and what waits for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.app.recorded_runs import StoreStatus

CHECK_FAILED = 1

app = typer.Typer(
    name="mlflow",
    help="Runs and models: where they are recorded, whether the store answers, and what waits for it.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def status(json: Json = False) -> None:
    """Show the store, whether it answers, and what is journalled; exit 1 when it does not answer.

    Example: e2i mlflow status
    """
    from src.app.recorded_runs import store_status

    with output.progress("MLflow", quiet=json) as step:
        step("asking the store")
        found = output.run(store_status())
    output.print_json(found.document()) if json else output.print_rich(_text(found))
    if not found.health.reachable:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def replay(json: Json = False) -> None:
    """Bring runs that were journalled while the store was away into it, each once; exit 1 when some are left.

    Example: e2i mlflow replay
    """
    from dataclasses import asdict

    from src.app.recorded_runs import replay_journal

    with output.progress("MLflow", quiet=json) as step:
        step("replaying the journal")
        report = output.run(replay_journal())
    if json:
        output.print_json({**asdict(report), "complete": report.complete})
    else:
        left = f"; {report.pending:,} entries wait: {report.reason}" if report.pending else ""
        refused = f"; {report.refused:,} refused by the store" if report.refused else ""
        output.print_rich(f"{report.runs:,} runs, {report.entries:,} entries delivered{refused}{left}")
    if not report.complete or report.refused:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    show: Annotated[bool, typer.Option("--show", help="Print the command instead of running it.")] = False,
) -> None:
    """Open MLflow's own pages on the store, until Ctrl-C.

    Example: e2i mlflow ui --port 5001
    """
    from src.app.recorded_runs import open_pages

    if show:
        output.print_rich(" ".join(open_pages(host=host, port=port).argv))
        return
    raise typer.Exit(_run(host, port))


def _run(host: str, port: int) -> int:
    import os
    import subprocess

    from src.app.recorded_runs import open_pages

    command = open_pages(host=host, port=port)
    output.print_rich(f"http://{host}:{port} (Ctrl-C ends it)")
    return subprocess.run(command.argv, env={**os.environ, **command.environment}, check=False).returncode


def _text(found: StoreStatus) -> Any:
    from rich.console import Group
    from rich.text import Text

    health, spool = found.health, found.metrics["spool"]
    answer = f"answers in {health.latency_ms:.0f} ms" if health.reachable else f"does not answer: {health.reason}"
    lines = [f"store {found.metrics['tracking_uri']}", answer, f"circuit breaker {health.breaker}"]
    lines.append(f"journal: {spool['pending']:,} entries wait ({spool['bytes']:,} bytes)")
    if spool["journals_of_other_stores"]:
        lines.append(f"journals for other stores: {spool['journals_of_other_stores']}")
    return Group(*(Text(line) for line in lines))
