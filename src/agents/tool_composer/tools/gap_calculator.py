"""Where is performance short of its target or of its best peer, and which high-decile prescribers are not reached?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, Frame, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.grouping import grouping_columns
from src.agents.tool_composer.tools.kpi_gaps import Gap, adds_up, at_level, finest_level, gaps_of, metric_rows, ranked
from src.agents.tool_composer.tools.panel_rows import checked_columns, rows_of, time_key, unit_key
from src.agents.tool_composer.tools.periods import Months, month_numbers, observed, period_named
from src.agents.tool_composer.tools.targeting_gaps import Contacts, Coverage, contacts_of, coverage_of
from src.agents.tool_composer.tools.telling import NOT_SHOWN, SHARE, Telling, counted, in_words
from src.causal_engine.study import IntArray
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind
from src.domain.kpis import KpiStatus
from src.domain.small_cells import SMALLEST_CELL, is_small
from src.errors import DataUnavailable, TooFewRows

RECENT_MONTHS = 3
SAID = 5
USUAL_GROUPS = ("region", "specialty")
LEVELS: Mapping[str, tuple[str, ...]] = {
    "brand_region": ("brand", "region"),
    "region": ("region",),
    "brand": ("brand",),
    "total": (),
}
IN_WORDS = {
    KpiStatus.ON_TARGET: "on target",
    KpiStatus.BELOW_TARGET: "below target",
    KpiStatus.WARNING: "past the warning level",
    KpiStatus.CRITICAL: "past the critical level",
    KpiStatus.NO_THRESHOLD: "without a level to judge it by",
}


class GapCalculatorArguments(ToolArguments):
    """Which gaps are computed: of KPIs against target and peers, or in reaching high-decile prescribers."""

    about: Literal["kpis", "hcp_targeting"] = Field(
        default="kpis",
        description="'kpis': KPI values against target and best peer; 'hcp_targeting': high-decile prescribers without "
        "enough contacts (use for 'where are our HCP-targeting gaps?')",
        examples=["kpis", "hcp_targeting"],
    )
    kpis: tuple[str, ...] = Field(
        default=(), description="KPI ids or names; empty: every KPI with values", examples=[["BU6", "TRx"]]
    )
    level: Literal["auto", "brand_region", "region", "brand", "total"] = Field(
        default="auto",
        description="Breakdown of KPIs; auto: the finest of which at least half may be shown",
        examples=["region"],
    )
    period: str | None = Field(
        default=None,
        description="Period judged (2024-Q4, 2024-10, '2024-07 to 2024-12', 'last 3 months'); default: the last three "
        "months of the rows",
        examples=["2024-Q4"],
    )
    trend_months: int = Field(default=6, ge=4, le=36, description="Months of the trend up to the period's end")
    top: int = Field(default=10, ge=1, le=50, description="How many gaps are listed", examples=[10])
    activity: str = Field(default="rep_calls", description="hcp_targeting: the contacts", examples=["rep_calls"])
    decile_column: str = Field(default="decile", description="hcp_targeting: prescribing potential, 10 the highest")
    least_decile: float = Field(default=8, description="hcp_targeting: high deciles begin here", examples=[8])
    fewer_than: float = Field(
        default=1, gt=0, description="hcp_targeting: fewer contacts than this in the period are a gap", examples=[1, 3]
    )
    by: tuple[str, ...] = Field(
        default=(), description="hcp_targeting: columns to group by; empty: region and specialty", examples=[["region"]]
    )

    @property
    def frame_kind(self) -> Frame:
        """The kind of rows these arguments need."""
        return "panel" if self.about == "hcp_targeting" else "metrics"


def compute(inputs: ToolInputs, arguments: GapCalculatorArguments) -> ToolOutput:
    """Gaps, the largest first. Raises DataUnavailable, ContractViolation (unknown KPI, column, period), TooFewRows."""
    rows_of(inputs)
    return _targeting(inputs, arguments) if arguments.about == "hcp_targeting" else _kpis(inputs, arguments)


def _kpis(inputs: ToolInputs, arguments: GapCalculatorArguments) -> ToolOutput:
    rows = metric_rows(inputs.frame, inputs.kpis, arguments.kpis)
    there = observed(rows["month_number"].to_numpy())
    period = _period(arguments, there)
    level = finest_level(rows) if arguments.level == "auto" else LEVELS[arguments.level]
    gaps = gaps_of(at_level(rows, level), inputs.kpis, period, arguments.trend_months)
    if not gaps:
        raise DataUnavailable(f"there are no KPI values by {' and '.join(level) or 'total'} in {period}")
    if all(gap.hidden for gap in gaps):
        places = " and ".join(dict.fromkeys(gap.place for gap in gaps[:3]))
        raise TooFewRows(
            f"KPI values of {places} are not shown: fewer than {SMALLEST_CELL} members stand behind them, or they "
            "would reveal such a group; ask for a region, a brand or the total"
        )
    order = ranked(gaps)
    telling = Telling(inputs)
    for gap in order[: arguments.top]:
        _figures(telling, gap)
    for gap in order[: arguments.top][:SAID]:
        _say(telling, gap)
    _caveats(telling, gaps, order)
    hidden = [_hidden_row(gap) for gap in gaps if gap.hidden]
    rows_out = [_row(gap) for gap in order[: arguments.top]] + hidden
    return telling.output(_summary(telling, order, period, len(hidden)), rows_out, len(inputs.frame))


def _period(arguments: GapCalculatorArguments, there: Months) -> Months:
    if arguments.period is not None:
        return period_named(arguments.period, there)
    return Months(max(there.first, there.last - RECENT_MONTHS + 1), there.last)


def _named(gap: Gap) -> str:
    return f"{gap.kpi.name} of {gap.place}"


def _figures(telling: Telling, gap: Gap) -> None:
    name = _named(gap)
    telling.figure(name, gap.value, "")
    telling.figure(f"target: {name}", gap.target, "")
    telling.figure(f"gap to target: {name}", gap.shortfall, "", gap.lower, gap.upper)
    telling.figure(f"gap as share of target: {name}", gap.share, SHARE)
    telling.figure(f"gap to best peer: {name}", gap.behind_peer, "")
    if gap.slope is not None:
        telling.figure(f"monthly change of the gap: {name}", gap.slope.value, "", gap.slope.lower, gap.slope.upper)


def _say(telling: Telling, gap: Gap) -> None:
    members = f", {telling.figure(f'members: {_named(gap)}', gap.n, 'members')}" if gap.n is not None else ""
    parts = [f"{_named(gap)} is {in_words(gap.value, '')}{' per month' if adds_up(gap.kpi) else ''}{members}"]
    if gap.target is not None and gap.shortfall is not None:
        parts.append(_against_target(gap))
    if gap.peer is not None and gap.behind_peer is not None and gap.behind_peer > 0:
        alike = " per member" if adds_up(gap.kpi) else ""
        parts.append(f"{in_words(gap.behind_peer, '')} behind {gap.peer}, its best peer{alike}")
    elif gap.peer is not None:
        parts.append("ahead of its peers")
    if gap.slope is not None and gap.slope.direction != "steady":
        parts.append(gap.slope.direction)
    kind = StatementKind.WARNING if gap.status in (KpiStatus.WARNING, KpiStatus.CRITICAL) else StatementKind.FINDING
    telling.say(kind, "; ".join(parts) + ".")


def _against_target(gap: Gap) -> str:
    missed, target = gap.shortfall or 0.0, in_words(gap.target or 0.0, "")
    words = IN_WORDS[gap.status]
    if missed <= 0:
        return f"its target of {target} is reached"
    share = f", {in_words(gap.share, SHARE)} of it" if gap.share is not None else ""
    chance = "" if gap.beyond_chance else ", no more than it varies between months"
    return f"it misses its target of {target} by {in_words(missed, '', gap.lower, gap.upper)}{share}{chance}, {words}"


def _summary(telling: Telling, order: list[Gap], period: Months, n_hidden: int) -> str:
    short = [gap for gap in order if gap.shortfall is not None and gap.shortfall > 0]
    past = [gap for gap in order if gap.status in (KpiStatus.WARNING, KpiStatus.CRITICAL)]
    telling.figure("values judged", len(order), "values")
    telling.figure("values short of target", len(short), "values")
    telling.figure("values past warning or critical", len(past), "values")
    judged = counted(len(order), "KPI value", "KPI values")
    if n_hidden:
        judged += f" shown ({telling.figure('values hidden', n_hidden, 'values').split()[0]} hidden)"
    top = order[0]
    if not any(gap.target is not None for gap in order):
        if top.behind_peer is not None and top.behind_peer > 0:
            behind = in_words(top.behind_peer, "")
            return f"No target is known; {_named(top)} is furthest behind its best peer, by {behind} ({period})."
        return f"No target is known, and no peers can be compared, for {judged} ({period})."
    if not short:
        return f"All of {judged} that have a target reach it ({period})."
    worst = next(gap for gap in order if gap in short)
    return (
        f"{len(short)} of {judged} miss their target, {len(past)} of them past warning or critical ({period}); "
        f"the largest gap: {_named(worst)} {_against_target(worst).removeprefix('it ')}."
    )


def _caveats(telling: Telling, gaps: list[Gap], order: list[Gap]) -> None:
    without = sorted({gap.kpi.name for gap in order if gap.target is None})
    if without:
        telling.say(StatementKind.CAVEAT, f"No target is known for {', '.join(without)}: only peers are compared.")
    if any(gap.hidden for gap in gaps):
        telling.say(StatementKind.CAVEAT, NOT_SHOWN)
    if any(gap.n is None for gap in order):
        telling.say(StatementKind.CAVEAT, "How many stand behind some values is not recorded.")
    if any(gap.lower is not None for gap in order):
        telling.say(
            StatementKind.CAVEAT,
            "Intervals come from the variation between months; a gap does not say why it is there.",
        )
    telling.say(
        StatementKind.CAVEAT,
        "The best peer is the best of several, so part of the distance to it is luck; amounts are compared per member.",
    )


def _row(gap: Gap) -> dict[str, Any]:
    return {
        **_place(gap),
        "value": gap.value,
        "target": gap.target,
        "status": str(gap.status),
        "gap": gap.shortfall,
        "gap_lower": gap.lower,
        "gap_upper": gap.upper,
        "gap_share": gap.share,
        "peer": gap.peer,
        "behind_peer": gap.behind_peer,
        "trend": gap.slope.direction if gap.slope is not None else None,
        "n": gap.n,
        "suppressed": None,
    }


def _hidden_row(gap: Gap) -> dict[str, Any]:
    return dict.fromkeys(_row(gap)) | _place(gap) | {"suppressed": gap.hidden}


def _place(gap: Gap) -> dict[str, Any]:
    return {"kpi": gap.kpi.id, "name": gap.kpi.name, "brand": gap.brand, "region": gap.region}


def _targeting(inputs: ToolInputs, arguments: GapCalculatorArguments) -> ToolOutput:
    frame = rows_of(inputs)
    key, time = unit_key(inputs), time_key(inputs)
    if key is None:
        raise DataUnavailable("targeting gaps need rows of single prescribers; these have no hcp_id")
    checked_columns(frame, (arguments.activity, arguments.decile_column))
    by = grouping_columns(frame, arguments.by, USUAL_GROUPS)
    there = observed(month_numbers(frame[time]))
    period = _period(arguments, there)
    if not (n_rows := int(period.holds(month_numbers(frame[time])).sum())):
        raise TooFewRows(f"no row lies in {period}; the rows are of {there}")
    contacts = _contacts(inputs, arguments, by, period)
    if is_small(int((contacts.high & contacts.asked).sum())):
        raise TooFewRows(f"fewer than {SMALLEST_CELL} prescribers are of decile {arguments.least_decile:g} or higher")
    if coverage_of(contacts, None, arguments.fewer_than)[0].hidden is not None:
        raise TooFewRows(
            f"who is reached there is not shown: it would reveal fewer than {SMALLEST_CELL} prescribers elsewhere"
        )
    return _told_targeting(inputs, arguments, contacts, by, period, n_rows)


def _contacts(inputs: ToolInputs, arguments: GapCalculatorArguments, by: tuple[str, ...], period: Months) -> Contacts:
    """Of all prescribers of the period, those who are asked about among them marked."""
    whole = inputs.frame if inputs.whole is None else inputs.whole
    kept = inputs.kept if inputs.whole is not None else ()
    rows = whole[period.holds(month_numbers(whole[time_key(inputs)]))]
    key = unit_key(inputs)
    # One who stands in several places is one in each.
    codes = rows.groupby([str(key), *(name for name, _ in kept)], sort=True, dropna=False).ngroup()
    units: IntArray = np.array(codes, dtype=np.int64)
    return contacts_of(
        rows,
        units,
        arguments.activity,
        arguments.decile_column,
        arguments.least_decile,
        by,
        kept,
    )


def _told_targeting(
    inputs: ToolInputs,
    arguments: GapCalculatorArguments,
    contacts: Contacts,
    by: tuple[str, ...],
    period: Months,
    n_rows: int,
) -> ToolOutput:
    telling = Telling(inputs)
    what = plain(arguments.activity)
    threshold = telling.figure("fewer contacts than", arguments.fewer_than, what)
    telling.figure("high deciles begin at", arguments.least_decile, "")
    overall = coverage_of(contacts, None, arguments.fewer_than)[0]
    n = telling.figure("high-decile prescribers", overall.n, "prescribers")
    share = telling.figure("share of high-decile prescribers not reached", overall.share, SHARE, overall.lower,
                           overall.upper)  # fmt: skip
    rows: list[dict[str, Any]] = []
    for column in by:
        groups = coverage_of(contacts, column, arguments.fewer_than)
        rows += [_coverage_row(one) for one in sorted(groups, key=lambda one: (-(one.missed or 0), one.group))]
        _say_coverage(telling, column, [one for one in groups if one.hidden is None], what)
    _say_misplaced(telling, contacts.of_asked(), what)
    telling.say(
        StatementKind.CAVEAT, "A prescriber who is not reached may have been left out on purpose; the rows do not say."
    )
    if any(row["suppressed"] or row["not_reached"] is None for row in rows):
        telling.say(StatementKind.CAVEAT, NOT_SHOWN)
    few = telling.figure("smallest group told", SMALLEST_CELL, "prescribers")
    had = f"{n} of high deciles had fewer than {threshold} in {period}"
    if overall.share is None:
        summary = f"How many of {had} is not shown: it would tell of fewer than {few.split()[0]} of them."
    else:
        summary = f"{share} of {had}."
    return telling.output(summary, rows, n_rows)


def _say_coverage(telling: Telling, column: str, groups: list[Coverage], what: str) -> None:
    for one in groups:
        where = f"{plain(column)} {one.group}"
        telling.figure(f"share not reached: {where}", one.share, SHARE, one.lower, one.upper)
        telling.figure(f"{what} per prescriber and month: {where}", one.contacts, "")
    told = sorted((one for one in groups if one.share is not None), key=lambda one: one.share or 0.0)
    if len(told) < 2:
        return
    best, worst = told[0], told[-1]
    if (worst.lower or 0.0) > (best.upper or 0.0):
        shares = [in_words(one.share or 0.0, SHARE, one.lower, one.upper) for one in (worst, best)]
        telling.say(
            StatementKind.OPPORTUNITY,
            f"By {plain(column)}, most high-decile prescribers are missed in {worst.group}: {shares[0]}, "
            f"against {shares[1]} in {best.group}.",
        )
    else:
        telling.say(StatementKind.FINDING, f"By {plain(column)}, the shares not reached do not differ beyond chance.")


def _say_misplaced(telling: Telling, contacts: Contacts, what: str) -> None:
    total, low = contacts.contacts.sum(), ~contacts.high
    if total <= 0 or is_small(int(low.sum())):
        return
    part = telling.figure(f"share of {what} with lower deciles", contacts.contacts[low].sum() / total, SHARE)
    high = telling.figure(
        f"{what} per high-decile prescriber and month", contacts.contacts[~low].sum() / contacts.months[~low].sum(), ""
    )
    other = telling.figure(
        f"{what} per other prescriber and month", contacts.contacts[low].sum() / contacts.months[low].sum(), ""
    )
    telling.say(
        StatementKind.FINDING,
        f"{part} of all {what} go to lower deciles: {other} per prescriber and month there, {high} in high deciles.",
    )


def _coverage_row(one: Coverage) -> dict[str, Any]:
    shown = {
        "n": one.n,
        "not_reached": one.missed,
        "share": one.share,
        "lower": one.lower,
        "upper": one.upper,
        "contacts_per_month": one.contacts,
    }
    values = shown if one.hidden is None else dict.fromkeys(shown)
    return {"by": one.column, "group": one.group, **values, "suppressed": one.hidden}


TOOL = ComposerTool(
    "gap_calculator",
    "Ranks KPI gaps by brand and region against target and best peer with trend and status; with "
    "about='hcp_targeting' finds high-decile prescribers without enough calls by region and specialty.",
    GapCalculatorArguments,
    "metrics",
    compute,
    cost=2.0,
)
