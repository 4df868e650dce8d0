"""How did each KPI do, by brand and region, month by month? One text per KPI, brand, region and year."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from src.domain.kpis import Direction, Kpi, UnknownKpi, get_kpi
from src.rag.corpus.insights.wording import brand_words, change, month, number, region_words, share
from src.rag.corpus.reading.contents import joined
from src.rag.documents import SourceDocument, SourceType
from src.storage.gateway import Row

Value = tuple[date, float]


@dataclass(frozen=True)
class _Series:
    """Every value of one metric for one brand and region."""

    metric: str
    brand: str | None
    region: str | None
    rows: dict[date, Row]
    monthly: bool
    kpi: Kpi | None

    @property
    def name(self) -> str:
        return self.metric if self.kpi is None else self.kpi.name

    @property
    def subject(self) -> str:
        return f"{self.name} of {brand_words(self.brand)} {region_words(self.region)}"

    def period(self, day: date) -> str:
        return month(day) if self.monthly else day.isoformat()


def kpi_summaries(rows: Iterable[Row]) -> Iterator[SourceDocument]:
    """Texts from rows of ``business_metrics``, sorted by series and time."""
    for (metric, brand, region), series in groupby(rows, lambda row: (row["metric_name"], row["brand"], row["region"])):
        by_day = {row["metric_date"]: row for row in series}
        # One value a month is a monthly series, whatever day of the month it is booked on.
        monthly = len({(day.year, day.month) for day in by_day}) == len(by_day)
        whole = _Series(metric, brand, region, by_day, monthly, _kpi(metric))
        for year, days in groupby(sorted(by_day), lambda day: day.year):
            yield _document(whole, year, [*days])


def _document(series: _Series, year: int, days: Sequence[date]) -> SourceDocument:
    periods = "\n".join(_sentence(series, day) for day in days)
    _, sections = joined([((), f"{_overview(series, year, days)}\n\n{periods}")])
    area = "national" if series.region is None else series.region
    return SourceDocument(
        source_type=SourceType.KPI_SUMMARY,
        source_id="/".join((series.metric, series.brand or "all", area, str(year))),
        title=f"{series.name}: {brand_words(series.brand)}, {area}, {year}",
        sections=sections,
        brand=series.brand,
        region=series.region,
        effective_date=days[-1],
        metadata={"metric": series.metric, "from": days[0].isoformat(), "until": days[-1].isoformat()},
    )


def _overview(series: _Series, year: int, days: Sequence[date]) -> str:
    values = [(day, float(series.rows[day]["value"])) for day in days]
    (first_day, first), (last_day, last) = values[0], values[-1]
    sentences = [f"This is the {series.subject} in {year}."]
    if series.kpi is not None:
        sentences.append(f"{series.name} ({series.kpi.id}): {series.kpi.definition}")
    if len(values) > 1:
        span = f"from {number(first)} in {series.period(first_day)} to {number(last)} in {series.period(last_day)}"
        sentences.append(f"Over the year the {series.subject} went {span}{_by(last, first)}.")
        sentences.append(_extremes(series, values))
    return " ".join([*sentences, *_targets(series, days)])


def _by(last: float, first: float) -> str:
    if first <= 0 or last == first:
        return ""
    return f", a {'rise' if last > first else 'fall'} of {share(last / first - 1)}"


def _extremes(series: _Series, values: Sequence[Value]) -> str:
    high, low = max(values, key=lambda pair: pair[1]), min(values, key=lambda pair: pair[1])
    if high[1] == low[1]:
        return f"It was {number(high[1])} all the time."
    return (
        f"It was highest in {series.period(high[0])} ({number(high[1])})"
        f" and lowest in {series.period(low[0])} ({number(low[1])})."
    )


def _targets(series: _Series, days: Sequence[date]) -> list[str]:
    aimed = [row for row in map(series.rows.__getitem__, days) if row["target"] is not None]
    # Of a KPI for which near a value is best it cannot be said by the target alone.
    if not aimed or (series.kpi is not None and series.kpi.direction is Direction.BAND):
        return []
    lower_is_better = series.kpi is not None and series.kpi.direction is Direction.DOWN
    reached = sum(
        (row["value"] <= row["target"]) if lower_is_better else (row["value"] >= row["target"]) for row in aimed
    )
    periods = "months" if series.monthly else "periods"
    return [f"The target was reached in {reached} of the {len(aimed)} {periods} that have one."]


def _sentence(series: _Series, day: date) -> str:
    row = series.rows[day]
    value = float(row["value"])
    when = f"In {month(day)}" if series.monthly else f"On {day.isoformat()}"
    parts = [f"{when} the {series.subject} was {number(value)}"]
    if row["target"] is not None:
        parts.append(f"{change(value, float(row['target']))} the target of {number(float(row['target']))}")
    parts += [*_against(series, day, 1, row["month_over_month_change"], "the month before")]
    parts += [*_against(series, day, 12, row["year_over_year_change"], "the same month a year before")]
    return ", ".join(parts) + "."


def _against(series: _Series, day: date, months: int, stated: float | None, words: str) -> Iterator[str]:
    """The comparison with an earlier month: by its value where that is known, else as the table states it."""
    if not series.monthly:
        return
    earlier = _earlier(series, day, months)
    if earlier is not None:
        before = float(series.rows[earlier]["value"])
        yield f"{change(float(series.rows[day]['value']), before)} {month(earlier)} ({number(before)})"
    elif stated is not None:
        yield f"{share(stated)} {'above' if stated >= 0 else 'below'} {words}"


def _earlier(series: _Series, day: date, months: int) -> date | None:
    year, month_index = divmod(day.year * 12 + day.month - 1 - months, 12)
    return next((d for d in series.rows if (d.year, d.month) == (year, month_index + 1)), None)


def _kpi(metric: str) -> Kpi | None:
    try:
        return get_kpi(metric)
    except UnknownKpi:
        return None
