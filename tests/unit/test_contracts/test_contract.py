"""Is the contract itself consistent, and does every declaration say what it promises?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from src.contracts import enums
from src.contracts.describe import ColumnRule, describe_failure, find_rule, table_rules
from src.contracts.enums import SQL_ENUM_TYPES
from src.contracts.expectations import build_expectations, expressible
from src.contracts.feast_declarations import CREATED_TIME, EVENT_TIME, build_feast
from src.contracts.feature_views import get_feature_view
from src.contracts.model import Dtype, Role, TableContract
from src.contracts.tables import TABLES, get_table
from src.errors import ContractViolation

EACH_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))


@pytest.mark.parametrize(
    ("enum", "members"),
    [
        (enums.Brand, "Remibrutinib Fabhalta Kisqali competitor other"),
        (enums.Region, "northeast south midwest west"),
        (enums.DataSplit, "train validation test holdout unassigned"),
        (enums.Priority, "critical high medium low"),
        (enums.PredictionType, "trigger propensity risk churn next_best_action"),
        (
            enums.JourneyStage,
            "diagnosis initial_treatment treatment_optimization maintenance treatment_switch",
        ),
        (enums.JourneyStatus, "active stable transitioning completed"),
        (
            enums.AgentTier,
            "ml_foundation coordination causal_analytics monitoring ml_predictions self_improvement",
        ),
        (enums.ModelStage, "development staging shadow production archived deprecated"),
    ],
)
def test_vocabularies_hold_exactly_the_agreed_words(enum: type[enums.StrEnum], members: str) -> None:
    assert [str(member) for member in enum] == members.split()


def test_there_are_eleven_agents_and_unknown() -> None:
    assert len(enums.AgentName) == 12
    assert enums.AgentName.UNKNOWN in enums.AgentName


def test_sql_names_of_vocabularies_are_distinct() -> None:
    assert len(set(SQL_ENUM_TYPES.values())) == len(SQL_ENUM_TYPES) == 16


def test_tables_are_the_eight_agreed_ones() -> None:
    assert set(TABLES) == {
        "business_metrics", "ml_predictions", "triggers", "patient_journeys",
        "causal_paths", "agent_activities", "hcp_profiles", "treatment_events",
    }  # fmt: skip


def test_an_alias_names_the_same_table() -> None:
    assert get_table("predictions") is TABLES["ml_predictions"]


def test_an_unknown_table_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ContractViolation, match=r"no table 'trigers'.*'triggers'"):
        get_table("trigers")


@EACH_TABLE
def test_names_are_unique_and_short_enough_for_postgresql(table: TableContract) -> None:
    names = [f"{table.name}_{rule.name}" for rule in table_rules(table)]
    assert len(set(names)) == len(names)
    assert max(len(name) for name in names) <= 63
    assert len(set(table.column_names)) == len(table.columns)


@EACH_TABLE
def test_rules_refer_to_columns_that_exist(table: TableContract) -> None:
    for rule in table_rules(table):
        assert set(rule.columns) <= set(table.column_names)
    for key in table.foreign_keys:
        assert set(key.columns) <= set(table.column_names)
        assert set(key.parent_columns) <= set(TABLES[key.parent].column_names)


@EACH_TABLE
def test_the_primary_key_is_a_mandatory_unique_critical_key(table: TableContract) -> None:
    key = table.column(table.primary_key)
    assert (key.role, key.nullable, key.required, key.unique, key.critical) == (Role.KEY, False, True, True, True)


@EACH_TABLE
def test_what_may_not_be_empty_must_be_in_the_frame(table: TableContract) -> None:
    assert [column.name for column in table.columns if column.nullable == column.required] == []


@EACH_TABLE
def test_every_rule_is_described_by_its_own_words(table: TableContract) -> None:
    described = [describe_failure(rule) for rule in table_rules(table)]
    assert len(set(described)) == len(described)
    for rule, words in zip(table_rules(table), described, strict=True):
        assert any(column in words for column in rule.columns)
        assert "\n" not in words


@EACH_TABLE
def test_a_rule_is_found_again_by_its_name_and_by_its_constraint(table: TableContract) -> None:
    for rule in table_rules(table):
        assert find_rule(table, rule.name) == rule
        assert find_rule(table, f"{table.name}_{rule.name}") == rule
    key = find_rule(table, f"{table.name}_pk")
    assert isinstance(key, ColumnRule)
    assert key.column.name == table.primary_key
    assert find_rule(table, "no_such_rule") is None


@pytest.mark.parametrize(
    ("table", "personal"),
    [
        ("patient_journeys", {"patient_id", "patient_hash", "zip_code"}),
        ("hcp_profiles", {"npi", "first_name", "last_name", "zip_code"}),
        ("business_metrics", set()),
    ],
)
def test_personal_columns_are_marked(table: str, personal: set[str]) -> None:
    assert TABLES[table].personal_columns == personal


@EACH_TABLE
def test_expectation_ids_are_unique_and_criticality_is_carried(table: TableContract) -> None:
    declarations = build_expectations(table)
    assert len({declaration.id for declaration in declarations}) == len(declarations)
    for declaration in declarations:
        if declaration.id != f"{table.name}.row_count":
            rule = find_rule(table, declaration.id.split(".", 1)[1].split("#")[0])
            assert rule is not None
            assert declaration.critical == rule.critical


@EACH_TABLE
def test_absent_optional_columns_are_not_expected_but_required_ones_are(table: TableContract) -> None:
    declarations = build_expectations(table, present=())
    assert {declaration.type for declaration in declarations} == {
        "expect_column_to_exist",
        "expect_table_row_count_to_be_between",
    }
    assert len(declarations) == 1 + sum(column.required for column in table.columns)


def test_the_rules_no_expectation_expresses_are_these() -> None:
    left_out = {
        rule.name
        for table in TABLES.values()
        for rule in table_rules(table)
        if rule.name not in expressible(table)
        and not (
            isinstance(rule, ColumnRule) and (rule.kind == "type" or rule.column.dtype in (Dtype.JSON, Dtype.LIST))
        )
    }
    assert left_out == {
        "achievement_rate_ratio", "expiration_order", "no_future_feature", "one_split_per_patient",
        "path_length_edges", "no_repeated_node", "event_within_journey",
    }  # fmt: skip


@EACH_TABLE
def test_no_outcome_or_personal_column_reaches_the_feature_store(table: TableContract) -> None:
    declaration = build_feast(table)
    if declaration is None:
        assert table.name == "agent_activities"
        return
    used = {part for column in declaration.source_columns for part in column.parts}
    assert used <= set(table.column_names)
    for name in used:
        column = table.column(name)
        assert column.role is not Role.OUTCOME
        assert not column.is_personal or (column.role is Role.KEY and name == "patient_id")
    assert not table.personal_columns & {field.name for field in declaration.fields}
    assert all(table.column(field.name).role is Role.FEATURE for field in declaration.fields)


@EACH_TABLE
def test_every_feature_source_has_event_time_created_time_and_keys(table: TableContract) -> None:
    declaration = build_feast(table)
    if declaration is not None:
        names = [column.name for column in declaration.source_columns]
        assert len(set(names)) == len(names)
        assert {EVENT_TIME, CREATED_TIME, *declaration.join_keys} <= set(names)
        assert declaration.fields


def test_composite_keys_are_made_in_the_source() -> None:
    view = get_feature_view("hcp_prescribing")
    assert "concat_ws('_', hcp_id, brand) AS hcp_brand_id" in view.query()
    assert view.join_key.join_key == "hcp_brand_id"


def test_importing_the_contract_loads_no_heavy_library() -> None:
    code = (
        "import sys, src.contracts.tables, src.contracts.checking, src.contracts.sql, src.contracts.expectations,"
        " src.contracts.feast_declarations, src.mlops.pandera_schemas, src.mlops.scoring;"
        "print(sorted({'pandas', 'numpy', 'pandera', 'great_expectations', 'feast'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
