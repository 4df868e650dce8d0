"""Does a verdict rest on the outcomes of Great Expectations, each matched by its own id, and on nothing else?"""

from __future__ import annotations

from typing import Any

import pytest

from src.contracts.expectations import ExpectationDeclaration
from src.mlops.data_quality import (
    DataQualityValidator,
    ExpectationSuite,
    QualityStatus,
    get_data_quality_validator,
)
from src.mlops.quality import engine
from src.mlops.quality.configuration import Thresholds
from src.mlops.quality.engine import evaluate
from tests.unit.test_contracts.frames import clean_frame


@pytest.fixture
def validator() -> DataQualityValidator:
    return DataQualityValidator()


def _declared(kind: str, name: str, *, critical: bool = False, **kwargs: Any) -> ExpectationDeclaration:
    return ExpectationDeclaration(kind, kwargs, critical, f"triggers.{name}")


def _holding(number: int) -> tuple[ExpectationDeclaration, ...]:
    """Expectations that hold on a legal frame of triggers."""
    return tuple(_declared("expect_column_to_exist", f"fine_{i}", column="brand") for i in range(number))


def _breaking(number: int, prefix: str = "broken") -> tuple[ExpectationDeclaration, ...]:
    return tuple(_declared("expect_column_to_exist", f"{prefix}_{i}", column="nowhere") for i in range(number))


@pytest.mark.parametrize(
    ("holding", "breaking", "status"),
    [
        (20, 0, QualityStatus.PASSED),
        (19, 1, QualityStatus.PASSED),
        (18, 1, QualityStatus.WARNING),
        (8, 2, QualityStatus.WARNING),
        (79, 21, QualityStatus.FAILED),
        (0, 1, QualityStatus.FAILED),
    ],
)
async def test_the_share_that_holds_decides(
    holding: int, breaking: int, status: QualityStatus, validator: DataQualityValidator
) -> None:
    suite = ExpectationSuite("mine", "triggers", (*_holding(holding), *_breaking(breaking)))
    result = await validator.validate(clean_frame("triggers"), suite)
    assert result.overall_status is status
    assert result.success_rate == pytest.approx(holding / (holding + breaking))


async def test_one_critical_failure_is_a_failure_at_any_rate(validator: DataQualityValidator) -> None:
    critical = _declared("expect_column_to_exist", "vital", critical=True, column="nowhere")
    result = await validator.validate(
        clean_frame("triggers"), ExpectationSuite("mine", "triggers", (*_holding(60), critical))
    )
    assert (result.success_rate or 0) > Thresholds().passed
    assert (result.overall_status, result.blocking) == (QualityStatus.FAILED, True)


@pytest.mark.parametrize(
    ("firmly_broken", "status"), [(0, QualityStatus.WARNING), (1, QualityStatus.WARNING), (4, QualityStatus.FAILED)]
)
async def test_what_is_unusual_only_warns(
    firmly_broken: int, status: QualityStatus, validator: DataQualityValidator
) -> None:
    unusual = _breaking(12, "unusual")
    suite = ExpectationSuite(
        "mine",
        "triggers",
        (*_holding(10 - firmly_broken), *_breaking(firmly_broken), *unusual),
        {one.id: 1 for one in unusual},
    )
    result = await validator.validate(clean_frame("triggers"), suite)
    assert (result.success_rate or 0) < Thresholds().warning
    assert result.overall_status is status


async def test_a_suite_without_expectations_is_no_pass(validator: DataQualityValidator) -> None:
    result = await validator.validate(clean_frame("triggers"), ExpectationSuite("mine", "triggers", ()))
    assert (result.overall_status, result.reason) == (QualityStatus.SKIPPED, "the suite has no expectations")


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        (_declared("expect_wonders", "x"), "cannot be built"),
        (_declared("expect_column_values_to_be_between", "x", min_value=1), "cannot be built"),
        (_declared("expect_column_values_to_be_between", "x", column="nowhere", min_value=1), "does not exist"),
        (_declared("expect_column_values_to_be_unique", "x", column="nowhere"), "does not exist"),
        (_declared("expect_column_values_to_be_between", "x", column="brand", min_value=1), "same type"),
    ],
)
async def test_an_expectation_without_a_verdict_fails(
    declaration: ExpectationDeclaration, said: str, validator: DataQualityValidator
) -> None:
    suite = ExpectationSuite("mine", "triggers", (*_holding(1), declaration))
    result = await validator.validate(clean_frame("triggers"), suite)
    (failure,) = result.failed_expectations
    assert failure.id == "triggers.x"
    assert said in str(failure.error)
    assert (result.expectations.evaluated, result.expectations.passed) == (2, 1)


async def test_two_expectations_of_one_id_both_fail(validator: DataQualityValidator) -> None:
    suite = ExpectationSuite("mine", "triggers", _holding(1) * 2)
    result = await validator.validate(clean_frame("triggers"), suite)
    assert [one.error for one in result.failed_expectations] == ["the id is not unique in the suite"] * 2


def test_an_outcome_that_carries_no_known_id_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations.datasource.fluent.interfaces import Batch

    validate = Batch.validate

    def anonymous(self: Batch, suite: Any, **options: Any) -> Any:
        found = validate(self, suite, **options)
        for result in found.results:
            result.expectation_config.meta = {}
        return found

    monkeypatch.setattr(Batch, "validate", anonymous)
    outcomes = evaluate(clean_frame("triggers"), _holding(1))
    assert outcomes["triggers.fine_0"].error == "Great Expectations gave no outcome"
    assert not outcomes["triggers.fine_0"].holds


async def test_no_frame_is_kept_by_the_library(validator: DataQualityValidator) -> None:
    await validator.validate(clean_frame("triggers"), "triggers")
    assert dict(engine._shared_context().data_sources.all()) == {}


def test_the_process_shares_one_validator() -> None:
    assert get_data_quality_validator() is get_data_quality_validator()
