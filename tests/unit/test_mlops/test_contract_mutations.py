"""Is every rule of the contract caught when one row breaks it, and is it that row that is named?"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pandas as pd
import pytest

from src.contracts.describe import ColumnRule, Rule, RuleKind, describe_failure, find_rule, table_rules
from src.contracts.expectations import expressible
from src.contracts.model import Dtype, TableContract
from src.contracts.tables import TABLES
from src.mlops.data_quality import DataQualityValidator
from src.mlops.pandera_schemas import CombinedValidation, GEPanderaValidator, validate_dataframe
from src.mlops.quality.combined import MergedIssue, merge_issues
from src.mlops.quality.frames import LINE
from src.mlops.quality.result import QualityStatus
from tests.unit.test_contracts.corruptions import Corruption, corrupted_rows, corruptions
from tests.unit.test_contracts.frames import clean_frame

SIX = ("business_metrics", "ml_predictions", "triggers", "patient_journeys", "causal_paths", "agent_activities")
EACH_TABLE = pytest.mark.parametrize("name", SIX)
pytestmark = pytest.mark.integration


def _frame(table: TableContract, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Every cell as it was put in, and labels that are no positions."""
    # Labels of tables with personal columns are shown only where they are lines of a file.
    labels = pd.Index([f"row {number}" for number in range(len(rows))], name=LINE)
    return pd.DataFrame(rows, columns=list(table.column_names), index=labels).astype(object)


def _corrupted(table: TableContract, chosen: list[Corruption]) -> tuple[pd.DataFrame, dict[str, set[str]]]:
    """Rows of which every second one is broken, and by rule the labels of those that break it."""
    rows, positions = corrupted_rows(table, chosen)
    broken: dict[str, set[str]] = {}
    for position, corruption in zip(positions, chosen, strict=True):
        broken.setdefault(corruption.rule.name, set()).add(f"row {position}")
    return _frame(table, rows), broken


async def _both_layers(frame: pd.DataFrame, table: TableContract) -> CombinedValidation:
    return await GEPanderaValidator(DataQualityValidator(), fast_fail=False).validate(frame, table.name)


def _schema_issues(frame: pd.DataFrame, table: TableContract) -> tuple[MergedIssue, ...]:
    validation = validate_dataframe(frame, table.name)
    assert validation.status == "failed"
    return merge_issues(table, validation.errors, (), rows_named=1000)


def _assert_all_are_named(
    issues: Iterable[MergedIssue], table: TableContract, broken: dict[str, set[str]], bad_rows: Collection[str]
) -> None:
    found = {issue.rule: issue for issue in issues}
    for name, labels in broken.items():
        rule = find_rule(table, name)
        assert rule is not None
        issue = found[name]
        assert (issue.table, issue.column) == (table.name, ", ".join(rule.columns))
        assert (issue.critical, issue.message) == (rule.critical, describe_failure(rule))
        assert labels <= set(issue.rows), name
        assert issue.count == len(issue.rows), name
    assert {row for issue in found.values() for row in issue.rows} == set(bad_rows)


def _each_column(table: TableContract) -> list[str]:
    return [column.name for column in table.columns if column.required]


def _one_column_of_each_kind(table: TableContract) -> list[str]:
    """Of the required columns, the first of each type among those that block and those that do not."""
    found: dict[object, str] = {}
    for column in table.columns:
        if column.required:
            found.setdefault((column.dtype, column.critical), column.name)
    return list(found.values())


def _each_corruption(table: TableContract) -> list[Corruption]:
    return list(corruptions(table))


def _one_corruption_of_each_kind(table: TableContract) -> list[Corruption]:
    """Every rule over several columns, and the first rule of each kind and type on a single one."""
    found: dict[object, Corruption] = {}
    for corruption in corruptions(table):
        rule = corruption.rule
        single = isinstance(rule, ColumnRule)
        found.setdefault((rule.kind, rule.column.dtype) if single else rule.name, corruption)
    return list(found.values())


def _is_type(corruption: Corruption) -> bool:
    return isinstance(corruption.rule, ColumnRule) and corruption.rule.kind is RuleKind.TYPE


def _takes_anything(rule: Rule) -> bool:
    """Whatever stands in a text column can be read as text."""
    return isinstance(rule, ColumnRule) and rule.kind is RuleKind.TYPE and rule.column.dtype is Dtype.STR


@EACH_TABLE
def test_every_rule_is_put_to_the_test(name: str) -> None:
    table = TABLES[name]
    broken = {corruption.rule.name for corruption in corruptions(table)}
    present = {f"{column.name}_present" for column in table.columns if column.required}
    assert broken | present == {rule.name for rule in table_rules(table) if not _takes_anything(rule)}


