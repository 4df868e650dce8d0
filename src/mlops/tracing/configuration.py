"""What does config/observability.yaml say? Typed, with the overrides of the environment applied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator

from src.domain.prices import PriceTable
from src.errors import ConfigError
from src.resilience.circuit_breaker import CircuitBreakerConfig
from src.settings import CONFIG_DIR, ConfigModel, load_config

OBSERVABILITY_FILE = CONFIG_DIR / "observability.yaml"

Rate = float


class OpikSettings(ConfigModel):
    """The Opik server that mirrors the spans."""

    enabled: bool = False
    api_key: str = ""
    url: str = ""
    use_local: bool = True
    local_endpoint: str = "http://localhost:5173/api"
    workspace: str = "default"
    project_name: str = Field(default="e2i-causal-analytics", min_length=1)
    request_timeout_seconds: float = Field(default=10.0, gt=0)
    flush_interval_seconds: float = Field(default=10.0, gt=0)

    @property
    def base_url(self) -> str:
        """The address in use: ``url``, else the local one while ``use_local``; empty when there is none."""
        return (self.url or (self.local_endpoint if self.use_local else "")).rstrip("/")


class OtlpSettings(ConfigModel):
    """OTLP/HTTP export; off while ``endpoint`` is empty."""

    endpoint: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    request_timeout_seconds: float = Field(default=10.0, gt=0)


class SamplingSettings(ConfigModel):
    """Shares of traces that are mirrored, 0–1."""

    default_rate: float = Field(default=1.0, ge=0, le=1)
    always_sample_errors: bool = True
    always_sample_agents: tuple[str, ...] = ()
    tier_rates: dict[int, Rate] = Field(default_factory=dict)
    agent_rates: dict[str, Rate] = Field(default_factory=dict)

    @field_validator("tier_rates", "agent_rates")
    @classmethod
    def _shares(cls, rates: dict[Any, float]) -> dict[Any, float]:
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"rate of {name} must lie between 0 and 1, not {rate}")
        return rates

    def rate(self, agent: str, tier: int) -> float:
        """The share for traces whose root is ``agent``: named agents, then its own rate, its tier's, the default.

        A tier's rate never raises the share above the default rate.
        """
        if agent in self.always_sample_agents:
            return 1.0
        if agent in self.agent_rates:
            return self.agent_rates[agent]
        return min(self.default_rate, self.tier_rates.get(tier, self.default_rate))


class BatchingSettings(ConfigModel):
    """Records per request, longest wait for a full batch, and repeats of a failed request in a row."""

    max_batch_size: int = Field(default=100, ge=1, le=1000)
    max_wait_seconds: float = Field(default=5.0, gt=0)
    max_retries: int = Field(default=3, ge=0)
    retry_delay_seconds: float = Field(default=1.0, gt=0)


class BreakerSettings(ConfigModel):
    """Settings of a circuit breaker."""

    failure_threshold: int = Field(default=5, ge=1)
    reset_timeout_seconds: float = Field(default=30.0, gt=0)
    half_open_max_calls: int = Field(default=3, ge=1)
    success_threshold: int = Field(default=2, ge=1)

    def breaker(self) -> CircuitBreakerConfig:
        """As the breaker takes them."""
        return CircuitBreakerConfig(**self.model_dump())


class FallbackSettings(ConfigModel):
    """The spool: where it lies, whether PostgreSQL is fed from it, and its bounds in megabytes."""

    spool_path: str = Field(default="spool/spans", min_length=1)
    database: bool = True
    max_mb: float = Field(default=256.0, gt=0)
    segment_mb: float = Field(default=8.0, gt=0)
    fsync: bool = True


class CacheSettings(ConfigModel):
    """The cache of quality metrics; ``ttl`` is in seconds by window."""

    backend: Literal["memory", "redis"] = "memory"
    redis_url: str = ""
    ttl: dict[Literal["1h", "24h", "7d"], float] = Field(default_factory=lambda: {"1h": 60, "24h": 300, "7d": 600})
    max_entries: int = Field(default=1000, ge=1)


class RetentionSettings(ConfigModel):
    """Days that spans are kept in PostgreSQL, and rows deleted per statement."""

    days: float = Field(default=30, gt=0)
    batch: int = Field(default=1000, ge=1)


class SpanSettings(ConfigModel):
    """Size limits in kilobytes, and further keys whose values are never recorded."""

    max_input_kb: float = Field(default=10, gt=0)
    max_output_kb: float = Field(default=10, gt=0)
    max_attributes_kb: float = Field(default=4, gt=0)
    redact: tuple[str, ...] = ()


class ObservabilityConfig(ConfigModel):
    """Everything in config/observability.yaml."""

    opik: OpikSettings = OpikSettings()
    otlp: OtlpSettings = OtlpSettings()
    sampling: SamplingSettings = SamplingSettings()
    batching: BatchingSettings = BatchingSettings()
    circuit_breaker: BreakerSettings = BreakerSettings()
    fallback: FallbackSettings = FallbackSettings()
    cache: CacheSettings = CacheSettings()
    retention: RetentionSettings = RetentionSettings()
    spans: SpanSettings = SpanSettings()
    prices: PriceTable
    environments: dict[Literal["development", "staging", "production"], dict[str, Any]] = Field(default_factory=dict)

    def for_environment(self, name: str) -> Self:
        """This configuration with the overrides of ``name`` applied; raises ConfigError for a bad override."""
        override = next((changes for known, changes in self.environments.items() if known == name), {})
        merged = _merge(self.model_dump(), override)
        try:
            return type(self).model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
            raise ConfigError(f"config/observability.yaml: environments.{name}.{key}: {problem}") from error


def load_observability_config(
    path: Path | str = OBSERVABILITY_FILE, *, environ: Mapping[str, str] | None = None
) -> ObservabilityConfig:
    """The file with the overrides of ``E2I_ENV`` (default development). Raises ConfigError naming file and key."""
    variables = os.environ if environ is None else environ
    name = variables.get("E2I_ENV") or "development"
    if name not in ("development", "staging", "production"):
        raise ConfigError(f"E2I_ENV is '{name}'; it must be development, staging or production")
    config = load_config(path, ObservabilityConfig, environ=variables)
    for known in config.environments:
        config.for_environment(known)
    return config.for_environment(name)


def _merge(base: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(dict(merged[key]), value) if nested else value
    return merged
