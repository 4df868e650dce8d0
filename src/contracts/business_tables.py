"""What is promised about metrics, triggers and healthcare professionals?"""

from __future__ import annotations

from functools import partial

from src.contracts.enums import Brand, DataSplit, Priority, Region, Specialty
from src.contracts.model import (
    NON_NEGATIVE,
    UNIT,
    Column,
    Dtype,
    FeastEntity,
    FeastSource,
    Range,
    Role,
    SourceColumn,
    TableContract,
)
from src.contracts.rules import Comparison, PairRule, RatioRule, UniqueTogetherRule

STR, INT, FLOAT, BOOL = Dtype.STR, Dtype.INT, Dtype.FLOAT, Dtype.BOOL
DATE, TS, JSON, LIST = Dtype.DATE, Dtype.TS, Dtype.JSON, Dtype.LIST
K, T, D, F, Y, A, P = Role
mandatory = partial(Column, nullable=False, required=True)
identifier = partial(Column, nullable=False, required=True, unique=True, critical=True)

BUSINESS_METRICS = TableContract(
    name="business_metrics",
    primary_key="metric_id",
    suite_name="business_metrics_suite",
    columns=(
        identifier("metric_id", STR, K, "one value of one metric"),
        mandatory("metric_date", DATE, T, "month or day the value belongs to", critical=True),
        mandatory("metric_type", STR, D, "family: kpi, financial, operational or causal"),
        mandatory("metric_name", STR, D, "KPI id or name"),
        Column("brand", STR, D, "empty: all brands", allowed=Brand),
        Column("region", STR, D, "empty: national", allowed=Region),
        mandatory("value", FLOAT, F, "measured value; deltas and effects may be negative", critical=True),
        Column("target", FLOAT, F, "value aimed at"),
        Column("achievement_rate", FLOAT, F, "value / target when target > 0", range=NON_NEGATIVE),
        Column("year_over_year_change", FLOAT, F, "relative change to the same period a year before"),
        Column("month_over_month_change", FLOAT, F, "relative change to the month before"),
        Column("roi", FLOAT, F, "return per unit spent"),
        Column("statistical_significance", FLOAT, A, "p-value", range=UNIT),
        Column("confidence_interval_lower", FLOAT, A, "lower end of the 95 % interval of value"),
        Column("confidence_interval_upper", FLOAT, A, "upper end of the 95 % interval of value"),
        Column("sample_size", INT, A, "observations behind the value", range=NON_NEGATIVE),
        Column("created_at", TS, A, "when the row was written", sql_default="now()"),
    ),
    row_rules=(
        PairRule(
            "confidence_interval_order", "confidence_interval_lower", Comparison.AT_MOST, "confidence_interval_upper"
        ),
        RatioRule("achievement_rate_ratio", "achievement_rate", "value", "target", tolerance=0.01),
        UniqueTogetherRule("metric_key", ("metric_name", "metric_date", "brand", "region"), nulls_equal=True),
    ),
    feast=FeastSource(
        entities=(FeastEntity("brand", SourceColumn("brand", ("brand",))),),
        event_time="metric_date",
        created_time="created_at",
    ),
)

