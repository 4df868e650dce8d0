"""What may be set about an evaluation, and what are the defaults?"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.errors import ConfigError
from src.rag.configuration import EvaluationSettings, load_rag_config
from src.rag.scores import DEFAULT_THRESHOLDS


@functools.cache
def _settings() -> EvaluationSettings:
    return load_rag_config().evaluation


def _default(name: str) -> Any:
    """A field whose default is the key of that name in the section ``evaluation`` of config/rag.yaml."""
    return field(default_factory=lambda: getattr(_settings(), name))


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Settings of an evaluation; what is not given stands in config/rag.yaml.

    ``thresholds`` may name some metrics only: the others keep their default. ``batch_size`` is how many results are
    stored at a time, ``max_concurrent`` how many samples and how many requests to the judge are under way at most,
    ``retry_count`` how often a request is sent again after an outage, ``timeout_seconds`` the limit of one sample,
    ``max_dollars`` that of one batch (None: none). Raises ConfigError for values out of range.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    log_to_mlflow: bool = True
    mlflow_experiment: str = "rag-evaluation"
    batch_size: int = _default("batch_size")
    max_concurrent: int = _default("max_concurrent")
    timeout_seconds: float = _default("timeout_seconds")
    retry_count: int = _default("retry_count")
    max_dollars: float | None = _default("max_dollars")
    judge_max_tokens: int = _default("judge_max_tokens")
    min_coverage: float = _default("min_coverage")
    bootstrap_draws: int = _default("bootstrap_draws")
    random_state: int = _default("random_state")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.thresholds) - set(DEFAULT_THRESHOLDS))
        if unknown:
            raise ConfigError(f"no threshold is known for '{unknown[0]}'; there is: {', '.join(DEFAULT_THRESHOLDS)}")
        for name, value in self.thresholds.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"the threshold of {name} lies between 0 and 1, not at {value}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not math.isfinite(value) or value < least:
                raise ConfigError(f"{name} of an evaluation must be at least {least}, not {value}")
        if not self.timeout_seconds > 0 or (self.max_dollars is not None and not self.max_dollars > 0):
            raise ConfigError("timeout_seconds and max_dollars of an evaluation must be above 0")
        if not 0 <= self.min_coverage <= 1:
            raise ConfigError(f"min_coverage lies between 0 and 1, not at {self.min_coverage}")
        object.__setattr__(self, "thresholds", {**DEFAULT_THRESHOLDS, **self.thresholds})


_LEAST = {
    "batch_size": 1,
    "max_concurrent": 1,
    "retry_count": 0,
    "judge_max_tokens": 1,
    "bootstrap_draws": 1,
}
