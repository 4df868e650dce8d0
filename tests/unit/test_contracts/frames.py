"""What does a small, complete and legal frame of each table look like?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from src.contracts.model import Column, Dtype, TableContract
from src.contracts.tables import get_table

DAY = pd.Timestamp("2024-03-01")
TIME = pd.Timestamp("2024-03-01T09:00:00Z")

FITTING: dict[str, dict[str, Any]] = {
    "business_metrics": {
        "value": lambda i: 50.0 + i,
        "target": lambda i: 100.0,
        "achievement_rate": lambda i: (50.0 + i) / 100.0,
        "metric_name": lambda i: f"BU{i}",
        "confidence_interval_lower": lambda i: 40.0,
        "confidence_interval_upper": lambda i: 60.0,
    },
    "ml_predictions": {
        "outcome_recorded_at": lambda i: TIME + pd.Timedelta(days=30),
        "features_available_at_prediction": lambda i: {"rep_calls": "2024-02-28T00:00:00Z"},
    },
    "triggers": {
        "expiration_date": lambda i: DAY,
        "delivery_timestamp": lambda i: TIME,
        "view_timestamp": lambda i: TIME + pd.Timedelta(hours=i),
    },
    "patient_journeys": {
        "patient_id": lambda i: f"pat_{i // 2:06d}",
        "patient_hash": lambda i: f"{i:064x}",
        "journey_end_date": lambda i: DAY + pd.Timedelta(days=90),
        "primary_diagnosis_code": lambda i: "L50.1",
        "secondary_diagnosis_codes": lambda i: ["C50.911", "D59"],
        "state": lambda i: "NY",
        "zip_code": lambda i: "021",
        "data_split": lambda i: "train",
    },
    "causal_paths": {
        "start_node": lambda i: "rep_calls",
        "end_node": lambda i: "nrx",
        "intermediate_nodes": lambda i: ["awareness"],
        "path_length": lambda i: 2,
        "causal_chain": lambda i: ["rep_calls", "awareness", "nrx"],
    },
    "agent_activities": {
        "status": lambda i: "completed" if i % 2 == 0 else "failed",
        "error_type": lambda i: None if i % 2 == 0 else "TooFewRows",
        "error_message": lambda i: None if i % 2 == 0 else "12 rows",
        "trace_id": lambda i: f"018e2f3a-0000-7000-8000-{i:012d}",
    },
    "hcp_profiles": {
        "npi": lambda i: f"{1_000_000_000 + i}",
        "target_patient_volume": lambda i: 10,
        "total_patient_volume": lambda i: 100,
    },
    "treatment_events": {
        "patient_journey_id": lambda i: "patient_journey_id_0",
        "patient_id": lambda i: "pat_000000",
        "hcp_id": lambda i: "hcp_id_0",
        "event_date": lambda i: DAY + pd.Timedelta(days=i % 90),
        "sequence_number": lambda i: i + 1,
    },
}


def clean_frame(name: str, rows: int = 4) -> pd.DataFrame:
    """A legal frame with every column of the contract."""
    table = get_table(name)
    return pd.DataFrame([clean_row(table, i) for i in range(rows)], columns=list(table.column_names))


def clean_row(table: TableContract, i: int) -> dict[str, Any]:
    """Row ``i`` of the legal frame, every column filled."""
    fitting = FITTING[table.name]
    return {
        column.name: fitting[column.name](i) if column.name in fitting else _value(column, i)
        for column in table.columns
    }


def _value(column: Column, i: int) -> Any:
    word = column.words[i % len(column.words)] if column.words else f"{column.name}_{i}"
    lowest = 1 if column.range is not None and (column.range.minimum or 0) == 1 else 0
    return {
        Dtype.STR: word,
        Dtype.INT: lowest + i % 3,
        Dtype.FLOAT: 0.25 + 0.1 * (i % 3),
        Dtype.BOOL: i % 2 == 0,
        Dtype.DATE: DAY,
        Dtype.TS: TIME,
        Dtype.JSON: {"a": i},
        Dtype.LIST: [word],
    }[column.dtype]
