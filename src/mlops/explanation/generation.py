"""Which columns can be derived from numbers, and how are they computed for any row?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Literal

from src.mlops.explanation.measures import FeatureValues, mutual_information, read_features
from src.mlops.preparation.columns import Kind, column_of, kind_of, numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Recipe = Literal["product", "ratio", "square", "logarithm"]

SKEWED = 1.0


@dataclass(frozen=True, slots=True)
class GenerationRules:
    """Which recipes are used, on the ``top_k`` numbers that tell most of the target."""

    interactions: bool = False
    ratios: bool = False
    polynomials: bool = False
    logarithms: bool = False
    top_k: int = 5


@dataclass(frozen=True, slots=True)
class GeneratedColumn:
    """A column computed row by row from ``sources``: empty where a source is, or where it is not defined."""

    name: str
    recipe: Recipe
    sources: tuple[str, ...]

    def compute(self, frame: pd.DataFrame) -> Floats:
        """Its values for every row of ``frame``. Raises UnknownColumn, and ContractViolation for words."""
        sources = (numbers(column_of(frame, name, "feature"), name) for name in self.sources)
        return _RECIPES[self.recipe](*sources)


def generate_columns(
    frame: pd.DataFrame, target: Codes, features: Sequence[str], rules: GenerationRules
) -> tuple[GeneratedColumn, ...]:
    """Columns to derive, decided on these training rows; ``target`` (codes) only picks the ``top_k`` numbers.

    A ratio needs a denominator that is never 0, a logarithm a positive number with skewness above 1, a square
    more than two different values, each in the training rows. What is named like a column there is, is left out.
    """
    numeric = [name for name in features if kind_of(column_of(frame, name, "feature"), name) is Kind.NUMBER]
    if not numeric or not (rules.interactions or rules.ratios or rules.polynomials or rules.logarithms):
        return ()
    values = read_features(frame, numeric)
    chosen = _most_telling(values, target, rules.top_k)
    taken = set(map(str, frame.columns))
    return tuple(column for column in _candidates(values, chosen, rules) if column.name not in taken)


def with_columns(frame: pd.DataFrame, columns: Sequence[GeneratedColumn]) -> pd.DataFrame:
    """``frame`` with the derived columns beside its own."""
    return frame.assign(**{column.name: column.compute(frame) for column in columns})


def _most_telling(values: FeatureValues, target: Codes, top_k: int) -> list[str]:
    told = {name: mutual_information(values.binned(name), target)[0] for name in values.order}
    best = sorted(told, key=lambda name: (-told[name], name))[: max(0, top_k)]
    return [name for name in values.order if name in best]


def _candidates(values: FeatureValues, names: list[str], rules: GenerationRules) -> Iterator[GeneratedColumn]:
    by_name = {name: values.numbers[name].to_numpy() for name in names}
    if rules.interactions:
        for a, b in combinations(names, 2):
            yield GeneratedColumn(f"{a}_times_{b}", "product", (a, b))
    if rules.ratios:
        for a, b in permutations(names, 2):
            if (by_name[b] != 0).all():
                yield GeneratedColumn(f"{a}_per_{b}", "ratio", (a, b))
    for name, column in by_name.items():
        if rules.polynomials and len(set(column.tolist())) > 2:
            yield GeneratedColumn(f"{name}_squared", "square", (name,))
        if rules.logarithms and column.min() > 0 and _skewness(column) > SKEWED:
            yield GeneratedColumn(f"log_{name}", "logarithm", (name,))


def _skewness(column: Floats) -> float:
    deviation = column - column.mean()
    spread = float(deviation.std())
    return 0.0 if spread == 0 else float((deviation**3).mean()) / spread**3


def _ratio(a: Floats, b: Floats) -> Floats:
    import numpy as np

    found: Floats = np.divide(a, b, out=np.full(len(a), np.nan), where=b != 0)
    return found


def _logarithm(a: Floats) -> Floats:
    import numpy as np

    found: Floats = np.log(a, out=np.full(len(a), np.nan), where=a > 0)
    return found


_RECIPES: dict[Recipe, Callable[..., Floats]] = {
    "product": lambda a, b: a * b,
    "ratio": _ratio,
    "square": lambda a: a * a,
    "logarithm": _logarithm,
}
