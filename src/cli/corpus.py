"""`e2i corpus`: add documents and insights, list, show and remove them, keep their index current."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.cli.corpus_search import search
from src.errors import ContractViolation

if TYPE_CHECKING:
    from src.rag.corpus.report import IngestReport
    from src.storage.rag_documents import DocumentSummary

corpus_app = typer.Typer(
    name="corpus",
    help="The documents that answers are written from: files, and texts written from the tables.",
    no_args_is_help=True,
)

FAILED = 1
SHOWN = 20

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Brand = Annotated[str | None, typer.Option(help="A brand, e.g. Kisqali.")]
Region = Annotated[str | None, typer.Option(help="A region, e.g. northeast.")]


@corpus_app.command()
def add(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Files (md, txt, html, pdf, docx) and folders.")
    ] = None,
    insights: Annotated[
        bool, typer.Option("--insights", help="Texts written from the tables instead of files.")
    ] = False,
    brand: Annotated[str | None, typer.Option(help="Brand of all these files; else as each file says.")] = None,
    region: Annotated[str | None, typer.Option(help="Region of all these files; else as each file says.")] = None,
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of all these files; else as each file says.")
    ] = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep documents whose files are gone from a folder.")
    ] = False,
    json: Json = False,
) -> None:
    """Add documents, or bring them up to date; unchanged ones cost nothing, and after a stop it goes on.

    A folder added again loses the documents whose files are gone. A file with what looks like a person's
    identifier is refused. Exit status 1 when a document failed.

    Example: e2i corpus add reports/ --brand Kisqali

    Example: e2i corpus add --insights
    """
    if insights == bool(paths):
        raise ContractViolation("give files and folders to add, or --insights, one of them")
    if insights and (brand or region or date or keep_missing):
        raise ContractViolation("--brand, --region, --date and --keep-missing are for files, not for --insights")
    from src.app.corpus import add_files, add_insights

    with output.bar("adding", quiet=json) as report:
        if insights:
            done = output.run(add_insights(on_progress=report))
        else:
            day = None if date is None else date.date()
            files = add_files(
                paths or [],
                brand=brand,
                region=region,
                effective_date=day,
                keep_missing=keep_missing,
                on_progress=report,
            )
            done = output.run(files)
    _print_report(done, as_json=json)


@corpus_app.command()
def reindex(
    missing: Annotated[bool, typer.Option("--missing", help="Only add embeddings that are missing.")] = False,
    json: Json = False,
) -> None:
    """Cut documents by the active retrieval configuration and embed what has no vector of the model in use.

    What is current is not computed again; the files themselves are not read.

    Example: e2i corpus reindex --missing
    """
    from src.app.corpus import reindex as run_reindex

    with output.bar("reindexing", quiet=json) as report:
        done = output.run(run_reindex(missing_only=missing, on_progress=report))
    _print_report(done, as_json=json)


@corpus_app.command("list")
def list_documents(
    brand: Brand = None,
    region: Region = None,
    source_type: Annotated[
        str | None, typer.Option("--type", help="file, kpi_summary, causal_path, definition or run_report.")
    ] = None,
    json: Json = False,
) -> None:
    """List the documents: what they are about, of which day, and whether every chunk has an embedding.

    Example: e2i corpus list --type file --brand Kisqali
    """
    from src.app.corpus import list_documents as listed

    found = output.run(listed(brand=brand, region=region, source_type=source_type))
    if json:
        output.print_json([_document(summary) for summary in found])
        return
    if not found:
        typer.echo("there is no such document; 'e2i corpus add PATH' or 'e2i corpus add --insights' adds some")
        return
    grid = output.grid("id", "type", "source", "title", "brand", "region", "date", "chunks", "embedded")
    for summary in found:
        output.add_row(grid, *_cells(summary))
    output.print_rich(grid)
    typer.echo(f"{len(found):,} documents, {sum(summary.chunks for summary in found):,} chunks")


@corpus_app.command()
def show(
    document: Annotated[str, typer.Argument(metavar="DOCUMENT", help="Id or its beginning, source, title or address.")],
    json: Json = False,
) -> None:
    """Show a document as it was cut: each chunk with its section and place.

    Example: e2i corpus show BU5/Kisqali/northeast/2024
    """
    from src.app.corpus import show_document

    found = output.run(show_document(document))
    summary = found.summary
    if json:
        output.print_json({**_document(summary), "text": [dataclasses.asdict(chunk) for chunk in found.chunks]})
        return
    typer.echo(f"{summary.title}\n{_heading(summary)}")
    for chunk in found.chunks:
        section = f"{chunk.section}, " if chunk.section else ""
        typer.echo(f"\n[{chunk.ordinal}] {section}characters {chunk.start:,} to {chunk.end:,}\n{chunk.content}")


corpus_app.command()(search)


@corpus_app.command()
def remove(
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="DOCUMENT…", help="Ids, sources, titles or addresses.")
    ] = None,
    below: Annotated[
        list[Path] | None,
        typer.Option("--below", help="Documents of files in this folder, whether or not it is still there."),
    ] = None,
    json: Json = False,
) -> None:
    """Remove documents with their chunks and embeddings; the files themselves stay.

    Example: e2i corpus remove reports/march.md

    Example: e2i corpus remove --below reports/
    """
    if not (documents or below):
        raise ContractViolation("name the documents to remove, or a folder with --below")
    from src.app.corpus import remove_documents

    with output.bar("removing", quiet=json) as report:
        gone = output.run(remove_documents(documents or [], below=below or [], on_progress=report))
    if json:
        output.print_json({"removed": [_document(summary) for summary in gone]})
        return
    for summary in gone:
        typer.echo(f"{summary.title} ({summary.source_id}) removed with {_counted(summary.chunks, 'chunk')}")


def _print_report(report: IngestReport, *, as_json: bool) -> None:
    if as_json:
        document = dataclasses.asdict(report)
        document["failed"] = [{"source": source, "reason": reason} for source, reason in report.failed]
        output.print_json(document)
    else:
        typer.echo(_summary_line(report))
        _echo_some([f"note: {note}" for note in report.notes])
        _echo_some([f"failed: {source}: {reason}" for source, reason in report.failed])
        if report.not_embedded:
            typer.echo(f"without embeddings: {report.not_embedded}; 'e2i corpus reindex --missing' adds them later")
    if report.failed:
        raise typer.Exit(FAILED)


def _summary_line(report: IngestReport) -> str:
    embedded = f", {_counted(report.embedded, 'embedding')} of {report.model}" if report.model else ""
    return (
        f"{_counted(report.added, 'document')} added, {report.updated:,} updated, {report.unchanged:,} unchanged,"
        f" {report.deleted:,} deleted, {len(report.failed):,} failed;"
        f" {_counted(report.chunks, 'chunk')} written{embedded} in {report.seconds:.1f} s"
    )


def _echo_some(lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        typer.echo(line)
    if len(lines) > SHOWN:
        typer.echo(f"and {len(lines) - SHOWN:,} more (--json lists all)")


def _document(summary: DocumentSummary) -> dict[str, Any]:
    return dataclasses.asdict(summary)


def _cells(summary: DocumentSummary) -> tuple[str, ...]:
    day = "" if summary.effective_date is None else summary.effective_date.isoformat()
    return (
        summary.document_id[:8],
        summary.source_type,
        summary.source_id,
        summary.title,
        summary.brand or "",
        summary.region or "",
        day,
        f"{summary.chunks:,}",
        "yes" if summary.models else "no",
    )


def _heading(summary: DocumentSummary) -> str:
    day = "without a date" if summary.effective_date is None else summary.effective_date.isoformat()
    parts = [summary.document_id, summary.source_type, summary.source_id, summary.brand, summary.region, day]
    counted = f"{_counted(summary.chunks, 'chunk')} of {summary.tokens:,} tokens"
    embedded = f"embeddings of {', '.join(summary.models)}" if summary.models else "without embeddings"
    return " · ".join([*filter(None, parts), summary.uri or "no file", counted, embedded])


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
