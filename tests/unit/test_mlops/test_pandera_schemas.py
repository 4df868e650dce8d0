"""Does each schema accept legal frames, refuse each broken rule, and list every failure?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandera.errors import SchemaError, SchemaErrors

from src.contracts import enums
from src.contracts.tables import TABLES
from src.errors import ContractViolation
from src.mlops import pandera_schemas
from src.mlops.pandera_schemas import (
    PANDERA_SCHEMA_REGISTRY,
    AgentActivitySchema,
    BusinessMetricSchema,
    CausalPathSchema,
    ContractSchema,
    HCPProfileSchema,
    PatientJourneySchema,
    PredictionSchema,
    TreatmentEventSchema,
    TriggerSchema,
    get_schema,
    list_registered_schemas,
    validate_dataframe,
)
from tests.unit.test_contracts.frames import clean_frame

ALL = (
    BusinessMetricSchema, PredictionSchema, TriggerSchema, PatientJourneySchema,
    CausalPathSchema, AgentActivitySchema, HCPProfileSchema, TreatmentEventSchema,
)  # fmt: skip


def _with(schema: type[ContractSchema], **cells: Any) -> pd.DataFrame:
    """A legal frame with the first row's ``cells`` replaced."""
    frame = clean_frame(schema.table_name).astype(dict.fromkeys(cells, object))
    for name, value in cells.items():
        frame.at[0, name] = value
    return frame


@pytest.mark.parametrize("schema", ALL)
def test_a_legal_frame_is_accepted_and_coerced(schema: type[ContractSchema]) -> None:
    validated = schema.validate(clean_frame(schema.table_name))
    assert len(validated) == 4
    times = [column.name for column in TABLES[schema.table_name].columns if column.dtype == "ts"]
    assert {str(validated[name].dtype) for name in times} <= {"datetime64[ns, UTC]"}


@pytest.mark.parametrize(
    ("schema", "cells"),
    [
        (BusinessMetricSchema, {"metric_id": "metric_id_1"}),
        (BusinessMetricSchema, {"metric_id": None}),
        (BusinessMetricSchema, {"metric_date": None}),
        (BusinessMetricSchema, {"metric_date": "2024-13-01"}),
        (BusinessMetricSchema, {"value": None}),
        (BusinessMetricSchema, {"value": float("inf")}),
        (BusinessMetricSchema, {"brand": "Humira"}),
        (BusinessMetricSchema, {"region": "nordost"}),
        (BusinessMetricSchema, {"achievement_rate": -0.1}),
        (BusinessMetricSchema, {"statistical_significance": 1.01}),
        (BusinessMetricSchema, {"sample_size": -1}),
        (PredictionSchema, {"prediction_value": 1.01}),
        (PredictionSchema, {"prediction_value": -0.01}),
        (PredictionSchema, {"confidence_score": 1.01}),
        (PredictionSchema, {"prediction_type": "guess"}),
        (PredictionSchema, {"outcome_window_days": 0}),
        (TriggerSchema, {"priority": "urgent"}),
        (TriggerSchema, {"lead_time_days": -1}),
        (TriggerSchema, {"confidence_score": 2}),
        (TriggerSchema, {"confidence_score": -0.1}),
        (TriggerSchema, {"acceptance_status": "maybe"}),
        (PatientJourneySchema, {"journey_stage": "limbo"}),
        (PatientJourneySchema, {"journey_status": "gone"}),
        (PatientJourneySchema, {"brand": "Humira"}),
        (PatientJourneySchema, {"geographic_region": None}),
        (PatientJourneySchema, {"geographic_region": "nordost"}),
        (PatientJourneySchema, {"source_match_confidence": 1.1}),
        (PatientJourneySchema, {"zip_code": "02139"}),
        (CausalPathSchema, {"causal_effect_size": 1.01}),
        (CausalPathSchema, {"causal_effect_size": -1.01}),
        (CausalPathSchema, {"confidence_level": -0.1}),
        (CausalPathSchema, {"p_value": 1.1}),
        (CausalPathSchema, {"p_value": -0.1}),
        (CausalPathSchema, {"path_length": 0}),
        (CausalPathSchema, {"method_used": "divination"}),
        (AgentActivitySchema, {"agent_tier": "tier_7"}),
        (AgentActivitySchema, {"processing_duration_ms": -1}),
        (AgentActivitySchema, {"agent_name": "gap_analyzer"}),
        (HCPProfileSchema, {"decile": 11}),
        (HCPProfileSchema, {"specialty": "Astrology"}),
        (TreatmentEventSchema, {"cost": -1}),
        (TreatmentEventSchema, {"event_type": "picnic"}),
    ],
)
def test_each_broken_rule_is_refused(schema: type[ContractSchema], cells: dict[str, Any]) -> None:
    with pytest.raises(SchemaErrors):
        schema.validate(_with(schema, **cells), lazy=True)
    validation = validate_dataframe(_with(schema, **cells), schema.table_name)
    assert not validation.passed
    assert {column for error in validation.errors for column in error.column.split(", ")} >= set(cells)


