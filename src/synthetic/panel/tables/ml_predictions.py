"""The table of predictions about the patients of the claims sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.model import SEGMENTS, logistic, segment_codes
from src.synthetic.panel.tables.cells import LAST_DAY, MINUTES_PER_DAY, choose, keys, objects, only_where, timestamps
from src.synthetic.panel.tables.claims import SPLITS, Claims
from src.synthetic.panel.tables.patient_journeys import patient_ids
from src.synthetic.streams import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

TYPES = ("trigger", "propensity", "risk", "churn", "next_best_action")
VERSIONS = ("journey-1.0", "journey-1.1")
FEATURES = ("risk_score", "journey_duration_days", "prior_scripts")
SCORED_SHARE = 0.5
WINDOW_DAYS = (30, 60, 90)
THRESHOLD = 0.5
KNOWN_UNTIL = LAST_DAY + 60


def ml_predictions(claims: Claims) -> pd.DataFrame:
    """One score for half of the patients; outcomes still in the future when the tables end are empty.

    The model snapshot columns (AUC, Brier score, …) are computed from the scores and known
    outcomes of that model version in this table.
    """
    import pandas as pd

    rng = claims.rng("ml_predictions")
    patient = np.flatnonzero(rng.random(len(claims.patients.hcp)) < SCORED_SHARE)
    n = len(patient)
    severity = claims.patients.severity[patient]
    own = rng.standard_normal(n)
    truth = logistic(-0.9 + 0.7 * (severity - 5.0) + 1.2 * own)
    score = logistic(-0.9 + 0.7 * (severity - 5.0) + 1.2 * own + 0.25 * rng.standard_normal(n))
    outcome = (rng.random(n) < truth).astype(np.float64)
    day = np.minimum(claims.patients.start[patient] + rng.integers(10, 200, n), LAST_DAY)
    scored = day * MINUTES_PER_DAY + rng.integers(0, MINUTES_PER_DAY, n)
    window = np.array(WINDOW_DAYS)[rng.integers(0, 3, n)]
    known_at = scored + window * MINUTES_PER_DAY
    known = known_at < KNOWN_UNTIL * MINUTES_PER_DAY
    version = (rng.random(n) < 0.4).astype(np.int64)
    lift = 0.05 + 0.01 * severity
    return pd.DataFrame(
        {
            "prediction_id": keys("pred_", np.arange(n), 7),
            "model_version": [VERSIONS[code] for code in version],
            "model_type": "lightgbm",
            "prediction_timestamp": timestamps(scored),
            "patient_id": patient_ids(patient),
            "hcp_id": keys("hcp_", claims.world.hcps.number[claims.patients.hcp[patient]], 6),
            "prediction_type": choose(rng, TYPES, (3, 3, 2, 2, 1), n),
            "prediction_value": score,
            "prediction_class": np.where(score >= THRESHOLD, "positive", "negative"),
            "confidence_score": np.abs(score - 0.5) * 2.0,
            "probability_scores": objects([{"positive": value, "negative": 1.0 - value} for value in score.tolist()]),
            **_explanations(rng, severity, own),
            "rank_metrics": objects([{"percentile": value} for value in _percentile(score).tolist()]),
            **_snapshots(score, outcome, known, version),
            "treatment_effect_estimate": lift + 0.01 * rng.standard_normal(n),
            "heterogeneous_effect": lift - float(lift.mean()) if n else lift,
            "counterfactual_outcome": np.clip(score - lift, 0.0, 1.0),
            "segment_assignment": [SEGMENTS[code] for code in segment_codes(severity)],
            "causal_confidence": rng.beta(8, 3, n),
            "actual_outcome": np.where(known, outcome, np.nan),
            "outcome_recorded_at": timestamps(known_at, known),
            "outcome_source": only_where(known, "claims"),
            "outcome_window_days": window,
            "features_available_at_prediction": _feature_times(rng, scored),
            "data_split": [SPLITS[code] for code in claims.patients.split[patient]],
        }
    )


def _explanations(rng: np.random.Generator, severity: FloatArray, own: FloatArray) -> dict[str, np.ndarray]:
    """SHAP values for 97 % of the rows; the others have none."""
    values = [
        dict(zip(FEATURES, (0.7 * (level - 5.0), 0.8 * trait, 0.4 * trait), strict=True))
        for level, trait in zip(severity.tolist(), own.tolist(), strict=True)
    ]
    explained = rng.random(len(values)) < 0.97
    shap = [value if has else None for value, has in zip(values, explained, strict=True)]
    top = [sorted(FEATURES, key=lambda name, row=row: -abs(row[name])) for row in values]  # type: ignore[misc]
    importance = dict(zip(FEATURES, (0.5, 0.3, 0.2), strict=True))
    return {
        "feature_importance": objects([dict(importance) for _ in values]),
        "shap_values": objects(shap),
        "top_features": objects(top),
    }


def _percentile(score: FloatArray) -> FloatArray:
    return (np.argsort(np.argsort(score)) + 1.0) / max(len(score), 1)


def _snapshots(score: FloatArray, outcome: FloatArray, known: np.ndarray, version: IntArray) -> dict[str, FloatArray]:
    names = ("model_auc", "model_pr_auc", "model_precision", "model_recall", "brier_score", "calibration_score")
    columns = {name: np.full(len(score), np.nan) for name in names}
    for code in range(len(VERSIONS)):
        rows = known & (version == code)
        if 0 < outcome[rows].sum() < rows.sum():
            for name, value in zip(names, _quality(score[rows], outcome[rows]), strict=True):
                columns[name][version == code] = value
    return columns


def _quality(score: FloatArray, outcome: FloatArray) -> tuple[float, ...]:
    """ROC-AUC (Mann–Whitney), average precision, precision and recall at .5, Brier score, calibration slope."""
    positive = outcome == 1.0
    ranks = np.argsort(np.argsort(score)) + 1.0
    pairs = positive.sum() * (~positive).sum()
    auc = (ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / pairs
    flagged = score >= THRESHOLD
    hits = float((flagged & positive).sum())
    precision = hits / max(float(flagged.sum()), 1.0)
    recall, brier = hits / float(positive.sum()), float(np.mean((score - outcome) ** 2))
    return float(auc), _average_precision(score, positive), precision, recall, brier, _slope(score, outcome)


def _average_precision(score: FloatArray, positive: BoolArray) -> float:
    """Mean over positives of the precision among the scores at least as high."""
    found = np.cumsum(positive[np.argsort(-score, kind="stable")])
    precision = found / np.arange(1, len(score) + 1)
    return float(precision[np.diff(found, prepend=0) == 1].mean())


def _slope(score: FloatArray, outcome: FloatArray) -> float:
    """Slope of the logistic regression of the outcome on the logit of the score, by Newton's method."""
    bounded = np.clip(score, 1e-6, 1.0 - 1e-6)
    design = np.column_stack([np.ones(len(score)), np.log(bounded / (1.0 - bounded))])
    weights = np.array([0.0, 1.0])
    for _ in range(20):
        fitted = logistic(design @ weights)
        curvature = (design * (fitted * (1.0 - fitted))[:, None]).T @ design
        weights = weights + np.linalg.solve(curvature, design.T @ (outcome - fitted))
    return max(float(weights[1]), 0.0)


def _feature_times(rng: np.random.Generator, scored: IntArray) -> np.ndarray:
    """ISO times at which each feature was known, all before the score."""
    age = rng.integers(1, 20 * MINUTES_PER_DAY, (len(scored), len(FEATURES)))
    texts = np.datetime_as_string((scored[:, None] - age).astype("datetime64[m]").astype("datetime64[s]"))
    return objects([{name: f"{text}Z" for name, text in zip(FEATURES, row, strict=True)} for row in texts.tolist()])
