"""What does a grid file ask for? One YAML file, every key checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from src.app.registration.plan_file import Name, QuestionFile
from src.settings import load_config

ALL: Literal["all"] = "all"
Value = str | int | float | bool | date
Values = Literal["all"] | Annotated[tuple[Value, ...], Field(min_length=1)]
# Words that name something else of a cell, in its file and in the grid's: a column called so could not be told apart.
TAKEN = frozenset(
    ("treatment", "outcome", "status", "verdict", "estimator", "estimand", "value", "std_error", "ci_lower")
    + ("ci_upper", "p_value", "q_value", "n", "suppressed", "run_id", "reason_type", "reason", "note", "registration")
)


class GridFile(QuestionFile):
    """Every treatment on every outcome, in every combination of the values of the columns in ``by``.

    ``by`` maps a column to its values, or to ``all``; rows of the first column's value are kept in memory while its
    cells run. ``plan`` is a registered plan that each cell is held against.
    """

    treatments: Annotated[tuple[Name, ...], Field(min_length=1)]
    outcomes: Annotated[tuple[Name, ...], Field(min_length=1)]
    by: dict[Name, Values] = {}
    plan: Name | None = None
    title: Annotated[str, Field(max_length=200)] = ""
    level: Annotated[float, Field(gt=0, le=0.5)] = 0.05

    @field_validator("treatments", "outcomes")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names one column twice")
        return names

    @field_validator("by", mode="before")
    @classmethod
    def _values_or_all(cls, by: Any) -> Any:
        if not isinstance(by, dict):
            raise ValueError("maps a column to its values, or to 'all'")
        for column, values in by.items():
            if values != ALL and not (
                isinstance(values, list) and values and all(isinstance(v, Value) for v in values)
            ):
                raise ValueError(f"'{column}' needs a list of values, or 'all'")
        return by

    @field_validator("by")
    @classmethod
    def _each_value_once(cls, by: dict[str, Values]) -> dict[str, Values]:
        for column, values in by.items():
            if column in TAKEN:
                raise ValueError(f"a column called '{column}' cannot be told from the {column} of a cell; rename it")
            if values != ALL and len({value_text(one) for one in values}) < len(values):
                raise ValueError(f"'{column}' names one value twice")
        return by


def value_text(value: Any) -> str:
    """A value as a condition on rows spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def read_grid_file(file: Path) -> GridFile:
    """The grid in a file. Raises ConfigError, one line, naming file and key; nothing of the environment goes in."""
    return load_config(file, GridFile, environ={})
