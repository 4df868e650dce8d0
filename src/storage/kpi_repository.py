"""What is the value of a KPI for a brand, a region and a period?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from src.domain.kpis import Kpi, KpiStatus, status

if TYPE_CHECKING:
    from src.storage.database import Database

_OF_BRAND = "(%(brand)s::text IS NULL OR {column}::text = %(brand)s::text)"
_OF_REGION = "(%(region)s::text IS NULL OR {column}::text = %(region)s::text)"
_IN_WINDOW = (
    "(%(start)s::date IS NULL OR {column} >= %(start)s::date) AND (%(end)s::date IS NULL OR {column} <= %(end)s::date)"
)
_JOURNEY_REGION = (
    "(%(region)s::text IS NULL OR EXISTS (SELECT 1 FROM patient_journeys AS r"
    " WHERE r.{key} = t.{key} AND r.geographic_region::text = %(region)s::text))"
)
_HCP_OR_JOURNEY_REGION = (
    "(%(region)s::text IS NULL OR EXISTS (SELECT 1 FROM patient_journeys AS r"
    " WHERE r.patient_id = t.patient_id AND r.geographic_region::text = %(region)s::text)"
    " OR EXISTS (SELECT 1 FROM hcp_profiles AS h"
    " WHERE h.hcp_id = t.hcp_id AND h.geographic_region::text = %(region)s::text))"
)
_JOURNEY_BRAND = (
    "(%(brand)s::text IS NULL OR EXISTS (SELECT 1 FROM patient_journeys AS b"
    " WHERE b.patient_id = t.patient_id AND b.brand::text = %(brand)s::text))"
)
# Without a brand or region the all-brand and national rows answer; where a metric has none, the
# rows that they would add up do. Taking both would count every prescription twice.
_METRIC_BRAND = (
    "CASE WHEN %(brand)s::text IS NOT NULL THEN t.brand::text = %(brand)s::text ELSE t.brand IS NULL OR NOT EXISTS ("
    "SELECT 1 FROM business_metrics AS a WHERE a.metric_name = t.metric_name AND a.metric_date = t.metric_date"
    " AND a.brand IS NULL AND a.region::text IS NOT DISTINCT FROM %(region)s::text) END"
)
_METRIC_REGION = (
    "CASE WHEN %(region)s::text IS NOT NULL THEN t.region::text = %(region)s::text"
    " ELSE t.region IS NULL OR NOT EXISTS ("
    "SELECT 1 FROM business_metrics AS a WHERE a.metric_name = t.metric_name AND a.metric_date = t.metric_date"
    " AND a.region IS NULL AND a.brand IS NOT DISTINCT FROM t.brand) END"
)


@dataclass(frozen=True, slots=True)
class _Scope:
    """How brand, region and dates select the rows of a table; '' where they do not apply."""

    brand: str
    region: str
    window: str

    @property
    def condition(self) -> str:
        """The condition over alias t."""
        return " AND ".join(part for part in (self.brand, self.region, self.window) if part) or "true"


def _day(column: str) -> str:
    return _IN_WINDOW.format(column=f"(t.{column} AT TIME ZONE 'UTC')::date")


_SCOPES: Mapping[str, _Scope] = {
    "business_metrics": _Scope(_METRIC_BRAND, _METRIC_REGION, _IN_WINDOW.format(column="t.metric_date")),
    "hcp_profiles": _Scope("", _OF_REGION.format(column="t.geographic_region"), ""),
    "patient_journeys": _Scope(
        _OF_BRAND.format(column="t.brand"),
        _OF_REGION.format(column="t.geographic_region"),
        _IN_WINDOW.format(column="t.journey_start_date"),
    ),
    "treatment_events": _Scope(
        _OF_BRAND.format(column="t.brand"),
        _JOURNEY_REGION.format(key="patient_journey_id"),
        _IN_WINDOW.format(column="t.event_date"),
    ),
    "triggers": _Scope(
        _OF_BRAND.format(column="t.brand"), _JOURNEY_REGION.format(key="patient_id"), _day("trigger_timestamp")
    ),
    "ml_predictions": _Scope(_JOURNEY_BRAND, _HCP_OR_JOURNEY_REGION, _day("prediction_timestamp")),
    "causal_paths": _Scope(
        _OF_BRAND.format(column="t.brand"),
        _OF_REGION.format(column="t.region"),
        _IN_WINDOW.format(column="t.discovery_date"),
    ),
    "agent_activities": _Scope("", "", _day("activity_timestamp")),
}


@dataclass(frozen=True, slots=True)
class KpiValue:
    """A KPI computed from ``n`` rows (what n counts is said in the KPI's formula).

    ``value`` is None where there is nothing to compute it from, never 0. ``target`` is that of the
    period, for KPIs whose levels are shares of it. Causal KPIs carry their 95 % interval and the
    refutation ``verdict`` (proceed, review, block, unvalidated); ``subject`` names the effect shown.
    """

    kpi_id: str
    value: float | None
    n: int
    status: KpiStatus
    brand: str | None
    region: str | None
    start: date | None
    end: date | None
    target: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    verdict: str | None = None
    subject: str | None = None


def statement(kpi: Kpi) -> str:
    """The SELECT of a KPI, its tables narrowed by the named parameters brand, region, start and end."""
    tables = [
        f"scoped_{table} AS (SELECT t.* FROM {table} AS t WHERE {_SCOPES[table].condition})" for table in kpi.tables
    ]
    return f"WITH {', '.join(tables)}\n{kpi.sql}"


async def compute_kpi(
    db: Database,
    kpi: Kpi,
    brand: str | None = None,
    region: str | None = None,
    start: date | None = None,
    end: date | None = None,
) -> KpiValue:
    """Compute a KPI over the rows of ``brand``, ``region`` and the days ``start`` to ``end``, both included.

    None means all. A KPI that belongs to one brand is computed for that brand; asking it for
    another one finds no rows. An empty window gives value None and n 0.
    """
    of_brand = brand or kpi.brand
    if kpi.brand is not None and of_brand != kpi.brand:
        return _as_value(kpi, None, brand=of_brand, region=region, start=start, end=end)
    parameters = {"brand": of_brand, "region": region, "start": start, "end": end}
    row = await db.fetchrow(statement(kpi), parameters)
    return _as_value(kpi, row, brand=of_brand, region=region, start=start, end=end)


def _as_value(
    kpi: Kpi,
    row: Mapping[str, Any] | None,
    *,
    brand: str | None,
    region: str | None,
    start: date | None,
    end: date | None,
) -> KpiValue:
    found: Mapping[str, Any] = row if row is not None and row["n"] else {"value": None, "n": 0}
    value, target = found["value"], found.get("target")
    return KpiValue(
        kpi_id=kpi.id,
        value=value,
        n=found["n"],
        status=status(kpi, value, target),
        brand=brand,
        region=region,
        start=start,
        end=end,
        target=target,
        ci_lower=found.get("ci_lower"),
        ci_upper=found.get("ci_upper"),
        verdict=found.get("verdict"),
        subject=found.get("subject"),
    )
