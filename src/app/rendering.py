"""How do answers, runs and comparisons look to a person, and as JSON to a program?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from src.app.effects import Answer, Comparison
from src.app.registration.telling import registration_document
from src.app.report import ReportFormat, render_report, write_report
from src.app.report.render import analysis_for_readers
from src.app.report.text import terminal_summary
from src.app.selections import not_kept, selection_document
from src.errors import RunNotFound
from src.settings import var_dir
from src.storage.records import RunRecord


def answer_document(answer: Answer) -> dict[str, Any]:
    """Everything a run was, as one JSON document; small cells are left out."""
    run = dataclasses.asdict(answer.run)
    run["analysis"] = None if answer.analysis is None else analysis_for_readers(answer.analysis)
    document = {"run": run, "dataset": dataclasses.asdict(answer.dataset)}
    registered = registration_document(answer.run, answer.analysis)
    if answer.selection is not None:
        document["selection"] = selection_document(answer.selection)
    return document if registered is None else {**document, "registration": registered}


def answer_text(answer: Answer) -> RenderableType:
    """The answer for the terminal."""
    if answer.analysis is None:
        return Text(f"Run {answer.run.run_id} is {answer.run.status}: {answer.run.error_message or 'no result yet'}")
    summary = terminal_summary(answer.run, answer.analysis)
    if answer.selection is None or answer.selection.persisted:
        return summary
    return Group(summary, Text(f"! the compared effect functions were not all kept: {not_kept(answer.selection)}"))


def run_details(answer: Answer) -> RenderableType:
    """The answer and where every part of it came from."""
    run, dataset = answer.run, answer.dataset
    table = Table.grid(padding=(0, 2))
    rows = {
        "run": run.run_id,
        "question": run.question,
        "status": run.status,
        "asked": f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "dataset": f"{dataset.name} ({dataset.dataset_id}), {dataset.n_rows:,} rows from {dataset.source}",
        "data SHA-256": run.data_sha256,
        "code": run.code_version,
        "random state": str(run.random_state),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())),
        "rows used": "; ".join(_query_line(query) for query in run.queries) or "none",
        "trace": run.trace_id,
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return Group(table, answer_text(answer))


def run_table(runs: Sequence[RunRecord]) -> RenderableType:
    """One line per run."""
    if not runs:
        return Text("No question has been asked yet; try: e2i demo")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("run", "asked (UTC)", "status", "verdict", "question"):
        table.add_column(heading, no_wrap=heading in ("run", "asked (UTC)"))
    for run in runs:
        table.add_row(
            run.run_id[:13], f"{run.started_at:%Y-%m-%d %H:%M}", run.status, run.verdict or "", Text(run.question)
        )
    return table


def comparison_text(comparison: Comparison) -> RenderableType:
    """Whether the repeated answer is the same, or what changed."""
    if comparison.identical:
        note = [f"  ({line})" for line in comparison.differences]
        return Text("\n".join([f"Same answer, bit for bit (run {comparison.repeated.run_id}).", *note]))
    return Text("\n".join(["The answer differs:", *(f"  · {line}" for line in comparison.differences)]))


def save_report(answer: Answer, format: str, out: Path | None) -> Path | str:
    """Write the report and return its path; with ``out`` '-' return its text instead."""
    chosen = cast(ReportFormat, format)
    if answer.analysis is None:
        raise RunNotFound(f"run {answer.run.run_id} is {answer.run.status} and has no result to report")
    if out is not None and str(out) == "-":
        return render_report(answer.run, answer.dataset, answer.analysis, format=chosen)
    path = out or var_dir() / "reports" / f"{answer.run.run_id}.{format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(answer.run, answer.dataset, answer.analysis, path, format=chosen)
    return path


def _query_line(query: dict[str, Any]) -> str:
    conditions = " and ".join(f"{column} {op} {value}" for column, op, value in query.get("filters", []))
    return f"{query['rows_after']:,} of {query['rows_before']:,}" + (f" where {conditions}" if conditions else "")
