"""How does a plan look to a person, and as JSON to a program?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from src.domain.registration import RegisteredPlan, in_words, seen_sentence, statement, with_design

if TYPE_CHECKING:
    from rich.console import RenderableType

    from src.app.registration.registering import Registered
    from src.causal_engine.results import Analysis
    from src.storage.database import Row
    from src.storage.records import RunRecord

CHANGED = "changed after registration: not usable"


def registration_lines(run: RunRecord, analysis: Analysis | None) -> tuple[str, ...]:
    """How a run stands to its plan; nothing for a run without one."""
    marked = run.understood.get("plan")
    return () if not marked else statement(marked, _design(analysis))


def registration_document(run: RunRecord, analysis: Analysis | None) -> dict[str, Any] | None:
    """The same as JSON: the plan, whether the run is as registered, and each deviation."""
    marked = run.understood.get("plan")
    if not marked:
        return None
    deviations = with_design(marked, _design(analysis))
    return {
        **{name: marked[name] for name in ("plan_id", "title", "sha256", "registered_at", "registered_by")},
        "before_data": marked["before_data"],
        "as_registered": not deviations,
        "deviations": [asdict(one) for one in deviations],
        "notes": marked["notes"],
        "statement": " ".join(statement(marked, _design(analysis))),
    }


def plan_document(plan: RegisteredPlan, runs: Sequence[Row] = (), notes: Sequence[str] = ()) -> dict[str, Any]:
    """A plan with its hash and its runs as one JSON document."""
    whole: dict[str, Any] = json.loads(plan.document)
    return {
        "sha256": plan.sha256,
        "before_data": plan.before_data,
        **whole,
        "notes": list(notes),
        "runs": [dict(run) for run in runs],
    }


def registered_text(registered: Registered) -> str:
    """What to say after a plan was locked."""
    plan = registered.plan
    lines = [f"Registered: {plan.title}"] if plan.before_data else [seen_sentence(len(plan.seen_runs))]
    lines += [
        f"plan {plan.plan_id}",
        f"hash {plan.sha256}",
        f"{plan.registered_at:%Y-%m-%d %H:%M:%S} UTC by {plan.registered_by}",
        *registered.notes,
        f"Carry it out with: e2i effect --plan {plan.plan_id}",
    ]
    return "\n".join(lines)


def plan_table(found: Sequence[tuple[RegisteredPlan | None, Row]]) -> RenderableType:
    """One line per plan."""
    from rich.table import Table
    from rich.text import Text

    if not found:
        return Text("No plan is registered; try: e2i effect --register plan.yaml")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("plan", "registered (UTC)", "by", "hash", "before the data", "question"):
        table.add_column(heading, no_wrap=heading == "plan")
    for plan, row in found:
        before = CHANGED if plan is None else ("yes" if plan.before_data else "no")
        cells = (row["plan_id"][:13], f"{row['registered_at']:%Y-%m-%d %H:%M}", row["registered_by"])
        table.add_row(*(Text(cell) for cell in (*cells, row["sha256"][:12], before, row["title"])))
    return table


def plan_details(plan: RegisteredPlan, runs: Sequence[Row]) -> RenderableType:
    """Every choice of a plan and the runs made under it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    rows = {
        "plan": plan.plan_id,
        "title": plan.title,
        "hash (SHA-256)": plan.sha256,
        "registered": f"{plan.registered_at:%Y-%m-%d %H:%M:%S} UTC by {plan.registered_by}",
        "before the data": "yes" if plan.before_data else seen_sentence(len(plan.seen_runs)),
        "design": plan.design or "not named",
        "code": plan.code_version,
        **{name.replace("_", " "): in_words(value) for name, value in plan.question.items() if in_words(value)},
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    lines = [
        f"run {run['run_id'][:13]}  {run['started_at']:%Y-%m-%d %H:%M} UTC  {run['verdict'] or run['status']}  "
        f"{len(run['deviations'] or ())} deviations"
        for run in runs
    ]
    return Group(table, Text(""), Text("\n".join(lines) or "Not carried out yet."))


def _design(analysis: Analysis | None) -> str | None:
    return None if analysis is None else analysis.identification.design.value
