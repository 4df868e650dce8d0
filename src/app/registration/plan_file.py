"""What does a plan file say? One YAML file, every key checked."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from src.agents.runtime import Filter
from src.app.conditions import condition
from src.app.questions import EffectQuestion
from src.causal_engine.spec import Design, Estimand
from src.settings import ConfigModel, load_config
from src.storage.gateway import Op

ESTIMANDS = {one.value.lower(): one for one in (Estimand.ATE, Estimand.ATT, Estimand.SATE, Estimand.SATT, Estimand.ATO)}
Name = Annotated[str, Field(min_length=1, max_length=200)]
# A value of a column: YAML reads 1 as a number.
Level = Annotated[Name, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]


class Window(ConfigModel):
    """The time the outcome is looked at: rows whose ``column`` lies between two days, both included."""

    column: Name
    start: date | None = Field(default=None, alias="from")
    end: date | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.start is None and self.end is None:
            raise ValueError("name 'from', 'to' or both")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError("'to' lies before 'from'")
        if self.end == date.max:
            raise ValueError("'to' is the last day there is; leave it out")
        return self

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The same as conditions."""
        # The whole of the last day, where the column has times.
        after = None if self.end is None else self.end + timedelta(days=1)
        bounds = ((Op.GE, self.start), (Op.LT, after))
        return tuple(Filter(self.column, op, day.isoformat()) for op, day in bounds if day is not None)


class QuestionFile(ConfigModel):
    """The choices that a plan and a grid share; see ``e2i effect --help`` for each."""

    confounders: tuple[Name, ...] = ()
    effect_modifiers: tuple[Name, ...] = ()
    instruments: tuple[Name, ...] = ()
    mediators: tuple[Name, ...] = ()
    negative_controls: tuple[Name, ...] = ()
    post_treatment: tuple[Name, ...] = ()
    panel: tuple[Name, Name] | None = None
    cluster: Name | None = None
    second_cluster: Name | None = None
    lag: Annotated[int, Field(ge=0, le=36)] | None = None
    estimand: Literal["ate", "att", "sate", "satt", "ato"] = "ate"
    estimator: Name | None = None
    randomized: bool = False
    treated: Level | None = None
    control: Level | None = None
    trim: bool = False
    minimum_effect: Annotated[float, Field(allow_inf_nan=False)] | None = None
    running_variable: Name | None = None
    cutoff: Annotated[float, Field(allow_inf_nan=False)] | None = None
    heterogeneity: bool = False
    mediation: bool = False
    cost_per_unit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    value_per_outcome: Annotated[float, Field(allow_inf_nan=False)] | None = None
    where: tuple[Name, ...] = ()
    window: Window | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    dataset: Name | None = None
    data: Name | None = None

    @model_validator(mode="after")
    def _one_source(self) -> QuestionFile:
        if (self.dataset is None) == (self.data is None):
            raise ValueError("name the data once: 'dataset' or 'data'")
        return self

    @model_validator(mode="after")
    def _together(self) -> QuestionFile:
        if (self.running_variable is None) != (self.cutoff is None):
            raise ValueError("'running_variable' and 'cutoff' go together")
        if self.second_cluster is not None and self.cluster is None:
            raise ValueError("'second_cluster' goes with 'cluster'")
        if self.mediation and not self.mediators:
            raise ValueError("'mediation' needs the 'mediators'")
        return self

    @model_validator(mode="after")
    def _prices(self) -> QuestionFile:
        if (self.cost_per_unit is None) != (self.value_per_outcome is None):
            raise ValueError(
                "'cost_per_unit' and 'value_per_outcome' weigh nothing alone; give both, in the same money"
            )
        if self.cost_per_unit is not None and not self.heterogeneity:
            raise ValueError(
                "'cost_per_unit' and 'value_per_outcome' weigh effects of single units; heterogeneity: true"
            )
        return self

    @property
    def filters(self) -> tuple[Filter, ...]:
        """Conditions and window. Raises ContractViolation for a condition that is none."""
        return (*(condition(text) for text in self.where), *(self.window.filters if self.window else ()))

    def question(self, treatment: str, outcome: str) -> EffectQuestion:
        """The question about one treatment and one outcome; its data are a dataset or a file's absolute path."""
        return EffectQuestion(
            data=Path(self.data).expanduser().resolve() if self.data else None,
            dataset=self.dataset,
            treatment=treatment,
            outcome=outcome,
            confounders=self.confounders,
            effect_modifiers=self.effect_modifiers,
            instruments=self.instruments,
            mediators=self.mediators,
            negative_controls=self.negative_controls,
            post_treatment=self.post_treatment,
            panel=self.panel,
            cluster=self.cluster,
            second_cluster=self.second_cluster,
            lag=self.lag,
            estimand=ESTIMANDS[self.estimand],
            estimator=self.estimator,
            randomized=self.randomized,
            treated=self.treated,
            control=self.control,
            trim=self.trim,
            minimum_effect=self.minimum_effect,
            running_variable=self.running_variable,
            cutoff=self.cutoff,
            heterogeneity=self.heterogeneity,
            mediation=self.mediation,
            cost_per_unit=self.cost_per_unit,
            value_per_outcome=self.value_per_outcome,
            filters=self.filters,
            random_state=self.seed,
        )


class PlanFile(QuestionFile):
    """A plan: one question with every choice, and the design that is expected. ``graph`` is a file beside it."""

    treatment: Name
    outcome: Name
    title: Annotated[str, Field(max_length=200)] = ""
    design: Design | None = None
    graph: Name | None = None

    @model_validator(mode="after")
    def _two_columns(self) -> PlanFile:
        if self.treatment == self.outcome:
            raise ValueError(f"'{self.treatment}' cannot be treatment and outcome at once")
        return self


def read_plan_file(file: Path) -> PlanFile:
    """The plan in a file. Raises ConfigError, one line, naming file and key; nothing of the environment goes in."""
    return load_config(file, PlanFile, environ={})