TRIGGERS = TableContract(
    name="triggers",
    primary_key="trigger_id",
    suite_name="triggers_suite",
    columns=(
        identifier("trigger_id", STR, K, "one alert"),
        mandatory("patient_id", STR, K, "pseudonymous patient"),
        Column("hcp_id", STR, K, "professional the alert is for"),
        mandatory("trigger_timestamp", TS, T, "when the alert arose", critical=True),
        mandatory("trigger_type", STR, D, "kind of alert"),
        mandatory("priority", STR, D, "urgency", allowed=Priority),
        Column("confidence_score", FLOAT, F, "confidence of the alert", range=UNIT),
        Column("lead_time_days", INT, F, "days between alert and the event it foresees", range=NON_NEGATIVE),
        Column("expiration_date", DATE, T, "last useful day"),
        Column("delivery_channel", STR, D, "how it was delivered"),
        Column("delivery_status", STR, D, "whether it was delivered"),
        Column("delivery_timestamp", TS, T, "when it was delivered"),
        Column("view_timestamp", TS, T, "when it was first seen"),
        Column("acceptance_status", STR, Y, "what was decided", allowed=("accepted", "rejected", "ignored", "pending")),
        Column("acceptance_timestamp", TS, Y, "when it was decided"),
        Column("action_taken", STR, Y, "what was done"),
        Column("action_timestamp", TS, Y, "when it was done"),
        Column("false_positive_flag", BOOL, Y, "whether the foreseen event stayed away"),
        Column("trigger_reason", STR, A, "why it arose"),
        Column("recommended_action", STR, A, "what was suggested"),
        Column("causal_chain", JSON, A, "ordered causes behind the alert"),
        Column("supporting_evidence", JSON, A, "values that support it"),
        Column("outcome_tracked", BOOL, Y, "whether the outcome was followed up"),
        Column("outcome_value", FLOAT, Y, "outcome in its own unit"),
        Column("previous_trigger_id", STR, A, "alert this one replaces"),
        Column(
            "change_type", STR, A, "how it changes that alert", allowed=("new", "update", "escalation", "downgrade")
        ),
        Column("change_reason", STR, A, "why it changes it"),
        Column("change_timestamp", TS, A, "when it was changed"),
        Column("change_failed", BOOL, Y, "whether the change made it worse"),
        Column("change_outcome_delta", FLOAT, Y, "difference of outcome against the replaced alert"),
        Column("brand", STR, D, "brand concerned", allowed=Brand),
        Column("data_split", STR, A, "split of the modelling data", allowed=DataSplit),
    ),
    row_rules=(
        PairRule("expiration_order", "trigger_timestamp", Comparison.AT_MOST, "expiration_date"),
        PairRule("view_order", "delivery_timestamp", Comparison.AT_MOST, "view_timestamp"),
    ),
    feast=FeastSource(
        entities=(
            FeastEntity("trigger", SourceColumn("trigger_id", ("trigger_id",))),
            FeastEntity("patient", SourceColumn("patient_id", ("patient_id",))),
            FeastEntity("hcp", SourceColumn("hcp_id", ("hcp_id",))),
        ),
        event_time="trigger_timestamp",
        created_time="trigger_timestamp",
    ),
)

HCP_PROFILES = TableContract(
    name="hcp_profiles",
    primary_key="hcp_id",
    suite_name="hcp_profiles_suite",
    columns=(
        identifier("hcp_id", STR, K, "one healthcare professional"),
        Column("npi", STR, P, "national provider number", regex=r"[0-9]{10}", unique=True),
        Column("first_name", STR, P, "given name"),
        Column("last_name", STR, P, "family name"),
        mandatory("specialty", STR, D, "medical specialty", allowed=Specialty),
        Column("sub_specialty", STR, D, "narrower field"),
        Column("practice_type", STR, F, "kind of practice", allowed=("solo", "group", "hospital", "academic")),
        Column("practice_size", STR, F, "size of practice", allowed=("small", "medium", "large")),
        mandatory("geographic_region", STR, D, "census region", allowed=Region),
        Column("state", STR, D, "state"),
        Column("city", STR, D, "city"),
        Column("zip_code", STR, P, "postal code"),
        Column("priority_tier", INT, F, "1 is the highest", range=Range(1, 5)),
        Column("decile", INT, F, "prescribing decile, 10 is the highest", range=Range(1, 10)),
        Column("total_patient_volume", INT, F, "patients per year", range=NON_NEGATIVE),
        Column("target_patient_volume", INT, F, "patients per year in the indication", range=NON_NEGATIVE),
        Column("prescribing_volume", INT, F, "prescriptions per year", range=NON_NEGATIVE),
        Column("years_experience", INT, F, "years in practice", range=Range(0, 60)),
        Column("affiliations", LIST, F, "institutions"),
        Column("digital_engagement_score", FLOAT, F, "use of digital channels", range=UNIT),
        Column("peer_influence_score", FLOAT, F, "influence on colleagues", range=UNIT),
        Column(
            "preferred_channel", STR, F, "channel of contact", allowed=("rep", "email", "webinar", "phone", "portal")
        ),
        Column("last_interaction_date", DATE, T, "latest contact"),
        Column("interaction_frequency", FLOAT, F, "contacts per month", range=NON_NEGATIVE),
        Column("influence_network_size", INT, F, "colleagues reached", range=NON_NEGATIVE),
        Column(
            "adoption_category",
            STR,
            Y,
            "how early the drug was adopted",
            allowed=("innovator", "early", "majority", "late", "non_adopter"),
        ),
        Column("coverage_status", BOOL, F, "whether a representative is assigned"),
        Column("territory_id", STR, D, "sales territory"),
        Column("sales_rep_id", STR, D, "representative"),
    ),
    row_rules=(PairRule("patient_volume_order", "target_patient_volume", Comparison.AT_MOST, "total_patient_volume"),),
    feast=FeastSource(
        entities=(
            FeastEntity("hcp", SourceColumn("hcp_id", ("hcp_id",))),
            FeastEntity("territory", SourceColumn("territory_id", ("territory_id",))),
        ),
        event_time="last_interaction_date",
        created_time="last_interaction_date",
    ),
)
