"""Was treatment decided for whole groups, at a threshold, or does it spill over to neighbours?"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from src.causal_engine.estimators.discontinuity import roundest_between
from src.causal_engine.estimators.inference import fit_linear, independent_columns
from src.causal_engine.study import IntArray, Study
from src.errors import EstimationError

LEAST_GROUPS, LEAST_ROWS_A_GROUP, MOST_CANDIDATES = 6, 5, 60
LEAST_CLUSTERS_FOR_SPILLOVER = 20
LEVEL = 0.01


def groups_treated_whole(frame: pd.DataFrame, study: Study, ignored: Collection[str] = ()) -> tuple[str, ...]:
    """Columns of ``frame`` whose groups are each treated as a whole while outcomes are alike within them.

    Rows of such a group are no independent draws: intervals must be clustered by the column (Abadie,
    Athey, Imbens & Wooldridge 2023). At least six groups of five rows on average, in columns that name
    groups (text or whole numbers); silent when the study names a cluster or a panel.
    """
    if study.clusters is not None or len(frame) != study.n:
        return ()
    taken = {study.spec.treatment, study.spec.outcome, *study.spec.instruments, *ignored}
    return tuple(
        str(column)
        for column in [name for name in frame.columns if str(name) not in taken][:MOST_CANDIDATES]
        if _whole(frame[column], study)
    )


def _whole(series: pd.Series, study: Study) -> bool:
    if pd.api.types.is_float_dtype(series) or pd.api.types.is_datetime64_any_dtype(series):
        return False
    try:
        codes, levels = pd.factorize(series)
    except TypeError:  # lists and documents name no groups
        return False
    if not LEAST_GROUPS <= len(levels) <= study.n / LEAST_ROWS_A_GROUP or (codes < 0).any():
        return False
    sizes = np.bincount(codes)
    means = np.bincount(codes, weights=study.t) / sizes
    return bool(np.allclose(means[codes], study.t)) and _alike_within(study, np.asarray(codes, np.int64), sizes)


def _alike_within(study: Study, codes: IntArray, sizes: np.ndarray) -> bool:
    """Whether outcomes of a group, treatment and controls removed, are alike beyond chance (one-way F at 1 %)."""
    from scipy.special import fdtrc

    design = np.column_stack([np.ones(study.n), study.t, study.x])
    left = study.y - design @ np.linalg.lstsq(design, study.y, rcond=None)[0]
    between = float((np.bincount(codes, weights=left) ** 2 / sizes).sum())
    within = float(left @ left) - between
    groups = len(sizes)
    spare = groups - design.shape[1]
    if spare < 1 or within <= 0:
        return False
    statistic = (between / spare) / (within / (study.n - groups))
    return float(fdtrc(spare, study.n - groups, statistic)) < LEVEL


def spillover_p_value(study: Study) -> float | None:
    """p-value of the share of treated neighbours in the outcome, own treatment and controls given; clustered.

    Neighbours are the other rows of a row's cluster (linear-in-means; Manski 2013, section 3). A small
    value means that one unit's treatment reaches another's outcome, or that clusters differ in what is not
    measured. None where it does not apply: a panel, fewer than 20 clusters, treatment constant within
    clusters.
    """
    if study.spec.cluster_key is None or study.spec.is_panel or study.clusters is None:
        return None
    codes, sizes = study.clusters, np.bincount(study.clusters)
    rows = sizes[codes] > 1
    if len(sizes) < LEAST_CLUSTERS_FOR_SPILLOVER or not rows.any():
        return None
    total = np.bincount(codes, weights=study.t)
    neighbours = (total[codes] - study.t)[rows] / (sizes[codes][rows] - 1)
    if np.allclose(neighbours, study.t[rows]):
        return None
    controls = study.x[rows]
    design = np.column_stack(
        [neighbours, study.t[rows], np.ones(int(rows.sum())), controls[:, independent_columns(controls)]]
    )
    try:
        fit = fit_linear(study.y[rows], design, np.unique(codes[rows], return_inverse=True)[1])
    except (EstimationError, np.linalg.LinAlgError):
        return None  # collinear or too few clusters: nothing can be said
    return _two_sided(float(fit.coefficients[0]), fit.uncertainty(0).std_error, fit.df)


def _two_sided(value: float, error: float, df: float) -> float | None:
    from scipy.special import stdtr

    return 2.0 * float(stdtr(df, -abs(value) / error)) if error > 0 else None


def switching_columns(study: Study) -> tuple[tuple[str, float], ...]:
    """Numeric confounders that split the arms exactly, each with the cutoff at or above which the arm changes."""
    if not study.is_binary:
        return ()
    return tuple(_switches(study))


def _switches(study: Study) -> Iterator[tuple[str, float]]:
    matrix, names, sources = study.design
    for position, (name, source) in enumerate(zip(names, sources, strict=True)):
        values = matrix[:, position]
        if name != source or len(np.unique(values)) <= 2:
            continue
        treated, control = values[study.t == 1], values[study.t == 0]
        for low, high in ((control, treated), (treated, control)):
            if low.max() < high.min():
                yield name, roundest_between(float(low.max()), float(high.min()))
