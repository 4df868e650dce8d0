"""Rate or correct an answer."""

from __future__ import annotations

from typing import Annotated

import typer

from src.cli import output
from src.errors import ContractViolation

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def feedback(
    run: Annotated[str | None, typer.Argument(help="Run or trace id of the answer, or its beginning.")] = None,
    rating: Annotated[int | None, typer.Option(help="1 (wrong) to 5 (right).")] = None,
    thumbs: Annotated[str | None, typer.Option(help="up or down.")] = None,
    correct: Annotated[str | None, typer.Option(help="What the answer should have said.")] = None,
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List what people said, newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 20,
    json: Json = False,
) -> None:
    """Rate or correct an answer; said again it replaces what was said before.

    Example: e2i feedback 0199c2 --rating 2 --correct "The effect is 0.35 new prescriptions per call."
    """
    from src.app.user_feedback import Feedback, check, give_feedback

    if show:
        _list(limit, json)
        return
    if run is None:
        raise ContractViolation("name the answer: e2i feedback RUN --rating 1..5 ('e2i runs' lists them)")
    said = Feedback(rating=rating, thumb=thumbs, correction=correct, comment=comment)
    check(said)
    kept = output.run(give_feedback(run, said))
    if json:
        output.print_json({"interaction_id": kept.interaction.interaction_id, "signals": dict(kept.signals)})
    else:
        output.print_rich(f"Kept ({', '.join(kept.signals)}) for: {kept.interaction.query}")


def _list(limit: int, json: bool) -> None:
    from src.app.user_feedback import given_feedback

    found = output.run(given_feedback(limit))
    if json:
        import dataclasses

        output.print_json([dataclasses.asdict(one) for one in found])
        return
    if not found:
        output.print_rich("Nobody has said anything yet; try: e2i feedback RUN --rating 4")
        return
    table = output.grid("given (UTC)", "kind", "value", "question", "text")
    for one in found:
        value = "" if one.value is None else f"{one.value:g}"
        output.add_row(table, f"{one.at:%Y-%m-%d %H:%M}", one.kind.replace("_", " "), value, one.query, one.text)
    output.print_rich(table)
