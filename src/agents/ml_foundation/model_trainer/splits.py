"""May a model be trained, tuned and judged on these splits?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from src.agents.training_rows import SplitRows
from src.errors import ContractViolation
from src.mlops.modelling.targets import TargetCoding

if TYPE_CHECKING:
    import pandas as pd

# With fewer rows nothing can be chosen or judged; what training needs is asked of the rows to train on.
FEWEST_ROWS = 10
# Whole numbers beyond this are not all floats.
EXACT = 2**53


class SplitsInvalid(ContractViolation):
    """Splits that no honest number can come from; ``reasons`` are all of them, in words."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def overlaps(splits: Mapping[str, SplitRows]) -> Iterator[str]:
    """What to say of each two splits that share rows, or units that must stay together."""
    for first, second in combinations(splits, 2):
        a, b = splits[first], splits[second]
        shared = len(a.frame.index.intersection(b.frame.index))
        if shared:
            yield f"the {first} and {second} splits share {shared} rows; split the data anew"
        elif a.units is not None and b.units is not None and (same := len(_units(a) & _units(b))):
            yield f"the {first} and {second} splits share {same} units that must stay together; split the data by unit"


def repeated(splits: Mapping[str, SplitRows]) -> Iterator[str]:
    """What to say of each split that holds a row more than once."""
    for name, split in splits.items():
        if not split.frame.index.is_unique:
            yield f"the {name} split holds {int(split.frame.index.duplicated().sum())} rows more than once"


def too_few(counts: Mapping[str, int]) -> Iterator[str]:
    """What to say of each split with fewer rows than anything can be chosen or judged by."""
    for name, n in counts.items():
        if n < FEWEST_ROWS:
            yield f"the {name} split has {n} rows with a target, and needs {FEWEST_ROWS}; take more rows"


def lacking_classes(name: str, codes: pd.Series[Any], classes: int, target: str) -> Iterator[str]:
    """What to say of a split in which a class of the training rows is missing."""
    missing = classes - codes.nunique()
    if missing > 0:
        yield (
            f"the {name} split lacks {missing} of the {classes} classes of '{target}'; "
            "take more rows, or a split that keeps the classes' shares"
        )


def unknown_classes(name: str, values: pd.Series[Any], coding: TargetCoding, target: str) -> Iterator[str]:
    """What to say of a split with classes that no training row has; which they are is not said."""
    unknown = int((~coding.known(values, target)).sum())
    if unknown:
        yield (
            f"the {name} split has {unknown} rows with a value of '{target}' that no training row has; "
            "leave them out, or split the data so that training rows have every class"
        )


def fingerprint(splits: Mapping[str, SplitRows]) -> str:
    """SHA-256 of the rows of each split in their order: the same rows give the same in every process.

    Numbers and truth values are taken as numbers, everything else as text.
    """
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(f"{name}:{','.join(map(str, split.frame.columns))}:{len(split.frame)};".encode())
        digest.update(_hashes(split.frame.index.to_series()))
        for at in range(split.frame.shape[1]):
            digest.update(_hashes(split.frame.iloc[:, at]))
    return digest.hexdigest()


def _hashes(values: pd.Series[Any]) -> bytes:
    import numpy as np
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values.dtype):
        texts = values.astype("string").fillna("\0")
        return pd.util.hash_pandas_object(texts, index=False).to_numpy(dtype=np.uint64).tobytes()
    if pd.api.types.is_integer_dtype(values.dtype) and values.notna().all() and (values.abs() > EXACT).any():
        return values.to_numpy(dtype=object).astype(str).astype(bytes).tobytes()
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    # One zero and one empty cell, whatever their bits.
    return np.where(np.isnan(numbers), np.nan, numbers + 0.0).tobytes()


def _units(split: SplitRows) -> set[Any]:
    return set() if split.units is None else set(split.units.dropna().unique())
