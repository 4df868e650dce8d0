"""Show on one machine, with nothing set up, what an answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from src.cli import output
from src.errors import ConfigError

if TYPE_CHECKING:
    from src.app.demonstration import Exhibit
    from src.app.demonstration_loop.showing import Shown
    from src.app.demonstration_loop.world import ServedModel

app = typer.Typer(name="demo", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.callback()
def demo(context: typer.Context, json: Json = False) -> None:
    """Answer questions with known answers on generated and real data; exit 1 if one disagrees.

    Examples: e2i demo · e2i demo loop
    """
    if context.invoked_subcommand is not None:
        return
    from src.app.demonstration import demonstrate

    with output.progress("Demo", quiet=json, lines=True) as step:
        exhibits = output.run(demonstrate(step))
    if json:
        import dataclasses

        output.print_json([dataclasses.asdict(exhibit) for exhibit in exhibits])
    else:
        _print(exhibits)
    if not all(exhibit.agrees for exhibit in exhibits):
        raise typer.Exit(1)


@app.command()
def loop(
    no_model: Annotated[bool, typer.Option("--no-model", help="Without a model: retrieval alone is improved.")] = False,
    model_url: Annotated[
        str, typer.Option(help="Address of a model of your own (OpenAI's chat format) instead of the scripted one.")
    ] = "",
    model: Annotated[str, typer.Option(help="Its name there.")] = "local",
    gate_judge: Annotated[str, typer.Option(help="Name of the model that judges at the gate.")] = "",
    questions: Annotated[int, typer.Option(min=4, max=100, help="How many to ask a model of your own.")] = 16,
    json: Json = False,
) -> None:
    """Show how scored answers make the next ones better, step by step; exit 1 if a step does not.

    It takes place in a database of its own, with a scripted model and a small panel. Where the loop waits for hours to
    pass, its clock is moved on. With a model of your own a step is as it should be when it met no error.

    Examples: e2i demo loop --no-model · e2i demo loop --model-url http://127.0.0.1:8080/v1
    """
    served = _served(model_url, model, gate_judge, no_model=no_model)
    shown = _shown(with_model=not no_model, served=served, questions=questions, json=json)
    if json:
        import dataclasses

        output.print_json([dataclasses.asdict(one) for one in shown])
    if not all(one.holds for one in shown):
        raise typer.Exit(1)


def _served(url: str, name: str, gate_judge: str, *, no_model: bool) -> ServedModel | None:
    from urllib.parse import urlsplit

    from src.app.demonstration_loop.world import ServedModel

    if not url:
        return None
    if no_model:
        raise ConfigError("--no-model and --model-url contradict one another; leave one out")
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigError(f"'{url[:80]}' is no address of a server; write it like http://127.0.0.1:8080/v1")
    return ServedModel(url, name, gate_judge or f"{name}-judge")


def _shown(*, with_model: bool, served: ServedModel | None, questions: int, json: bool) -> list[Shown]:
    from src.app.demonstration_loop.circle import open_circle
    from src.app.demonstration_loop.serving import show_served
    from src.app.demonstration_loop.showing import show
    from src.app.demonstration_loop.world import own_world

    found: list[Shown] = []
    with own_world(with_model=with_model, served=served) as world, output.progress("Demo", quiet=json) as step:

        async def run() -> None:
            async with open_circle(world.model, step, served=served) as circle:
                steps = show(circle, world) if served is None else show_served(circle, world, questions)
                async for one in steps:
                    found.append(one)
                    if not json:
                        _print_step(len(found), one)

        output.run(run())
    return found


def _print_step(number: int, one: Shown) -> None:
    typer.echo(f"{number}. {one.title}{'' if one.holds else '  <- NOT as it should be'}")
    for line in one.said:
        typer.echo(f"   {line}")
    if one.rows:
        rows = ", ".join(f"{table} {count}" for table, count in one.rows.items())
        typer.echo(f"   rows: {rows}")
    typer.echo("")


def _print(exhibits: list[Exhibit]) -> None:
    from rich.table import Table

    table = Table("question", "verdict", "effect (95 % interval)", "known", "agrees")
    for exhibit in exhibits:
        agrees = "yes" if exhibit.agrees else "NO"
        table.add_row(exhibit.question, exhibit.verdict, exhibit.answer, exhibit.known, agrees)
    output.print_rich(table)
    for exhibit in exhibits:
        output.print_rich(f"report: {exhibit.report}\n  rerun: e2i rerun {exhibit.run_id}")
