"""Is a table good enough to be used, and who is told when it is not? The public face of ``mlops.quality``."""

from __future__ import annotations

from functools import lru_cache

from src.domain.alerts import AlertSeverity
from src.errors import DataQualityCheckpointError
from src.mlops.quality.alerts import AlertHandler, DataQualityAlerter, LogAlertHandler, WebhookAlertHandler
from src.mlops.quality.configuration import AlertConfig, DataQualityConfig, load_data_quality_config
from src.mlops.quality.result import (
    Counts,
    DataQualityResult,
    FailedExpectation,
    QualityScores,
    QualityStatus,
)
from src.mlops.quality.scores import quality_scores
from src.mlops.quality.suites import ExpectationSuite, ExpectationSuiteBuilder
from src.mlops.quality.validator import DataQualityValidator

__all__ = [
    "AlertConfig",
    "AlertHandler",
    "AlertSeverity",
    "Counts",
    "DataQualityAlerter",
    "DataQualityCheckpointError",
    "DataQualityConfig",
    "DataQualityResult",
    "DataQualityValidator",
    "ExpectationSuite",
    "ExpectationSuiteBuilder",
    "FailedExpectation",
    "LogAlertHandler",
    "QualityScores",
    "QualityStatus",
    "WebhookAlertHandler",
    "get_data_quality_validator",
    "load_data_quality_config",
    "quality_scores",
]


@lru_cache(maxsize=1)
def get_data_quality_validator() -> DataQualityValidator:
    """The validator this process shares, configured by ``config/data_quality.yaml``; raises ConfigError."""
    return DataQualityValidator()
