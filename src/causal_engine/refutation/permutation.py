"""Which treatment would the same units have had by pure chance, the design kept?"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd

from src.causal_engine.study import FloatArray, IntArray, Study

_WITHIN_UNITS = frozenset({"twfe", "distributed_lag"})
_BETWEEN_ADOPTERS = frozenset({"did", "lagged_outcome", "imputation", "synthetic_did"})


class Scheme(StrEnum):
    """What is exchanged; the value is how it is told."""

    ROWS = "across rows"
    CLUSTERS = "across clusters, which are treated as a whole"
    WITHIN_UNITS = "over time within each unit"
    ADOPTERS = "by redrawing which units adopt it"


def scheme_of(study: Study, estimator: str) -> Scheme:
    """The exchange that leaves everything but the effect as the estimator expects it."""
    if study.spec.is_panel and estimator in _WITHIN_UNITS:
        return Scheme.WITHIN_UNITS
    if study.spec.is_panel and estimator in _BETWEEN_ADOPTERS:
        return Scheme.ADOPTERS
    if study.clusters is not None and _constant_within(study.t, study.clusters):
        return Scheme.CLUSTERS
    return Scheme.ROWS


def permuted_treatment(study: Study, scheme: Scheme, rng: np.random.Generator) -> FloatArray:
    """One placebo treatment, shape (n,)."""
    if scheme is Scheme.ADOPTERS:
        return _other_adopters(study, rng)
    return study.t[permuted_rows(study, scheme, rng)]


def permuted_rows(study: Study, scheme: Scheme, rng: np.random.Generator) -> IntArray:
    """Row (n,) from which each row takes its placebo treatment (not for ``ADOPTERS``)."""
    if scheme is Scheme.ROWS:
        return rng.permutation(study.n)
    if scheme is Scheme.CLUSTERS and study.clusters is not None:
        _, first = np.unique(study.clusters, return_index=True)
        return np.asarray(first[rng.permutation(len(first))][study.clusters], dtype=np.int64)
    return _within_groups(_codes(study.frame, str(study.spec.unit_key)), rng.random(study.n))


def _within_groups(groups: IntArray, drawn: FloatArray) -> IntArray:
    """Row (n,) from which each row takes its value when the rows of each group change places in the order ``drawn``."""
    together = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    order = np.empty(len(groups), dtype=np.int64)
    if (sizes == sizes[0]).all():
        rows = together.reshape(len(sizes), -1)
        order[together] = np.take_along_axis(rows, drawn[rows].argsort(axis=1), axis=1).ravel()
    else:
        order[together] = np.lexsort((drawn, groups))
    return order


def _other_adopters(study: Study, rng: np.random.Generator) -> FloatArray:
    """Adoption dates redrawn between units: each date has as many adopters as in truth."""
    units = _codes(study.frame, str(study.spec.unit_key))
    periods = _codes(study.frame, str(study.spec.time_key))
    never = int(periods.max()) + 1
    first = np.full(int(units.max()) + 1, never)
    np.minimum.at(first, units, np.where(study.t > 0, periods, never))
    return np.asarray(periods >= rng.permutation(first)[units], dtype=np.float64)


def _constant_within(values: FloatArray, clusters: IntArray) -> bool:
    _, first = np.unique(clusters, return_index=True)
    return bool((values == values[first][clusters]).all())


def _codes(frame: pd.DataFrame, key: str) -> IntArray:
    return np.asarray(pd.factorize(frame[key], sort=True)[0], dtype=np.int64)
