"""Which feature views are there, and which query yields each one's rows? Nothing of Feast is imported."""

from __future__ import annotations

from dataclasses import dataclass

from src.contracts.feast_declarations import (
    CREATED_TIME,
    EVENT_TIME,
    EntityDeclaration,
    FieldDeclaration,
    build_feast,
)
from src.contracts.model import Dtype
from src.contracts.tables import TABLES
from src.errors import UnknownFeature, nearest_names


@dataclass(frozen=True, slots=True)
class FeatureViewDeclaration:
    """A view: features of one entity, from one table.

    ``features`` are columns of role FEATURE, or of the table's aggregates of such columns (``totals``:
    column → SQL aggregate) where many rows make one value. ``condition`` restricts the rows. Where
    rows of one entity share both times, the one with the highest primary key is the value.

    A row without a time of its own is no value of anything; to a total it still counts.
    """

    name: str
    table: str
    entity: str
    features: tuple[str, ...]
    ttl_days: int
    description: str
    condition: str = "true"
    totals: tuple[tuple[str, str], ...] = ()

    @property
    def join_key(self) -> EntityDeclaration:
        """The entity and the column of the source that identifies it."""
        declared = build_feast(TABLES[self.table])
        assert declared is not None
        return next(entity for entity in declared.entities if entity.name == self.entity)

    @property
    def fields(self) -> tuple[FieldDeclaration, ...]:
        """Features with their Feast value types; an average is a Float64 whatever it averages."""
        declared = build_feast(TABLES[self.table])
        assert declared is not None
        types = {field.name: field.value_type for field in declared.fields}
        averaged = {name for name, aggregate in self.totals if aggregate == "avg"}
        return tuple(FieldDeclaration(name, "Float64" if name in averaged else types[name]) for name in self.features)

    def query(self) -> str:
        """SELECT of the source: join key, features, event time, created time; one row per key and times."""
        return _aggregated(self) if self.totals else _latest(self)

    def left_out_query(self) -> str:
        """SELECT of ``n``: the rows that have a key, but no time from which on their values could count."""
        key, event, created, condition = _parts(self)
        if not self.totals:
            return f"SELECT count(*) AS n FROM {self.table} WHERE {condition} AND NOT ({_filled(event, created)})"
        return (
            f"SELECT coalesce(sum(n), 0)::bigint AS n FROM (SELECT count(*) AS n FROM {self.table} WHERE {condition} "
            f"GROUP BY {key} HAVING NOT ({_filled(f'max({event})', f'max({created})')})) AS q"
        )


def _parts(view: FeatureViewDeclaration) -> tuple[str, str, str, str]:
    """Key expression, event time, created time and the condition for rows that belong to an entity."""
    source = TABLES[view.table].feast
    assert source is not None
    key = next(entity.join_key for entity in source.entities if entity.name == view.entity)
    expression = f"concat_ws('_', {', '.join(key.parts)})" if len(key.parts) > 1 else f"{key.parts[0]}::text"
    return expression, source.event_time, source.created_time, f"{_filled(*key.parts)} AND {view.condition}"


def _filled(*expressions: str) -> str:
    return " AND ".join(f"{expression} IS NOT NULL" for expression in dict.fromkeys(expressions))


def _times(view: FeatureViewDeclaration, event: str, created: str) -> str:
    """Both times, in UTC. A day begins at midnight; what happened on it is known when it is over."""
    table = TABLES[view.table]
    dated = {name for name in (event, created) if table.column(name).dtype is Dtype.DATE}
    aggregated = "max({})" if view.totals else "{}"
    begins = aggregated.format(event)
    known = aggregated.format(created)
    if event in dated:
        begins = f"({begins}::timestamp AT TIME ZONE 'UTC')"
    if created in dated:
        known = f"(({known} + 1)::timestamp AT TIME ZONE 'UTC')"
    return f"{begins} AS {EVENT_TIME}, {known} AS {CREATED_TIME}"


