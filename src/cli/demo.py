"""Show on one machine, with nothing set up, what an answer is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.app.demonstration import Exhibit


def demo(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Answer questions with known answers on generated and real data; exit 1 if one disagrees.

    Example: e2i demo
    """
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


def _print(exhibits: list[Exhibit]) -> None:
    from rich.table import Table

    table = Table("question", "verdict", "effect (95 % interval)", "known", "agrees")
    for exhibit in exhibits:
        agrees = "yes" if exhibit.agrees else "NO"
        table.add_row(exhibit.question, exhibit.verdict, exhibit.answer, exhibit.known, agrees)
    output.print_rich(table)
    for exhibit in exhibits:
        output.print_rich(f"report: {exhibit.report}\n  rerun: e2i rerun {exhibit.run_id}")
