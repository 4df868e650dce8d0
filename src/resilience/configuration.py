"""How are circuit breakers written down in configuration files?"""

from __future__ import annotations

from pydantic import Field

from src.resilience.circuit_breaker import CircuitBreakerConfig
from src.settings import ConfigModel


class BreakerSettings(ConfigModel):
    """Settings of a circuit breaker."""

    failure_threshold: int = Field(default=5, ge=1)
    reset_timeout_seconds: float = Field(default=30.0, gt=0)
    half_open_max_calls: int = Field(default=3, ge=1)
    success_threshold: int = Field(default=2, ge=1)

    def breaker(self) -> CircuitBreakerConfig:
        """As the breaker takes them."""
        return CircuitBreakerConfig(**self.model_dump())
