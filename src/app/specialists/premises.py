"""A question takes something for granted ("why did TRx fall?"): do the data show it?"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from src.agents.specialists import Task
from src.app.asking import filters_of
from src.app.session import Session
from src.causal_engine.wording import number, plain
from src.domain.findings import Evidence, Figure, Finding, Statement, StatementKind
from src.domain.matching import find_names
from src.domain.period import Period
from src.domain.question import Understood
from src.domain.reading import Reading
from src.domain.small_cells import is_small
from src.domain.vocabulary import Kind, Role, load_vocabulary
from src.storage.records import DatasetRecord

MONTHS = 3
"""Compared with as many before them where the question names no period."""

_WHY = re.compile(
    r"\bwhy (?:did|does|do|has|have|had|is|are|was|were)\b(?P<what>[^.?!;]{0,120}?)\b(?:(?P<fell>fall(?:s|en|ing)?|fell"
    r"|drop(?:s|ped|ping)?|declin(?:e|es|ed|ing)|decreas(?:e|es|ed|ing)|shrink(?:s|ing)?|shrank|shrunk|down|lower)|(?P<rose>ris(?:e|es|en|ing)|rose|grow(?:s|n|ing)?|grew|increas(?:e|es|ed|ing)"
    r"|climb(?:s|ed|ing)?|up|higher|improv(?:e|es|ed|ing)))\b"
)


@dataclass(frozen=True, slots=True)
class Change:
    """Mean of a measure per unit and month before and after, over units with rows in both; the change with its 95 %
    interval."""

    before: float
    after: float
    change: float
    lower: float
    upper: float
    n_units: int
    span: str
    reference: str


def presumed(question: str) -> int:
    """-1 where a question asks why a measure fell, +1 why it rose, 0 where it takes no change for granted.

    "why did calls increase NRx" asks for an effect: something that acts stands before the verb.
    """
    found = _WHY.search(question.lower())
    if found is None:
        return 0
    vocabulary = load_vocabulary()
    what = found["what"].strip()
    measures = [one for one in find_names(Reading(what), vocabulary) if one.kind is Kind.MEASURE] if what else []
    roles = {vocabulary.measure(one.canonical).role for one in measures}
    return 0 if roles != {Role.OUTCOME} else -1 if found["fell"] else 1


async def with_premise(finding: Finding, task: Task, session: Session) -> Finding:
    """The finding with what the data say of the change that the question takes for granted."""
    wanted, asked = presumed(task.whole or task.question), task.understood
    if not wanted or asked is None or not finding.answered:
        return finding
    record = await session.datasets.record(task.dataset)
    unit, time = record.declared.get("unit_key"), record.declared.get("time_key")
    if unit is None or time is None:
        return finding
    change = await _change(session, record, asked, str(unit), str(time))
    return finding if change is None else _told(finding, change, wanted, asked, f"run:{finding.run_id}#premise")


async def _change(session: Session, record: DatasetRecord, asked: Understood, unit: str, time: str) -> Change | None:
    columns = [unit, time, str(asked.outcome)]
    loaded = await session.datasets.load(
        record.dataset_id, columns=columns, filters=filters_of(replace(asked, period=None))
    )
    return await asyncio.to_thread(change_of, loaded.frame, unit, time, str(asked.outcome), asked.period)


def change_of(frame: pd.DataFrame, unit: str, time: str, outcome: str, period: Period | None = None) -> Change | None:
    """How a measure changed from the months before to those of ``period`` (the last three of the rows).

    None where fewer than eleven units have rows in both, or there are no months before.
    """
    if frame.empty:
        return None
    days = pd.to_datetime(frame[time])
    months = (12 * days.dt.year + days.dt.month).to_numpy(dtype=np.int64)
    last = _month(period.end) if period is not None and period.end else int(months.max())
    first = _month(period.start) if period is not None and period.start else last - MONTHS + 1
    earlier = first - (last - first + 1)
    now, then = (first <= months) & (months <= last), (earlier <= months) & (months < first)
    means = [frame.loc[rows].groupby(unit)[outcome].mean() for rows in (then, now)]
    both = pd.concat(means, axis=1, join="inner").dropna().to_numpy(dtype=np.float64)
    if is_small(len(both)):
        return None
    from scipy.stats import t as student

    steps = both[:, 1] - both[:, 0]
    reach = float(student.ppf(0.975, len(steps) - 1)) * float(steps.std(ddof=1)) / float(np.sqrt(len(steps)))
    before, after = (float(one) for one in both.mean(axis=0))
    middle = float(steps.mean())
    return Change(
        before=before,
        after=after,
        change=middle,
        lower=middle - reach,
        upper=middle + reach,
        n_units=len(steps),
        span=_span(first, last),
        reference=_span(earlier, first - 1),
    )


def _month(day: date) -> int:
    return 12 * day.year + day.month


def _span(first: int, last: int) -> str:
    names = [f"{(month - 1) // 12}-{(month - 1) % 12 + 1:02d}" for month in (first, last)]
    return names[0] if first == last else " to ".join(names)


def _told(finding: Finding, change: Change, wanted: int, asked: Understood, evidence: str) -> Finding:
    label = asked.outcome_label or plain(str(asked.outcome))
    holds = change.upper < 0 if wanted < 0 else change.lower > 0
    verb = "fell" if wanted < 0 else "rose"
    said = (
        f"{label} {verb}"
        if holds
        else f"the data do not show that {label} {verb}, which the question takes for granted"
    )
    text = (
        f"{said}: {number(change.after)} per unit and month in {change.span} against {number(change.before)} in "
        f"{change.reference} (change {number(change.change)}, 95 % interval {number(change.lower)} to "
        f"{number(change.upper)}; {change.n_units:,} units with rows in both)."
    )
    text = text[0].upper() + text[1:]
    figures = (
        Figure(f"{label} per unit and month, {change.span}", change.after, "", evidence),
        Figure(f"{label} per unit and month, {change.reference}", change.before, "", evidence),
        Figure(f"change of {label} per unit and month", change.change, "", evidence, change.lower, change.upper),
        Figure("units with rows in both periods", float(change.n_units), "units", evidence),
    )
    kind = StatementKind.FINDING if holds else StatementKind.WARNING
    return replace(
        finding,
        statements=(Statement(kind, text, (evidence,)), *finding.statements),
        figures=(*finding.figures, *figures),
        evidence=(*finding.evidence, Evidence(evidence, text)),
    )
