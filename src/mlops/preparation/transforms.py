"""What does a model see of each row, when everything that was learnt for it was learnt on training rows?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from src.contracts.enums import DataSplit
from src.contracts.model import TableContract
from src.errors import ContractViolation, DataUnavailable, nearest_names
from src.mlops.preparation.columns import Kind, column_of, days, kind_of, lists, numbers, texts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Parts = dict[str, Floats]

# Beyond these, words are too rare in most tables to learn anything from, and the matrix grows without end.
MOST_WORDS = 50

Json = dict[str, Any]


class Transformation(StrEnum):
    """As in ``ml_preprocessing_metadata.transformation``."""

    STANDARDISE = "median_impute_standardise"
    DAYS = "days_since_train_start"
    ONE_HOT = "one_hot"
    MULTI_HOT = "multi_hot"


_TRANSFORMATIONS = {
    Kind.NUMBER: Transformation.STANDARDISE,
    Kind.TIME: Transformation.DAYS,
    Kind.TEXT: Transformation.ONE_HOT,
    Kind.LIST: Transformation.MULTI_HOT,
}


@dataclass(frozen=True, slots=True)
class FittedFeature:
    """What the training rows say about one feature.

    Numbers: (x − mean) / scale, an empty cell being the ``median``; mean and scale (standard deviation, n
    in the denominator; 1 for a constant) are those after filling. Times: days since ``start`` (days since
    1970), empty cells the ``median``. Both get a column ``<name>__missing`` when training rows are empty
    (``indicator``). Texts: a 0/1 column ``<name>=<word>`` per word of ``words``, empty cells being ``fill``;
    lists: the same per element. A word that is not among ``words`` (the most frequent 50) has no column: all 0.
    """

    name: str
    transformation: Transformation
    median: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    start: float = 0.0
    indicator: bool = False
    words: tuple[str, ...] = ()
    fill: str | None = None

    def parameters(self) -> Json:
        """What this transformation uses, JSON-safe."""
        used = _USED[self.transformation]
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in used}


_USED = {
    Transformation.STANDARDISE: ("median", "mean", "scale", "indicator"),
    Transformation.DAYS: ("start", "median", "indicator"),
    Transformation.ONE_HOT: ("words", "fill"),
    Transformation.MULTI_HOT: ("words",),
}


@dataclass(frozen=True, slots=True)
class FittedTransforms:
    """Transformations of all features, in their order, learnt from ``n_rows`` training rows."""

    features: tuple[FittedFeature, ...]
    n_rows: int

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The model's columns for every row of ``frame`` (same index), float64 without any empty cell.

        Raises UnknownColumn for an absent feature, ContractViolation for values of another type.
        """
        import pandas as pd

        columns: Parts = {}
        for feature in self.features:
            columns |= _APPLY[feature.transformation](feature, column_of(frame, feature.name, "feature"))
        return pd.DataFrame(columns, index=frame.index, dtype="float64")

    def parameters(self) -> list[Json]:
        """Rows for ``ml_preprocessing_metadata`` (without the plan's id); ``from_parameters`` reads them back."""
        return [
            {
                "feature_name": feature.name,
                "transformation": str(feature.transformation),
                "parameters": {"position": position, **feature.parameters()},
                "computed_on_split": str(DataSplit.TRAIN),
                "n_rows": self.n_rows,
            }
            for position, feature in enumerate(self.features)
        ]


def fit_transforms(
    frame: pd.DataFrame, split: pd.Series[str], features: Sequence[str], table: TableContract | None = None
) -> FittedTransforms:
    """Learn medians, means, scales, words and the start of time from the rows whose ``split`` is train, and no others.

    Types come from ``table`` where it has the column, otherwise from the values. Raises DataUnavailable
    without training rows or for a feature that is empty in all of them; ContractViolation for personal
    columns, JSON objects and values that are not of the column's type; UnknownColumn.
    """
    if len(split) != len(frame):
        raise ContractViolation(f"there are {len(frame)} rows and {len(split)} splits; they must be as many")
    train = (split == DataSplit.TRAIN).to_numpy()
    if not train.any():
        raise DataUnavailable("there is no training row to learn transformations from")
    repeated = [name for name, n in Counter(features).items() if n > 1]
    if repeated:
        raise ContractViolation(f"feature '{repeated[0]}' is named more than once; name it once")
    personal = [name for name in features if table is not None and name in table.personal_columns]
    if personal:
        raise ContractViolation(f"column '{personal[0]}' is personal and may not be a feature")
    fitted = tuple(_fit(column_of(frame, name, "feature"), train, name, table) for name in features)
    return FittedTransforms(fitted, int(train.sum()))


