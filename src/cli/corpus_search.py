"""`e2i corpus search`: the chunks that fit a query best, and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from src.rag.retrieval_results import RetrievalResult, RetrievedChunk


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in words or as a question.")],
    k: Annotated[int | None, typer.Option("-k", help="Number of chunks; default: the active configuration's.")] = None,
    brand: Annotated[str | None, typer.Option(help="Documents about this brand, or about none.")] = None,
    region: Annotated[str | None, typer.Option(help="Documents about this region, or about none.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Documents of this day or later, or without a date.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Documents of this day or earlier, or without a date.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="file, kpi_summary, causal_path, definition or run_report; may be given again."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each arm found, and the time it took.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Search the corpus by meaning, by words and along causal paths, joined by the active configuration.

    Example: e2i corpus search "why did Kisqali TRx fall in the northeast" -k 5

    Example: e2i corpus search "speaker programs" --brand Fabhalta --since 2025-01-01 --explain
    """
    from src.app.retrieval import SearchRequest, search_corpus, search_document

    request = SearchRequest(query, k, brand, region, _day(since), _day(until), tuple(types or ()))
    with output.progress("searching", quiet=json):
        result = output.run(search_corpus(request))
    if json:
        output.print_json(search_document(result, explain=explain))
        return
    _print_chunks(result)
    for one in result.degraded:
        how = f"without {one.arm} search" if one.share == 0 else f"{one.arm} search in part"
        typer.echo(f"{how}: {one.reason}", err=True)
    if explain:
        _print_explanation(result)


def _day(moment: datetime | None) -> Any:
    return None if moment is None else moment.date()


def _print_chunks(result: RetrievalResult) -> None:
    if not result.chunks:
        typer.echo("nothing found; use other words or fewer filters")
        return
    table = output.grid("", "score", "document", "text")
    for number, chunk in enumerate(result.chunks, start=1):
        table.add_row(str(number), f"{chunk.score:.4f}", _heading(chunk), _highlighted(result.query, chunk.text))
    output.print_rich(table)


def _heading(chunk: RetrievedChunk) -> Any:
    from rich.text import Text

    day = chunk.effective_date.isoformat() if chunk.effective_date else None
    about = [chunk.source_type, chunk.brand, chunk.region, day]
    text = Text(chunk.title, style="bold")
    if chunk.section and chunk.section != chunk.title:
        text.append(f"\n{chunk.section}", style="not bold")
    text.append("\n" + " · ".join(filter(None, about)), style="not bold dim")
    return text


def _highlighted(query: str, content: str) -> Any:
    from rich.text import Text

    from src.app.retrieval import snippet

    found = snippet(query, content)
    text = Text(found.text)
    for start, end in found.matches:
        text.stylize("bold yellow", start, end)
    return text


def _print_explanation(result: RetrievalResult) -> None:
    from src.storage.retrieval_configurations import ARMS

    table = output.grid("", *(f"{arm}: rank, score, adds" for arm in ARMS), "total")
    for number, chunk in enumerate(result.chunks, start=1):
        parts = (chunk.parts.get(arm) for arm in ARMS)
        cells = ("not found" if p is None else f"{p.rank}, {p.score:.3f}, {p.contribution:.5f}" for p in parts)
        output.add_row(table, str(number), *cells, f"{chunk.score:.5f}")
    output.print_rich(table)
    config = result.config
    weights = ", ".join(f"{arm} {config.weight(arm):g}" for arm in ARMS)
    typer.echo(f"configuration {config.version}: {weights}, rerank {'on' if config.rerank else 'off'}")
    typer.echo("recognised: " + (_recognised(result.entities) or "no name of the vocabulary"))
    typer.echo("milliseconds: " + ", ".join(f"{step} {ms:.1f}" for step, ms in result.timings.items()))


def _recognised(entities: Any) -> str:
    return ", ".join(f"{one['kind']} {one['name']} ('{one['words']}')" for one in entities.get("read", ()))
