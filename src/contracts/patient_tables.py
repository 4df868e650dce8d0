"""What is promised about patient journeys and the events within them?"""

from __future__ import annotations

from functools import partial

from src.contracts.enums import Brand, DataSplit, EventType, JourneyStage, JourneyStatus, Region, Vendor
from src.contracts.model import (
    NON_NEGATIVE,
    UNIT,
    Column,
    Dtype,
    FeastEntity,
    FeastSource,
    ForeignKey,
    Range,
    Role,
    SourceColumn,
    TableContract,
)
from src.contracts.rules import Comparison, OneValuePerRule, PairRule, UniqueTogetherRule, WithinParentRule

STR, INT, FLOAT, BOOL = Dtype.STR, Dtype.INT, Dtype.FLOAT, Dtype.BOOL
DATE, TS, JSON, LIST = Dtype.DATE, Dtype.TS, Dtype.JSON, Dtype.LIST
K, T, D, F, Y, A, P = Role
mandatory = partial(Column, nullable=False, required=True)
identifier = partial(Column, nullable=False, required=True, unique=True, critical=True)

# ICD-10-CM: letter, digit, digit or letter, then up to four more after a point ("C50.911", "L50.1", "D59.5").
ICD10 = r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?"

PATIENT_JOURNEYS = TableContract(
    name="patient_journeys",
    primary_key="patient_journey_id",
    suite_name="patient_journeys_suite",
    columns=(
        identifier("patient_journey_id", STR, K, "one course of disease and treatment"),
        mandatory("patient_id", STR, K, "pseudonymous patient", critical=True, personal=True),
        Column("patient_hash", STR, P, "salted SHA-256 digest, hexadecimal", regex=r"[0-9a-f]{64}"),
        mandatory("journey_start_date", DATE, T, "index date"),
        Column("journey_end_date", DATE, T, "empty: still running"),
        Column("journey_duration_days", INT, F, "days from start to end or last sight", range=NON_NEGATIVE),
        mandatory("journey_stage", STR, D, "stage of the journey", allowed=JourneyStage),
        mandatory("journey_status", STR, D, "status of the journey", allowed=JourneyStatus),
        Column("primary_diagnosis_code", STR, F, "ICD-10 code", regex=ICD10),
        Column("secondary_diagnosis_codes", LIST, F, "ICD-10 codes", regex=ICD10),
        Column("brand", STR, D, "brand concerned", allowed=Brand),
        Column("age_group", STR, F, "age in years at start", allowed=("18-34", "35-49", "50-64", "65+")),
        Column("gender", STR, F, "U: unknown", allowed=("F", "M", "U")),
        mandatory("geographic_region", STR, D, "census region", allowed=Region),
        Column("state", STR, D, "two letters", regex=r"[A-Z]{2}"),
        Column("zip_code", STR, P, "first three digits only", regex=r"[0-9]{3}"),
        Column("insurance_type", STR, F, "main payer", allowed=("commercial", "medicare", "medicaid", "uninsured")),
        Column("data_quality_score", FLOAT, A, "completeness and plausibility of the record", range=UNIT),
        Column("comorbidities", LIST, F, "other diseases"),
        Column("risk_score", FLOAT, F, "risk of progression", range=UNIT),
        Column("data_source", STR, A, "vendor of the record", allowed=Vendor),
        Column("data_sources_matched", LIST, A, "vendors that hold the patient", allowed=Vendor),
        Column("source_match_confidence", FLOAT, A, "confidence of the match", range=UNIT),
        Column("source_stacking_flag", BOOL, A, "whether several sources were combined"),
        Column("source_combination_method", STR, A, "how they were combined"),
        Column("source_timestamp", TS, A, "when the vendor wrote the record"),
        Column("ingestion_timestamp", TS, A, "when it was taken in"),
        Column("data_lag_hours", FLOAT, A, "hours from event to record", range=NON_NEGATIVE),
        Column("data_split", STR, A, "split of the modelling data", allowed=DataSplit),
        Column("split_config_id", STR, A, "configuration that assigned the split"),
    ),
    row_rules=(
        PairRule("journey_order", "journey_start_date", Comparison.AT_MOST, "journey_end_date"),
        PairRule("ingestion_order", "source_timestamp", Comparison.AT_MOST, "ingestion_timestamp"),
        OneValuePerRule("one_split_per_patient", "patient_id", "data_split", critical=True),
    ),
    feast=FeastSource(
        entities=(
            FeastEntity("patient", SourceColumn("patient_id", ("patient_id",))),
            FeastEntity("patient_brand", SourceColumn("patient_brand_id", ("patient_id", "brand"))),
        ),
        event_time="journey_start_date",
        created_time="ingestion_timestamp",
    ),
)

