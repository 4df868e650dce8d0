"""`e2i effect --register` and `--plan`, `e2i plans`: lay a question down first, answer exactly that later."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from src.app.effects import Answer
    from src.app.questions import EffectQuestion

TOO_LATE = 1
# Options of `e2i effect` that are called otherwise in a plan file.
CHOICES = {"segments": "effect_modifiers", "instrument": "instruments", "negative_control": "negative_controls"}
NO_CHOICES = (
    *("role", "strict", "json", "register", "plan", "deviation", "by"),
    *("grid", "workers", "out", "format", "fdr", "context"),
)

# Option of `e2i effect` → the one without which nothing reads it.
GOES_WITH = {"by": "register", "deviation": "plan", "workers": "grid", "fdr": "grid", "out": "grid"}

app = typer.Typer(name="plans", help="Registered plans: questions that were locked before their data were analysed.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Plan = Annotated[str, typer.Argument(help="Id or hash of a plan, or its beginning.")]


@app.command("list")
def list_plans(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20, json: Json = False
) -> None:
    """List the registered plans.

    Example: e2i plans list
    """
    from src.app.registration.telling import CHANGED, plan_document, plan_table
    from src.app.tracing import traced_database
    from src.storage.registrations import PlanRepository

    async def work() -> Any:
        async with traced_database() as database:
            return await PlanRepository(database).recent(limit)

    found = output.run(work())
    if json:
        changed = [{"plan_id": row["plan_id"], "sha256": row["sha256"], "problem": CHANGED} for _, row in found]
        output.print_json(
            [bad if plan is None else plan_document(plan) for (plan, _), bad in zip(found, changed, strict=True)]
        )
    else:
        output.print_rich(plan_table(found))


@app.command("show")
def show_plan(plan: Plan, json: Json = False) -> None:
    """Show every choice of a plan, and the runs made under it.

    Example: e2i plans show 0199c2
    """
    from src.app.registration.telling import plan_details, plan_document
    from src.app.tracing import traced_database
    from src.storage.registrations import PlanRepository

    async def work() -> Any:
        async with traced_database() as database:
            plans = PlanRepository(database)
            found = await plans.get(plan)
            return found, await plans.runs(found.plan_id)

    found, runs = output.run(work())
    output.print_json(plan_document(found, runs)) if json else output.print_rich(plan_details(found, runs))


def register(file: Path, *, by: str | None, role: str, json: bool, given: Sequence[str] = ()) -> None:
    """Lock the plan in ``file``; exit 1 where its outcome was analysed on these data before.

    Choices ``given`` beside it are refused: the file says them all.
    """
    from datetime import UTC, datetime

    from src.app.registration.registering import register_plan
    from src.app.registration.telling import plan_document, registered_text
    from src.app.tracing import traced_database
    from src.domain.guards import load_guards
    from src.errors import ContractViolation

    if given:
        raise ContractViolation(f"--register takes every choice from {file.name}; write '{given[0]}' into the file")

    async def work() -> Any:
        async with traced_database() as database:
            who = (by or "").strip() or getpass.getuser()
            return await register_plan(database, file, by=who, at=datetime.now(UTC), guards=load_guards(), role=role)

    done = output.run(work())
    output.print_json(plan_document(done.plan, notes=done.notes)) if json else output.print_rich(registered_text(done))
    if not done.plan.before_data:
        raise typer.Exit(TOO_LATE)


def check_combination(context: typer.Context) -> None:
    """Raises ContractViolation for options of which one would go unread beside the others."""
    from src.errors import ContractViolation

    given = {name for name in context.params if _was_given(context, name)}
    for name, needed in GOES_WITH.items():
        if name in given and needed not in given:
            raise ContractViolation(f"--{name} goes with --{needed}")
    for one, other in (
        ("register", "plan"),
        ("register", "grid"),
        ("grid", "deviation"),
        ("register", "strict"),
        ("grid", "strict"),
    ):
        if {one, other} <= given:
            raise ContractViolation(f"--{one} and --{other} do not go together")


def said_options(context: typer.Context) -> tuple[str, ...]:
    """Choices of a plan that were given on the command line, by their names in a plan file."""
    given = [name for name in context.params if _was_given(context, name)]
    return tuple(CHOICES.get(name, name) for name in given if name not in NO_CHOICES)


def carry_out(
    plan: str, question: EffectQuestion, said: Collection[str], deviations: Sequence[str], *, role: str, quiet: bool
) -> Answer:
    """Answer a registered plan, with what was ``said`` beside it as deviations."""
    from src.app.registration.carrying_out import Change, answer_plan
    from src.app.registration.choices import reasons_from
    from src.app.session import open_session
    from src.domain.guards import load_guards

    change = Change(question, said, reasons_from(deviations))

    async def work() -> Answer:
        with output.progress("Answering", quiet=quiet) as step:
            async with open_session(step) as session:
                return await answer_plan(session, plan, change, guards=load_guards(), role=role)

    return output.run(work())


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
