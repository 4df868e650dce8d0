"""Does a frame of a contract table pass its schema, and then Great Expectations? Both are loaded on first use."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

from src.contracts.checking import FrameCheck, check_frame
from src.contracts.model import TableContract
from src.contracts.pandera_builder import build_pandera
from src.contracts.tables import ALIASES, TABLES, get_table
from src.mlops.quality.combined import CombinedValidation, SchemaValidation, combine
from src.mlops.quality.frames import at_positions, readable, row_labels

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import DataFrameSchema

    from src.mlops.quality.configuration import DataQualityConfig
    from src.mlops.quality.result import DataQualityResult

__all__ = [
    "PANDERA_SCHEMA_REGISTRY",
    "AgentActivitySchema",
    "BusinessMetricSchema",
    "CausalPathSchema",
    "CombinedValidation",
    "ContractSchema",
    "GEPanderaValidator",
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


def get_schema(name: str) -> type[ContractSchema]:
    """The schema of a table or alias; ContractViolation with the nearest names for any other."""
    return PANDERA_SCHEMA_REGISTRY[get_table(name).name]


def list_registered_schemas() -> list[str]:
    """Registry keys, aliases included, in alphabetical order."""
    return sorted(PANDERA_SCHEMA_REGISTRY)


def validate_dataframe(df: pd.DataFrame, data_source: str | TableContract, lazy: bool = True) -> SchemaValidation:
    """Check ``df`` against the contract of ``data_source``: a table's name, or a contract itself.

    All failures are listed, one per row and rule; with ``lazy=False`` only the first. The status is
    ``skipped`` where Pandera is not installed and ``error`` where it breaks down over a value.
    Rows are named by their labels, by positions from 0 where those are not unique or personal.
    Raises ContractViolation for an unknown source and for what is no frame with columns of distinct names.
    """
    table = data_source if isinstance(data_source, TableContract) else get_table(data_source)
    validation, _ = checked_frame(table, readable(df, table), lazy=lazy)
    return validation


def checked_frame(
    table: TableContract, frame: pd.DataFrame, *, lazy: bool = True, offset: int = 0
) -> tuple[SchemaValidation, FrameCheck | None]:
    """The validation of rows before which there were ``offset`` others, and the check at positions it rests on.

    Checked at positions since Pandera does not report every kind of label as it was.
    """
    try:
        check = check_frame(table, at_positions(frame))
    except ImportError as error:
        return _unchecked("skipped", table, f"{error.name or 'Pandera'} cannot be imported"), None
    except Exception as error:  # noqa: BLE001 - recorded, and never a pass
        return _unchecked("error", table, _reason(table, error)), None
    labels = row_labels(frame, table, offset)
    shown = [
        failure if failure.index is None else replace(failure, index=_label(labels, failure.index))
        for failure in (check.failures if lazy else check.failures[:1])
    ]
    status: Literal["passed", "failed"] = "passed" if check.passed else "failed"
    return SchemaValidation(status, tuple(shown), len(shown), len(frame), table.name), check


def _label(labels: pd.Index[Any], position: Hashable) -> Hashable:
    """The label at a position, as a plain Python value."""
    label = labels[cast("int", position)]
    return cast("Hashable", label.item() if hasattr(label, "item") else label)


def _unchecked(status: Literal["skipped", "error"], table: TableContract, reason: str) -> SchemaValidation:
    return SchemaValidation(status, (), 0, 0, table.name, reason)


def _reason(table: TableContract, error: Exception) -> str:
    """Type, place and message; a message may quote a value, so it is left out where there are personal ones."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    if table.personal_columns:
        return f"{where}; its message is withheld, since {table.name} has personal columns"
    return f"{where}: {error}"


class QualityValidator(Protocol):
    """What runs Great Expectations on a frame; ``src.mlops.data_quality.DataQualityValidator`` in production."""

    async def validate(
        self, df: pd.DataFrame, suite: str, /, *, check: FrameCheck | None = None, data_split: str | None = None
    ) -> DataQualityResult:
        """Run the suite of a table; ``check`` is what its contract says of ``df``, rows at positions."""
        ...


class GEPanderaValidator:
    """Pandera first, then Great Expectations, and one gate over both.

    ``dq`` runs the expectations (default: the shared validator). With ``fast_fail`` a frame that does not
    pass its schema never reaches Great Expectations; without it a frame that fails its schema is shown to
    both layers, so that a report can list everything. The verdict is the same either way. Without a verdict
    of the schema there is no frame that Great Expectations could read.
    """

    def __init__(
        self, dq: QualityValidator | None = None, *, fast_fail: bool = True, config: DataQualityConfig | None = None
    ) -> None:
        self._dq = dq
        self._fast_fail = fast_fail
        self._config = config

    async def validate(self, df: pd.DataFrame, data_source: str, *, split: str | None = None) -> CombinedValidation:
        """Validate ``df`` as rows of ``data_source``; ``split`` is noted in the result of Great Expectations.

        Raises ContractViolation for an unknown source and for what is no frame with columns of distinct names.
        """
        table = get_table(data_source)
        schema, check = await asyncio.to_thread(checked_frame, table, readable(df, table))
        quality = None
        if check is not None and (check.passed or not self._fast_fail):
            quality = await self._quality_validator().validate(df, table.name, check=check, data_split=split)
        return await asyncio.to_thread(combine, table, schema, quality, rows_named=self._rows_named())

    def _quality_validator(self) -> QualityValidator:
        if self._dq is None:
            from src.mlops.data_quality import get_data_quality_validator

            self._dq = get_data_quality_validator()
        return self._dq

    def _rows_named(self) -> int:
        if self._config is None:
            from src.mlops.quality.configuration import load_data_quality_config

            self._config = load_data_quality_config()
        return self._config.batches.rows_named
