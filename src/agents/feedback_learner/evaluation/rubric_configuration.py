"""By which criteria, weights and bands is an answer judged? What config/self_improvement.yaml says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from src.domain.rubric import CRITERIA, Criterion, RubricDecision
from src.mlops.scoring import RAGAS_SHARE, RAGAS_WEIGHTS, RUBRIC_SHARE, RUBRIC_WEIGHTS
from src.optimization.configuration import LoopSettings
from src.settings import CONFIG_DIR, ConfigModel, load_config

SELF_IMPROVEMENT_FILE = CONFIG_DIR / "self_improvement.yaml"
ANCHORS = (1, 2, 3, 4, 5)

OverrideName = Literal["criterion_below", "repeated_weakness", "uneven_scores", "low_user_rating"]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=1, le=5)]


class CriterionSettings(ConfigModel):
    """One criterion and what each of its scores looks like."""

    name: Criterion
    weight: Share
    anchors: dict[int, Annotated[str, Field(min_length=1)]]

    @field_validator("anchors")
    @classmethod
    def _complete(cls, anchors: dict[int, str]) -> dict[int, str]:
        if missing := [score for score in ANCHORS if score not in anchors]:
            raise ValueError(f"the anchor of score {missing[0]} is missing")
        if surplus := [score for score in anchors if score not in ANCHORS]:
            raise ValueError(f"scores go from 1 to 5, there is no {surplus[0]}")
        return anchors


class Thresholds(ConfigModel):
    """Least weighted score of each decision but the worst."""

    acceptable: Score
    suggestion: Score
    auto_update: Score

    @model_validator(mode="after")
    def _descending(self) -> Self:
        if not self.acceptable > self.suggestion > self.auto_update:
            raise ValueError("acceptable must lie above suggestion, and suggestion above auto_update")
        return self

    def band(self, weighted: float) -> RubricDecision:
        """The decision of a weighted score; bands are half-open: a threshold belongs to the milder side."""
        if weighted >= self.acceptable:
            return RubricDecision.ACCEPTABLE
        if weighted >= self.suggestion:
            return RubricDecision.SUGGESTION
        return RubricDecision.AUTO_UPDATE if weighted >= self.auto_update else RubricDecision.ESCALATE


class OverrideSettings(ConfigModel):
    """A circumstance that demands at least a decision. ``of_last`` belongs to ``repeated_weakness`` alone."""

    name: OverrideName
    limit: PositiveFloat
    at_least: RubricDecision
    of_last: PositiveInt | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.of_last is None) == (self.name == "repeated_weakness"):
            raise ValueError("of_last, a number of evaluations, is what repeated_weakness needs and no other takes")
        if self.of_last is not None and self.limit > self.of_last:
            raise ValueError(f"limit {self.limit:g} is never reached in {self.of_last} evaluations")
        if self.at_least is RubricDecision.ACCEPTABLE:
            raise ValueError("an override that demands ACCEPTABLE demands nothing: name a stricter decision")
        return self


class RubricSettings(ConfigModel):
    """Criteria, bands and overrides."""

    version: PositiveInt
    criteria: tuple[CriterionSettings, ...]
    thresholds: Thresholds
    overrides: tuple[OverrideSettings, ...]

    @field_validator("criteria")
    @classmethod
    def _weighted(cls, criteria: tuple[CriterionSettings, ...]) -> tuple[CriterionSettings, ...]:
        names = [one.name for one in criteria]
        if missing := [name for name in CRITERIA if name not in names]:
            raise ValueError(f"the criterion {missing[0]} is missing")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the criterion {twice[0]} is given twice")
        weights: dict[str, float] = {one.name: one.weight for one in criteria}
        _check_sum(weights)
        _check_same("the weight of", weights, RUBRIC_WEIGHTS)
        return criteria

    @field_validator("overrides")
    @classmethod
    def _once(cls, overrides: tuple[OverrideSettings, ...]) -> tuple[OverrideSettings, ...]:
        names = [one.name for one in overrides]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the override {twice[0]} is given twice")
        return overrides

    @property
    def weights(self) -> dict[Criterion, float]:
        """Weights by criterion, in the order of the criteria."""
        given = {one.name: one.weight for one in self.criteria}
        return {name: given[name] for name in CRITERIA}

    def anchor(self, criterion: Criterion, score: int) -> str:
        """What a score of a criterion looks like."""
        return next(one.anchors[score] for one in self.criteria if one.name == criterion)


class DriftSettings(ConfigModel):
    """When do judge and rules no longer differ as they did? Numbers of evaluations, points, level of an interval."""

    reference: PositiveInt
    recent: PositiveInt
    margin: Annotated[float, Field(ge=0, le=4)]
    level: Annotated[float, Field(gt=0, lt=1)]
    draws: Annotated[int, Field(ge=100)]


class JudgeSettings(ConfigModel):
    """Who judges, how long a reply may be, and when its drift is an alarm."""

    provider: Literal["auto", "anthropic", "openai", "langchain", "scripted", "none"]
    model: str
    max_tokens: PositiveInt
    drift: DriftSettings


class CombinedScoreSettings(ConfigModel):
    """Shares of the two means, and weights of the RAGAS metrics."""

    ragas: Share
    rubric: Share
    ragas_weights: dict[str, Share]

    @model_validator(mode="after")
    def _same_as_computed(self) -> Self:
        shares = {"ragas": self.ragas, "rubric": self.rubric}
        _check_sum(shares)
        _check_same("the share", shares, {"ragas": RAGAS_SHARE, "rubric": RUBRIC_SHARE})
        _check_sum(self.ragas_weights)
        _check_same("the weight of", self.ragas_weights, RAGAS_WEIGHTS)
        return self


class SelfImprovementConfig(LoopSettings):
    """The whole file."""

    rubric: RubricSettings
    evaluation: JudgeSettings
    combined_score: CombinedScoreSettings


def load_self_improvement(path: Path = SELF_IMPROVEMENT_FILE) -> SelfImprovementConfig:
    """Read the file. Raises ConfigError: unknown keys or criteria, weights that do not sum to 1, missing anchors."""
    return load_config(path, SelfImprovementConfig)


def _check_sum(weights: Mapping[str, float]) -> None:
    total = math.fsum(weights.values())
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        raise ValueError(f"weights must sum to 1, these sum to {total:g}")


def _check_same(what: str, given: Mapping[str, float], computed: Mapping[str, float]) -> None:
    """The stored scores are computed by the database too: a weight that differs there would decide otherwise."""
    for name, weight in computed.items():
        if name not in given:
            raise ValueError(f"{what} {name} is missing")
        if given[name] != weight:
            raise ValueError(
                f"{what} {name} is {given[name]:g}, and scores are computed with {weight:g}: "
                "change src/mlops/scoring.py and the database functions with it"
            )
    if surplus := [name for name in given if name not in computed]:
        raise ValueError(f"{what} {surplus[0]}: no score has that name")
