"""Which values may a hyperparameter take? Search spaces, checked before a trial is spent on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from src.errors import HPOError
from src.settings import ConfigModel

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# A step this small against the numbers it leads to is lost in their rounding.
_FINEST = 1e-7
# bool before int, int before float: a value keeps the type it was written with.
Choice: TypeAlias = bool | int | float | str | None


class ParameterSpace(ConfigModel):
    """The values of one hyperparameter.

    ``int`` and ``float`` have ``low`` and ``high`` (both included) and either ``step`` or ``log``;
    ``categorical`` has ``choices``.
    """

    type: Literal["int", "float", "categorical"]
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = Field(default=None, gt=0)
    log: bool = False
    choices: tuple[Choice, ...] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "categorical":
            self._check_choices()
        else:
            self._check_range()
        return self

    def _check_choices(self) -> None:
        if not self.choices:
            raise ValueError("categorical needs choices")
        if self.low is not None or self.high is not None or self.step is not None or self.log:
            raise ValueError("categorical takes choices only, not low, high, step or log")

    def _check_range(self) -> None:
        if self.choices is not None:
            raise ValueError(f"{self.type} takes low and high, not choices")
        if self.low is None or self.high is None:
            raise ValueError(f"{self.type} needs low and high")
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.type == "int" and any(part is not None and part != int(part) for part in self._numbers):
            raise ValueError("int needs whole numbers")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.log and self.low <= 0:
            raise ValueError("log needs low above 0")
        if self.type == "float" and self.step is not None:
            self._check_grid(float(self.low), float(self.high), float(self.step))

    def _check_grid(self, low: float, high: float, step: float) -> None:
        if step < _FINEST * max(abs(low), abs(high)):
            raise ValueError(f"step {step:g} is too fine between {low:g} and {high:g}; leave it out")
        last = self._last_step
        # Optuna counts in decimals, and leaves out a last value that is not one of its steps there.
        if _decimal(self._on_grid(last)) != _decimal(low) + last * _decimal(step):
            raise ValueError(f"low {low} and step {step} have too many digits to be added up exactly; round them")

    @property
    def _numbers(self) -> tuple[int | float | None, ...]:
        return (self.low, self.high, self.step)

    @property
    def bounds(self) -> tuple[int | float, int | float]:
        """Lowest and highest value of a number; the highest is the last that the step reaches."""
        low, high = self.low or 0, self.high or 0
        if self.type == "int":
            step = int(self.step or 1)
            return int(low), int(low) + (int(high) - int(low)) // step * step
        return float(low), float(high) if self.step is None else self._on_grid(self._last_step)

    @property
    def _last_step(self) -> int:
        low, high, step = (_decimal(part or 0) for part in self._numbers)
        return int((high - low) // step)

    def _on_grid(self, k: int) -> float:
        """low + k·step as it is written in decimals: in binary, 3 · 0.1 would lie above 0.3, and so outside."""
        return float(_decimal(self.low or 0) + k * _decimal(self.step or 0))

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """The value that the trial's sampler chooses."""
        if self.type == "categorical":
            return trial.suggest_categorical(name, self.choices or ())
        low, high = self.bounds
        if self.type == "int":
            return trial.suggest_int(name, int(low), int(high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, low, high, step=self.step, log=self.log)

    def nearest(self, value: Any) -> Any:
        """The allowed value nearest to ``value``. Raises ValueError where none is like it."""
        if self.type == "categorical":
            return self._same_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ValueError(f"{value!r} is no number")
        low, high = self.bounds
        inside = min(max(value, low), high)
        if self.type == "int":
            step = int(self.step or 1)
            return int(low) + round((inside - low) / step) * step
        if self.step is None:
            return float(inside)
        return self._on_grid(min(round((_decimal(inside) - _decimal(low)) / _decimal(self.step)), self._last_step))

    def _same_choice(self, value: Any) -> Any:
        for choice in self.choices or ():
            # 1, 1.0 and True are equal and mean different things.
            if type(choice) is type(value) and choice == value:
                return choice
        raise ValueError(f"{value!r} is none of the choices")

    @property
    def middle(self) -> Any:
        """The middle of the range, the geometric one with ``log``; the first of the choices."""
        if self.type == "categorical":
            return (self.choices or (None,))[0]
        low, high = self.bounds
        return self.nearest(math.sqrt(low * high) if self.log else (low + high) / 2)


def _decimal(value: float) -> Decimal:
    """As it is written, which is how Optuna takes it."""
    return Decimal(str(float(value)))


SearchSpace: TypeAlias = Mapping[str, ParameterSpace]
RawSpace: TypeAlias = Mapping[str, Mapping[str, Any] | ParameterSpace]


def checked_space(space: RawSpace) -> dict[str, ParameterSpace]:
    """``space`` with every parameter checked. Raises HPOError naming the first one that is wrong."""
    return {name: _checked(name, definition) for name, definition in space.items()}


def _checked(name: str, definition: Mapping[str, Any] | ParameterSpace) -> ParameterSpace:
    if isinstance(definition, ParameterSpace):
        return definition
    try:
        return ParameterSpace.model_validate(definition)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise HPOError(f"search space, parameter '{name}': {f'{key}: ' if key else ''}{said}") from error


def plain_space(space: RawSpace) -> dict[str, dict[str, Any]]:
    """``space`` as JSON takes it: only what was said."""
    return {
        name: definition.model_dump(mode="json", exclude_defaults=True)
        for name, definition in checked_space(space).items()
    }


def suggest_from_search_space(trial: BaseTrial, space: RawSpace) -> dict[str, Any]:
    """One value of every parameter, chosen by the trial's sampler. Raises HPOError for a bad space."""
    return {name: definition.suggest(trial, name) for name, definition in checked_space(space).items()}


def clip_to_space(params: Mapping[str, Any], space: RawSpace) -> dict[str, Any]:
    """``params`` as ``space`` allows them: numbers moved to the nearest allowed one, everything foreign left out."""
    clipped = {}
    for name, definition in checked_space(space).items():
        if name not in params:
            continue
        try:
            clipped[name] = definition.nearest(params[name])
        except ValueError:
            continue  # no allowed value is like it: the sampler chooses
    return clipped


def default_point(space: RawSpace) -> dict[str, Any]:
    """The middle of ``space``: what is tried when nothing is known."""
    return {name: definition.middle for name, definition in checked_space(space).items()}
