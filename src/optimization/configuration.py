"""When may prompts and retrieval settings be changed, on which evidence, and who has to agree?"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from src.settings import PROJECT_ROOT, ConfigModel

Share = Annotated[float, Field(gt=0, lt=1)]
Check = Literal["sentences_kept", "uncertainty_kept", "scope_kept", "citations_kept", "fairness_unchanged"]
NORTH_STARS: tuple[Check, ...] = (
    "sentences_kept",
    "uncertainty_kept",
    "scope_kept",
    "citations_kept",
    "fairness_unchanged",
)


class ImprovementSettings(ConfigModel):
    """How candidates are made, and what one run may use. ``max_dollars`` and ``max_tokens`` are hard caps per run."""

    optimizer: Literal["gepa", "miprov2"]
    model: str
    max_tokens: PositiveInt
    use_knowledge_store: bool
    veto_similarity: Annotated[float, Field(gt=0, le=1)]
    retrieval_trials: PositiveInt
    max_run_tokens: PositiveInt
    max_run_dollars: PositiveFloat
    random_state: int


class GateSettings(ConfigModel):
    """What a candidate must show on held-out items.

    Points are of the rubric (1–5); ``expected_gain`` is the true gain that is found with ``power``. Retrieval has its
    own gains, in nDCG. Relative margins are shares of what is in use; ``longest_copy`` is in words. What cannot be
    tested within ``max_wait_hours`` of its proposal is given up.
    """

    train_share: Share
    validation_share: Share
    alpha: Share
    power: Share
    min_gain: PositiveFloat
    expected_gain: PositiveFloat
    retrieval_min_gain: PositiveFloat
    retrieval_expected_gain: PositiveFloat
    criterion_margin: PositiveFloat
    metric_margin: PositiveFloat
    cost_margin: PositiveFloat
    latency_margin: PositiveFloat
    length_margin: PositiveFloat
    min_items: PositiveInt
    max_looks: PositiveInt
    longest_copy: PositiveInt
    max_wait_hours: PositiveFloat
    bootstrap_draws: Annotated[int, Field(ge=500)]

    @model_validator(mode="after")
    def _leaves_a_test_set(self) -> Self:
        if self.train_share + self.validation_share >= 1:
            raise ValueError("train_share and validation_share leave no items for the test")
        if self.expected_gain <= self.min_gain or self.retrieval_expected_gain <= self.retrieval_min_gain:
            raise ValueError("the expected gain must be larger than the least gain, or no number of items shows it")
        return self


class CanarySettings(ConfigModel):
    """The share of sessions that a candidate answers, and when that ends. Hours are since it began."""

    share: Annotated[float, Field(gt=0, le=0.5)]
    target_items: PositiveInt
    min_items_per_arm: PositiveInt
    alpha: Share
    margin: PositiveFloat
    retrieval_margin: PositiveFloat
    min_hours: PositiveFloat
    max_hours: PositiveFloat


class ReflectionSettings(ConfigModel):
    """When a cycle is due: so many new answers, or so many minutes since the last one with at least one."""

    batch_size: PositiveInt
    interval_minutes: PositiveFloat
    min_items: PositiveInt


class SafetySettings(ConfigModel):
    """Limits of change. ``rollback_drop`` is in rubric points, that of retrieval in the RAGAS mean (0–1)."""

    cooldown_hours: PositiveFloat
    max_updates_per_day: PositiveInt
    burn_in_hours: PositiveFloat
    keep_versions: PositiveInt
    rollback_drop: PositiveFloat
    retrieval_rollback_drop: PositiveFloat
    rollback_window_hours: PositiveFloat
    min_rollback_samples: PositiveInt
    min_measure_samples: PositiveInt
    require_approval: bool
    pause_auto_updates: bool
    alert_to: str


class ComponentSettings(ConfigModel):
    """A component that is judged: where it is, how risky a change is, and whether a person has to agree.

    Of a component whose kind is workflow only suggestions are made.
    """

    kind: Literal["prompt", "retrieval", "workflow"]
    path: str
    risk: Literal["low", "medium", "high"]
    mode: Literal["auto", "manual"]

    @property
    def needs_approval(self) -> bool:
        """Whether a person has to agree."""
        return self.mode == "manual" or self.risk == "high"


class GuardrailSettings(ConfigModel):
    """A property of the product that no change may touch, and the check in code that keeps it."""

    id: str
    description: str
    check: Check
    parameters: dict[str, Any]


class BehaviourPattern(ConfigModel):
    """What people do when answers are not good enough: how often within how many days it counts."""

    name: Literal["question_repeated", "answer_rated_low", "correction_given", "session_abandoned"]
    min_count: PositiveInt
    window_days: PositiveInt


class LoopSettings(ConfigModel):
    """The part of config/self_improvement.yaml that says what may be changed, when and how."""

    improvement: ImprovementSettings
    gate: GateSettings
    canary: CanarySettings
    reflection: ReflectionSettings
    safety: SafetySettings
    components: dict[str, ComponentSettings]
    never_modify: tuple[str, ...]
    guardrails: tuple[GuardrailSettings, ...]
    behaviour_patterns: tuple[BehaviourPattern, ...]

    @model_validator(mode="after")
    def _paths_exist(self) -> Self:
        named = [(f"components.{name}", one.path) for name, one in self.components.items()]
        named += [("never_modify", path) for path in self.never_modify]
        for where, path in named:
            if not (PROJECT_ROOT / path).exists():
                raise ValueError(f"{where}: there is no {path}")
        for component in self.components.values():
            if any(component.path == path or component.path.startswith(f"{path}/") for path in self.never_modify):
                raise ValueError(f"components: {component.path} is among never_modify")
        if missing := [check for check in NORTH_STARS if check not in {one.check for one in self.guardrails}]:
            raise ValueError(f"guardrails: no guardrail has the check {missing[0]}")
        return self
