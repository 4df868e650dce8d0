"""How are hyperparameters searched? ``config/optuna_config.yaml``, typed, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from src.domain.modelling import ProblemType
from src.errors import ConfigError, HPOError, nearest_names
from src.mlops.optuna.spaces import ParameterSpace, plain_space
from src.settings import CONFIG_DIR, ConfigModel, load_config

OPTUNA_FILE = CONFIG_DIR / "optuna_config.yaml"

SamplerName = Literal["tpe", "random", "cmaes"]
PrunerName = Literal["hyperband", "median", "successive_halving", "none"]


class HyperbandSettings(ConfigModel):
    """Steps before the first decision, steps of the longest training, and 1/share of trials that go on."""

    min_resource: int = Field(default=3, ge=1)
    max_resource: int = Field(default=100, ge=1)
    reduction_factor: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_resource > self.max_resource:
            raise ValueError("min_resource must not exceed max_resource")
        return self


class MedianSettings(ConfigModel):
    """Finished trials, and steps of a trial, before the first decision."""

    n_startup: int = Field(default=5, ge=0)
    n_warmup_steps: int = Field(default=2, ge=0)


class SuccessiveHalvingSettings(ConfigModel):
    """Steps before the first decision, and 1/share of trials that go on."""

    min_resource: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class PrunerSettings(ConfigModel):
    """Settings of each pruner that has some."""

    hyperband: HyperbandSettings = HyperbandSettings()
    median: MedianSettings = MedianSettings()
    successive_halving: SuccessiveHalvingSettings = SuccessiveHalvingSettings()


class MetricSettings(ConfigModel):
    """What is optimised where nothing is asked for."""

    binary: str = "roc_auc"
    multiclass: str = "f1_weighted"
    regression: str = "neg_rmse"

    def of(self, problem_type: ProblemType) -> str:
        """The metric of a problem type. Raises HPOError for effects, which no metric on rows can measure."""
        by_type = {
            ProblemType.BINARY: self.binary,
            ProblemType.MULTICLASS: self.multiclass,
            ProblemType.REGRESSION: self.regression,
        }
        if problem_type not in by_type:
            raise HPOError(
                f"hyperparameters of a model of type '{problem_type}' cannot be searched: a true effect is never "
                "seen on a row; use causal_impact or `e2i effect`"
            )
        return by_type[problem_type]


class WarmStartSettings(ConfigModel):
    """Whether past bests are tried first and past trials guide the search, and how alike their problem must be (0–1).

    At most ``max_import_trials`` are tried first; the trials of ``max_searches`` guide it, ``remembered_trials`` being
    kept of each search. No trial is pruned before ``first_pruning_step`` then.
    """

    enabled: bool = True
    min_similarity: float = Field(default=0.7, ge=0, le=1)
    max_import_trials: int = Field(default=20, ge=1)
    max_searches: int = Field(default=5, ge=0)
    remembered_trials: int = Field(default=40, ge=1)
    first_pruning_step: int = Field(default=27, ge=1)


class TrialRunSettings(ConfigModel):
    """Whether every trial becomes a run in MLflow, and what its parameters' names begin with."""

    log_trials: bool = True
    param_prefix: str = "hp_"


class LimitSettings(ConfigModel):
    """What ends a search: trials of a study, seconds of a call, MB of the process, trials without a better one."""

    max_trials: int = Field(default=500, ge=1)
    max_seconds: float = Field(default=7200, gt=0)
    max_memory_mb: float = Field(default=4096, gt=0)
    stop_after_no_improvement: int = Field(default=25, ge=1)


class OptunaConfig(ConfigModel):
    """Everything below ``optuna:``."""

    storage_url: str = Field(default="sqlite:///var/optuna.db", min_length=1)
    default_sampler: SamplerName = "tpe"
    default_pruner: PrunerName = "hyperband"
    n_startup_trials: int = Field(default=10, ge=0)
    random_state: int = 42
    multivariate: bool = True
    pruners: PrunerSettings = PrunerSettings()
    n_trials: int = Field(default=50, ge=1)
    timeout_seconds: float | None = Field(default=None, gt=0)
    n_jobs: int = Field(default=1, ge=1)
    cv_folds: int = Field(default=5, ge=2)
    metrics: MetricSettings = MetricSettings()
    warmstart: WarmStartSettings = WarmStartSettings()
    mlflow: TrialRunSettings = TrialRunSettings()
    limits: LimitSettings = LimitSettings()
    search_spaces: dict[str, dict[str, ParameterSpace]] = Field(default_factory=dict)

    def search_space(self, algorithm: str) -> dict[str, dict[str, Any]]:
        """The shipped space of an algorithm, as ``suggest_from_search_space`` takes it. Raises HPOError."""
        if algorithm not in self.search_spaces:
            raise HPOError(f"no search space for '{algorithm}'; {nearest_names(algorithm, self.search_spaces)}")
        return plain_space(self.search_spaces[algorithm])

    def changed(self, **values: Any) -> Self:
        """This configuration with ``values`` put over it, sections key by key, search spaces as a whole.

        Raises ConfigError.
        """
        spaces = {**self.search_spaces, **values.get("search_spaces", {})}
        try:
            return type(self).model_validate(_merged(self.model_dump(), values) | {"search_spaces": spaces})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
            raise ConfigError(f"configuration of the optimizer: {key}: {problem}") from error


class OptunaFile(ConfigModel):
    """The file: everything stands below one key."""

    optuna: OptunaConfig = OptunaConfig()


def load_optuna_config(path: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> OptunaFile:
    """The file, with ``${…}`` replaced. Raises ConfigError naming file and key."""
    return load_config(path or OPTUNA_FILE, OptunaFile, environ=environ)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged
