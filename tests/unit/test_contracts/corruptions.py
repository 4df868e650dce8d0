"""How is each rule of a table broken by changing one legal row?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from src.contracts.describe import ColumnRule, Rule, RuleKind, column_rules
from src.contracts.model import Column, Dtype, Range, TableContract
from tests.unit.test_contracts.frames import DAY, TIME, clean_row

Row = dict[str, Any]


@dataclass(frozen=True)
class Corruption:
    """``change`` breaks ``rule`` in a row; it is given that row and the legal row before it."""

    rule: Rule
    change: Callable[[Row, Row], None]


CROSSED: dict[str, list[Callable[[Row, Row], None]]] = {
    "confidence_interval_order": [lambda row, _: row.update(confidence_interval_lower=70.0)],
    "achievement_rate_ratio": [lambda row, _: row.update(achievement_rate=row["achievement_rate"] * 1.05)],
    "metric_key": [
        lambda row, other: row.update({name: other[name] for name in ("metric_name", "metric_date", "brand", "region")})
    ],
    "subject_presence": [lambda row, _: row.update(patient_id=None, hcp_id=None)],
    "outcome_order": [lambda row, _: row.update(outcome_recorded_at=TIME - pd.Timedelta(seconds=1))],
    "no_future_feature": [
        lambda row, _: row.update(features_available_at_prediction={"x": "2024-03-01T09:00:01Z"}),
        lambda row, _: row.update(features_available_at_prediction={"x": "2024-02-01T00:00:00Z", "y": "unknown"}),
        lambda row, _: row.update(features_available_at_prediction=["2024-02-01T00:00:00Z"]),
        lambda row, _: row.update(features_available_at_prediction={"x": None}),
    ],
    "expiration_order": [lambda row, _: row.update(expiration_date=DAY - pd.Timedelta(days=1))],
    "view_order": [lambda row, _: row.update(view_timestamp=TIME - pd.Timedelta(seconds=1))],
    "journey_order": [lambda row, _: row.update(journey_end_date=DAY - pd.Timedelta(days=1))],
    "ingestion_order": [lambda row, _: row.update(ingestion_timestamp=TIME - pd.Timedelta(seconds=1))],
    "one_split_per_patient": [lambda row, _: row.update(data_split="test")],
    "ends_differ": [lambda row, _: row.update(end_node=row["start_node"])],
    "path_length_edges": [
        lambda row, _: row.update(path_length=3),
        lambda row, _: row.update(intermediate_nodes=None),
    ],
    "no_repeated_node": [
        lambda row, _: row.update(intermediate_nodes=["rep_calls"]),
        lambda row, _: row.update(intermediate_nodes=["awareness", "awareness"], path_length=3),
    ],
    "error_presence": [
        lambda row, _: row.update(error_type=None),
        lambda row, _: row.update(error_message=None),
        lambda row, _: row.update(status="completed"),
    ],
    "patient_volume_order": [lambda row, _: row.update(target_patient_volume=101)],
    "sequence_in_journey": [lambda row, other: row.update(sequence_number=other["sequence_number"])],
    "event_within_journey": [
        lambda row, _: row.update(event_date=DAY - pd.Timedelta(days=1)),
        lambda row, _: row.update(event_date=DAY + pd.Timedelta(days=91)),
    ],
}


def corruptions(table: TableContract) -> Iterator[Corruption]:
    """At least one corruption for every rule that a row can break (text columns take anything as text)."""
    for column in table.columns:
        for rule in column_rules(column):
            if rule.kind is RuleKind.PRESENT or (rule.kind is RuleKind.TYPE and column.dtype is Dtype.STR):
                continue
            for value in _bad_values(rule):
                yield Corruption(rule, _set(column.name, value))
            if rule.kind is RuleKind.UNIQUE:
                yield Corruption(rule, _copy(column.name))
    for row_rule in table.row_rules:
        for change in CROSSED[row_rule.name]:
            yield Corruption(row_rule, change)


def corrupted_rows(table: TableContract, chosen: list[Corruption]) -> tuple[list[Row], list[int]]:
    """Legal rows with one corruption in every second one, and the positions of those."""
    rows = [clean_row(table, i) for i in range(2 * len(chosen) + 2)]
    positions = [2 * number + 1 for number in range(len(chosen))]
    for position, corruption in zip(positions, chosen, strict=True):
        corruption.change(rows[position], rows[position - 1])
    return rows, positions


def _set(name: str, value: Any) -> Callable[[Row, Row], None]:
    return lambda row, _: row.update({name: value})


def _copy(name: str) -> Callable[[Row, Row], None]:
    return lambda row, other: row.update({name: other[name]})


def _bad_values(rule: ColumnRule) -> list[Any]:
    column = rule.column
    listed = column.dtype is Dtype.LIST
    return {
        RuleKind.NOT_NULL: [None],
        RuleKind.TYPE: _unreadable(column),
        RuleKind.FINITE: [float("inf"), float("-inf")],
        RuleKind.RANGE: _outside(column.range or Range()),
        RuleKind.ALLOWED: [["nonsense"]] if listed else ["nonsense"],
        RuleKind.PATTERN: [["L50.1", "###"]] if listed else ["###", f"{_example(column)}\n"],
        RuleKind.SIZE: [{"text": "x" * (column.max_bytes or 0)}],
    }.get(rule.kind, [])


def _example(column: Column) -> str:
    return {"npi": "1234567890", "zip_code": "021", "state": "NY"}.get(column.name, "L50.1")


def _unreadable(column: Column) -> list[Any]:
    return {
        Dtype.INT: ["nonsense", "1.5"],
        Dtype.LIST: ["nonsense", '["a", null]'],
        Dtype.JSON: ["{nonsense", "3"],
    }.get(column.dtype, ["nonsense"])


def _outside(bounds: Range) -> list[float]:
    below = [] if bounds.minimum is None else [bounds.minimum if bounds.above else bounds.minimum - 1]
    return below + ([] if bounds.maximum is None else [bounds.maximum + 1])
