"""`e2i prompts`: what the language model is told, by which version, since when, and who decided it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from datetime import datetime

    from src.storage.prompt_versions import PromptVersion

app = typer.Typer(
    name="prompts",
    help="The prompts of all components: versions, texts, differences, and who activated what when.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Component = Annotated[str, typer.Argument(help="Name of a component: e2i prompts list")]


@app.command("list")
def list_prompts(json: Json = False) -> None:
    """List every component with its active version, where it came from, and how many others there are.

    Example: e2i prompts list --json
    """
    from src.app.prompts import all_prompts

    found = output.run(all_prompts())
    if json:
        output.print_json([_document(one) for one in found])
        return
    table = output.grid("component", "active", "origin", "activated (UTC)", "by", "versions", "candidates")
    for component in dict.fromkeys(one.component for one in found):
        versions = [one for one in found if one.component == component]
        active = next((one for one in versions if one.active), None)
        used = (f"version {active.version}", active.origin) if active is not None else ("none", "")
        decided = (_moment(active.activated_at), active.activated_by or "") if active is not None else ("", "")
        waiting = sum(one.status in ("candidate", "approved") for one in versions)
        output.add_row(table, component, *used, *decided, str(len(versions)), str(waiting))
    output.print_rich(table)


@app.command()
def show(
    component: Component,
    version: Annotated[int | None, typer.Option(min=1, help="Which version; default: the active one.")] = None,
    json: Json = False,
) -> None:
    """Print the text of a version; exit 2 when there is none of that name or number.

    Example: e2i prompts show rag_answer --version 1
    """
    from src.app.prompts import prompt_version

    found = output.run(prompt_version(component, version))
    if json:
        output.print_json({**_document(found), "content": found.content})
        return
    output.print_rich(f"{found.component} version {found.version}{' (active)' if found.active else ''}", "")
    typer.echo(found.content)  # as it is: no line is broken


@app.command()
def diff(
    component: Component,
    old: Annotated[int | None, typer.Argument(min=1, help="Version to compare; default: the one before.")] = None,
    new: Annotated[int | None, typer.Argument(min=1, help="Version to compare with; default: the active one.")] = None,
    json: Json = False,
) -> None:
    """Print what changed between two versions as a unified diff; nothing where they are equal.

    Examples: e2i prompts diff rag_answer · e2i prompts diff rag_answer 1 3
    """
    from src.app.prompts import prompt_difference

    found = output.run(prompt_difference(component, old, new))
    if json:
        output.print_json({"component": component, "diff": found})
    elif found:
        typer.echo(found)


@app.command()
def history(component: Component, json: Json = False) -> None:
    """Show every version of a component: where it came from, what became of it, who decided it and when.

    Example: e2i prompts history rag_answer
    """
    from src.app.prompts import prompt_history

    found = output.run(prompt_history(component))
    if json:
        output.print_json([_document(one) for one in found])
        return
    table = output.grid(
        "version", "status", "origin", "after", "created (UTC)", "by", "activated (UTC)", "by", "ended (UTC)", "note"
    )
    for one in found:
        mark = "* " if one.active else "  "
        after = "" if one.parent_version is None else str(one.parent_version)
        created = (_moment(one.created_at), one.created_by or "")
        activated = (_moment(one.activated_at), one.activated_by or "")
        note = one.rollback_reason or _scores(one)
        output.add_row(
            table,
            f"{mark}{one.version}",
            one.status,
            one.origin,
            after,
            *created,
            *activated,
            _moment(one.retired_at),
            note,
        )
    output.print_rich(table, "* is in use")


def _document(one: PromptVersion) -> dict[str, Any]:
    """JSON form without the text."""
    return {name: value for name, value in dataclasses.asdict(one).items() if name != "content"} | {
        "active": one.active
    }


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _scores(one: PromptVersion) -> str:
    if one.offline_score is None:
        return ""
    against = "" if one.baseline_score is None else f" against {one.baseline_score:.2f}"
    return f"tested offline: {one.offline_score:.2f}{against}"