def _latest(view: FeatureViewDeclaration) -> str:
    key, event, created, condition = _parts(view)
    columns = ", ".join(view.features)
    return (
        f"SELECT DISTINCT ON ({key}, {event}, {created}) {key} AS {view.join_key.join_key}, {columns}, "
        f"{_times(view, event, created)} FROM {view.table} WHERE {condition} AND {_filled(event, created)} "
        f'ORDER BY {key}, {event}, {created}, {TABLES[view.table].primary_key} COLLATE "C" DESC'
    )


def _aggregated(view: FeatureViewDeclaration) -> str:
    """One row per entity with all its rows, known when the last of those that have a time was."""
    key, event, created, condition = _parts(view)
    casts = {"Float64": "double precision", "Int64": "bigint"}
    types = {field.name: casts[field.value_type] for field in view.fields}
    columns = ", ".join(f"{how}({name})::{types[name]} AS {name}" for name, how in view.totals)
    return (
        f"SELECT {key} AS {view.join_key.join_key}, {columns}, {_times(view, event, created)} "
        f"FROM {view.table} WHERE {condition} GROUP BY {key} "
        f"HAVING {_filled(f'max({event})', f'max({created})')}"
    )


FEATURE_VIEWS = (
    FeatureViewDeclaration(
        "hcp_profile", "hcp_profiles", "hcp",
        ("practice_type", "practice_size", "priority_tier", "decile", "total_patient_volume",
         "target_patient_volume", "years_experience", "affiliations"),
        ttl_days=400, description="who the professional is",
    ),
    FeatureViewDeclaration(
        "hcp_engagement", "hcp_profiles", "hcp",
        ("digital_engagement_score", "peer_influence_score", "preferred_channel", "interaction_frequency",
         "influence_network_size", "coverage_status"),
        ttl_days=400, description="how the professional can be reached",
    ),
    FeatureViewDeclaration(
        "hcp_prescribing", "treatment_events", "hcp_brand",
        ("dosage", "duration_days", "cost", "days_from_diagnosis"),
        ttl_days=730, description="latest prescription of a brand by a professional",
        condition="event_type = 'prescription'",
    ),
    FeatureViewDeclaration(
        "patient_journey", "patient_journeys", "patient",
        ("primary_diagnosis_code", "secondary_diagnosis_codes", "age_group", "gender", "insurance_type",
         "comorbidities", "risk_score"),
        ttl_days=730, description="the patient at the index date; how long the journey took is known only later",
    ),
    FeatureViewDeclaration(
        "patient_treatment", "treatment_events", "patient_brand",
        ("dosage", "duration_days", "cost", "days_from_diagnosis", "previous_treatment"),
        ttl_days=730, description="latest treatment of a patient with a brand",
    ),
    FeatureViewDeclaration(
        "trigger_effectiveness", "triggers", "trigger",
        ("confidence_score", "lead_time_days"),
        ttl_days=180, description="what an alert promised; what became of it is an outcome",
    ),
    FeatureViewDeclaration(
        "market_dynamics", "business_metrics", "brand",
        ("value", "target", "achievement_rate", "year_over_year_change", "month_over_month_change"),
        ttl_days=400, description="national prescriptions (TRx) of a brand in a month",
        condition="metric_name = 'BU5' AND region IS NULL",
    ),
    FeatureViewDeclaration(
        "territory_performance", "hcp_profiles", "territory",
        ("total_patient_volume", "prescribing_volume", "digital_engagement_score", "interaction_frequency"),
        ttl_days=400, description="the professionals of a sales territory together",
        totals=(("total_patient_volume", "sum"), ("prescribing_volume", "sum"),
                ("digital_engagement_score", "avg"), ("interaction_frequency", "avg")),
    ),
)  # fmt: skip


def get_feature_view(name: str) -> FeatureViewDeclaration:
    """The declaration of a view; raises UnknownFeature with the nearest names."""
    for view in FEATURE_VIEWS:
        if view.name == name:
            return view
    raise UnknownFeature(f"no feature view '{name}'; {nearest_names(name, [view.name for view in FEATURE_VIEWS])}")
