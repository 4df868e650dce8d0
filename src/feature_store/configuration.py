"""Where are features kept, how often are they carried over, and when are they too old? One YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from src.errors import ConfigError
from src.settings import CONFIG_DIR, PROJECT_ROOT, ConfigModel, load_config, var_dir

FEAST_FILE = CONFIG_DIR / "feast_materialization.yaml"


class OnlineStoreSettings(ConfigModel):
    """Where features are served from; without a connection string the embedded SQLite file."""

    type: Literal["redis", "postgres", "sqlite"] = "redis"
    connection_string: str = Field(default="", repr=False)

    @property
    def kind(self) -> Literal["redis", "postgres", "sqlite"]:
        """The store that is used."""
        return self.type if self.connection_string else "sqlite"


class OfflineStoreSettings(ConfigModel):
    """Where history is read from: ``file`` is Parquet (below ``path``) through DuckDB, ``postgres`` the database."""

    type: Literal["file", "postgres"] = "file"
    path: Path = Path("features")
    dsn: str = Field(default="", repr=False)

    @property
    def folder(self) -> Path:
        """The Parquet files; a relative path is below ``E2I_VAR_DIR``."""
        return self.path if self.path.is_absolute() else var_dir() / self.path


class RegistrySettings(ConfigModel):
    """Feast's SQL registry; empty: a SQLite file beside the Parquet files."""

    url: str = Field(default="", repr=False)


class MaterializationSettings(ConfigModel):
    """When features are carried into the online store, in which portions, and how often a failure is repeated."""

    incremental_interval_hours: PositiveFloat = 1
    full_refresh_interval_hours: PositiveFloat = 24
    timeout_seconds: PositiveFloat = 300
    max_retries: NonNegativeInt = 3
    retry_delay_seconds: NonNegativeFloat = 30
    chunk_rows: PositiveInt = 50_000


class FreshnessLimits(ConfigModel):
    """Hours since the last materialisation: up to the warning FRESH, up to the maximum WARNING, then STALE."""

    max_age_hours: PositiveFloat
    warning_threshold_hours: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warning_threshold_hours > self.max_age_hours:
            raise ValueError("warning_threshold_hours must not exceed max_age_hours")
        return self


class FreshnessSettings(FreshnessLimits):
    """Limits for all views, and those of single views."""

    max_age_hours: PositiveFloat = 2
    warning_threshold_hours: PositiveFloat = 1
    views: dict[str, FreshnessLimits] = Field(default_factory=dict)

    def limits(self, view: str) -> FreshnessLimits:
        """The limits of a view."""
        return self.views.get(view, self)


class FreshnessAlerting(ConfigModel):
    """Whether somebody is told of a stale view, at most once per view in this time."""

    enabled: bool = True
    dedup_hours: PositiveFloat = 6


class FeastConfig(ConfigModel):
    """The ``feast:`` part of ``config/feast_materialization.yaml``."""

    project: str = Field(default="e2i", pattern=r"^[a-z][a-z0-9_]*$")
    repo_path: Path = Path("./feature_repo")
    registry: RegistrySettings = RegistrySettings()
    online_store: OnlineStoreSettings = OnlineStoreSettings()
    offline_store: OfflineStoreSettings = OfflineStoreSettings()
    materialization: MaterializationSettings = MaterializationSettings()
    feature_freshness: FreshnessSettings = FreshnessSettings()
    alerting: FreshnessAlerting = FreshnessAlerting()

    def repository(self) -> Path:
        """The folder of the feature definitions; raises ConfigError when it is not there."""
        path = self.repo_path if self.repo_path.is_absolute() else PROJECT_ROOT / self.repo_path
        if not path.is_dir():
            raise ConfigError(f"feast.repo_path: there is no folder {path}")
        return path.resolve()


class FeastFile(ConfigModel):
    """``config/feast_materialization.yaml``."""

    feast: FeastConfig


def load_feast_config(path: Path = FEAST_FILE) -> FeastConfig:
    """Read the file; raises ConfigError naming the key that is wrong."""
    return load_config(path, FeastFile).feast
