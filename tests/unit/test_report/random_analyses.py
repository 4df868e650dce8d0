"""Any analysis the types allow, built from the type hints alone."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import replace
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from src.causal_engine.results import Analysis

# No word can be spelt with these letters, so every word of a report is the report's own.
TEXT = st.text(alphabet="xyzXY019_ <>&|\"'`*$\\[]{}-+#~\n…é日", max_size=12)
NAMES = st.text(alphabet="xyzq_<&|$", min_size=1, max_size=12)
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
PLOTTABLE = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False) | st.just(float("nan")) | st.just(float("inf"))


def values_of(hint: Any, floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Values of a type hint as they occur in the result types."""
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*(values_of(kind, floats) for kind in get_args(hint)))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            return st.lists(values_of(kinds[0], floats), max_size=3).map(tuple)
        return st.tuples(*(values_of(kind, floats) for kind in kinds))
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{f.name: values_of(hints[f.name], floats) for f in dataclasses.fields(hint)})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    simple = {
        float: floats,
        int: st.integers(0, 10**6),
        bool: st.booleans(),
        str: TEXT,
        type(None): st.none(),
    }
    return simple[hint]


ANALYSES = values_of(Analysis, ANY_FLOAT)


def _with_sound_histogram(analysis: Analysis) -> Analysis:
    if analysis.overlap is None:
        return analysis
    counts = (20, 30, 5)
    overlap = replace(analysis.overlap, bins=(0.0, 0.3, 0.6, 1.0), counts_treated=counts, counts_control=counts[::-1])
    return replace(analysis, overlap=overlap)


PLOTTABLE_ANALYSES = values_of(Analysis, PLOTTABLE).map(_with_sound_histogram)
