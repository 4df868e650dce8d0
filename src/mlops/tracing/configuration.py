"""What does config/observability.yaml say? Typed, with the overrides of the environment applied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from src.domain.agents import TIER_NAMES, TIER_OF_AGENT, UNKNOWN_AGENT
from src.domain.prices import PriceTable
from src.errors import ConfigError, nearest_names
from src.resilience.configuration import BreakerSettings
from src.settings import CONFIG_DIR, PROJECT_ROOT, ConfigModel, HttpAddress, load_config

OBSERVABILITY_FILE = CONFIG_DIR / "observability.yaml"


def _known_agent(name: str) -> str:
    if name not in TIER_OF_AGENT and name != UNKNOWN_AGENT:
        raise ValueError(f"no agent is called '{name}'; {nearest_names(name, TIER_OF_AGENT)}")
    return name


Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AgentName = Annotated[str, AfterValidator(_known_agent)]
Tier = Annotated[int, Field(ge=min(TIER_NAMES), le=max(TIER_NAMES))]
Window = Literal["1h", "24h", "7d"]
Environment = Literal["development", "staging", "production"]


class OpikSettings(ConfigModel):
    """The Opik server that mirrors the spans."""

    enabled: bool = False
    api_key: str = Field(default="", repr=False)
    url: HttpAddress = ""
    use_local: bool = True
    local_endpoint: HttpAddress = "http://localhost:5173/api"
    workspace: str = "default"
    project_name: str = Field(default="e2i-causal-analytics", min_length=1)
    request_timeout_seconds: Positive = 10.0
    flush_interval_seconds: Positive = 10.0

    @property
    def base_url(self) -> str:
        """The address in use: ``url``, else the local one while ``use_local``; empty when there is none."""
        return (self.url or (self.local_endpoint if self.use_local else "")).rstrip("/")

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.enabled and not self.base_url:
            raise ValueError("enabled without an address: set url, or use_local with local_endpoint")
        return self


class OtlpSettings(ConfigModel):
    """OTLP/HTTP export; off while ``endpoint`` is empty."""

    endpoint: HttpAddress = ""
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    request_timeout_seconds: Positive = 10.0


class SamplingSettings(ConfigModel):
    """Shares of traces that are mirrored, 0–1."""

    default_rate: Rate = 1.0
    always_sample_errors: bool = True
    always_sample_agents: tuple[AgentName, ...] = ()
    tier_rates: dict[Tier, Rate] = Field(default_factory=dict)
    agent_rates: dict[AgentName, Rate] = Field(default_factory=dict)

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
    max_wait_seconds: Positive = 5.0
    max_retries: int = Field(default=3, ge=0)
    retry_delay_seconds: Positive = 1.0


class FallbackSettings(ConfigModel):
    """The spool: where it lies, whether PostgreSQL is fed from it, and its bounds in megabytes."""

    spool_path: str = Field(default="spool/spans", min_length=1)
    database: bool = True
    max_mb: Positive = 256.0
    segment_mb: Positive = 8.0
    fsync: bool = True

    @property
    def segment_bytes(self) -> float:
        """Size of a segment; several fit into the bound, so that whole ones can be given up."""
        return min(self.segment_mb, self.max_mb / 4) * 1e6


class CacheSettings(ConfigModel):
    """The cache of quality metrics; ``ttl`` is in seconds by window."""

    backend: Literal["memory", "redis"] = "memory"
    redis_url: str = Field(default="", repr=False)
    ttl: dict[Window, Positive] = {"1h": 60, "24h": 300, "7d": 600}
    max_entries: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.backend == "redis" and not self.redis_url:
            raise ValueError("backend redis needs redis_url")
        if missing := [window for window in get_args(Window) if window not in self.ttl]:
            raise ValueError(f"ttl has no seconds for {', '.join(missing)}")
        return self


class RetentionSettings(ConfigModel):
    """Days that spans and idle conversations are kept in PostgreSQL, and rows of spans deleted per statement."""

    days: Positive = 30
    conversation_days: Positive = 30
    batch: int = Field(default=1000, ge=1)


class SpanSettings(ConfigModel):
    """Size limits in kilobytes, and further keys whose values are never recorded."""

    max_input_kb: Positive = 10
    max_output_kb: Positive = 10
    max_attributes_kb: Positive = 4
    redact: tuple[str, ...] = ()


class ObservabilityConfig(ConfigModel):
    """Everything in config/observability.yaml."""

    # A rejected section may hold a key or a password; the error that names it must not.
    model_config = ConfigDict(hide_input_in_errors=True)

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
    environments: dict[Environment, dict[str, Any]] = Field(default_factory=dict)

    def for_environment(self, name: str) -> Self:
        """This configuration with the overrides of ``name`` applied; raises ConfigError for a bad override."""
        override = next((changes for known, changes in self.environments.items() if known == name), {})
        if "environments" in override:
            raise ConfigError(f"environments.{name}.environments: unknown key")
        return self._with(override, f"environments.{name}.")

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """This configuration with some keys replaced; raises ConfigError for an unknown key or a wrong value."""
        return self._with(changes, "observability settings: ")

    def _with(self, changes: Mapping[str, Any], where: str) -> Self:
        try:
            return type(self).model_validate(_merge(self.model_dump(), changes))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
            raise ConfigError(f"{where}{key}: {problem}") from error


def load_observability_config(
    path: Path | str = OBSERVABILITY_FILE, *, environ: Mapping[str, str] | None = None
) -> ObservabilityConfig:
    """The file with the overrides of ``E2I_ENV`` (default development). Raises ConfigError naming file and key."""
    variables = os.environ if environ is None else environ
    name = variables.get("E2I_ENV") or "development"
    if name not in get_args(Environment):
        raise ConfigError(f"E2I_ENV is '{name}'; it must be development, staging or production")
    config = load_config(path, ObservabilityConfig, environ=variables)
    try:
        views = {known: config.for_environment(known) for known in config.environments}
    except ConfigError as error:
        file = Path(path)
        shown = file.relative_to(PROJECT_ROOT) if file.is_relative_to(PROJECT_ROOT) else file
        raise ConfigError(f"{shown}: {error}") from error
    return next((view for known, view in views.items() if known == name), config)


def _merge(base: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in override.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(dict(merged[key]), value) if nested else value
    return merged
