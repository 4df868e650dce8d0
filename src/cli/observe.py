"""`e2i observe`: what the agents did, how long it took, and whether every record was delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli import output

if TYPE_CHECKING:
    from datetime import date

    from src.agents.ml_foundation.observability_connector.quality import Latency, QualityMetrics
    from src.app.observing import DeliveryStatus, Replayed
    from src.app.quality import MeasuredQuality

CHECK_FAILED = 1

app = typer.Typer(
    name="observe",
    help="Traces, latency, delivery: what the agents did, and whether every record of it arrived.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Since = Annotated[str | None, typer.Option(help="How far back: 30m, 24h, 7d, or a date like 2026-03-01T08:00.")]


@app.command()
def status(json: Json = False) -> None:
    """Show per sink what was accepted, delivered, waits, is dead or dropped; exit 1 when something is wrong.

    Example: e2i observe status --json
    """
    from src.app.models import price_date
    from src.app.observing import connector_status

    found, prices = connector_status(), price_date()
    if json:
        output.print_json({**found.document(), "prices_as_of": prices})
    else:
        output.print_rich(_status_text(found, prices))
    if found.problems:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def traces(
    since: Since = "24h",
    agent: Annotated[str | None, typer.Option(help="Only traces in which this agent worked.")] = None,
    status: Annotated[str | None, typer.Option(help="success, error, timeout or incomplete.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List traces: when, which agent, how long, spans, errors, tokens, cost.

    Example: e2i observe traces --since 7d --agent causal_impact --status error
    """
    from src.app.observing import open_traces, trace_filter
    from src.app.trace_view import traces_table

    wanted = trace_filter(since=since, agent=agent, status=status, limit=limit)

    async def work() -> Any:
        async with open_traces() as stored:
            return await stored.recent(**wanted)

    found = output.run(work())
    output.print_json({"traces": found}) if json else output.print_rich(traces_table(found))


@app.command()
def trace(
    trace: Annotated[str, typer.Argument(help="Trace id, or its beginning.")],
    json: Json = False,
) -> None:
    """Show one trace as a tree: when each span ran, its time, tokens, cost, errors and feedback.

    Example: e2i observe trace 0199c2a4-51b0
    """
    from src.app.observing import open_traces
    from src.app.trace_view import trace_document, trace_text

    async def work() -> Any:
        async with open_traces() as stored:
            return await stored.trace(trace)

    found = output.run(work())
    output.print_json(trace_document(found)) if json else output.print_rich(trace_text(found))


@app.command()
def latency(
    window: Annotated[str, typer.Option(help="1h, 24h or 7d.")] = "24h",
    json: Json = False,
) -> None:
    """Show latency, error and fallback rates and tokens by agent and by tier.

    Example: e2i observe latency --window 7d
    """
    from src.app.observing import open_traces
    from src.app.trace_view import latency_text
    from src.storage.traces import window_named

    chosen = window_named(window)

    async def work() -> Any:
        async with open_traces() as stored:
            return await stored.latency(chosen), await stored.figures(chosen)

    agents, figures = output.run(work())
    if json:
        totals = [one for one in figures if one.agent_name is None]
        tiers = [one for one in totals if one.agent_tier is not None]
        overall = next((one for one in totals if one.agent_tier is None), None)
        output.print_json({"window": window, "agents": agents, "tiers": tiers, "all": overall})
    else:
        output.print_rich(latency_text(window, agents, figures))


@app.command()
def quality(
    window: Annotated[str, typer.Option(help="1h, 24h or 7d.")] = "24h",
    agent: Annotated[list[str] | None, typer.Option(help="Only this agent; may be given several times.")] = None,
    json: Json = False,
) -> None:
    """Measure how well the agents worked: latency, error and fallback rates, tokens, quality score, sample size.

    The score is the mean over all spans of 1 for success, 0.5 for a success by fallback, 0 for a failure.

    Example: e2i observe quality --window 7d --agent causal_impact
    """
    from src.app.quality import measure_quality

    async def work() -> MeasuredQuality:
        with output.progress("Quality", quiet=json) as step:
            return await measure_quality(window, agent or (), on_progress=step)

    found = output.run(work())
    output.print_json(found.document()) if json else output.print_rich(_quality_text(found))


