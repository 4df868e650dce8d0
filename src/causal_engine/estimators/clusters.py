"""How uncertain is an estimate when rows belong together: in few groups, or in two ways at once?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import (
    LinearFit,
    Uncertainty,
    cluster_sums,
    count_clusters,
    interval,
    p_value,
)
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError, StudyInvalid, TooFewRows

FEW_CLUSTERS = 40
FEW_THAT_COUNT = 20
MOST_FOR_CR2 = 400
LEAST_OF_AN_ARM = 2
_SATURATED = 1e-10
_ON_ONE_ROW_A_UNIT = ("did", "lagged_outcome", "synthetic_did")


def few_cluster_uncertainty(fit: LinearFit, position: int, *, indicators: FloatArray | None = None) -> Uncertainty:
    """Uncertainty of one coefficient; with few clusters CR2 with Satterthwaite's degrees of freedom.

    Few are fewer than 40, or up to 400 of which in effect fewer than 20 determine the coefficient, as when
    three of 60 are treated (MacKinnon & Webb 2017). ``indicators`` (n, m) are effects that were projected
    out of the design and cut across clusters (of periods, less unit means). Otherwise it is that of the fit.
    """
    clusters, design = fit.clusters, fit.design
    if clusters is None or design is None or not _few(clusters, design, position):
        return fit.uncertainty(position)
    full = design if indicators is None else np.column_stack([design, indicators])
    return cr2(full, fit.residuals, clusters, position)


def cr2(design: FloatArray, residuals: FloatArray, clusters: IntArray, position: int) -> Uncertainty:
    """Bias-reduced cluster error of one coefficient, t with Satterthwaite degrees of freedom.

    CR2 of Bell & McCaffrey (2002): residuals of cluster g times (I − H_gg)^(−1/2); degrees of freedom
    tr(P'P)²/tr((P'P)²) (ibid. eq. 11; Imbens & Kolesár 2016, eq. 13) under independent equal errors;
    directions a cluster fits exactly count nothing (Pustejovsky & Tipton 2018, sec. 2.3). Effects nested
    in clusters may have been projected out before (their theorem 2). ``design`` (n, k) may be
    collinear as long as the coefficient is determined.
    """
    bread = np.asarray(np.linalg.pinv(design.T @ design, rcond=1e-12, hermitian=True), dtype=np.float64)
    root = _symmetric_root(bread)
    order = np.argsort(clusters, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    scores, norms, crossed = [], [], []
    for rows in parts:
        x = design[rows]
        adjusted = _adjusted(x @ root, x @ bread[:, position])
        scores.append(float(adjusted @ residuals[rows]))
        norms.append(float(adjusted @ adjusted))
        crossed.append(x.T @ adjusted)
    cross = np.array(crossed)
    products = np.diag(norms) - cross @ bread @ cross.T
    trace, squares = float(np.trace(products)), float((products**2).sum())
    if trace <= 0 or squares <= 0:
        raise EstimationError("the treatment does not vary enough between clusters for a cluster-robust error")
    std_error = float(np.sqrt(np.square(scores).sum()))
    return Uncertainty(std_error, f"cluster-robust CR2, {len(parts)} clusters, Satterthwaite", trace**2 / squares)


def _few(clusters: IntArray, design: FloatArray, position: int) -> bool:
    found = len(np.unique(clusters))
    return found < FEW_CLUSTERS or (found <= MOST_FOR_CR2 and _that_count(clusters, design, position) < FEW_THAT_COUNT)


def _that_count(clusters: IntArray, design: FloatArray, position: int) -> float:
    """1/Σs² of the clusters' shares s in the variation behind one coefficient, other columns projected out."""
    others = np.delete(design, position, axis=1)
    own = design[:, position]
    left = own - others @ np.linalg.lstsq(others, own, rcond=None)[0] if others.shape[1] else own
    shares = cluster_sums(left**2, clusters) / max(float(left @ left), 1e-300)
    return 1.0 / float(shares @ shares)