@EACH_TABLE
async def test_the_clean_frame_passes_both_layers(name: str) -> None:
    combined = await _both_layers(clean_frame(name, rows=8), TABLES[name])
    assert combined.passed
    assert combined.layers_run == ("schema", "ge")
    assert (combined.issues, combined.warnings, combined.blocking_issues) == ((), (), ())


@EACH_TABLE
async def test_many_corruptions_in_one_frame_are_all_listed_with_their_rows(name: str) -> None:
    table = TABLES[name]
    frame, broken = _corrupted(table, list(corruptions(table)))
    combined = await _both_layers(frame, table)
    assert not combined.passed
    _assert_all_are_named(combined.issues, table, broken, set().union(*broken.values()))
    assert all(any(f"schema: {rule}: " in line for line in combined.blocking_issues) for rule in broken)


@EACH_TABLE
async def test_great_expectations_catches_what_it_can_express_and_the_schema_everything(name: str) -> None:
    table = TABLES[name]
    frame, broken = _corrupted(table, [corruption for corruption in corruptions(table) if not _is_type(corruption)])
    combined = await _both_layers(frame, table)
    caught = {issue.rule: issue.layers for issue in combined.issues if issue.rule in broken}
    both, alone = ("schema", "ge"), ("schema",)
    assert caught == {rule: both if rule in expressible(table) else alone for rule in broken}


@EACH_TABLE
async def test_unreadable_values_are_caught_and_never_pass_great_expectations(name: str) -> None:
    table = TABLES[name]
    frame, broken = _corrupted(table, [corruption for corruption in corruptions(table) if _is_type(corruption)])
    combined = await _both_layers(frame, table)
    _assert_all_are_named(combined.issues, table, broken, set().union(*broken.values()))
    assert combined.quality is not None
    assert combined.quality.overall_status is not QualityStatus.PASSED


@EACH_TABLE
async def test_both_layers_name_each_required_column_that_is_missing(name: str) -> None:
    table = TABLES[name]
    required = [column.name for column in table.columns if column.required]
    combined = await _both_layers(clean_frame(name).drop(columns=required), table)
    missing = {issue.column: issue for issue in combined.issues if issue.rule.endswith("_present")}
    assert set(missing) == set(required)
    for column, issue in missing.items():
        assert (issue.rule, issue.rows, issue.count) == (f"{column}_present", (), None)
        assert issue.layers == ("schema", "ge")
        assert issue.critical is table.column(column).critical


@EACH_TABLE
@pytest.mark.parametrize("chosen", [_one_column_of_each_kind, pytest.param(_each_column, marks=pytest.mark.slow)])
def test_a_single_missing_column_is_named(name: str, chosen: Callable[[TableContract], list[str]]) -> None:
    table = TABLES[name]
    for column in chosen(table):
        issues = _schema_issues(clean_frame(name).drop(columns=column), table)
        assert f"{column}_present" in {issue.rule for issue in issues}
        assert all(column in issue.column.split(", ") for issue in issues), column


@EACH_TABLE
@pytest.mark.parametrize(
    "chosen", [_one_corruption_of_each_kind, pytest.param(_each_corruption, marks=pytest.mark.slow)]
)
def test_a_single_corruption_is_named_with_its_row_alone(
    name: str, chosen: Callable[[TableContract], list[Corruption]]
) -> None:
    table = TABLES[name]
    for corruption in chosen(table):
        frame, broken = _corrupted(table, [corruption])
        issues = _schema_issues(frame, table)
        ((rule, labels),) = broken.items()
        assert rule in {issue.rule for issue in issues}, rule
        assert {(row, issue.count) for issue in issues for row in issue.rows} == {(label, 1) for label in labels}, rule


@EACH_TABLE
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 5))])
def test_any_mixture_of_corruptions_is_listed_completely(name: str, seed: int) -> None:
    table, rng = TABLES[name], random.Random(seed)
    possible = list(corruptions(table))
    frame, broken = _corrupted(table, rng.sample(possible, k=rng.randint(2, 9)))
    issues = _schema_issues(frame, table)
    _assert_all_are_named(issues, table, broken, set().union(*broken.values()))


@EACH_TABLE
async def test_an_empty_frame_is_blocked_by_great_expectations(name: str) -> None:
    combined = await _both_layers(clean_frame(name).iloc[:0], TABLES[name])
    assert combined.schema.passed
    assert not combined.passed
    assert [(issue.rule, issue.layers, issue.critical) for issue in combined.issues] == [("row_count", ("ge",), True)]
