"""How much does a feature vary, and how much does it tell of the target?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.errors import ContractViolation, DataUnavailable
from src.mlops.preparation.columns import Kind, column_of, days, kind_of, lists, numbers, texts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

BINS = 10


@dataclass(frozen=True)
class FeatureValues:
    """Training rows of features: ``numbers`` with empty cells as the column's median, ``words`` as codes.

    Times are days; an empty word is a word of its own. A number without any value is a constant.
    """

    numbers: pd.DataFrame
    words: pd.DataFrame
    order: tuple[str, ...]

    def rows(self, chosen: Any) -> FeatureValues:
        """The rows at these positions."""
        return FeatureValues(self.numbers.iloc[chosen], self.words.iloc[chosen], self.order)

    def binned(self, name: str) -> Codes:
        """Values of a feature as few codes."""
        if name in self.words.columns:
            return self.words[name].to_numpy()
        return quantile_codes(self.numbers[name].to_numpy())


def read_features(frame: pd.DataFrame, features: Sequence[str]) -> FeatureValues:
    """Values of ``features``. Raises UnknownColumn, and ContractViolation for values of mixed kinds or JSON objects."""
    import numpy as np
    import pandas as pd

    read: dict[str, Any] = {}
    coded: dict[str, Any] = {}
    for name in features:
        series = column_of(frame, name, "feature")
        kind = kind_of(series, name)
        if kind in (Kind.NUMBER, Kind.TIME):
            values = numbers(series, name) if kind is Kind.NUMBER else days(series, name)
            empty = np.isnan(values)
            read[name] = np.where(empty, 0.0 if empty.all() else np.median(values[~empty]), values)
        else:
            cells = texts(series, name) if kind is Kind.TEXT else lists(series, name)
            coded[name] = pd.factorize(pd.Series([str(cell) for cell in cells], dtype=object))[0].astype(np.int64)
    index = frame.index
    return FeatureValues(pd.DataFrame(read, index=index), pd.DataFrame(coded, index=index), tuple(features))


def target_codes(target: pd.Series[Any], *, is_number: bool) -> tuple[Codes, NDArray[np.bool_]]:
    """Classes, or tenths of a number, of the rows that have a target, and which rows those are.

    Raises DataUnavailable when no row has one, ContractViolation when all have the same.
    """
    import numpy as np
    import pandas as pd

    name = str(target.name)
    there = target.notna().to_numpy()
    if not there.any():
        raise DataUnavailable(f"target '{name}' is empty in every training row")
    known = target[there]
    if known.nunique() < 2:
        raise ContractViolation(f"target '{name}' has the same value in every training row; nothing can be learnt")
    if is_number:
        return quantile_codes(numbers(known, name)), there
    return pd.factorize(known, sort=False)[0].astype(np.int64), there


def quantile_codes(values: Floats, bins: int = BINS) -> Codes:
    """Which tenth of the values each lies in; few different values keep their own code."""
    import numpy as np

    different, codes = np.unique(values, return_inverse=True)
    if len(different) <= bins:
        return codes.astype(np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def mutual_information(x: Codes, y: Codes) -> tuple[float, float]:
    """Mutual information in nats, with the bias of a table of counts taken off, and the p-value of independence.

    Bias (r − 1)(c − 1) / 2n after Miller (1955); the likelihood-ratio test is G = 2n·MI on (r − 1)(c − 1) degrees
    of freedom (Sokal & Rohlf). A constant tells nothing: 0 and 1.
    """
    import numpy as np
    from scipy.stats import chi2

    table = _counts(x, y)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if freedom == 0:
        return 0.0, 1.0
    joint = table / table.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    raw = float((joint[filled] * np.log(joint[filled] / independent[filled])).sum())
    n = len(x)
    return max(0.0, raw - freedom / (2 * n)), float(chi2.sf(2 * n * raw, freedom))


def _counts(x: Codes, y: Codes) -> Floats:
    import numpy as np

    rows, columns = np.unique(x, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]
    width = int(columns.max()) + 1
    cells = np.bincount(rows * width + columns, minlength=(int(rows.max()) + 1) * width)
    return cells.reshape(-1, width).astype(np.float64)


def variances(values: FeatureValues) -> dict[str, float]:
    """Variance of numbers scaled to 0–1; of words the chance that two rows differ (Gini). 0 for a constant."""
    import numpy as np

    found: dict[str, float] = {}
    for name in values.order:
        if name in values.words.columns:
            share = np.bincount(values.words[name].to_numpy()) / len(values.words)
            found[name] = float(1.0 - (share**2).sum())
            continue
        column = values.numbers[name].to_numpy()
        spread = float(np.ptp(column))
        found[name] = 0.0 if spread == 0 else float(((column - column.min()) / spread).var())
    return found
