"""Do all layers built from the contract accept the same rows and refuse the same ones?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import psycopg
import pytest

from src.contracts.checking import check_frame
from src.contracts.describe import ColumnRule, RuleKind, find_rule, table_rules
from src.contracts.expectations import build_expectations, expressible
from src.contracts.model import Dtype, TableContract
from src.contracts.rules import Scope
from src.contracts.tables import TABLES
from tests.unit.test_contracts.corruptions import Corruption, corrupted_rows, corruptions
from tests.unit.test_contracts.frames import clean_frame, clean_row
from tests.unit.test_contracts.layers import insert, run_suite

EACH_TABLE = pytest.mark.parametrize("name", list(TABLES))
pytestmark = pytest.mark.integration


def _frame(table: TableContract, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(table.column_names)).astype(
        {column.name: object for column in table.columns}
    )


@EACH_TABLE
def test_every_rule_has_a_corruption(name: str) -> None:
    table = TABLES[name]
    broken = {corruption.rule.name for corruption in corruptions(table)}
    never_in_a_row = {
        rule.name
        for rule in table_rules(table)
        if isinstance(rule, ColumnRule)
        and (rule.kind is RuleKind.PRESENT or (rule.kind is RuleKind.TYPE and rule.column.dtype is Dtype.STR))
    }
    assert broken | never_in_a_row == {rule.name for rule in table_rules(table)}


@EACH_TABLE
def test_pandera_names_the_row_and_rule_of_each_corruption_and_no_other_row(name: str) -> None:
    table = TABLES[name]
    chosen = [corruption for corruption in corruptions(table) if corruption.rule.scope is not Scope.DATABASE]
    rows, positions = corrupted_rows(table, chosen)
    failures = check_frame(table, _frame(table, rows)).failures
    found = {(failure.index, failure.rule) for failure in failures}
    expected = {(position, corruption.rule.name) for position, corruption in zip(positions, chosen, strict=True)}
    assert expected - found == set()
    assert {index for index, _ in found} == set(positions)


@EACH_TABLE
def test_pandera_names_each_required_column_that_is_missing(name: str) -> None:
    table = TABLES[name]
    required = [column.name for column in table.columns if column.required]
    failures = check_frame(table, clean_frame(name).drop(columns=required)).failures
    missing = {failure.rule for failure in failures if failure.index is None}
    assert missing == {f"{column}_present" for column in required}


@EACH_TABLE
def test_pandera_accepts_a_frame_with_required_columns_only(name: str) -> None:
    table = TABLES[name]
    columns = [column.name for column in table.columns if column.required]
    needed = {"ml_predictions": ["hcp_id"], "agent_activities": ["error_type", "error_message"]}
    frame = clean_frame(name)[[*columns, *needed.get(name, [])]]
    if name == "causal_paths":
        frame = frame.assign(path_length=1)
    assert check_frame(table, frame).failures == ()


# Great Expectations -------------------------------------------------------------------------------


@EACH_TABLE
def test_great_expectations_passes_the_clean_frame(name: str, gx_context: Any) -> None:
    table = TABLES[name]
    declarations = build_expectations(table)
    results = run_suite(gx_context, f"clean_{name}", check_frame(table, clean_frame(name)).frame, declarations)
    assert set(results) == {declaration.id for declaration in declarations}
    assert [key for key, result in results.items() if not result.success] == []


@EACH_TABLE
def test_great_expectations_refuses_each_corrupted_row(name: str, gx_context: Any) -> None:
    table = TABLES[name]
    chosen = [corruption for corruption in corruptions(table) if corruption.rule.name in expressible(table)]
    rows, positions = corrupted_rows(table, chosen)
    frame = check_frame(table, _frame(table, rows)).frame
    results = run_suite(gx_context, f"corrupt_{name}", frame, build_expectations(table))
    for position, corruption in zip(positions, chosen, strict=True):
        outcomes = [results[key] for key in results if key.split("#")[0] == f"{name}.{corruption.rule.name}"]
        refused = {index for outcome in outcomes for index in outcome.result.get("unexpected_index_list") or []}
        assert position in refused, corruption.rule.name
        assert not all(outcome.success for outcome in outcomes)


@EACH_TABLE
def test_great_expectations_refuses_missing_columns_and_an_empty_frame(name: str, gx_context: Any) -> None:
    table = TABLES[name]
    declarations = tuple(
        declaration
        for declaration in build_expectations(table)
        if declaration.type in ("expect_column_to_exist", "expect_table_row_count_to_be_between")
    )
    results = run_suite(gx_context, f"missing_{name}", pd.DataFrame({"other": []}), declarations)
    assert len(results) == 1 + sum(column.required for column in table.columns)
    assert not any(result.success for result in results.values())


# PostgreSQL ---------------------------------------------------------------------------------------


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as opened:
        yield opened


def _insert_parents(connection: psycopg.Connection[Any], table: TableContract) -> None:
    for key in table.foreign_keys:
        parent = TABLES[key.parent]
        insert(connection, parent, clean_row(parent, 0))


@EACH_TABLE
def test_postgresql_takes_the_clean_frame(name: str, connection: psycopg.Connection[Any]) -> None:
    table = TABLES[name]
    _insert_parents(connection, table)
    frame = check_frame(table, clean_frame(name)).frame
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        insert(connection, table, row)
    (count,) = connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() or (0,)
    assert count == len(frame)


@EACH_TABLE
def test_postgresql_refuses_each_corrupted_row_for_the_same_reason(
    name: str, connection: psycopg.Connection[Any]
) -> None:
    table = TABLES[name]
    chosen = list(corruptions(table))
    rows, positions = corrupted_rows(table, chosen)
    reasons = _reasons(table, rows)
    _insert_parents(connection, table)
    for position, corruption in zip(positions, chosen, strict=True):
        insert(connection, table, rows[position - 1])
        with pytest.raises((psycopg.errors.IntegrityError, psycopg.errors.DataError)) as caught:
            insert(connection, table, rows[position])
        named = _named_rule(table, caught.value)
        if corruption.rule.scope is Scope.DATABASE:
            assert named == corruption.rule.name
        elif named is not None:
            assert named in reasons[position], corruption.rule.name


def _reasons(table: TableContract, rows: list[dict[str, Any]]) -> dict[Any, set[str]]:
    reasons: dict[Any, set[str]] = {}
    for failure in check_frame(table, _frame(table, rows)).failures:
        reasons.setdefault(failure.index, set()).add(failure.rule)
    return reasons


def _named_rule(table: TableContract, error: psycopg.Error) -> str | None:
    """The rule behind the constraint or column that PostgreSQL names; None for values its types cannot read."""
    if isinstance(error, psycopg.errors.NotNullViolation):
        return f"{error.diag.column_name}_not_null"
    if error.diag.constraint_name is None:
        assert isinstance(error, psycopg.errors.DataError)
        return None
    rule = find_rule(table, error.diag.constraint_name)
    assert rule is not None, error.diag.constraint_name
    return rule.name


def test_corruption_changes_one_row_only() -> None:
    table = TABLES["triggers"]
    chosen: list[Corruption] = list(corruptions(table))[:1]
    rows, positions = corrupted_rows(table, chosen)
    changed = [i for i, row in enumerate(rows) if row != clean_row(table, i)]
    assert changed == positions
