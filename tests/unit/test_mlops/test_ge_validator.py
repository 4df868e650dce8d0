"""Does the data-quality validator say of real data what Great Expectations found, and never more?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.agents.quality_gate import LayerStatus, after_gate, decide
from src.contracts.expectations import ExpectationDeclaration
from src.contracts.model import Column, Dtype
from src.contracts.tables import TABLES
from src.domain.alerts import Alert, AlertSeverity
from src.errors import ConfigError, ContractViolation, DataQualityCheckpointError
from src.mlops.data_quality import (
    AlertConfig,
    DataQualityAlerter,
    DataQualityResult,
    DataQualityValidator,
    ExpectationSuite,
    ExpectationSuiteBuilder,
    FailedExpectation,
    QualityStatus,
    load_data_quality_config,
)
from src.mlops.pandera_schemas import GEPanderaValidator
from src.mlops.quality.configuration import StatisticalExpectation
from src.mlops.quality.suites import columns_of
from tests.unit.test_contracts.frames import clean_frame

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EACH_TABLE = pytest.mark.parametrize("name", list(TABLES))


@pytest.fixture
def validator() -> DataQualityValidator:
    return DataQualityValidator(clock=lambda: NOW)


@dataclass
class Told:
    """Keeps the alerts it is given."""

    name: str = "told"
    alerts: list[Alert] = field(default_factory=list)

    async def handle(self, alert: Alert) -> None:
        self.alerts.append(alert)


@dataclass
class Kept:
    """Keeps the results it is given."""

    results: list[DataQualityResult] = field(default_factory=list)

    async def add(self, result: DataQualityResult) -> None:
        self.results.append(result)


def _spoiled(name: str, rows: int = 40, **columns: Any) -> pd.DataFrame:
    """A legal frame in which row 3 has the values ``columns``."""
    frame = clean_frame(name, rows).astype(dict.fromkeys(columns, object))
    for column, value in columns.items():
        frame.at[3, column] = value
    return frame


def _found(result: DataQualityResult, rule: str) -> FailedExpectation:
    (failure,) = (one for one in result.failed_expectations if one.id == f"{result.table_name}.{rule}")
    return failure


class TestBatch1Validation:
    """Frames through the real library."""

    async def test_validate_business_metrics_success(self, validator: DataQualityValidator) -> None:
        result = await validator.validate(clean_frame("business_metrics", 40), "business_metrics")
        assert (result.overall_status, result.passed, result.blocking) == (QualityStatus.PASSED, True, False)
        assert result.failed_expectations == ()
        assert result.expectations.evaluated == result.expectations.passed > 25
        assert (result.success_rate, result.rows_validated) == (1.0, 40)

    async def test_validate_business_metrics_failure(self, validator: DataQualityValidator) -> None:
        frame = _spoiled("business_metrics", brand="Aspirin", value=float("inf"))
        frame.loc[7, "metric_id"] = frame.loc[6, "metric_id"]
        result = await validator.validate(frame, "business_metrics")
        found = {(one.type, one.columns, one.critical, one.count, one.rows) for one in result.failed_expectations}
        assert found >= {
            ("expect_column_values_to_be_in_set", ("brand",), False, 1, (3,)),
            ("expect_column_values_to_be_between", ("value",), True, 1, (3,)),
            ("expect_column_values_to_be_unique", ("metric_id",), True, 1, (7,)),
        }
        assert result.overall_status is QualityStatus.FAILED
        assert "brand_allowed" in " ".join(one.id for one in result.failed_expectations)

    async def test_validate_predictions_success(self, validator: DataQualityValidator) -> None:
        result = await validator.validate(clean_frame("ml_predictions", 40), "predictions")
        assert (result.table_name, result.overall_status) == ("ml_predictions", QualityStatus.PASSED)
        assert result.failed_expectations == ()

    async def test_validate_triggers_success(self, validator: DataQualityValidator) -> None:
        result = await validator.validate(clean_frame("triggers", 40), "triggers")
        assert result.overall_status is QualityStatus.PASSED
        assert result.failed_expectations == ()

    async def test_validation_result_structure(self, validator: DataQualityValidator) -> None:
        frame = _spoiled("triggers", confidence_score=1.5)
        frame.index = [f"row {number}" for number in range(len(frame))]
        scope = {"data_split": "train", "brand": "Kisqali", "region": "south", "training_run_id": "018e2f3a"}
        result = await validator.validate(frame, "triggers", **scope)
        document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert set(document) >= {
            "id", "suite_name", "table_name", "run_at", "overall_status", "expectations", "success_rate",
            "failed_expectations", "scores", "leakage_detected", "validation_ms", "passed", "blocking",
        }  # fmt: skip
        assert {key: document[key] for key in scope} == scope
        assert (document["suite_name"], document["run_at"]) == ("triggers_suite", NOW.isoformat())
        assert set(document["scores"]) == {
            "completeness", "validity", "consistency", "timeliness", "uniqueness", "accuracy",
        }  # fmt: skip
        (failed,) = document["failed_expectations"]
        assert failed["kwargs"] == {"column": "confidence_score", "min_value": 0, "strict_min": False, "max_value": 1}
        assert (failed["columns"], failed["rows"], failed["count"]) == (["confidence_score"], ["row 3"], 1)
        counts = document["expectations"]
        assert counts["evaluated"] == counts["passed"] + counts["failed"]
        assert document["success_rate"] == counts["passed"] / counts["evaluated"]

    @EACH_TABLE
    async def test_a_legal_frame_of_each_table_passes(self, name: str, validator: DataQualityValidator) -> None:
        result = await validator.validate(clean_frame(name, 40), name)
        assert (result.overall_status, result.failed_expectations) == (QualityStatus.PASSED, ())

    async def test_a_column_of_unreadable_values_fails_and_its_other_values_are_still_judged(
        self, validator: DataQualityValidator
    ) -> None:
        frame = _spoiled("ml_predictions", confidence_score="high")
        frame.at[5, "confidence_score"] = 7
        result = await validator.validate(frame, "ml_predictions")
        assert _found(result, "confidence_score_type").rows == (3,)
        assert _found(result, "confidence_score_range").rows == (5,)
        assert "ml_predictions.confidence_score_not_null" not in {one.id for one in result.failed_expectations}

    async def test_an_unreadable_time_that_no_expectation_asks_about_fails(
        self, validator: DataQualityValidator
    ) -> None:
        result = await validator.validate(_spoiled("business_metrics", created_at="yesterday"), "business_metrics")
        failure = _found(result, "created_at_type")
        assert (failure.rows, failure.count, failure.critical) == ((3,), 1, False)

    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            pytest.param(lambda frame: frame.iloc[:0], "row_count", id="empty"),
            pytest.param(lambda frame: pd.DataFrame(), "value_present", id="nothing at all"),
            pytest.param(lambda frame: frame.assign(value=None), "value_not_null", id="all empty"),
            pytest.param(lambda frame: frame.assign(value=np.inf), "value_finite", id="infinite"),
            pytest.param(lambda frame: frame.assign(value="much"), "value_type", id="wrong type"),
            pytest.param(lambda frame: frame.assign(metric_date=20240301), "metric_date_type", id="numbers as dates"),
            pytest.param(lambda frame: frame.drop(columns="value"), "value_present", id="missing column"),
        ],
    )
    async def test_bad_values_fail_by_column_and_rule(
        self, change: Any, rule: str, validator: DataQualityValidator
    ) -> None:
        result = await validator.validate(change(clean_frame("business_metrics", 10)), "business_metrics")
        assert result.overall_status is QualityStatus.FAILED
        failure = _found(result, rule)
        assert failure.critical
        assert failure.error is None

    async def test_times_of_several_zones_are_read_as_utc(self, validator: DataQualityValidator) -> None:
        zones = ["Europe/Berlin", "UTC", "Asia/Tokyo", "America/New_York"]
        times = [pd.Timestamp("2024-01-01", tz=zone) for zone in zones]
        frame = clean_frame("business_metrics", 4).assign(created_at=pd.Series(times, dtype=object))
        result = await validator.validate(frame, "business_metrics")
        assert result.failed_expectations == ()

    @pytest.mark.parametrize(
        ("frame", "said"),
        [
            pytest.param([1, 2], "a pandas DataFrame is needed, this is a list", id="list"),
            pytest.param(
                pd.DataFrame([[1, 2]], columns=["value", "value"]), "more than one column named value", id="twice"
            ),
            pytest.param(
                pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels", id="levels"
            ),
        ],
    )
    async def test_a_frame_without_usable_columns_is_refused_in_one_line(
        self, frame: Any, said: str, validator: DataQualityValidator
    ) -> None:
        with pytest.raises(ContractViolation, match=said) as caught:
            await validator.validate(frame, "business_metrics")
        assert "\n" not in str(caught.value)

    async def test_rows_with_one_label_are_named_by_position(self, validator: DataQualityValidator) -> None:
        frame = _spoiled("triggers", confidence_score=2.0).set_axis([8] * 40)
        result = await validator.validate(frame, "triggers")
        assert _found(result, "confidence_score_range").rows == (3,)

    async def test_only_the_first_broken_rows_are_named_and_all_are_counted(self) -> None:
        config = load_data_quality_config()
        few = DataQualityValidator(
            config=config.model_copy(update={"batches": config.batches.model_copy(update={"rows_named": 2})})
        )
        result = await few.validate(clean_frame("triggers", 10).assign(priority="urgent"), "triggers")
        failure = _found(result, "priority_allowed")
        assert (failure.rows, failure.count) == ((0, 1), 10)

    async def test_personal_values_appear_nowhere(self, validator: DataQualityValidator) -> None:
        frame = _spoiled("hcp_profiles", npi="SECRET-77")
        frame.loc[9, "npi"] = frame.loc[8, "npi"] = "SECRET-78"
        frame.index = pd.Index([f"SECRET-{number}" for number in range(len(frame))], name="npi")
        suite = (
            ExpectationSuiteBuilder("mine", "hcp_profiles", base=validator.get_suite("hcp_profiles"))
            .add("expect_column_mean_to_be_between", {"column": "npi", "min_value": 0})
            .add("expect_column_max_to_be_between", {"column": "zip_code", "max_value": "0"})
            .build()
        )
        result = await validator.validate(frame, suite)
        failed = {one.id.split(".")[1] for one in result.failed_expectations}
        assert failed >= {"npi_pattern", "npi_mean_to_be_between", "zip_code_max_to_be_between"}
        text = json.dumps(result.to_dict()) + repr(result)
        assert "SECRET" not in text
        assert str(frame["zip_code"].iloc[0]) not in text


# The contract as its specification states it, read without the code that builds suites from it.
CRITICAL = {
    "business_metrics": {"metric_id", "metric_date", "value"},
    "ml_predictions": {"prediction_id", "prediction_timestamp", "prediction_value"},
    "triggers": {"trigger_id", "trigger_timestamp"},
    "patient_journeys": {"patient_journey_id", "patient_id"},
    "causal_paths": {"path_id", "start_node", "end_node", "causal_effect_size"},
}
ORDER = "expect_column_pair_values_a_to_be_greater_than_b"
BETWEEN_COLUMNS = {
    "business_metrics": {
        (ORDER, ("confidence_interval_upper", "confidence_interval_lower")),
        ("expect_compound_columns_to_be_unique", ("metric_name", "metric_date", "brand", "region")),
    },
    "ml_predictions": {
        (ORDER, ("outcome_recorded_at", "prediction_timestamp")),
        ("expect_column_values_to_not_be_null", ("hcp_id", "patient_id")),
    },
    "triggers": {(ORDER, ("view_timestamp", "delivery_timestamp"))},
    "patient_journeys": {
        (ORDER, ("journey_end_date", "journey_start_date")),
        (ORDER, ("ingestion_timestamp", "source_timestamp")),
    },
    "causal_paths": {("expect_select_column_values_to_be_unique_within_record", ("start_node", "end_node"))},
}


def _asked_of(column: Column) -> set[str]:
    """Types of expectation that the declaration of a column calls for."""
    plain = column.dtype not in (Dtype.JSON, Dtype.LIST)
    asked = {
        "expect_column_to_exist": column.required,
        "expect_column_values_to_not_be_null": not column.nullable,
        "expect_column_values_to_be_unique": column.unique,
        "expect_column_values_to_be_in_set": plain and column.allowed is not None,
        "expect_column_values_to_match_regex": plain and column.regex is not None,
        "expect_column_values_to_be_between": plain and (column.dtype is Dtype.FLOAT or column.range is not None),
    }
    return {kind for kind, is_asked in asked.items() if is_asked}


def _of_one_column(suite: ExpectationSuite) -> dict[str, set[str]]:
    asked: dict[str, set[str]] = {}
    for one in suite.expectations:
        if one.id not in suite.statistical and "column" in one.kwargs and "row_condition" not in one.kwargs:
            asked.setdefault(one.kwargs["column"], set()).add(one.type)
    return asked


def _assert_equals_contract(suite: ExpectationSuite) -> None:
    table = TABLES[suite.table_name]
    assert _of_one_column(suite) == {column.name: _asked_of(column) for column in table.columns if _asked_of(column)}
    critical = {one.kwargs["column"] for one in suite.expectations if one.critical and "column" in one.kwargs}
    assert critical == CRITICAL[table.name]
    between = {
        (one.type, columns_of(one))
        for one in suite.expectations
        if "column" not in one.kwargs or "row_condition" in one.kwargs
    }
    assert between == {("expect_table_row_count_to_be_between", ()), *BETWEEN_COLUMNS[table.name]}
    assert max(Counter(one.id for one in suite.expectations).values()) == 1


def _words(suite: ExpectationSuite, column: str) -> set[str]:
    (kwargs,) = (
        one.kwargs
        for one in suite.expectations
        if one.type == "expect_column_values_to_be_in_set" and one.kwargs["column"] == column
    )
    return set(kwargs["value_set"])


class TestBatch2Suites:
    """Suites against an independent reading of the contract."""

    def test_business_metrics_suite_expectations(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("business_metrics")
        _assert_equals_contract(suite)
        assert _words(suite, "region") == {"northeast", "south", "midwest", "west"}
        assert _words(suite, "brand") == {"Remibrutinib", "Fabhalta", "Kisqali", "competitor", "other"}

    def test_predictions_suite_expectations(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("predictions")
        _assert_equals_contract(suite)
        assert _words(suite, "prediction_type") == {"trigger", "propensity", "risk", "churn", "next_best_action"}

    def test_triggers_suite_expectations(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("triggers")
        _assert_equals_contract(suite)
        assert _words(suite, "priority") == {"critical", "high", "medium", "low"}

    def test_patient_journeys_suite_expectations(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("patient_journeys")
        _assert_equals_contract(suite)
        assert _words(suite, "journey_stage") == {
            "diagnosis", "initial_treatment", "treatment_optimization", "maintenance", "treatment_switch",
        }  # fmt: skip

    def test_causal_paths_suite_expectations(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("causal_paths")
        _assert_equals_contract(suite)
        (bounds,) = (
            (one.kwargs["min_value"], one.kwargs["max_value"])
            for one in suite.expectations
            if one.id == "causal_paths.causal_effect_size_range"
        )
        assert bounds == (-1, 1)

    def test_the_suite_adds_what_is_usual_and_never_blocks_on_it(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("triggers")
        usual = [one for one in suite.expectations if one.id in suite.statistical]
        assert [(one.id, one.critical) for one in usual] == [
            ("triggers.stat_lead_time_days_values_to_be_between", False),
            ("triggers.stat_hcp_id_values_to_not_be_null", False),
        ]

    def test_what_is_usual_is_not_asked_of_few_rows_or_absent_columns(self, validator: DataQualityValidator) -> None:
        suite = validator.get_suite("triggers")
        assert len(suite.expectations) - len(suite.for_rows(29).expectations) == 2
        assert len(suite.for_rows(30).expectations) == len(suite.expectations)
        required = [column.name for column in TABLES["triggers"].columns if column.required]
        assert not validator.get_suite("triggers", present=required).statistical

    def test_optional_columns_that_are_absent_are_not_asked_about(self, validator: DataQualityValidator) -> None:
        required = {column.name for column in TABLES["triggers"].columns if column.required}
        assert set(_of_one_column(validator.get_suite("triggers", present=required))) == required

    def test_changing_one_validators_suites_leaves_others_unchanged(self) -> None:
        one, other = DataQualityValidator(), DataQualityValidator()
        suite = one.get_suite("triggers")
        suite.expectations[1].kwargs["column"] = "something_else"
        one.register_suite(ExpectationSuite("triggers_suite", "triggers", suite.expectations[:1]))
        assert len(one.get_suite("triggers").expectations) == 1
        assert other.get_suite("triggers") == DataQualityValidator().get_suite("triggers")
        assert "something_else" not in str(other.get_suite("triggers"))

    def test_a_registered_suite_is_a_copy(self, validator: DataQualityValidator) -> None:
        suite = ExpectationSuiteBuilder("mine", "triggers").add("expect_column_to_exist", {"column": "brand"}).build()
        validator.register_suite(suite)
        suite.expectations[0].kwargs["column"] = "region"
        validator.get_suite("mine").expectations[0].kwargs["column"] = "region"
        assert validator.get_suite("mine").expectations[0].kwargs == {"column": "brand"}

    @pytest.mark.parametrize(
        ("name", "near"),
        [("trigers", "triggers"), ("patient_journey_suite", "patient_journeys_suite"), ("mien", "mine")],
    )
    async def test_an_unknown_suite_is_refused_with_the_nearest_names(
        self, name: str, near: str, validator: DataQualityValidator
    ) -> None:
        validator.register_suite(ExpectationSuite("mine", "triggers", ()))
        with pytest.raises(ContractViolation, match=f"did you mean .*'{near}'"):
            await validator.validate(clean_frame("triggers"), name)

    def test_a_suite_of_an_unknown_table_is_refused(self) -> None:
        with pytest.raises(ContractViolation, match="no table 'tigger'"):
            ExpectationSuiteBuilder("mine", "tigger")

    def test_ids_are_made_for_added_expectations(self) -> None:
        builder = ExpectationSuiteBuilder("mine", "triggers")
        for limit in (1, 2):
            builder.add("expect_column_values_to_be_between", {"column": "lead_time_days", "max_value": limit})
        builder.add("expect_table_column_count_to_equal", {"value": 3}, id="width", critical=True)
        assert [one.id for one in builder.build().expectations] == [
            "triggers.lead_time_days_values_to_be_between",
            "triggers.lead_time_days_values_to_be_between#1",
            "triggers.width",
        ]

    @pytest.mark.parametrize(("table", "column"), [("trigers", "brand"), ("triggers", "brnd")])
    def test_statistics_about_something_unknown_are_a_configuration_error(self, table: str, column: str) -> None:
        usual = StatisticalExpectation(type="expect_column_values_to_not_be_null", column=column)
        config = load_data_quality_config().model_copy(update={"statistics": {table: [usual]}})
        with pytest.raises(ConfigError, match="did you mean"):
            DataQualityValidator(config=config).get_suite("triggers")


def _declared(kind: str, name: str, *, critical: bool = False, **kwargs: Any) -> ExpectationDeclaration:
    return ExpectationDeclaration(kind, kwargs, critical, f"triggers.{name}")


def _holding(number: int) -> tuple[ExpectationDeclaration, ...]:
    """Expectations that hold on a legal frame of triggers."""
    return tuple(_declared("expect_column_to_exist", f"fine_{i}", column="brand") for i in range(number))


def _breaking(number: int, prefix: str = "broken") -> tuple[ExpectationDeclaration, ...]:
    return tuple(_declared("expect_column_to_exist", f"{prefix}_{i}", column="nowhere") for i in range(number))


class TestBatch3Gate:
    """Alerts, both layers together, and the gate."""

    @pytest.mark.parametrize("reason", ["rate below one half", "leakage"])
    async def test_quality_alerter_critical(self, reason: str) -> None:
        told = Told()
        validator = DataQualityValidator(DataQualityAlerter(AlertConfig(), told, clock=lambda: NOW))
        if reason == "leakage":
            result = await validator.validate(clean_frame("triggers", 40), "triggers")
            await validator.alerter.send_alert(replace(result, leakage_detected=True))
        else:
            await validator.validate_with_alerts(pd.DataFrame({"other": [1]}), "triggers")
        assert [alert.severity for alert in told.alerts] == [AlertSeverity.CRITICAL]

    async def test_quality_alerter_warning(self) -> None:
        suite = ExpectationSuite("mine", "triggers", (*_holding(9), *_breaking(1)))
        lenient, strict = Told(), Told()
        for told, least in ((lenient, AlertSeverity.WARNING), (strict, AlertSeverity.ERROR)):
            alerter = DataQualityAlerter(AlertConfig(min_severity=least), told, clock=lambda: NOW)
            result = await DataQualityValidator(alerter).validate_with_alerts(clean_frame("triggers"), suite)
            assert result.overall_status is QualityStatus.WARNING
        assert [alert.severity for alert in lenient.alerts] == [AlertSeverity.WARNING]
        assert strict.alerts == []

    async def test_nobody_is_told_of_a_pass(self) -> None:
        told = Told()
        validator = DataQualityValidator(DataQualityAlerter(AlertConfig(), told))
        await validator.validate_with_alerts(clean_frame("triggers", 40), "triggers")
        assert told.alerts == []

    async def test_pandera_ge_pipeline_integration(self, validator: DataQualityValidator) -> None:
        both = GEPanderaValidator(validator)
        clean = await both.validate(clean_frame("triggers", 40), "triggers", split="train")
        assert clean.passed
        assert tuple(clean.layers_run) == ("schema", "ge")
        assert clean.schema.passed
        assert clean.quality is not None
        assert (clean.quality.passed, clean.quality.data_split) == (True, "train")
        broken = await both.validate(_spoiled("triggers", priority="urgent"), "triggers")
        assert not broken.passed
        assert tuple(broken.layers_run) == ("schema",)
        assert broken.quality is None

    async def test_qc_gate_blocking(self, validator: DataQualityValidator) -> None:
        frame = _spoiled("business_metrics", value=None)
        with pytest.raises(DataQualityCheckpointError, match="value_not_null") as caught:
            await validator.run_checkpoint(frame, "business_metrics")
        result = caught.value.result
        assert isinstance(result, DataQualityResult)
        assert result.blocking
        assert validator.get_checkpoint_history() == (result,)
        gate = decide({"schema": LayerStatus.PASSED, "ge": LayerStatus.FAILED}, 0.99)
        assert not gate.passed
        assert after_gate({"gate": gate}) == "blocked"

    async def test_graceful_degradation(self, validator: DataQualityValidator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "great_expectations", None)
        result = await validator.validate(clean_frame("triggers", 40), "triggers")
        streamed = await validator.validate_batches(lambda: iter([clean_frame("triggers", 4)]), "triggers")
        for skipped in (result, streamed):
            assert (skipped.overall_status, skipped.passed) == (QualityStatus.SKIPPED, False)
            assert (skipped.expectations.evaluated, skipped.success_rate) == (0, None)
            assert "not installed" in str(skipped.reason)
        with pytest.raises(DataQualityCheckpointError, match="not installed"):
            await validator.run_checkpoint(clean_frame("triggers", 40), "triggers")
        layers = dict.fromkeys(("schema", "quality", "leakage"), LayerStatus.PASSED) | {"ge": LayerStatus.SKIPPED}
        assert not decide(layers, 0.99).passed
        permitted = decide(layers, 0.99, require_all_layers=False)
        assert permitted.passed
        assert permitted.warnings == ("ge: the validation did not run",)

    async def test_a_warning_passes_the_checkpoint_and_is_remembered(self, validator: DataQualityValidator) -> None:
        suite = ExpectationSuite("mine", "triggers", (*_holding(9), *_breaking(1)))
        result = await validator.run_checkpoint(clean_frame("triggers"), suite)
        assert result.overall_status is QualityStatus.WARNING
        assert validator.get_checkpoint_history("triggers") == (result,)
        assert validator.get_checkpoint_history("causal_paths") == ()
        validator.clear_checkpoint_history()
        assert validator.get_checkpoint_history() == ()

    async def test_results_are_stored(self, validator: DataQualityValidator) -> None:
        store = Kept()
        result = await validator.validate_and_store(clean_frame("triggers"), "triggers", store, brand="Kisqali")
        assert store.results == [result]
        assert result.brand == "Kisqali"

    async def test_each_split_is_validated_by_itself(self, validator: DataQualityValidator) -> None:
        splits = {"train": clean_frame("triggers", 40), "test": _spoiled("triggers", trigger_timestamp=None)}
        results = await validator.validate_splits(splits, "triggers", region="west")
        assert {split: result.overall_status for split, result in results.items()} == {
            "train": QualityStatus.PASSED,
            "test": QualityStatus.FAILED,
        }
        assert {(result.data_split, result.region) for result in results.values()} == {
            ("train", "west"),
            ("test", "west"),
        }
