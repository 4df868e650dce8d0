"""Does a frame of a contract table pass its schema? Pandera itself is loaded on first validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from src.contracts.checking import RuleFailure, check_frame
from src.contracts.pandera_builder import build_pandera
from src.contracts.tables import ALIASES, TABLES, get_table

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import DataFrameSchema

__all__ = [
    "PANDERA_SCHEMA_REGISTRY",
    "AgentActivitySchema",
    "BusinessMetricSchema",
    "CausalPathSchema",
    "ContractSchema",
    "HCPProfileSchema",
    "PatientJourneySchema",
    "PredictionSchema",
    "SchemaValidation",
    "TreatmentEventSchema",
    "TriggerSchema",
    "get_schema",
    "list_registered_schemas",
    "validate_dataframe",
]


class ContractSchema:
    """Schema of one contract table; ``table_name`` says which."""

    table_name: ClassVar[str]

    @classmethod
    def to_schema(cls) -> DataFrameSchema:
        """The Pandera schema: every rule of the contract, coercing, further columns allowed."""
        return build_pandera(TABLES[cls.table_name])

    @classmethod
    def validate(cls, frame: pd.DataFrame, *, lazy: bool = False) -> pd.DataFrame:
        """Return the coerced frame; raises ``pandera.errors.SchemaError``, or ``SchemaErrors`` when ``lazy``."""
        coerced: pd.DataFrame = cls.to_schema().validate(frame, lazy=lazy)
        return coerced


class BusinessMetricSchema(ContractSchema):
    """business_metrics."""

    table_name = "business_metrics"


class PredictionSchema(ContractSchema):
    """ml_predictions."""

    table_name = "ml_predictions"


class TriggerSchema(ContractSchema):
    """triggers."""

    table_name = "triggers"


class PatientJourneySchema(ContractSchema):
    """patient_journeys."""

    table_name = "patient_journeys"


class CausalPathSchema(ContractSchema):
    """causal_paths."""

    table_name = "causal_paths"


class AgentActivitySchema(ContractSchema):
    """agent_activities."""

    table_name = "agent_activities"


class HCPProfileSchema(ContractSchema):
    """hcp_profiles."""

    table_name = "hcp_profiles"


class TreatmentEventSchema(ContractSchema):
    """treatment_events."""

    table_name = "treatment_events"


_SCHEMAS: tuple[type[ContractSchema], ...] = (
    BusinessMetricSchema,
    PredictionSchema,
    TriggerSchema,
    PatientJourneySchema,
    CausalPathSchema,
    AgentActivitySchema,
    HCPProfileSchema,
    TreatmentEventSchema,
)

PANDERA_SCHEMA_REGISTRY: Mapping[str, type[ContractSchema]] = MappingProxyType(
    {schema.table_name: schema for schema in _SCHEMAS}
    | {alias: schema for alias, name in ALIASES.items() for schema in _SCHEMAS if schema.table_name == name}
)


@dataclass(frozen=True, slots=True)
class SchemaValidation:
    """How a frame fared. ``skipped`` and ``error`` are for gates that could not run the schema: neither is a pass."""

    status: Literal["passed", "failed", "skipped", "error"]
    errors: tuple[RuleFailure, ...]
    error_count: int
    rows_validated: int
    schema_name: str

    @property
    def passed(self) -> bool:
        """Whether the schema ran and nothing was wrong."""
        return self.status == "passed"


def get_schema(name: str) -> type[ContractSchema]:
    """The schema of a table or alias; ContractViolation with the nearest names for any other."""
    return PANDERA_SCHEMA_REGISTRY[get_table(name).name]


def list_registered_schemas() -> list[str]:
    """Registry keys, aliases included, in alphabetical order."""
    return sorted(PANDERA_SCHEMA_REGISTRY)


def validate_dataframe(df: pd.DataFrame, data_source: str, lazy: bool = True) -> SchemaValidation:
    """Check ``df`` against the contract of ``data_source``.

    All failures are listed, one per row and rule; with ``lazy=False`` only the first.
    Raises ContractViolation for an unknown source.
    """
    table = get_table(data_source)
    failures = check_frame(table, df).failures
    shown = failures if lazy else failures[:1]
    return SchemaValidation("failed" if failures else "passed", shown, len(shown), len(df), table.name)
