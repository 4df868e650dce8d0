"""Does the one gate over Pandera and Great Expectations pass only what both have checked?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from src.contracts.checking import FrameCheck
from src.contracts.tables import TABLES
from src.errors import ContractViolation
from src.mlops.pandera_schemas import CombinedValidation, GEPanderaValidator, validate_dataframe
from src.mlops.quality.configuration import BatchSettings, DataQualityConfig
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from tests.unit.test_contracts.frames import clean_frame

CLEAN = DataQualityResult(
    id="018e2f3a-0000-7000-8000-000000000001",
    suite_name="triggers_suite",
    table_name="triggers",
    run_at=datetime(2024, 3, 1, tzinfo=UTC),
    overall_status=QualityStatus.PASSED,
    expectations=Counts(20, 20, 0),
    success_rate=1.0,
    failed_expectations=(),
    scores=QualityScores(1.0, 1.0, 1.0, 1.0, 1.0, None),
    validation_ms=1.0,
)


@dataclass
class Expectations:
    """Answers with one result and keeps what it was asked."""

    result: DataQualityResult = CLEAN
    asked: list[tuple[pd.DataFrame, str, str | None, FrameCheck | None]] = field(default_factory=list)

    async def validate(
        self, df: pd.DataFrame, suite: str, /, *, check: FrameCheck | None = None, data_split: str | None = None
    ) -> DataQualityResult:
        self.asked.append((df, suite, data_split, check))
        return self.result


def _failed(rule: str, **changes: Any) -> FailedExpectation:
    failed = FailedExpectation(
        id=f"triggers.{rule}",
        type="expect_column_values_to_be_between",
        kwargs={},
        columns=("lead_time_days",),
        observed="3 of 4 above 365",
        critical=False,
        count=3,
        rows=(0, 2, 3),
    )
    return replace(failed, **changes)


def _quality(status: QualityStatus, *failed: FailedExpectation, **changes: Any) -> DataQualityResult:
    counts = Counts(20, 20 - len(failed), len(failed))
    return replace(CLEAN, overall_status=status, failed_expectations=failed, expectations=counts, **changes)


def _broken() -> pd.DataFrame:
    frame = clean_frame("triggers").astype({"priority": object, "lead_time_days": object})
    frame.loc[[1, 3], "priority"] = "urgent"
    frame.loc[2, "lead_time_days"] = -3
    return frame


async def _validate(
    frame: pd.DataFrame, result: DataQualityResult = CLEAN, *, fast_fail: bool = True
) -> CombinedValidation:
    return await GEPanderaValidator(Expectations(result), fast_fail=fast_fail).validate(frame, "triggers")


async def test_a_clean_frame_passes_both_layers() -> None:
    combined = await _validate(clean_frame("triggers"))
    assert combined.passed
    assert combined.layers_run == ("schema", "ge")
    assert (combined.blocking_issues, combined.warnings, combined.issues) == ((), (), ())
    assert combined.quality is CLEAN
    assert combined.headline() == "triggers: passed"


async def test_great_expectations_is_asked_about_the_table_and_the_split() -> None:
    expectations = Expectations()
    await GEPanderaValidator(expectations).validate(clean_frame("ml_predictions"), "predictions", split="train")
    ((frame, suite, split, check),) = expectations.asked
    assert (suite, split) == ("ml_predictions", "train")
    assert check is not None
    assert check.passed
    pd.testing.assert_frame_equal(frame, clean_frame("ml_predictions"))


async def test_a_schema_failure_blocks_before_great_expectations_runs() -> None:
    expectations = Expectations()
    combined = await GEPanderaValidator(expectations).validate(_broken(), "triggers")
    assert not combined.passed
    assert expectations.asked == []
    assert (combined.quality, combined.ge_status, combined.layers_run) == (None, "not_run", ("schema",))
    assert combined.blocking_issues == (
        "schema: priority_allowed: priority must be one of critical, high, medium, low (2 rows: 1, 3)",
        "schema: lead_time_days_range: lead_time_days must be at least 0 (1 row: 2)",
        "ge: not run, since the schema failed",
    )


async def test_without_fast_failure_both_layers_run_and_the_schema_still_blocks() -> None:
    combined = await _validate(_broken(), fast_fail=False)
    assert not combined.passed
    assert (combined.layers_run, combined.ge_status) == (("schema", "ge"), "passed")
    assert [issue.rule for issue in combined.issues] == ["priority_allowed", "lead_time_days_range"]


@pytest.mark.parametrize("fast_fail", [True, False])
async def test_a_failed_suite_blocks_a_frame_that_keeps_its_schema(fast_fail: bool) -> None:
    failed = _failed("trigger_id_unique", critical=True, columns=("trigger_id",))
    combined = await _validate(clean_frame("triggers"), _quality(QualityStatus.FAILED, failed), fast_fail=fast_fail)
    assert not combined.passed
    assert combined.layers_run == ("schema", "ge")
    assert combined.blocking_issues == (
        "ge: triggers: failed, 1 of 20 expectations failed (trigger_id_unique)",
        "ge: trigger_id_unique: trigger_id must be unique (3 rows: 0, 2, 3)",
    )


async def test_leakage_blocks_whatever_the_status() -> None:
    combined = await _validate(clean_frame("triggers"), _quality(QualityStatus.PASSED, leakage_detected=True))
    assert not combined.passed
    assert "leakage detected" in combined.blocking_issues[0]


async def test_a_warning_lets_through_and_is_listed() -> None:
    failed = _failed("stat_lead_time_days_between")
    combined = await _validate(clean_frame("triggers"), _quality(QualityStatus.WARNING, failed))
    assert combined.passed
    assert combined.blocking_issues == ()
    assert combined.warnings == (
        "ge: triggers: warning, 1 of 20 expectations failed (stat_lead_time_days_between)",
        "ge: stat_lead_time_days_between: expect_column_values_to_be_between does not hold: 3 of 4 above 365"
        " (3 rows: 0, 2, 3)",
    )
    assert combined.headline().startswith("triggers: passed with warnings")


async def test_a_failed_expectation_within_the_threshold_is_a_warning() -> None:
    failed = _failed("stat_lead_time_days_between")
    combined = await _validate(clean_frame("triggers"), _quality(QualityStatus.PASSED, failed))
    assert combined.passed
    assert len(combined.warnings) == 1


async def test_a_skipped_layer_is_no_pass_and_did_not_run() -> None:
    skipped = _quality(QualityStatus.SKIPPED, success_rate=None, reason="Great Expectations is not installed")
    combined = await _validate(clean_frame("triggers"), skipped)
    assert not combined.passed
    assert (combined.layers_run, combined.ge_status) == (("schema",), "skipped")
    assert combined.blocking_issues == ("ge: did not run (Great Expectations is not installed)",)


@pytest.mark.parametrize("fast_fail", [True, False])
async def test_a_schema_that_cannot_be_loaded_is_skipped_and_no_pass(
    fast_fail: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandera.errors", None)
    combined = await _validate(clean_frame("triggers"), fast_fail=fast_fail)
    assert not combined.passed
    assert (combined.schema.status, combined.schema.rows_validated) == ("skipped", 0)
    assert (combined.layers_run, combined.ge_status) == ((), "not_run")
    assert combined.blocking_issues == (
        "schema: skipped, nothing was checked (pandera.errors cannot be imported)",
        "ge: not run, since the schema gave no verdict",
    )


class Unspeakable:
    """A cell that no schema can read."""

    def __str__(self) -> str:
        raise RuntimeError("Jane Doe has no text")


@pytest.mark.parametrize("fast_fail", [True, False])
async def test_a_schema_that_breaks_down_is_an_error_and_no_pass(fast_fail: bool) -> None:
    frame = clean_frame("triggers").astype({"trigger_reason": object})
    frame.at[1, "trigger_reason"] = Unspeakable()
    combined = await _validate(frame, fast_fail=fast_fail)
    assert not combined.passed
    assert combined.schema.status == "error"
    assert (combined.layers_run, combined.ge_status) == ((), "not_run")
    assert combined.blocking_issues[0].startswith(
        "schema: error, nothing was checked (RuntimeError at test_combined_validation.py:"
    )
    assert combined.blocking_issues[0].endswith("Jane Doe has no text)")


def test_the_message_of_a_breakdown_is_withheld_where_it_may_quote_a_person() -> None:
    frame = clean_frame("hcp_profiles").astype({"last_name": object})
    frame.at[1, "last_name"] = Unspeakable()
    validation = validate_dataframe(frame, "hcp_profiles")
    assert validation.status == "error"
    assert validation.reason is not None
    assert "RuntimeError at test_combined_validation.py" in validation.reason
    assert "Jane" not in validation.reason


async def test_a_rule_both_layers_found_broken_is_one_issue_with_the_rows_of_the_schema() -> None:
    both = _failed("priority_allowed", columns=("priority",), rows=(1, 3), count=2)
    combined = await _validate(_broken(), _quality(QualityStatus.FAILED, both), fast_fail=False)
    issues = {issue.rule: issue for issue in combined.issues}
    assert issues["priority_allowed"].layers == ("schema", "ge")
    assert (issues["priority_allowed"].rows, issues["priority_allowed"].count) == ((1, 3), 2)
    assert issues["lead_time_days_range"].layers == ("schema",)


async def test_the_first_of_equal_values_is_no_broken_row() -> None:
    frame = clean_frame("triggers")
    frame.loc[2, "trigger_id"] = frame.loc[0, "trigger_id"]
    of_ge = _failed("trigger_id_unique", columns=("trigger_id",), rows=(0, 2), count=2, critical=True)
    combined = await _validate(frame, _quality(QualityStatus.FAILED, of_ge), fast_fail=False)
    (issue,) = combined.issues
    assert (issue.layers, issue.rows, issue.count, issue.critical) == (("schema", "ge"), (2,), 1, True)


async def test_several_expectations_of_one_rule_are_one_issue() -> None:
    frame = clean_frame("agent_activities")
    parts = [
        _failed("error_presence#0", id="agent_activities.error_presence#0", rows=(1, 3), count=2),
        _failed("error_presence#2", id="agent_activities.error_presence#2", rows=(3, 5), count=2),
    ]
    quality = _quality(QualityStatus.FAILED, *parts)
    combined = await GEPanderaValidator(Expectations(quality)).validate(frame, "agent_activities")
    (issue,) = combined.issues
    assert (issue.rule, issue.column) == ("error_presence", "status, error_type, error_message")
    assert (issue.rows, issue.count) == ((1, 3, 5), 3)


async def test_an_expectation_without_outcome_says_why() -> None:
    failed = _failed("priority_allowed", columns=("priority",), rows=(), count=None, error="no outcome")
    combined = await _validate(clean_frame("triggers"), _quality(QualityStatus.FAILED, failed))
    (issue,) = combined.issues
    assert issue.message.endswith("it could not be told (no outcome)")
    assert (issue.rows, issue.count) == ((), None)


async def test_a_missing_column_is_an_issue_without_rows() -> None:
    combined = await _validate(clean_frame("triggers").drop(columns="priority"))
    (issue,) = combined.issues
    assert (issue.table, issue.column, issue.rule) == ("triggers", "priority", "priority_present")
    assert (issue.rows, issue.count) == ((), None)
    assert issue.headline() == "priority_present: priority column is missing"


async def test_only_the_first_broken_rows_are_named_and_all_are_counted() -> None:
    frame = clean_frame("triggers", rows=40).assign(priority="urgent")
    config = DataQualityConfig(batches=BatchSettings(rows_named=7))
    combined = await GEPanderaValidator(Expectations(), config=config).validate(frame, "triggers")
    (issue,) = combined.issues
    assert (issue.rows, issue.count) == (tuple(range(7)), 40)
    assert issue.headline().endswith("(40 rows: 0, 1, 2, 3, 4, …)")


async def test_the_merged_result_is_json_without_any_value_of_the_frame() -> None:
    frame = clean_frame("patient_journeys").astype({"patient_hash": object})
    frame.index = pd.date_range("2024-01-01", periods=4, name="patient_journey_id")
    frame.iloc[1, frame.columns.get_loc("patient_hash")] = "jane-doe"  # type: ignore[index]
    quality = _quality(QualityStatus.PASSED, table_name="patient_journeys")
    combined = await GEPanderaValidator(Expectations(quality), fast_fail=False).validate(frame, "patient_journeys")
    text = json.dumps(combined.to_dict(), allow_nan=False)
    assert "jane-doe" not in text
    document = json.loads(text)
    (issue,) = document["issues"]
    assert (issue["rule"], issue["rows"], issue["layers"]) == (
        "patient_hash_pattern", ["2024-01-02 00:00:00"], ["schema"],
    )  # fmt: skip
    assert document["quality"]["overall_status"] == "passed"
    assert document["schema"] == {
        "status": "failed", "schema_name": "patient_journeys", "error_count": 1, "rows_validated": 4, "reason": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([5, 7, 9, 11], (7, 11)),
        (["a", "b", "c", "d"], ("b", "d")),
        (pd.date_range("2024-01-01", periods=4), (pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-04"))),
        ([5, 5, 5, 5], (1, 3)),
        ([0.5, 1.5, 2.5, 3.5], (1.5, 3.5)),
        ([0, 1, float("nan"), 3], (1.0, 3.0)),
        ([1, "a", None, 2.5], ("a", 2.5)),
        ([2**60, 2**60 + 1, 2**60 + 2, 2**60 + 3], (2**60 + 1, 2**60 + 3)),
        (pd.MultiIndex.from_product([[0, 1], ["a", "b"]]), ((0, "b"), (1, "b"))),
    ],
)
async def test_labels_that_name_one_row_each_are_kept_and_others_become_positions(
    labels: Any, named: tuple[Any, ...]
) -> None:
    frame = _broken()
    frame.index = pd.Index(labels)
    combined = await _validate(frame, fast_fail=False)
    assert combined.issues[0].rows == named


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.concat([clean_frame("triggers"), clean_frame("triggers")[["priority"]]], axis=1), "named priority"),
        (pd.DataFrame([[1, 2, 3, 4]], columns=["a", "b", "b", "a"]), "named b, a"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        ([{"priority": "high"}], "is a list"),
        (None, "is a NoneType"),
    ],
)
async def test_what_is_no_frame_of_distinct_columns_is_refused_in_one_line(frame: Any, said: str) -> None:
    for fast_fail in (True, False):
        with pytest.raises(ContractViolation, match=f"^triggers: .*{said}") as caught:
            await _validate(frame, fast_fail=fast_fail)
        assert "\n" not in str(caught.value)
    with pytest.raises(ContractViolation, match=said):
        validate_dataframe(frame, "triggers")


async def test_an_unknown_table_is_refused_before_anything_runs() -> None:
    expectations = Expectations()
    with pytest.raises(ContractViolation, match="did you mean 'triggers'"):
        await GEPanderaValidator(expectations).validate(clean_frame("triggers"), "trigger")
    assert expectations.asked == []


def test_the_given_frame_is_left_alone() -> None:
    frame = _broken()
    frame.index = pd.Index([1, 1, 2, 2])
    before = frame.copy()
    validate_dataframe(frame, "triggers")
    pd.testing.assert_frame_equal(frame, before)


def test_labels_that_are_personal_are_not_shown() -> None:
    frame = clean_frame("patient_journeys").assign(zip_code="02139").set_index("patient_id", drop=False)
    frame = frame[~frame.index.duplicated()]
    assert [error.index for error in validate_dataframe(frame, "patient_journeys").errors] == [0, 1]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, False),
        ("who", False),
        ("zip", False),
        ("patient_journey_id", True),
        ("line", True),
    ],
)
def test_labels_of_a_table_with_personal_columns_are_shown_only_as_key_or_line(name: str | None, shown: bool) -> None:
    frame = clean_frame("patient_journeys", 2).assign(zip_code="02139")
    frame.index = pd.Index(["Ann", "Bea"], name=name)
    rows = [error.index for error in validate_dataframe(frame, "patient_journeys").errors]
    assert rows == (["Ann", "Bea"] if shown else [0, 1])


@pytest.mark.parametrize("name", list(TABLES))
async def test_odd_frames_fail_without_breaking_down(name: str) -> None:
    frame = clean_frame(name)
    odd = {
        "all null": frame.astype(object).where(frame.isna(), None),
        "all text": frame.astype(str).assign(**dict.fromkeys(frame.columns, "nonsense")),
        "infinite": frame.astype(object).assign(**dict.fromkeys(frame.columns, float("inf"))),
    }
    for what, bad in odd.items():
        validation = validate_dataframe(bad, name)
        assert validation.status == "failed", (what, validation.reason)
        assert {error.index for error in validation.errors} == {0, 1, 2, 3}, what


@pytest.mark.parametrize(
    "times",
    [
        ["2024-03-01T09:00:00+02:00", "2024-03-01T09:00:00-05:00", "2024-03-01T09:00:00Z", "2024-03-01 09:00:00"],
        [
            pd.Timestamp("2024-03-01", tz="Asia/Tokyo"),
            pd.Timestamp("2024-03-01"),
            "2024-03-01",
            datetime(2024, 3, 1, tzinfo=UTC),
        ],
    ],
)
def test_times_of_several_zones_are_read_as_one(times: list[Any]) -> None:
    frame = clean_frame("triggers").drop(columns=["view_timestamp"]).astype({"trigger_timestamp": object})
    frame["trigger_timestamp"] = times
    assert validate_dataframe(frame, "triggers").errors == ()
