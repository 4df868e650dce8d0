"""What does config/mlflow/mlflow.yaml say? Typed, unknown keys refused."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator

from src.resilience.configuration import BreakerSettings
from src.resilience.retry import RetryPolicy
from src.settings import CONFIG_DIR, ConfigModel, load_config, var_dir

MLFLOW_FILE = CONFIG_DIR / "mlflow" / "mlflow.yaml"

Framework = Literal["sklearn", "lightgbm", "xgboost"]


class RetrySettings(ConfigModel):
    """Attempts per call, and seconds between them."""

    max_attempts: int = Field(default=3, ge=1, le=20)
    backoff_factor: float = Field(default=0.5, gt=0)
    max_backoff: float = Field(default=10.0, gt=0)

    def policy(self) -> RetryPolicy:
        """As the retry functions take them."""
        return RetryPolicy(self.max_attempts, self.backoff_factor, self.max_backoff)


class TrackingSettings(ConfigModel):
    """The store; an empty ``uri`` means that nothing is recorded."""

    uri: str = "sqlite:///var/mlflow.db"
    artifact_location: str = ""
    request_timeout: int = Field(default=30, ge=1)
    retry: RetrySettings = RetrySettings()


class ExperimentSettings(ConfigModel):
    """How experiments are named and tagged."""

    prefix: str = Field(default="e2i", min_length=1)
    default_tags: dict[str, str] = Field(default_factory=dict)


class StagingRules(ConfigModel):
    """What a version needs for staging."""

    min_auc: float = Field(default=0.70, ge=0, le=1)
    min_samples: int = Field(default=1000, ge=0)


class ShadowRules(ConfigModel):
    """What a version needs for shadow."""

    min_auc: float = Field(default=0.75, ge=0, le=1)


class ShadowObservation(ConfigModel):
    """What must have been observed in shadow before production: hours, requests, share of errors, milliseconds."""

    min_hours: float = Field(default=24, ge=0)
    min_requests: int = Field(default=1000, ge=0)
    max_error_rate: float = Field(default=0.01, ge=0, le=1)
    max_p99_ms: float = Field(default=150, gt=0)


class ProductionRules(ConfigModel):
    """What a version needs for production."""

    min_auc: float = Field(default=0.80, ge=0, le=1)
    champion_ratio: float = Field(default=0.95, ge=0)
    shadow: ShadowObservation = ShadowObservation()
    require_approval: bool = True


class DeprecatedRules(ConfigModel):
    """How long a deprecated version is kept before it is archived."""

    archive_after_days: float = Field(default=30, ge=0)


class StageRules(ConfigModel):
    """The rules of each stage that has some."""

    staging: StagingRules = StagingRules()
    shadow: ShadowRules = ShadowRules()
    production: ProductionRules = ProductionRules()
    deprecated: DeprecatedRules = DeprecatedRules()


class RegistrySettings(ConfigModel):
    """How registered models are named and promoted."""

    naming_pattern: str = "e2i_{experiment}_{algorithm}"
    stages: StageRules = StageRules()

    @field_validator("naming_pattern")
    @classmethod
    def _names_both(cls, pattern: str) -> str:
        fields = {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}
        if fields != {"experiment", "algorithm"}:
            raise ValueError("must contain {experiment} and {algorithm} and nothing else in braces")
        return pattern


class AutologSettings(ConfigModel):
    """Frameworks whose fits are recorded without being asked for."""

    frameworks: tuple[Framework, ...] = ()


class SpoolSettings(ConfigModel):
    """Where writes are kept that the server could not take, and how much of them."""

    path: str = Field(default="spool/mlflow", min_length=1)
    max_mb: float = Field(default=256.0, gt=0)

    @property
    def folder(self) -> Path:
        """The absolute folder."""
        return var_dir() / self.path

    @property
    def max_bytes(self) -> int:
        """The bound in bytes."""
        return int(self.max_mb * 1024 * 1024)


class LoggingSettings(ConfigModel):
    """What is never stored."""

    mask_params: tuple[str, ...] = ("password", "api_key", "secret", "token")


class MlflowConfig(ConfigModel):
    """Everything in config/mlflow/mlflow.yaml."""

    tracking: TrackingSettings = TrackingSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    registry: RegistrySettings = RegistrySettings()
    autolog: AutologSettings = AutologSettings()
    circuit_breaker: BreakerSettings = BreakerSettings()
    spool: SpoolSettings = SpoolSettings()
    logging: LoggingSettings = LoggingSettings()

    def with_arguments(
        self, *, tracking_uri: str | None, artifact_uri: str | None, experiment_prefix: str | None
    ) -> Self:
        """This configuration with what a caller gave put over it; None leaves the file's value."""
        tracking = {"uri": tracking_uri, "artifact_location": artifact_uri}
        experiments = {"prefix": experiment_prefix}
        return self.model_copy(
            update={
                "tracking": self.tracking.model_copy(update=_given(tracking)),
                "experiments": self.experiments.model_copy(update=_given(experiments)),
            }
        )


def load_mlflow_config(path: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> MlflowConfig:
    """The file, with ``${…}`` replaced. Raises ConfigError naming file and key."""
    return load_config(path or MLFLOW_FILE, MlflowConfig, environ=environ)


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
