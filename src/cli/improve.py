"""`e2i improve`: let answers get better, see what was changed and why, and decide about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output
from src.errors import ContractViolation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from src.app.improving.oversight import Decided, LoopState
    from src.app.improving.schedule import RoundReport
    from src.optimization.pipeline.results import ActionStory
    from src.storage.improvement_actions import ImprovementAction

app = typer.Typer(name="improve", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Action = Annotated[str, typer.Argument(help="Id of a change, or its beginning: e2i improve history")]
By = Annotated[str, typer.Option("--by", help="Who decides; default: the user's name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
FAILED = 1


@app.callback()
def improve(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One round, then end.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="A round every minute until stopped.")] = False,
    now: Annotated[bool, typer.Option("--now", help="With --once: learn from whatever waits, due or not.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=86_400, help="With --loop: seconds between rounds.")] = 60.0,
    json: Json = False,
) -> None:
    """Let answers get better: run the loop, see what it changed and why, approve, reject, pause, roll back.

    A round measures what is under way and learns from scored answers where a cycle is due. One process at a time does
    it: a second one with --once says so and ends with 0, with --loop it waits to take over.
    Exit 1 when a cycle or a change met an error; it is tried again in a later round.

    Examples: e2i improve --once · e2i improve --loop --every 300 · e2i improve status
    """
    if context.invoked_subcommand is not None:
        if once or loop:
            raise ContractViolation("--once and --loop run the loop; leave them out with a command")
        return
    if once == loop:
        raise ContractViolation("say --once or --loop, or a command: e2i improve --help")
    if now and loop:
        raise ContractViolation("--now goes with --once: the loop learns when a cycle is due")
    if loop:
        output.run(_loop(every, json))
        return
    with output.progress("Improve", quiet=json) as step:
        report = output.run(_once(now, step))
    _tell(report, json)
    if report is None or report.failed:
        raise typer.Exit(FAILED)


async def _once(now: bool, step: Any) -> RoundReport | None:
    """The round, None where a signal ended it: the next one goes on where it stopped."""
    from src.app.feature_schedule import interruptible
    from src.app.improving.schedule import run_once

    found: list[RoundReport] = []

    async def work() -> None:
        found.append(await run_once(at_once=now, on_step=step))

    await interruptible(work, _stopped_by_signals())
    return found[0] if found else None


async def _loop(every: float, json: bool) -> None:
    from src.app.feature_schedule import interruptible
    from src.app.improving.schedule import run_loop

    stop = _stopped_by_signals()

    async def work() -> None:
        await run_loop(
            stop,
            on_round=lambda report: _tell(report, json, quiet=True),
            on_outage=lambda problem: typer.echo(f"e2i: {problem}", err=True),
            every_s=every,
        )

    await interruptible(work, stop)


def _stopped_by_signals() -> Any:
    """An event that SIGTERM and SIGINT set."""
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _tell(report: RoundReport | None, json: bool, *, quiet: bool = False) -> None:
    """A round; with ``quiet`` one in which nothing happened is not worth a line."""
    if report is None:
        typer.echo("e2i: the round was interrupted; the next one goes on where it stopped", err=True)
        return
    if json:
        output.print_json(report.document())
        return
    happened = report.learnt is not None or any(one.done or one.error for one in report.measured)
    if happened or not quiet:
        output.print_rich(*_round_lines(report))


def _round_lines(report: RoundReport) -> list[str]:
    lines = [f"{report.at:%Y-%m-%d %H:%M} UTC"]
    for one in report.measured:
        done = ", ".join(map(str, one.done)) or "nothing to do now"
        rest = f"; error: {one.error}" if one.error else f"; waits for {one.waits_for}" if one.waits_for else ""
        lines.append(f"  change {one.action_id[:8]} ({one.status}): {done}{rest}")
    if (learnt := report.learnt) is not None:
        resumed = ", which was left running" if report.resumed else ""
        lines.append(f"  cycle {learnt.batch_id[:8]}{resumed}: {learnt.meta.status}, {len(learnt.items)} answers")
        lines += [f"    {name}: {decision}" for name, decision in learnt.decisions.items()]
        lines += [f"    {name} waits: {reason}" for name, reason in learnt.waiting.items()]
        lines += [f"    {one.component}: {one.status or 'no change'}, {one.reason}" for one in learnt.steps]
        lines += [f"    error: {learnt.error.type}: {learnt.error.message}"] if learnt.error else []
    return lines + [f"  {one}" for one in report.said]


@app.command()
def status(json: Json = False) -> None:
    """Show whether the loop is paused, what waits to be learnt from, and which changes are under way.

    Example: e2i improve status --json
    """
    from src.app.improving.oversight import loop_state

    state = output.run(loop_state())
    if json:
        output.print_json(state.document())
        return
    output.print_rich(*_state_lines(state))
    if state.under_way:
        _print_changes(state.under_way)


def _state_lines(state: LoopState) -> list[str]:
    waiting = state.waiting
    lines = [f"Paused: {state.paused}" if state.paused else "Changes are made by themselves, within their guardrails."]
    if state.running is not None:
        lines.append(f"Cycle {state.running.cycle_id[:8]} runs since {_moment(state.running.started_at)} UTC.")
    if state.last is not None:
        decided = f", {state.last.decision}" if state.last.decision else ""
        lines.append(
            f"Last cycle: {_moment(state.last.ended_at)} UTC, {state.last.status}, {state.last.items} answers{decided}."
        )
    lines.append(f"Answers to learn from: {waiting.scored} scored, {waiting.unscored} to be scored.")
    if state.next_cycle is not None:
        lines.append(f"Next cycle due: {_moment(state.next_cycle)} UTC, or with enough new answers.")
    lines.append(f"For a person: {state.for_a_person} (e2i improve queue)")
    lines += [
        f"Canary of {one.component}: version {one.treatment} answers {one.split:.0%} of the sessions instead of "
        f"{one.control}, since {_moment(one.started_at)} UTC, {len(one.looks)} looks."
        for one in state.canaries
    ]
    return lines


@app.command()
def queue(json: Json = False) -> None:
    """List what waits for a person: changes to approve, then suggestions.

    Example: e2i improve queue
    """
    from src.app.improving.oversight import waiting_for_a_person

    _print_list(output.run(waiting_for_a_person()), json, nothing="Nothing waits for a person.")


@app.command()
def history(
    component: Annotated[str | None, typer.Option(help="Only changes of this component.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    json: Json = False,
) -> None:
    """List changes, newest first: what became of each and what it did to the scores.

    Example: e2i improve history --component explainer
    """
    from src.app.improving.oversight import all_changes

    _print_list(output.run(all_changes(component, limit)), json, nothing="Nothing was changed yet.")


@app.command()
def explain(action: Action, json: Json = False) -> None:
    """Show what a change changes and why: the difference, the evidence with intervals, the spend, who approved.

    Exit 1 when the ledger of the change is not as it was written.

    Example: e2i improve explain 0199c2
    """
    from src.app.improving.oversight import explain_change
    from src.app.improving.telling import story_lines

    story: ActionStory = output.run(explain_change(action))
    if json:
        output.print_json(story.document())
    else:
        for line in story_lines(story):
            typer.echo(line)  # as it is: no line of a difference is broken
    if not story.intact:
        raise typer.Exit(FAILED)


@app.command()
def approve(action: Action, by: By = "", json: Json = False) -> None:
    """Agree to a change that waits for approval, or note that a suggestion was taken up; exit 2 for any other.

    Example: e2i improve approve 0199c2 --by anna
    """
    from src.app.improving.oversight import approve_change

    _print_decided(output.run(approve_change(action, _who(by))), json)


@app.command()
def reject(action: Action, reason: Reason, by: By = "", json: Json = False) -> None:
    """Refuse a change that does not answer any question yet; exit 2 for any other.

    Example: e2i improve reject 0199c2 --reason "the wording is too technical"
    """
    from src.app.improving.oversight import reject_change

    _print_decided(output.run(reject_change(action, _who(by), reason)), json)


@app.command()
def rollback(action: Action, reason: Reason, by: By = "", json: Json = False) -> None:
    """Take a change back that answers some or all questions: what was in use before is in use again.

    It works while changes are paused too.

    Example: e2i improve rollback 0199c2 --reason "answers became too long"
    """
    from src.app.improving.oversight import roll_back_change

    _print_decided(output.run(roll_back_change(action, _who(by), reason)), json)


@app.command()
def pause(reason: Reason, by: By = "", json: Json = False) -> None:
    """Stop all changes at once; a running loop stops before its next step.

    Example: e2i improve pause --reason "quarter end"
    """
    _switch(True, by, reason, json)


@app.command()
def resume(reason: Reason = "resumed", by: By = "", json: Json = False) -> None:
    """Let changes go on.

    Example: e2i improve resume
    """
    _switch(False, by, reason, json)


def _switch(paused: bool, by: str, reason: str, json: bool) -> None:
    from src.app.improving.oversight import set_switch

    state = output.run(set_switch(paused=paused, by=_who(by), reason=reason))
    if json:
        import dataclasses

        output.print_json(dataclasses.asdict(state))
    else:
        said = "Changes are paused" if state.paused else "Changes go on"
        output.print_rich(f"{said}: {state.changed_by}, {state.reason}")


def _who(by: str) -> str:
    import getpass

    return by.strip() or getpass.getuser()


def _print_decided(decided: Decided, json: bool) -> None:
    from src.app.improving.oversight import action_document

    if json:
        output.print_json({**action_document(decided.action), "waits_for": decided.waits_for})
        return
    rest = f"; waits for {decided.waits_for}" if decided.waits_for else ""
    output.print_rich(f"{decided.action.component} {decided.action.action_id[:8]}: {decided.action.status}{rest}")


def _print_list(changes: Sequence[ImprovementAction], json: bool, *, nothing: str) -> None:
    from src.app.improving.oversight import action_document

    if json:
        output.print_json([action_document(one) for one in changes])
    elif not changes:
        output.print_rich(nothing)
    else:
        _print_changes(changes)


def _print_changes(changes: Sequence[ImprovementAction]) -> None:
    table = output.grid("change", "component", "what", "status", "since (UTC)", "effect", "why")
    for one in changes:
        effect = "" if one.outcome_delta is None else f"{one.outcome_delta:+.2f} ({one.samples_measured} answers)"
        why = one.blocked_reason or one.rollback_reason or one.action_description
        since = one.rolled_back_at or one.measured_at or one.applied_at or one.created_at
        cells = (one.component, str(one.improvement_type), str(one.status), _moment(since), effect, why)
        output.add_row(table, one.action_id[:8], *cells)
    output.print_rich(table)


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"