def from_parameters(rows: Iterable[Mapping[str, Any]]) -> FittedTransforms:
    """The transforms whose ``parameters`` were stored as these rows; equal to them. Raises ContractViolation.

    Training and serving get their transforms this way, so that both treat a row as the training rows were.
    """
    ordered = sorted(rows, key=lambda row: int(row["parameters"]["position"]))
    if not ordered:
        raise ContractViolation("no stored transformation; fit and store them before they are used")
    return FittedTransforms(tuple(map(_stored, ordered)), int(ordered[0]["n_rows"]))


def _stored(row: Mapping[str, Any]) -> FittedFeature:
    name = str(row["transformation"])
    if name not in list(Transformation):
        raise ContractViolation(f"no transformation '{name}'; {nearest_names(name, Transformation)}")
    kind, given = Transformation(name), row["parameters"]
    read: Json = {}
    for key in _USED[kind]:
        value = given[key]
        read[key] = tuple(value) if key == "words" else value if key in ("indicator", "fill") else float(value)
    return FittedFeature(str(row["feature_name"]), kind, **read)


def _fit(series: pd.Series[Any], train: NDArray[np.bool_], name: str, table: TableContract | None) -> FittedFeature:
    kind = kind_of(series, name, table)
    rows = series[train]
    if not rows.notna().any():
        raise DataUnavailable(f"feature '{name}' is empty in every training row; leave it out or complete it")
    if kind is Kind.NUMBER:
        return _fit_number(rows, name)
    if kind is Kind.TIME:
        return _fit_time(rows, name)
    words = _most_frequent(texts(rows, name) if kind is Kind.TEXT else _elements(lists(rows, name)))
    fill = words[0] if kind is Kind.TEXT else None
    return FittedFeature(name, _TRANSFORMATIONS[kind], words=tuple(sorted(words)), fill=fill)


def _fit_number(rows: pd.Series[Any], name: str) -> FittedFeature:
    import numpy as np

    values = numbers(rows, name)
    empty = np.isnan(values)
    median = float(np.median(values[~empty]))
    filled = np.where(empty, median, values)
    scale = float(filled.std())
    # A constant's standard deviation is the rounding of its mean, not a spread to divide by.
    constant = scale <= 1e-12 * max(1.0, float(np.abs(filled).max()))
    return FittedFeature(
        name,
        Transformation.STANDARDISE,
        median=median + 0.0,
        mean=float(filled.mean()) + 0.0,
        scale=1.0 if constant else scale,
        indicator=bool(empty.any()),
    )


def _fit_time(rows: pd.Series[Any], name: str) -> FittedFeature:
    import numpy as np

    passed = days(rows, name)
    empty = np.isnan(passed)
    start = float(passed[~empty].min())
    median = float(np.median(passed[~empty] - start))
    return FittedFeature(name, Transformation.DAYS, median=median, start=start, indicator=bool(empty.any()))


def _most_frequent(words: Iterable[str | None]) -> list[str]:
    """Up to 50 words, most frequent first, ties in alphabetical order."""
    counted = Counter(word for word in words if word is not None)
    return sorted(counted, key=lambda word: (-counted[word], word))[:MOST_WORDS]


def _elements(cells: Iterable[list[str] | None]) -> Iterable[str]:
    return (word for cell in cells if cell is not None for word in dict.fromkeys(cell))


def _standardise(feature: FittedFeature, series: pd.Series[Any]) -> Parts:
    import numpy as np

    values = numbers(series, feature.name)
    filled = np.where(np.isnan(values), feature.median, values)
    return {feature.name: (filled - feature.mean) / feature.scale} | _indicator(feature, values)


def _days_since(feature: FittedFeature, series: pd.Series[Any]) -> Parts:
    import numpy as np

    passed = days(series, feature.name) - feature.start
    return {feature.name: np.where(np.isnan(passed), feature.median, passed)} | _indicator(feature, passed)


def _indicator(feature: FittedFeature, values: Floats) -> Parts:
    import numpy as np

    return {f"{feature.name}__missing": np.isnan(values).astype(np.float64)} if feature.indicator else {}


def _one_hot(feature: FittedFeature, series: pd.Series[Any]) -> Parts:
    import numpy as np

    words = texts(series, feature.name)
    filled = np.array([feature.fill if word is None else word for word in words], dtype=object)
    return {f"{feature.name}={word}": (filled == word).astype(np.float64) for word in feature.words}


def _multi_hot(feature: FittedFeature, series: pd.Series[Any]) -> Parts:
    import numpy as np

    cells = [frozenset(cell) if cell is not None else frozenset() for cell in lists(series, feature.name)]
    return {
        f"{feature.name}={word}": np.array([word in cell for cell in cells], dtype=np.float64) for word in feature.words
    }


_APPLY = {
    Transformation.STANDARDISE: _standardise,
    Transformation.DAYS: _days_since,
    Transformation.ONE_HOT: _one_hot,
    Transformation.MULTI_HOT: _multi_hot,
}