def require_clusters_of_both_arms(study: Study, estimator: str) -> None:
    """Raise TooFewRows when all treated rows, or all untreated ones, of a 0/1 treatment lie in one cluster.

    What is particular about that cluster is then the effect, and its residuals, which add up to nothing,
    cannot tell how much that may be (Conley & Taber 2011). Placebos can: synthetic_did needs one adopter.
    """
    if not study.is_binary or study.clusters is None or estimator == "synthetic_did":
        return
    for arm, name in ((1.0, "treated"), (0.0, "untreated")):
        if len(np.unique(study.clusters[study.t == arm])) < LEAST_OF_AN_ARM:
            raise TooFewRows(
                f"all {name} rows lie in one cluster of '{study.spec.cluster_key or study.spec.unit_key}', so its own "
                "course cannot be told from an effect; collect more clusters of that arm"
            )


def two_way_clustered(fitted: FittedEffect, study: Study) -> FittedEffect:
    """The estimate with errors that allow rows to depend within either key; as it is without a second key.

    V_A + V_B − V_AB on influence functions (Cameron, Gelbach & Miller 2011, eq. 2.11), each part times
    G/(G−1); where that is below the larger of V_A and V_B, as can happen with few clusters, the larger
    is taken, so that it is never negative. t with min(G_A, G_B) − 1 degrees of freedom (ibid. sec. 2.3).
    Segment effects, whose errors have one way only, are left out. Raises EstimationError for
    estimators without an influence function and for exact inference, TooFewRows below six clusters either
    way, StudyInvalid for a second key that says the same as the first, or changes within units where each
    unit counts once.
    """
    key = study.spec.second_cluster_key
    if key is None:
        return fitted
    if fitted.influence is None or study.clusters is None:
        raise EstimationError(
            f"{fitted.estimate.estimator} has no errors clustered in two ways; name one cluster column, "
            "or use ols, twfe, did or aipw"
        )
    _require_second_way(fitted, study, key)
    first = study.clusters
    second = np.asarray(pd.factorize(study.frame[key])[0], dtype=np.int64)
    groups = min(count_clusters(first), count_clusters(second))
    variances = [_variance(fitted.influence, codes) for codes in (first, second, _both(first, second))]
    variance = max(variances[0] + variances[1] - variances[2], variances[0], variances[1])
    own = study.spec.cluster_key or study.spec.unit_key
    uncertainty = Uncertainty(float(np.sqrt(variance)), f"cluster-robust by {own} and {key}", float(groups - 1))
    value = fitted.estimate.value
    estimate = replace(
        fitted.estimate,
        std_error=uncertainty.std_error,
        se_method=uncertainty.method,
        ci=interval(value, uncertainty),
        p_value=p_value(value, uncertainty),
        segments=(),
    )
    return replace(fitted, estimate=estimate)


def _require_second_way(fitted: FittedEffect, study: Study, key: str) -> None:
    name, unit = fitted.estimate.estimator, study.spec.unit_key
    if name == "exact":
        raise EstimationError("exact follows the one way in which the treatment was drawn; name one cluster column")
    if key == (study.spec.cluster_key or unit):
        raise StudyInvalid(f"errors are clustered by '{key}' already; name another column as the second")
    if name in _ON_ONE_ROW_A_UNIT and unit is not None and (study.frame.groupby(unit)[key].nunique() > 1).any():
        raise StudyInvalid(
            f"{name} compares one change per '{unit}', and '{key}' changes within it; name a column that does not"
        )


def _adjusted(scaled: FloatArray, vector: FloatArray) -> FloatArray:
    """(I − SS')^(−1/2) times ``vector``, which lies in the span of S (m, k); through S's singular values."""
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    room = 1.0 - singular**2
    factor = np.where(room > _SATURATED, 1.0 / np.sqrt(np.maximum(room, _SATURATED)), 0.0)
    return np.asarray(vector + left @ ((factor - 1.0) * (left.T @ vector)), dtype=np.float64)


def _symmetric_root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)


def _variance(influence: FloatArray, clusters: IntArray) -> float:
    groups = len(np.unique(clusters))
    sums = cluster_sums(influence, clusters)
    return float(groups / (groups - 1) * (sums @ sums)) / len(influence) ** 2


def _both(first: IntArray, second: IntArray) -> IntArray:
    codes = first * (int(second.max()) + 1) + second
    return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64)
