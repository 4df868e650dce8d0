"""`e2i audit`: what every node of a run was given and wrote, and whether anybody changed the record since."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import BadParameter

from src.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from src.storage.audit_chain import ChainVerdict

CHECK_FAILED = 1

app = typer.Typer(
    name="audit",
    help="The tamper-evident record of every run: verify it, show it, list the last ones.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command()
def verify(
    run: Annotated[str | None, typer.Argument(help="Id of a run or a trace, or its beginning.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify the record of every run.")] = False,
    json: Json = False,
) -> None:
    """Check that a record is what its run left; exit 1 when it is not, naming the entry and what does not fit.

    Each entry's SHA-256 covers its fields and the entry before, and the spans of a run name its entries: an entry that
    was changed, taken out, moved or cut off at the end shows.

    Examples: e2i audit verify 0199c2a4-51b0 · e2i audit verify --all --json
    """
    if (run is None) is not every:
        raise BadParameter("name one run, or give --all: e2i audit verify RUN, e2i audit verify --all")
    from src.app.audit import verify_chains

    found = output.run(verify_chains(run))
    intact = all(one.intact for one in found)
    if json:
        output.print_json({"intact": intact, "chains": [dataclasses.asdict(one) for one in found]})
    else:
        output.print_rich(*_verdict_lines(found))
    if not intact:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of a run or a trace, or its beginning.")],
    json: Json = False,
) -> None:
    """Show the entries of a run: when which node ran, and the digests of what it was given and what it wrote.

    Example: e2i audit show 0199c2a4-51b0
    """
    from src.app.audit import recorded_chains

    found = output.run(recorded_chains(run))
    if json:
        output.print_json({name: [dataclasses.asdict(one) for one in entries] for name, entries in found.items()})
        return
    for name, entries in found.items():
        table = output.grid("entry", "at (UTC)", "agent", "node", "given", "wrote", "digest")
        for one in entries:
            digests = (one.input_sha256[:12], one.output_sha256[:12], one.entry_sha256[:12])
            output.add_row(
                table, str(one.sequence), f"{one.created_at:%Y-%m-%d %H:%M:%S.%f}", one.agent, one.node, *digests
            )
        output.print_rich(f"Chain {name}", table)


@app.command("list")
def list_chains(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20, json: Json = False
) -> None:
    """List the records added to last.

    Example: e2i audit list --limit 5
    """
    from src.app.audit import recent_chains

    found = output.run(recent_chains(limit))
    if json:
        output.print_json([dataclasses.asdict(one) for one in found])
        return
    table = output.grid("chain", "agents", "entries", "began (UTC)", "ended (UTC)")
    for one in found:
        times = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (one.began_at, one.ended_at))
        output.add_row(table, one.chain_id, ", ".join(one.agents), str(one.entries), *times)
    output.print_rich(table)


def _verdict_lines(found: Sequence[ChainVerdict]) -> list[Any]:
    if not found:
        return ["No run has left a record yet"]
    lines = [_line(one) for one in found if not one.intact]
    whole = [one for one in found if one.intact]
    lines += [_line(one) for one in whole] if len(found) <= 5 else [f"{len(whole):,} of {len(found):,} are intact"]
    return lines


def _line(one: ChainVerdict) -> str:
    if not one.intact:
        return f"{one.chain_id} is broken: {one.problem} ({one.entries:,} entries)"
    seen = f"{one.witnesses:,} spans name them" if one.witnesses else "no spans are stored that name them"
    return f"{one.chain_id} is intact: {one.entries:,} entries, {seen}"
