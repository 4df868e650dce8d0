"""Which tables does the data contract cover, and what does it promise about each?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from src.contracts.business_tables import BUSINESS_METRICS, HCP_PROFILES, TRIGGERS
from src.contracts.model import TableContract
from src.contracts.model_tables import AGENT_ACTIVITIES, CAUSAL_PATHS, ML_PREDICTIONS
from src.contracts.patient_tables import PATIENT_JOURNEYS, TREATMENT_EVENTS
from src.errors import ContractViolation, nearest_names

# Parents come before the tables that refer to them, so that creating and loading in this order works.
TABLES: Mapping[str, TableContract] = MappingProxyType(
    {
        table.name: table
        for table in (
            BUSINESS_METRICS,
            ML_PREDICTIONS,
            TRIGGERS,
            PATIENT_JOURNEYS,
            CAUSAL_PATHS,
            AGENT_ACTIVITIES,
            HCP_PROFILES,
            TREATMENT_EVENTS,
        )
    }
)

PERSONAL_COLUMNS = frozenset[str]().union(*(table.personal_columns for table in TABLES.values()))
"""Names of columns that hold personal data in any table."""

ALIASES: Mapping[str, str] = MappingProxyType({"predictions": "ml_predictions"})


def get_table(name: str) -> TableContract:
    """The contract of table ``name`` (or an alias of it); ContractViolation with the nearest names otherwise."""
    try:
        return TABLES[ALIASES.get(name, name)]
    except KeyError:
        raise ContractViolation(f"no table '{name}' in the data contract; {nearest_names(name, TABLES)}") from None
