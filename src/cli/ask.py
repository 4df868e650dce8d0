"""Ask in plain words, once or in a conversation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.cli.scoring import score_soon
from src.errors import E2IError, QuestionNotUnderstood

if TYPE_CHECKING:
    from collections.abc import Callable

    from src.agents.orchestrator.agent import QueryResult
    from src.app.e2i import E2I

CHECK_FAILED = 1
NOT_UNDERSTOOD = ("out_of_domain", "unknown_name", "unreadable")
LEAVE = ("exit", "quit", "bye", ":q")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Expertise = Annotated[
    str, typer.Option("--expertise", "--for", help="Who reads the answer: executive, analyst, data_scientist.")
]
Role = Annotated[str, typer.Option(help="Whose columns may be seen (config/guards.yaml).")]
SessionId = Annotated[str | None, typer.Option("--session", help="Id of a conversation, or its beginning.")]
Dataset = Annotated[str, typer.Option(help="Dataset that holds the panel.")]
Format = Annotated[str, typer.Option("--format", help="narrative, structured, presentation or brief.")]


def ask(
    question: Annotated[str, typer.Argument(help="The question in plain words; - reads it from standard input.")],
    dataset: Dataset = "hcp_month_panel",
    expertise: Expertise = "analyst",
    role: Role = "analyst",
    session: SessionId = None,
    format: Format = "narrative",
    strict: Annotated[
        bool, typer.Option("--fail-unless-supported", help="Exit with 1 unless a causal effect is supported.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask in plain words; the answer says what was understood, or asks back.

    Effects are estimated on the data, gaps, predictions and plans computed by tools, other questions answered from the
    documents of the corpus (e2i corpus add). With --session a question may refer to the ones before it.
    Exit 1: asked back, declined or not answered.

    Example: e2i ask "did more rep calls cause more Kisqali prescriptions in the Northeast?"
    Example: e2i ask "and in the South?" --session 0199c2f1
    """
    asked = sys.stdin.read() if question == "-" else question
    wanted = _wanted(dataset, expertise, role, format)

    async def work() -> tuple[Any, str]:
        from src.app.query_view import query_document

        with output.progress("Answering", quiet=json) as step:
            async with _opened(step) as e2i:
                known = None if session is None else await e2i.session_named(session)
                result = await e2i.ask(asked, session_id=known, on_progress=step, **wanted)
                runs = [await e2i.run(one) for one in result.run_ids] if json else []
                stamp = e2i.assistant.guards.stamp
                return (result, query_document(result, runs, stamp=stamp) if json else None), stamp

    (result, document), stamp = output.run(work())
    if (problem := _unreadable(result)) is not None:
        raise QuestionNotUnderstood(problem)
    _print(result, document, stamp)
    score_soon(result.meta.trace_id)
    if not _answered(result) or (strict and not _supported(result)):
        raise typer.Exit(CHECK_FAILED)


def chat(
    dataset: Dataset = "hcp_month_panel",
    expertise: Expertise = "analyst",
    role: Role = "analyst",
    session: SessionId = None,
    format: Format = "narrative",
) -> None:
    """Ask one question after the other in a conversation; an empty line, "exit" or the end of input leaves it.

    Example: e2i chat --expertise executive
    """
    wanted = _wanted(dataset, expertise, role, format)

    async def work() -> str:
        async with _opened(lambda _: None) as e2i:
            known = None if session is None else await e2i.session_named(session)
            return await _converse(e2i, known, wanted)

    output.print_rich(f"The conversation goes on with: e2i chat --session {output.run(work())}")


async def _converse(e2i: E2I, session: str | None, wanted: dict[str, str]) -> str:
    """Answer until the one who asks has enough; the session's id. What cannot be answered ends no conversation."""
    from src.app.query_view import query_text
    from src.mlops.tracing.ids import uuid7

    known = session or str(uuid7())
    while (asked := _next_question()) is not None:
        try:
            with output.progress("Answering") as step:
                result = await e2i.ask(asked, session_id=known, on_progress=step, **wanted)
        except E2IError as error:
            output.print_rich(f"! {' '.join(str(error).split())}")
            continue
        output.print_rich(query_text(result, stamp=e2i.assistant.guards.stamp))
    return known


def _next_question() -> str | None:
    """The next line that asks something; None at the end."""
    prompt = "> " if sys.stdin.isatty() else ""
    try:
        line = input(prompt).strip()
    except EOFError:
        return None
    return None if not line or line.lower() in LEAVE else line


def sessions(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the one used last first.")] = 20,
    json: Json = False,
) -> None:
    """List the conversations, what they asked and spent.

    Example: e2i sessions --limit 5
    """
    import dataclasses

    from src.app.tracing import traced_database
    from src.storage.conversations import ConversationRepository

    async def work() -> Any:
        async with traced_database() as database:
            return await ConversationRepository(database).recent(limit)

    found = output.run(work())
    if json:
        output.print_json([dataclasses.asdict(one) for one in found])
        return
    table = output.grid("session", "used last (UTC)", "questions", "tokens", "US dollars", "reader")
    for one in found:
        output.add_row(
            table,
            one.session_id,
            f"{one.last_used_at:%Y-%m-%d %H:%M}",
            f"{one.questions:,}",
            f"{one.tokens:,}",
            f"{one.dollars:.2f}",
            one.user_expertise,
        )
    output.print_rich(table if found else "Nobody has asked anything yet; try: e2i ask")


def _opened(step: Callable[[str], None]) -> Any:
    from src.app.e2i import E2I

    return E2I.open(step)


def _wanted(dataset: str, expertise: str, role: str, format: str) -> dict[str, str]:
    return {"dataset": dataset, "expertise": expertise.lower(), "role": role, "output_format": format}


def _print(result: QueryResult, document: Any, stamp: str) -> None:
    from src.app.query_view import query_text

    output.print_json(document) if document is not None else output.print_rich(query_text(result, stamp=stamp))


def _unreadable(result: QueryResult) -> str | None:
    """Why a question is none, or names what there is not; what a guard declines is an answer."""
    classified = result.classification
    return result.declined if classified is not None and classified.rule in NOT_UNDERSTOOD else None


def _answered(result: QueryResult) -> bool:
    """Whether something was found out; an absent part is said in the answer."""
    return result.error is None and any(finding.answered for finding in result.findings)


def _supported(result: QueryResult) -> bool:
    from src.causal_engine.results import Verdict

    verdicts = [finding.verdict for finding in result.findings if finding.verdict]
    return bool(verdicts) and all(verdict == Verdict.SUPPORTED.value for verdict in verdicts)
