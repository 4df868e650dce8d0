"""How good must data be, how are the dimensions weighed, and who is told? ``config/data_quality.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from src.domain.alerts import AlertSeverity
from src.settings import CONFIG_DIR, ConfigModel, HttpAddress, load_config

DATA_QUALITY_FILE = CONFIG_DIR / "data_quality.yaml"

Share = Annotated[float, Field(ge=0, le=1)]


class Thresholds(ConfigModel):
    """Shares of expectations that hold, and the lowest weighted score that opens the gate."""

    passed: Share = 0.95
    warning: Share = 0.80
    gate_score: Share = 0.80

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warning > self.passed:
            raise ValueError("the warning threshold must not exceed the one for passed")
        return self


class Weights(ConfigModel):
    """How much each dimension counts in the gate's score; accuracy is reported, not weighed, by default."""

    completeness: NonNegativeFloat = 0.25
    validity: NonNegativeFloat = 0.25
    consistency: NonNegativeFloat = 0.20
    timeliness: NonNegativeFloat = 0.15
    uniqueness: NonNegativeFloat = 0.15
    accuracy: NonNegativeFloat = 0.0

    def by_dimension(self) -> dict[str, float]:
        """Weight of each dimension, by its name in ``QualityScores``."""
        return {
            "completeness": self.completeness,
            "validity": self.validity,
            "consistency": self.consistency,
            "timeliness": self.timeliness,
            "uniqueness": self.uniqueness,
            "accuracy": self.accuracy,
        }

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if not any(self.by_dimension().values()):
            raise ValueError("at least one dimension must have a weight")
        return self


class AlertConfig(ConfigModel):
    """Who is told: the log always, a webhook where ``webhook_url`` is set; the same matter once per period."""

    enabled: bool = True
    min_severity: AlertSeverity = AlertSeverity.WARNING
    webhook_url: HttpAddress = ""
    webhook_timeout_seconds: PositiveFloat = 5.0
    dedup_hours: NonNegativeFloat = 6.0


class BatchSettings(ConfigModel):
    """Rows looked at together, and how many broken rows of a rule are named."""

    rows: PositiveInt = 250_000
    rows_named: PositiveInt = 100


class StatisticalExpectation(ConfigModel):
    """An expectation about a table as a whole, in Great Expectations' words; it warns and never blocks alone."""

    type: Literal[
        "expect_column_values_to_be_between",
        "expect_column_values_to_not_be_null",
        "expect_column_mean_to_be_between",
        "expect_column_stdev_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between",
    ]
    column: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    min_rows: PositiveInt = 30


class DataQualityConfig(ConfigModel):
    """``config/data_quality.yaml``."""

    thresholds: Thresholds = Thresholds()
    weights: Weights = Weights()
    batches: BatchSettings = BatchSettings()
    alerting: AlertConfig = AlertConfig()
    statistics: dict[str, list[StatisticalExpectation]] = Field(default_factory=dict)


def load_data_quality_config() -> DataQualityConfig:
    """Read ``config/data_quality.yaml``; raises ConfigError."""
    return load_config(DATA_QUALITY_FILE, DataQualityConfig)
