"""How far is each KPI from its target and from its best peer, in each brand and region?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.periods import Months, month_numbers
from src.causal_engine.study import FloatArray
from src.domain.kpis import Direction, Kpi, KpiStatus, UnknownKpi, status
from src.domain.small_cells import hidden_cells, is_small
from src.errors import ContractViolation, DataUnavailable, nearest_names

NEEDED = ("metric_name", "metric_date", "value")
PLACES = ("brand", "region")
NOISE_MONTHS = 12
LEAST_MONTHS = 4
SUMMED = "sum(value)"
HIDDEN = "words instead of a small group"
"""Column of ``with_hidden``."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Change of the shortfall per month, with its 95 % interval; above 0 it grows."""

    value: float
    lower: float
    upper: float

    @property
    def direction(self) -> str:
        """worse or better where the interval leaves no doubt, else steady."""
        if self.lower > 0:
            return "getting worse"
        return "getting better" if self.upper < 0 else "steady"


@dataclass(frozen=True, slots=True)
class Gap:
    """One KPI in one place over a period, in the KPI's own unit as a monthly mean.

    ``shortfall`` is how far the value misses the target in the KPI's own direction (below 0: better than the target),
    None without one; ``share`` the same over the target. ``behind_peer`` is how far it stays behind ``peer``, the best
    place of the same brand. ``hidden``: the words shown instead of a small group's values.
    """

    kpi: Kpi
    brand: str | None
    region: str | None
    value: float
    target: float | None
    status: KpiStatus
    shortfall: float | None
    lower: float | None
    upper: float | None
    share: float | None
    slope: Slope | None
    n: int | None
    peer: str | None = None
    behind_peer: float | None = None
    hidden: str | None = None

    @property
    def place(self) -> str:
        """Brand and region in words: "Kisqali in the South", "the South", "all brands and regions"."""
        region = f"the {self.region.title()}" if self.region else ""
        return " in ".join(filter(None, (self.brand, region))) or "all brands and regions"

    @property
    def beyond_chance(self) -> bool:
        """Whether the shortfall is larger than the variation between months makes it."""
        return self.lower is None or self.lower > 0

    @property
    def weight(self) -> float:
        """What gaps of different KPIs are ordered by: the share of the target, or of the peer's level, missed."""
        if self.share is not None:
            return self.share
        if self.behind_peer is None:
            return float("-inf")
        return self.behind_peer / max(abs(self.value) + abs(self.behind_peer), 1e-12)


def metric_rows(frame: pd.DataFrame, kpis: Mapping[str, Kpi], asked: Sequence[str]) -> pd.DataFrame:
    """Rows of KPI values with the id of their KPI and the month.

    Raises DataUnavailable for rows of another kind or without those KPIs, UnknownKpi naming the nearest.
    """
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise DataUnavailable(f"these are no rows of KPI values: they have no {', '.join(missing)}")
    names = {alias: kpi.id for kpi in kpis.values() for alias in (_plain(kpi.id), _plain(kpi.name))}
    wanted = [_wanted(name, names, kpis) for name in asked]
    ids = frame["metric_name"].map({name: names.get(_plain(str(name))) for name in frame["metric_name"].unique()})
    kept = ids.notna() & frame["value"].notna() & (ids.isin(wanted) if wanted else True)
    if not kept.any():
        what = ", ".join(wanted) if wanted else "any KPI"
        raise DataUnavailable(f"there are no values of {what} in these rows")
    rows = with_hidden(frame).loc[kept].assign(kpi=ids[kept])
    places = {name: _texts(rows, name) for name in PLACES}
    return rows.assign(month_number=month_numbers(rows["metric_date"]), **places)


