"""`e2i llm`: which language model is used, and does it answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.app.models import CheckedCall, ModelCheck, ModelSetup, PurposeModel

CHECK_FAILED = 1

app = typer.Typer(
    name="llm",
    help="The language model: which one is used and why, what it costs, and whether it answers.",
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """Keep ``check`` a command of its own name while it is the only one."""


@app.command()
def check(
    purpose: Annotated[
        str, typer.Option(help="Whose model to ask: judge, classification, reasoning, narration or reflection.")
    ] = "judge",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Show which model is used and why, and ask it for one word; exit 1 when it does not answer as asked.

    Without a provider nothing is asked: the deterministic paths are used.

    Example: e2i llm check --purpose narration
    """
    from src.app.models import check_model

    async def work() -> ModelCheck:
        with output.progress("Model", quiet=json) as step:
            return await check_model(purpose, on_progress=step)

    found = output.run(work())
    output.print_json(found.document()) if json else output.print_rich(_check_text(found))
    if not found.usable:
        raise typer.Exit(CHECK_FAILED)


def _check_text(found: ModelCheck) -> Any:
    from rich.console import Group
    from rich.text import Text

    setup = found.setup
    lines = [f"provider {setup.provider}: {setup.why}"]
    if found.call is None:
        lines.append("No model is asked anything: the deterministic paths are used.")
        return Group(*(Text(line) for line in lines))
    lines.append(f"address {setup.base_url or 'of the provider itself'}")
    return Group(
        *(Text(line) for line in lines),
        _models_table(setup),
        *(Text(line) for line in (*_limits(setup), *_call_lines(found.call))),
    )


def _models_table(setup: ModelSetup) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("purpose", "model", box=None, padding=(0, 2, 0, 0))
    for heading in ("$ in", "$ out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in setup.models:
        table.add_row(one.purpose, Text(one.model), *_price(one))
    return table


def _price(one: PurposeModel) -> tuple[str, str]:
    return ("unknown", "unknown") if one.price is None else (f"{one.price.input:g}", f"{one.price.output:g}")


def _limits(setup: ModelSetup) -> list[str]:
    tokens = "any number of tokens" if setup.max_tokens is None else f"{setup.max_tokens:,} tokens"
    dollars = "any cost" if setup.max_dollars is None else f"${setup.max_dollars:g}"
    return [
        f"prices per million tokens as published on {setup.prices_as_of}",
        f"budget of a run: {tokens}, {dollars}",
    ]


def _call_lines(call: CheckedCall) -> list[str]:
    reply = call.reply
    if call.problem is not None:
        lines = [f"{call.model} did not answer as asked: {call.problem.type}: {call.problem.message}"]
    else:
        lines = [f"{call.model} answered in {call.latency_ms:,.0f} ms"]
    if reply is not None:
        known = reply.input_tokens is not None and reply.output_tokens is not None
        tokens = f"{reply.input_tokens:,} tokens in, {reply.output_tokens:,} out" if known else "tokens unknown"
        cost = "cost unknown" if reply.cost is None else f"${reply.cost:.6f}"
        lines.append(f"{tokens}, {cost}, attempts {reply.attempts}")
    if call.trace_id is not None:
        lines.append(f"trace {call.trace_id} (e2i observe trace {call.trace_id})")
    if call.unstored is not None:
        lines.append(call.unstored)
    return [*lines, *(f"warning: {warning}" for warning in call.warnings)]
