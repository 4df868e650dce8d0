"""What is known of a model, in a form that is kept with it and read again?"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Tone = Literal["supported", "caution", "stop"]


class CardPart(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class CardTrial(CardPart):
    """One trial of a search; ``state`` is COMPLETE, PRUNED or FAIL."""

    number: int
    state: str
    value: float | None
    params: dict[str, Any]


class CardSearch(CardPart):
    """A search for hyperparameters; ``completed``, ``pruned`` and ``failed`` count its trials."""

    study: str
    metric: str
    direction: str
    best_value: float
    best_trial: int
    best_params: dict[str, Any]
    completed: int
    pruned: int
    failed: int
    seconds: float
    stopped_because: str
    warm_starts: int
    trials: tuple[CardTrial, ...]


class CardSegment(CardPart):
    """Metrics of one value of a segment column on the test split."""

    column: str
    value: str
    n: int
    metrics: dict[str, float]


class CardExplanation(CardPart):
    """What SHAP says; ``ranked``: feature, mean absolute value, direction. ``beeswarm``: PNG in base64, or empty."""

    explainer: str
    space: str
    base_value: float
    rows: int
    max_error: float
    ranked: tuple[tuple[str, float, int], ...]
    interactions: tuple[tuple[str, str, float, str], ...]
    summary: str
    insights: tuple[str, ...]
    cautions: tuple[str, ...]
    source: str
    beeswarm: str = ""


class CardBaseline(CardPart):
    """What a model without features reaches, and the comparison in words."""

    metric: str
    to_beat: float | None
    comparison: str


class CardApproval(CardPart):
    """Who let a version through and why, and which rules were set aside, by whom and why; "" where nobody said."""

    approved_by: str = ""
    approval_reason: str = ""
    waived_rules: tuple[str, ...] = ()
    waived_by: str = ""
    waiver_reason: str = ""

    def lines(self) -> tuple[str, ...]:
        """In words: first who approved it, then what was set aside."""
        because = {"approval": self.approval_reason, "waiver": self.waiver_reason}
        told = {name: f": {reason}" if reason else "" for name, reason in because.items()}
        approved = (f"approved by {self.approved_by}{told['approval']}",) if self.approved_by else ()
        who = f" by {self.waived_by}" if self.waived_by else ""
        rules = ", ".join(self.waived_rules)
        waived = (f"rules set aside{who}{told['waiver']} ({rules})",) if self.waived_rules else ()
        return (*approved, *waived)


class ModelCard(CardPart):
    """A model and its evidence, as they were when it was registered.

    ``metrics`` by split, ``intervals`` (95 %) on the test split; ``curves``: points of roc, pr and calibration
    (predicted, observed, rows). ``lineage``: the way from data to version, in order.
    """

    name: str
    version: int | None
    stage: str | None
    algorithm: str
    problem: str
    target: str
    positive: str | None
    created_at: str
    rationale: str
    features: tuple[str, ...]
    left_out: dict[str, str]
    rows: dict[str, int]
    metrics: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]]
    primary_metric: str | None
    direction: str
    baseline: CardBaseline | None
    threshold: float | None
    calibration: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    curves: dict[str, tuple[tuple[float, ...], ...]]
    segments: tuple[CardSegment, ...]
    fairness_gap: dict[str, float]
    balanced: bool
    class_shares: dict[str, float]
    criteria: dict[str, float]
    criteria_met: bool | None
    search: CardSearch | None
    explanation: CardExplanation | None
    quality_score: float | None
    quality_layers: dict[str, str]
    warnings: tuple[str, ...]
    refused: tuple[str, ...]
    lineage: tuple[tuple[str, str], ...] = Field(default=())
    approval: CardApproval | None = None