def with_hidden(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``HIDDEN``: what is shown instead of a value, None for one that is shown; as it is if it has it.

    Decided by month over all places of a KPI, so it must see the rows before they are narrowed to some of the places or
    months: of fewer places, the one that would reveal a small group is shown, and another question tells the total.
    """
    if HIDDEN in frame.columns or any(name not in frame.columns for name in (*NEEDED, "sample_size")):
        return frame
    places = [_texts(frame, name).fillna("").astype(str) for name in PLACES]
    cells = list(zip(*places, strict=True))
    months = month_numbers(frame["metric_date"])
    lines = [
        (name, month, bool(brand), bool(region))
        for name, month, (brand, region) in zip(frame["metric_name"], months, cells, strict=True)
    ]
    tables: dict[Hashable, dict[tuple[str, str], int]] = defaultdict(dict)
    for line, cell, n in zip(lines, cells, frame["sample_size"], strict=True):
        if not pd.isna(n):
            tables[line][cell] = min(int(n), tables[line].get(cell, int(n)))
    hidden = {line: hidden_cells(sizes) for line, sizes in tables.items() if is_small(min(sizes.values()))}
    words = [hidden.get(line, {}).get(cell) for line, cell in zip(lines, cells, strict=True)]
    return frame.assign(**{HIDDEN: pd.Series(words, index=frame.index, dtype=object)})


def finest_level(rows: pd.DataFrame) -> tuple[str, ...]:
    """The finest breakdown of which at least half of the places may be shown."""
    for level in (PLACES, ("region",), ("brand",), ()):
        cells = at_level(rows, level)
        if cells.empty:
            continue
        sizes = _sizes(cells)
        if not level or sum(1 for n in sizes.values() if n is None or not is_small(n)) * 2 >= len(sizes):
            return level
    return max((PLACES, ("region",), ("brand",)), key=lambda level: len(at_level(rows, level)))


def at_level(rows: pd.DataFrame, level: Sequence[str]) -> pd.DataFrame:
    """Rows that name what ``level`` lists, and nothing else unless all rows name the same."""
    keep = pd.Series(True, index=rows.index)
    for name in PLACES:
        if name in level:
            keep &= rows[name].notna()
        elif rows[name].isna().any():
            keep &= rows[name].isna()
        elif rows[name].nunique() > 1:
            keep &= False
    return rows[keep]


def gaps_of(rows: pd.DataFrame, kpis: Mapping[str, Kpi], period: Months, trend_months: int) -> list[Gap]:
    """The gaps of every KPI and place in ``period``; hidden where a row of the period is (``with_hidden``)."""
    found: list[Gap] = []
    for kpi_id, of_kpi in rows.groupby("kpi", sort=True):
        cells = [
            gap
            for _, cell in of_kpi.groupby([of_kpi[name].fillna("") for name in PLACES], sort=True)
            if (gap := _gap(kpis[str(kpi_id)], cell, period, trend_months)) is not None
        ]
        found += _with_peers(cells)
    return found


def shortfall_of(kpi: Kpi, value: float, target: float | None) -> float | None:
    """How far ``value`` misses the target in the KPI's direction; for a band, beyond the tolerated distance."""
    goal = kpi.threshold.target if kpi.threshold is not None and kpi.threshold.basis == "value" else target
    if goal is None or np.isnan(goal):
        return None
    if kpi.direction is Direction.BAND:
        centre = kpi.threshold.centre if kpi.threshold is not None else 0.0
        return abs(value - centre) - goal
    return goal - value if kpi.direction is Direction.UP else value - goal


def adds_up(kpi: Kpi) -> bool:
    """Whether values are amounts that add up over places, as the KPI's own statement says, and not rates."""
    return SUMMED in kpi.sql


def _wanted(name: str, names: Mapping[str, str], kpis: Mapping[str, Kpi]) -> str:
    if _plain(name) not in names:
        known = [alias for kpi in kpis.values() for alias in (kpi.name, kpi.id)]
        raise UnknownKpi(f"KPI '{name[:60]}' is not defined; {nearest_names(name[:60], known)}")
    return names[_plain(name)]


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def _texts(rows: pd.DataFrame, name: str) -> pd.Series:
    if name not in rows.columns:
        return pd.Series(None, index=rows.index, dtype=object)
    return rows[name].astype(object).where(rows[name].notna(), None)


def _sizes(cells: pd.DataFrame) -> dict[tuple[str, str], int | None]:
    if "sample_size" not in cells.columns:
        return {("", ""): None}
    recent = cells[cells["month_number"] == cells["month_number"].max()]
    smallest = recent.groupby([recent[name].fillna("") for name in PLACES])["sample_size"].min()
    return {(str(b), str(r)): None if pd.isna(n) else int(n) for (b, r), n in smallest.items()}


def _gap(kpi: Kpi, cell: pd.DataFrame, period: Months, trend_months: int) -> Gap | None:
    """The gap of one cell; None where no value lies in the period. Raises ContractViolation for a month twice."""
    ordered = cell.sort_values("month_number")
    if ordered["month_number"].duplicated().any():
        raise ContractViolation(
            f"{kpi.id} has several values for one month of {_first(ordered, 'brand') or 'all brands'}; "
            "one value per month, brand and region is needed"
        )
    months = ordered["month_number"].to_numpy(dtype=np.int64)
    inside = period.holds(months)
    if not inside.any():
        return None
    values = ordered["value"].to_numpy(dtype=np.float64)
    targets = _numbers(ordered, "target")
    value = float(values[inside].mean())
    target = _target(kpi, values[inside], targets[inside])
    missed = shortfall_of(kpi, value, target)
    series = _series(kpi, values, targets)
    until = months <= period.last
    lower, upper = _reach(missed, series[until], int(inside.sum()))
    sizes = _numbers(ordered, "sample_size")[inside]
    goal = target if target else None
    return Gap(
        kpi=kpi,
        brand=_first(ordered, "brand"),
        region=_first(ordered, "region"),
        value=value,
        target=target,
        status=status(kpi, value, target),
        shortfall=missed,
        lower=lower,
        upper=upper,
        share=None if missed is None or goal is None else missed / abs(goal),
        slope=_slope(months[until][-trend_months:], series[until][-trend_months:]),
        n=None if np.isnan(sizes).all() else int(np.nanmin(sizes)),
        hidden=_words(ordered[inside]),
    )


def _target(kpi: Kpi, values: FloatArray, targets: FloatArray) -> float | None:
    """The KPI's own level, or the monthly mean target; months without one are held to the others' proportion."""
    if kpi.threshold is not None and kpi.threshold.basis == "value":
        return kpi.threshold.target
    known = ~np.isnan(targets)
    if not known.any():
        return None
    base = float(values[known].sum())
    if not adds_up(kpi) or known.all() or base == 0:
        return float(targets[known].mean())
    return float(targets[known].sum()) * float(values.sum()) / base / len(values)


def _series(kpi: Kpi, values: FloatArray, targets: FloatArray) -> FloatArray:
    """Shortfall by month; where no month has a target, the value turned so that more is worse."""
    missed = [
        shortfall_of(kpi, float(v), None if np.isnan(t) else float(t)) for v, t in zip(values, targets, strict=True)
    ]
    if any(one is not None for one in missed):
        return np.array([np.nan if one is None else one for one in missed])
    return -values if kpi.direction is Direction.UP else values


def _reach(missed: float | None, series: FloatArray, n: int) -> tuple[float | None, float | None]:
    """95 % interval from the month-to-month variation of the last year, free of any trend (von Neumann 1941)."""
    from scipy.stats import t as student

    known = series[~np.isnan(series)][-NOISE_MONTHS:]
    if missed is None or len(known) < LEAST_MONTHS:
        return None, None
    steps = np.diff(known)
    error = float(np.sqrt((steps**2).mean() / 2 / n))
    if error <= 1e-12 * max(1.0, abs(missed)):
        return None, None
    reach = float(student.ppf(0.975, len(steps))) * error
    return missed - reach, missed + reach


def _slope(months: np.ndarray, series: FloatArray) -> Slope | None:
    from scipy.stats import linregress
    from scipy.stats import t as student

    known = ~np.isnan(series)
    if known.sum() < LEAST_MONTHS:
        return None
    line = linregress(months[known].astype(np.float64), series[known])
    reach = float(student.ppf(0.975, int(known.sum()) - 2)) * float(line.stderr)
    return Slope(float(line.slope), float(line.slope) - reach, float(line.slope) + reach)


def _with_peers(cells: list[Gap]) -> list[Gap]:
    """Each gap with its best peer: the same KPI and brand in another region, or another brand where regions are none.

    Amounts are compared per member of the group (``sample_size``). A hidden group is nobody's peer: the distance to it
    would tell its value.
    """
    result = []
    for gap in cells:
        peers = [one for one in cells if one is not gap and _comparable(gap, one)]
        rates = {id(one): rate for one in peers if (rate := _rate(one)) is not None}
        own = _rate(gap)
        if own is None or not rates:
            result.append(gap)
            continue
        best = min((one for one in peers if id(one) in rates), key=lambda one: _badness(gap.kpi, rates[id(one)]))
        behind = _badness(gap.kpi, own) - _badness(gap.kpi, rates[id(best)])
        scale = float(gap.n or 1) if adds_up(gap.kpi) else 1.0
        result.append(replace(gap, peer=best.place, behind_peer=behind * scale))
    return result


def _comparable(gap: Gap, other: Gap) -> bool:
    if other.hidden is not None:
        return False
    return gap.brand == other.brand if gap.region is not None else gap.kpi.brand is None


def _rate(gap: Gap) -> float | None:
    if not adds_up(gap.kpi):
        return gap.value
    return gap.value / gap.n if gap.n else None


def _badness(kpi: Kpi, value: float) -> float:
    """The value turned so that more is worse."""
    if kpi.direction is Direction.BAND:
        return abs(value - (kpi.threshold.centre if kpi.threshold is not None else 0.0))
    return -value if kpi.direction is Direction.UP else value


def _words(rows: pd.DataFrame) -> str | None:
    """The words instead of a group that is hidden in some month of these rows."""
    told = rows[HIDDEN].dropna() if HIDDEN in rows.columns else ()
    return str(min(told)) if len(told) else None


def _first(rows: pd.DataFrame, name: str) -> str | None:
    value = rows[name].iloc[0]
    return None if value is None or pd.isna(value) else str(value)


def _numbers(rows: pd.DataFrame, name: str) -> FloatArray:
    if name not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[name].to_numpy(dtype=np.float64)


def ranked(gaps: Iterable[Gap]) -> list[Gap]:
    """Shown gaps, the largest first: critical before warning, then by the share missed."""
    order = (KpiStatus.CRITICAL, KpiStatus.WARNING, KpiStatus.BELOW_TARGET, KpiStatus.NO_THRESHOLD, KpiStatus.ON_TARGET)
    shown = [gap for gap in gaps if gap.hidden is None]
    return sorted(shown, key=lambda gap: (order.index(gap.status), -gap.weight, gap.kpi.id, gap.place))
