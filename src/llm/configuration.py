"""What does config/llm.yaml say?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from src.llm.client import Purpose
from src.resilience.configuration import BreakerSettings
from src.resilience.retry import RetryPolicy
from src.settings import CONFIG_DIR, ConfigModel, HttpAddress, load_config, var_dir

LLM_FILE = CONFIG_DIR / "llm.yaml"

Provider = Literal["anthropic", "openai", "scripted", "none"]


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _text(value: Any) -> Any:
    """A key or name of digits only is a number to YAML."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Secret = Annotated[SecretStr, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), Field(min_length=1)]


class ModelNames(ConfigModel):
    """One model per purpose. ``optimising_judge`` judges while prompts are improved, ``judge`` decides what is used;
    without the first no prompt is improved."""

    judge: Name
    classification: Name
    reasoning: Name
    narration: Name
    reflection: Name
    optimising_judge: Annotated[str, BeforeValidator(_text)] = ""

    def by_purpose(self) -> dict[Purpose, str]:
        """As a mapping."""
        return {
            "judge": self.judge,
            "classification": self.classification,
            "reasoning": self.reasoning,
            "narration": self.narration,
            "reflection": self.reflection,
        }


class ProviderSettings(ConfigModel):
    """A server, how it is entered and which models it has."""

    api_key: Secret = SecretStr("")
    base_url: HttpAddress = ""
    structured_output: Literal["auto", "native", "prompt"] = "auto"
    models: ModelNames

    @property
    def key(self) -> str | None:
        """The key, None when there is none."""
        return self.api_key.get_secret_value() or None

    @property
    def is_reachable(self) -> bool:
        """True with a key or an address of its own."""
        return bool(self.key or self.base_url)

    @property
    def is_anthropics_own(self) -> bool:
        """True when requests go to Anthropic itself."""
        host = urlsplit(self.base_url).hostname or ""
        return not self.base_url or host == "anthropic.com" or host.endswith(".anthropic.com")


class ScriptedSettings(ConfigModel):
    """The scripted provider."""

    replies: str = ""


class TimeoutSettings(ConfigModel):
    """Seconds."""

    request_seconds: float = Field(default=120.0, gt=0)
    deadline_seconds: float = Field(default=300.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.request_seconds > self.deadline_seconds:
            raise ValueError("request_seconds must not exceed deadline_seconds")
        return self


class RetrySettings(ConfigModel):
    """Attempts, the first included, and seconds between them."""

    attempts: int = Field(default=3, ge=1)
    first_delay_seconds: float = Field(default=0.5, ge=0)
    max_delay_seconds: float = Field(default=20.0, ge=0)

    def policy(self) -> RetryPolicy:
        """As the retry module takes it."""
        return RetryPolicy(self.attempts, self.first_delay_seconds, self.max_delay_seconds)


class BudgetSettings(ConfigModel):
    """Limits of one run; None is no limit."""

    max_tokens: Annotated[PositiveInt | None, BeforeValidator(_none_if_empty)] = None
    max_dollars: Annotated[PositiveFloat | None, BeforeValidator(_none_if_empty)] = None


class CacheSettings(ConfigModel):
    """Replies on disk."""

    enabled: bool = False
    folder: str = Field(default="cache/llm", min_length=1)

    @property
    def path(self) -> Path:
        """Where the replies are kept."""
        return var_dir() / self.folder


class LLMSettings(ConfigModel):
    """Everything in config/llm.yaml."""

    provider: Annotated[Provider | None, BeforeValidator(_none_if_empty)] = None
    anthropic: ProviderSettings
    openai: ProviderSettings
    scripted: ScriptedSettings = ScriptedSettings()
    max_tokens: int = Field(default=1024, ge=1)
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: RetrySettings = RetrySettings()
    circuit_breaker: BreakerSettings = BreakerSettings()
    concurrency: int = Field(default=4, ge=1)
    budget: BudgetSettings = BudgetSettings()
    cache: CacheSettings = CacheSettings()


def load_llm_config(path: Path | str = LLM_FILE, *, environ: Mapping[str, str] | None = None) -> LLMSettings:
    """Read the file. Raises ConfigError naming file and key."""
    return load_config(path, LLMSettings, environ=environ)