TREATMENT_EVENTS = TableContract(
    name="treatment_events",
    primary_key="treatment_event_id",
    suite_name="treatment_events_suite",
    columns=(
        identifier("treatment_event_id", STR, K, "one event"),
        mandatory("patient_journey_id", STR, K, "journey it belongs to"),
        mandatory("patient_id", STR, K, "pseudonymous patient of that journey"),
        Column("hcp_id", STR, K, "professional who acted"),
        mandatory("event_date", DATE, T, "day of the event", critical=True),
        mandatory("event_type", STR, D, "kind of event", allowed=EventType),
        Column("event_subtype", STR, D, "narrower kind"),
        Column("brand", STR, D, "brand concerned", allowed=Brand),
        Column("drug_name", STR, D, "drug"),
        Column("drug_ndc", STR, D, "national drug code"),
        Column("drug_class", STR, D, "class of drug"),
        Column("dosage", STR, F, "dose as written"),
        Column("duration_days", INT, F, "days of treatment", range=NON_NEGATIVE),
        Column("icd_codes", LIST, F, "diagnosis codes"),
        Column("cpt_codes", LIST, F, "procedure codes"),
        Column("loinc_codes", LIST, F, "laboratory codes"),
        Column("lab_values", JSON, F, "laboratory results by LOINC code"),
        Column(
            "location_type",
            STR,
            D,
            "where it took place",
            allowed=("office", "hospital", "lab", "pharmacy", "infusion"),
        ),
        Column("cost", FLOAT, F, "US dollars", range=NON_NEGATIVE),
        Column("outcome_indicator", STR, Y, "what came of it", allowed=("improved", "stable", "worsened", "unknown")),
        Column("adverse_event_flag", BOOL, Y, "whether harm was reported"),
        Column("discontinuation_flag", BOOL, Y, "whether treatment ended"),
        Column("discontinuation_reason", STR, Y, "why it ended"),
        Column("sequence_number", INT, A, "position within the journey, from 1", range=Range(1)),
        Column("days_from_diagnosis", INT, F, "days since diagnosis", range=NON_NEGATIVE),
        Column("previous_treatment", STR, F, "treatment before"),
        Column("next_treatment", STR, Y, "treatment after"),
    ),
    row_rules=(
        UniqueTogetherRule("sequence_in_journey", ("patient_journey_id", "sequence_number"), nulls_equal=False),
        WithinParentRule(
            "event_within_journey",
            "event_date",
            parent="patient_journeys",
            key="patient_journey_id",
            start="journey_start_date",
            end="journey_end_date",
            critical=True,
        ),
    ),
    foreign_keys=(
        ForeignKey(
            "journey_fk",
            ("patient_journey_id", "patient_id"),
            "patient_journeys",
            ("patient_journey_id", "patient_id"),
        ),
        ForeignKey("hcp_fk", ("hcp_id",), "hcp_profiles", ("hcp_id",)),
    ),
    feast=FeastSource(
        entities=(
            FeastEntity("patient", SourceColumn("patient_id", ("patient_id",))),
            FeastEntity("patient_brand", SourceColumn("patient_brand_id", ("patient_id", "brand"))),
            FeastEntity("hcp_brand", SourceColumn("hcp_brand_id", ("hcp_id", "brand"))),
        ),
        event_time="event_date",
        created_time="event_date",
    ),
)
