"""What can be done from the command line? Thin: parse, call the app, render."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer
from typer.models import CommandInfo

from src.cli import (
    audit,
    data,
    db,
    demo,
    evaluate,
    features,
    grid,
    improve,
    llm,
    mlflow,
    models,
    observe,
    prompts,
    registration,
)
from src.cli.analysis import effect, report, rerun, resume, runs, show
from src.cli.ask import ask, chat, sessions
from src.cli.corpus import corpus_app
from src.cli.design import design
from src.cli.feedback import feedback
from src.cli.kpis import kpis
from src.cli.mcp import mcp
from src.cli.train import train
from src.cli.validation import prepare, validate
from src.errors import E2IError

BAD_INPUT = 2
ALERTS_LOG = "src.mlops.quality.alerts"

app = typer.Typer(
    name="e2i",
    help="Causal answers that can be trusted: effect, interval, assumptions, refutations, or a clear refusal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(db.app, name="db")
app.add_typer(data.app, name="data")
app.add_typer(features.app, name="features")
app.add_typer(observe.app, name="observe")
app.add_typer(llm.app, name="llm")
app.add_typer(mlflow.app, name="mlflow")
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(corpus_app, name="corpus")
app.add_typer(prompts.app, name="prompts")
app.add_typer(audit.app, name="audit")
app.add_typer(improve.app, name="improve")
app.add_typer(demo.app, name="demo")
app.add_typer(registration.app, name="plans")
app.add_typer(grid.app, name="grids")
for command in (effect, ask, chat, sessions, show, runs, rerun, resume, report, kpis, train, feedback, mcp, design):
    app.command()(command)
data.app.command()(validate)
data.app.command()(prepare)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ["E2I_DEBUG"] = "1"
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; an expected error or a wrong call is one line on standard error and exit code 2."""
    # Standard error is for that line and for alerts; warnings show with --debug.
    logging.getLogger("src").addHandler(logging.NullHandler())
    show_alerts()
    try:
        with _traced(sys.argv[1:]):
            sys.exit(app(standalone_mode=False) or 0)
    except typer.TyperException as error:
        _report_wrong_call(str(getattr(error, "format_message", error.__str__)()))
        sys.exit(BAD_INPUT)
    except E2IError as error:
        if os.environ.get("E2I_DEBUG"):
            raise
        sys.stderr.write(f"e2i: {' '.join(str(error).split())}\n")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.stderr.write("e2i: interrupted\n")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("E2I_DEBUG"):
            raise
        sys.stderr.write(
            f"e2i: unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            "(run again with e2i --debug … for the traceback)\n"
        )
        sys.exit(1)


class _AlertLines(logging.Handler):
    """One line on standard error per alert, unless --debug shows the whole log there."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            text = " ".join(record.getMessage().split())
            sys.stderr.write(f"e2i: alert ({record.levelname.lower()}): {text}\n")


def show_alerts() -> None:
    """An alert that was sent to the log of a command is one line on standard error, with --json too."""
    alerts = logging.getLogger(ALERTS_LOG)
    alerts.setLevel(logging.INFO)
    if not any(isinstance(handler, _AlertLines) for handler in alerts.handlers):
        alerts.addHandler(_AlertLines())


def _traced(arguments: list[str]) -> AbstractContextManager[None]:
    """A span around a command that runs; asking for help is none."""
    words = [word for word in arguments if not word.startswith("-")]
    if not words or {"--help", "-h"} & set(arguments):
        return nullcontext()
    from src.app.tracing import command_span

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return command_span(_command_name(words))


def _command_name(words: list[str]) -> str:
    """Only words that are names of commands: a forgotten ``ask`` must not make a question one."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    if (group := groups.get(words[0])) is not None:
        known = {_name_of(command) for command in group.registered_commands} if group is not None else set()
        return f"{words[0]} {words[1]}" if len(words) > 1 and words[1] in known else words[0]
    known = {_name_of(command) for command in app.registered_commands}
    return words[0] if words[0] in known else "(unknown command)"


def _name_of(command: CommandInfo) -> str:
    return command.name or str(getattr(command.callback, "__name__", "")).replace("_", "-")


def _report_wrong_call(message: str) -> None:
    """One line; a group called without a command answers with its help instead."""
    if message.lstrip().startswith("Usage:"):
        sys.stdout.write(message.rstrip() + "\n")
    else:
        sys.stderr.write(f"e2i: {' '.join(message.split())} (see e2i --help)\n")