@pytest.mark.parametrize(
    ("schema", "column", "words"),
    [
        (PredictionSchema, "prediction_type", enums.PredictionType),
        (TriggerSchema, "priority", enums.Priority),
        (PatientJourneySchema, "journey_stage", enums.JourneyStage),
        (PatientJourneySchema, "journey_status", enums.JourneyStatus),
        (AgentActivitySchema, "agent_tier", enums.AgentTier),
    ],
)
def test_every_word_of_a_vocabulary_is_accepted(schema: type[ContractSchema], column: str, words: Any) -> None:
    for word in words:
        schema.validate(_with(schema, **{column: str(word)}))


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_the_ends_of_a_range_are_inside(bound: float) -> None:
    PredictionSchema.validate(_with(PredictionSchema, prediction_value=bound, confidence_score=bound))


@pytest.mark.parametrize(
    ("ratio", "accepted"), [(0.5, True), (0.504, True), (0.496, True), (0.506, False), (0.494, False)]
)
def test_achievement_rate_may_deviate_by_one_percent(ratio: float, accepted: bool) -> None:
    frame = _with(BusinessMetricSchema, value=50.0, target=100.0, achievement_rate=ratio)
    assert validate_dataframe(frame, "business_metrics").passed is accepted


def test_an_empty_region_counts_as_a_value_of_the_metric_key() -> None:
    key = {"metric_name": "BU5", "brand": None, "region": None}
    frame = clean_frame("business_metrics").assign(**key)
    assert {error.rule for error in validate_dataframe(frame, "business_metrics").errors} == {"metric_key"}


def test_lazy_validation_lists_every_failure_with_column_value_and_row() -> None:
    frame = _with(TriggerSchema, priority="urgent", lead_time_days=-3)
    validation = validate_dataframe(frame, "triggers")
    assert (validation.status, validation.error_count, validation.rows_validated) == ("failed", 2, 4)
    assert {(error.column, error.value, error.index) for error in validation.errors} == {
        ("priority", "urgent", 0),
        ("lead_time_days", "-3", 0),
    }


def test_empty_and_infinite_values_are_listed_together() -> None:
    frame = _with(BusinessMetricSchema, metric_name=None, month_over_month_change=float("inf"))
    errors = validate_dataframe(frame, "business_metrics").errors
    assert {error.rule for error in errors} == {"metric_name_not_null", "month_over_month_change_finite"}


def test_eager_validation_stops_at_the_first_failure() -> None:
    frame = _with(TriggerSchema, priority="urgent", lead_time_days=-3)
    assert validate_dataframe(frame, "triggers", lazy=False).error_count == 1
    with pytest.raises(SchemaError):
        TriggerSchema.validate(frame)


def test_a_passing_frame_has_no_errors() -> None:
    validation = validate_dataframe(clean_frame("triggers"), "triggers")
    assert (validation.status, validation.errors, validation.schema_name) == ("passed", (), "triggers")


def test_the_registry_holds_every_table_and_the_alias() -> None:
    assert list_registered_schemas() == sorted([*TABLES, "predictions"])
    assert PANDERA_SCHEMA_REGISTRY["predictions"] is PredictionSchema
    assert {get_schema(name) for name in TABLES} == set(ALL)


def test_an_unknown_source_is_an_error_not_another_schema() -> None:
    with pytest.raises(ContractViolation, match="no table 'sales'"):
        validate_dataframe(pd.DataFrame(), "sales")
    with pytest.raises(ContractViolation, match="did you mean 'triggers'"):
        get_schema("trigger")


def test_an_empty_frame_lacks_every_required_column() -> None:
    errors = validate_dataframe(pd.DataFrame(), "triggers").errors
    assert {error.column for error in errors} == {
        column.name for column in TABLES["triggers"].columns if column.required
    }


def test_star_import_works_and_exports_what_it_says() -> None:
    code = "from src.mlops.pandera_schemas import *; print('Pandera OK')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Pandera OK"
    assert all(hasattr(pandera_schemas, name) for name in pandera_schemas.__all__)


def test_star_import_loads_no_data_library() -> None:
    code = "import sys; from src.mlops.pandera_schemas import *; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "pandera", "great_expectations", "sklearn"}.intersection(done.stdout.split())


def test_the_module_stays_short() -> None:
    assert len(Path(str(pandera_schemas.__file__)).read_text(encoding="utf-8").splitlines()) < 450
