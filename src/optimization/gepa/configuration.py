"""What does config/gepa_config.yaml say?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from src.errors import ConfigError, nearest_names
from src.settings import CONFIG_DIR, PROJECT_ROOT, ConfigModel, load_config, var_dir

GEPA_FILE = CONFIG_DIR / "gepa_config.yaml"

BudgetName = Literal["light", "medium", "heavy"]
MetricName = Literal["causal_impact", "feedback_learner", "explainer", "tool_composer", "standard"]
PARTS: Mapping[MetricName, tuple[str, ...]] = {
    "causal_impact": ("refutation", "sensitivity", "method", "business"),
    "feedback_learner": ("pattern", "recommendation", "storage"),
    "explainer": ("clarity", "accuracy", "coverage"),
    "tool_composer": ("decomposition", "tools", "order", "synthesis"),
    "standard": ("accuracy", "latency"),
}


class BudgetSizes(ConfigModel):
    """Metric calls by the name of a budget."""

    light: PositiveInt
    medium: PositiveInt
    heavy: PositiveInt

    def calls(self, name: BudgetName) -> int:
        """Most metric calls of a run with that budget."""
        return {"light": self.light, "medium": self.medium, "heavy": self.heavy}[name]


class AgentSettings(ConfigModel):
    """How one agent's prompt is optimised."""

    budget: BudgetName
    metric: MetricName
    weights: dict[str, Annotated[float, Field(gt=0, le=1)]]

    @model_validator(mode="after")
    def _weighs_the_metrics_parts(self) -> Self:
        if set(self.weights) != set(PARTS[self.metric]):
            raise ValueError(f"the metric {self.metric} consists of {', '.join(PARTS[self.metric])}")
        if not math.isclose(sum(self.weights.values()), 1.0, abs_tol=1e-9):
            raise ValueError("the weights of a metric must sum to 1")
        return self


class MiproSettings(ConfigModel):
    """MIPROv2: how many wordings are proposed and how many trials choose between them."""

    candidates: Annotated[int, Field(ge=2)]
    trials: PositiveInt


class ABTestSettings(ConfigModel):
    """Two versions side by side; ``split`` is the share of units that get the new one."""

    split: Annotated[float, Field(gt=0, lt=1)]
    target_samples: PositiveInt
    alpha: Annotated[float, Field(gt=0, lt=1)]
    min_per_arm: PositiveInt
    min_hours: PositiveFloat
    max_hours: PositiveFloat

    @model_validator(mode="after")
    def _ends_after_it_may(self) -> Self:
        if self.max_hours < self.min_hours:
            raise ValueError("max_hours must not be less than min_hours")
        return self


class VersioningSettings(ConfigModel):
    """Where optimised wordings are kept, and how many of each component."""

    path: Annotated[str, Field(min_length=1)]
    keep: PositiveInt

    @property
    def folder(self) -> Path:
        """The absolute folder."""
        path = Path(self.path).expanduser()
        if path.parts and path.parts[0] == "var":
            return var_dir().joinpath(*path.parts[1:])
        return PROJECT_ROOT / path


class GepaConfig(ConfigModel):
    """Everything in config/gepa_config.yaml."""

    budgets: BudgetSizes
    agents: dict[str, AgentSettings]
    candidate_selection: Literal["pareto", "current_best"]
    use_merge: bool
    max_merge_invocations: PositiveInt
    reflection_minibatch: PositiveInt
    threads: PositiveInt
    random_state: int
    reflection_model: str
    mipro: MiproSettings
    ab_test: ABTestSettings
    versioning: VersioningSettings

    def agent(self, name: str) -> AgentSettings:
        """The settings of an agent or component. Raises ConfigError for one that is not configured."""
        if name not in self.agents:
            raise ConfigError(f"gepa_config.yaml: agents has no '{name}'; {nearest_names(name, self.agents)}")
        return self.agents[name]

    def metric_calls(self, name: str) -> int:
        """Most metric calls of a run for an agent. Raises ConfigError as above."""
        return self.budgets.calls(self.agent(name).budget)


def load_gepa_config(path: Path | str = GEPA_FILE, *, environ: Mapping[str, str] | None = None) -> GepaConfig:
    """Read the file. Raises ConfigError naming file and key."""
    return load_config(path, GepaConfig, environ=environ)
