"""How do the values of a target become class codes and numbers, and codes values again?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, DataUnavailable, nearest_names
from src.mlops.preparation.columns import Kind, kind_of, numbers, texts

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 50
_TRUTH = {"true": "1", "false": "0"}
Label = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TargetCoding:
    """``classes``: the value of each code, in order; () for numbers."""

    problem_type: ProblemType
    classes: tuple[Label, ...] = ()

    def encode(self, values: pd.Series[Any], name: str = "target") -> pd.Series[Any]:
        """Codes (int64) or numbers (float64), same index. Raises ContractViolation for empty or unknown values."""
        import pandas as pd

        missing = int(values.isna().sum())
        if missing:
            raise ContractViolation(f"target '{name}' is empty in {missing} rows; leave those rows out")
        if self.problem_type is ProblemType.REGRESSION:
            return pd.Series(numbers(values, name), index=values.index, dtype="float64")
        codes = {label: code for code, label in enumerate(self.classes)}
        found = [codes.get(label) for label in _labels(values, name)]
        unknown = sum(code is None for code in found)
        if unknown:
            raise ContractViolation(
                f"target '{name}' has {unknown} rows with a value that no training row has; "
                f"training rows have: {', '.join(map(str, self.classes))}"
            )
        return pd.Series(found, index=values.index, dtype="int64")

    def known(self, values: pd.Series[Any], name: str = "target") -> pd.Series[bool]:
        """For each value that is not empty whether a training row had it; numbers are all known."""
        import pandas as pd

        there = values.dropna()
        if self.problem_type is ProblemType.REGRESSION:
            return pd.Series(True, index=there.index, dtype=bool)
        classes = frozenset(self.classes)
        return pd.Series([label in classes for label in _labels(there, name)], index=there.index, dtype=bool)


def fit_target(
    values: pd.Series[Any], problem_type: ProblemType, positive: str | None = None, name: str = "target"
) -> TargetCoding:
    """The coding of a target's training values: sorted, or for two classes with ``positive`` as code 1.

    ``positive`` of truth values is 'true' or 'false' in any case, or 1 or 0.

    Raises DataUnavailable for a target with one value, ContractViolation when the values are not those of the
    problem: other than two for a binary one, more than fifty for several classes, words for a number.
    """
    known = values.dropna()
    if problem_type is ProblemType.REGRESSION:
        numbers(known, name)
        return TargetCoding(problem_type)
    found = sorted(set(_labels(known, name)), key=lambda label: (isinstance(label, str), label))
    if len(found) < 2:
        raise DataUnavailable(f"target '{name}' has {len(found)} different values in training rows; 2 are needed")
    if problem_type is ProblemType.BINARY and len(found) != 2:
        raise ContractViolation(f"target '{name}' has {len(found)} different values, a binary one has 2")
    if len(found) > MOST_CLASSES:
        raise ContractViolation(
            f"target '{name}' has {len(found)} different values; as classes there may be {MOST_CLASSES}. "
            "Is it a number (regression)?"
        )
    if positive is not None and _of_truth(known):
        positive = _TRUTH.get(str(positive).lower(), positive)
    return TargetCoding(problem_type, _with_positive_last(found, problem_type, positive, name))


def _with_positive_last(
    found: list[Label], problem_type: ProblemType, positive: str | None, name: str
) -> tuple[Label, ...]:
    if positive is None or problem_type is not ProblemType.BINARY:
        return tuple(found)
    named = next((label for label in found if str(label) == str(positive)), None)
    if named is None:
        near = nearest_names(str(positive), [str(label) for label in found])
        raise ContractViolation(f"target '{name}' never has the positive value '{positive}'; {near}")
    return (*(label for label in found if label is not named), named)


def _of_truth(known: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(known, skipna=True) == "boolean"


def _labels(values: pd.Series[Any], name: str) -> list[Label]:
    """Values as plain labels: truth and whole numbers as int, so that 1, 1.0 and True are one class."""
    if kind_of(values, name) is Kind.NUMBER:
        return [int(value) if float(value).is_integer() else float(value) for value in numbers(values, name)]
    return list(texts(values, name))