@app.command()
def orphans(
    since: Since = None,
    settled: Annotated[float, typer.Option(min=0, help="Seconds without a span after which a trace is judged.")] = 60.0,
    json: Json = False,
) -> None:
    """List spans that never ended or whose parent is not in their trace; exit 1 when there are any.

    A parent is stored after its children, so traces that are still busy are not judged.

    Example: e2i observe orphans --since 24h
    """
    from datetime import timedelta

    from src.app.observing import open_traces, since_moment
    from src.app.trace_view import orphans_table

    start = since_moment(since)

    async def work() -> Any:
        async with open_traces() as stored:
            return await stored.orphans(start, settled=timedelta(seconds=settled))

    found = output.run(work())
    output.print_json({"orphans": found}) if json else output.print_rich(orphans_table(found))
    if found:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def replay(
    dead: Annotated[bool, typer.Option("--dead", help="Try records again that a sink refused for good.")] = False,
    limit: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds to keep trying.")] = 60.0,
    json: Json = False,
) -> None:
    """Deliver what the spool holds now; exit 1 when something is left.

    Example: e2i observe replay --limit 300
    """
    from src.app import observing

    async def work() -> Replayed:
        with output.progress("Delivering", quiet=json) as step:
            async with observing.open_delivery(retry_dead=dead) as connector:
                return await observing.replay(connector, limit_s=limit, on_progress=step)

    done = output.run(work())
    output.print_json(done.document()) if json else output.print_rich(_replay_text(done))
    if not done.complete:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def retention(
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Keep this many days; default: retention.days of the config.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    json: Json = False,
) -> None:
    """Delete traces whose newest span is older than the retention, whole, with feedback and metrics.

    Example: e2i observe retention --days 90 --dry-run
    """
    from src.app.observing import open_traces
    from src.app.retention import apply_retention

    async def work() -> Any:
        with output.progress("Retention", quiet=json) as step:
            async with open_traces() as stored:
                return await apply_retention(stored, days=days, dry_run=dry_run, on_progress=step)

    report = output.run(work())
    output.print_json(report.document()) if json else output.print_rich(report.line())


def _status_text(found: DeliveryStatus, prices: date) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = ("accepted", "delivered", "pending", "dead", "dropped")
    table = Table("sink", *columns, "last error", box=None, padding=(0, 2, 0, 0))
    for name, counts in found.status.get("sinks", {}).items():
        figures = [f"{int(counts[column]):,}" for column in columns]
        table.add_row(name, *figures, Text(str(counts.get("last_error") or "")[:200]))
    breaker = found.status.get("circuit_breaker") or {}
    lines = [f"project {found.status.get('project_name')}, Opik {'on' if found.status.get('enabled') else 'off'}"]
    if breaker:
        lines.append(f"circuit breaker {breaker.get('state')}")
    for name in ("refused", "damaged", "spool_error"):  # records that never became accepted ones
        if found.status.get(name):
            lines.append(f"{name.replace('_', ' ')}: {found.status[name]}")
    lines.append(f"prices of model calls as published on {prices}")
    lines += [f"problem: {problem}" for problem in found.problems] or ["every accepted record is accounted for"]
    return Group(table, *(Text(line) for line in lines))


def _quality_text(found: MeasuredQuality) -> Any:
    from rich.console import Group
    from rich.text import Text

    metrics, reason = found.result.metrics, found.result.reason
    notes = [Text(f"note: {note}") for note in found.notes if note != reason]
    if metrics is None:
        return Group(Text(f"Nothing to measure: {reason}"), *notes)
    cost = "unknown" if metrics.cost is None else f"${metrics.cost:.4f}"
    unpriced = f", {metrics.unpriced_calls:,} model calls without a price" if metrics.unpriced_calls else ""
    return Group(
        Text(
            f"Quality score {metrics.quality_score:.3f} over {metrics.sample_size:,} spans of the last "
            f"{metrics.window}; {metrics.success_rate:.1%} succeeded"
        ),
        _quality_table(metrics),
        *([Text(f"cost of model calls: {cost}{unpriced}")] if metrics.cost is not None or unpriced else []),
        Text(f"trace {found.result.meta.trace_id}"),
        *notes,
    )


def _quality_table(metrics: QualityMetrics) -> Any:
    from rich.table import Table

    from src.domain.agents import agent_identity

    table = Table("tier / agent", box=None, padding=(0, 1, 0, 0))
    for heading in ("spans", "p50 ms", "p95 ms", "p99 ms", "errors", "fallbacks", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    for tier, whole in metrics.latency["tier"].items():
        table.add_row(tier, *_times(whole), "", "", "")
        for name, own in metrics.latency["agent"].items():
            if agent_identity(name).tier_name == tier:
                rates = (f"{metrics.error_rate[name]:.1%}", f"{metrics.fallback_rate[name]:.1%}")
                table.add_row(f"  {name}", *_times(own), *rates, f"{metrics.tokens[name]:,}")
    return table


def _times(latency: Latency) -> tuple[str, ...]:
    return (f"{latency.n:,}", *(f"{value:,.1f}" for value in (latency.p50, latency.p95, latency.p99)))


def _replay_text(done: Replayed) -> str:
    parts = [f"{name}: {count:,} delivered" for name, count in done.delivered.items() if count]
    parts += [f"{name}: {count:,} still waiting" for name, count in done.pending.items() if count]
    parts += [f"{name}: {count:,} dead (e2i observe replay --dead)" for name, count in done.dead.items() if count]
    return "\n".join(parts) or "Nothing was waiting"
