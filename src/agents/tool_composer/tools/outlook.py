"""How likely is an event in the next months, does the past show that it can be told, and for whom?

Earlier months train and later months test: the model is judged on months it has not seen, as it will be used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.history import Encoding, History, features_at
from src.agents.tool_composer.tools.periods import BoolArray
from src.causal_engine.study import FloatArray, IntArray
from src.domain.modelling import ProblemType
from src.errors import EstimationError, TooFewRows

TEST_SHARE = 0.3
LEAST_CLASS = 20
LEAST_TEST_CLASS = 10
PENALTY = 1.0
TOP_SHARE = 0.2
RESAMPLES = 200
MAX_STEPS = 50
TOLERANCE = 1e-8

# For a month (index): who may have the event from then on, and who of them had it within the horizon.
AtRisk = Callable[[History, int], BoolArray]
Happened = Callable[[History, int], BoolArray]


@dataclass(frozen=True)
class Event:
    """What is predicted: units at risk at the end of a month, and whether it happens within ``horizon`` months.

    ``lookback`` is how many months before are read.
    """

    outcome: str
    horizon: int
    lookback: int
    at_risk: AtRisk
    happened: Happened


@dataclass(frozen=True)
class Cohorts:
    """Units at risk at the end of some months, with what was known of them and (for past months) what came."""

    features: pd.DataFrame
    unit: IntArray
    origin: IntArray
    happened: FloatArray

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True)
class Skill:
    """How the model did on later months. Intervals (95 %) resample units; None where too few define them.

    ``top_rate`` is the share with the event among the fifth with the highest probabilities.
    """

    auc: float
    auc_interval: tuple[float, float] | None
    brier: float
    brier_of_base_rate: float
    slope: float | None
    slope_interval: tuple[float, float] | None
    base_rate: float
    observed_rate: float
    top_rate: float
    n_train: int
    n_test: int

    @property
    def usable(self) -> bool:
        """Better than the base rate: the order beyond chance, and the probabilities closer to what came."""
        ordered = self.auc_interval is not None and self.auc_interval[0] > 0.5
        return ordered and self.brier < self.brier_of_base_rate


@dataclass(frozen=True)
class Outlook:
    """Probability of the event for each unit now at risk, its model uncertainty, and the skill behind it.

    ``shift``: standard deviation by which a period's rate misses the prediction beyond what chance explains.
    """

    probability: FloatArray
    profile: pd.DataFrame
    gradient: FloatArray
    covariance: FloatArray
    shift: float
    skill: Skill

    def rate(self, rows: BoolArray) -> tuple[float, float, float]:
        """Expected share with the event among some units, and the 95 % interval of the share that will be seen.

        The interval has three parts: the model's coefficients (errors clustered by unit), chance of each unit, and how
        much whole periods missed their prediction before.
        """
        p, n = self.probability[rows], int(rows.sum())
        gradient = self.gradient[rows].mean(axis=0)
        variance = float(gradient @ self.covariance @ gradient) + float((p * (1 - p)).sum()) / n**2 + self.shift**2
        mean, reach = float(p.mean()), 1.959963984540054 * float(np.sqrt(variance))
        return mean, max(0.0, mean - reach), min(1.0, mean + reach)

    def stands_out(self, rows: BoolArray, comparisons: int) -> bool:
        """Whether the share seen among ``rows`` will lie above that of all others, at 5 % for all comparisons together.

        A period that is better or worse as a whole moves both alike and does not count.
        """
        from scipy.stats import norm

        if rows.all():
            return False
        gradient = self.gradient[rows].mean(axis=0) - self.gradient[~rows].mean(axis=0)
        chance = sum(
            float((p * (1 - p)).sum()) / len(p) ** 2 for p in (self.probability[rows], self.probability[~rows])
        )
        gap = float(self.probability[rows].mean() - self.probability[~rows].mean())
        error = float(np.sqrt(float(gradient @ self.covariance @ gradient) + chance))
        return gap > float(norm.ppf(1 - 0.025 / max(1, comparisons))) * error


def outlook_of(history: History, event: Event, random_state: int) -> Outlook:
    """Judge a logistic regression on later months, then fit it to all and predict the months after the last one.

    Raises TooFewRows where the months or events are too few to train and to test.
    """
    origins = _origins(history, event)
    n_test = max(1, round(TEST_SHARE * len(origins)))
    train, test = (cohorts(history, event, part) for part in (origins[:-n_test], origins[-n_test:]))
    _refuse_few(train, test)
    skill, shift = _judged(train, test, random_state)
    everything = cohorts(history, event, origins)
    now = cohorts(history, event, [history.last])
    if len(now) == 0:
        raise TooFewRows("nobody is at risk in the last month of these rows; there is nothing to predict")
    model = Logistic.fitted(everything)
    probability, gradient = model.predicted(now)
    profile = history.profile.iloc[now.unit].reset_index(drop=True)
    return Outlook(probability, profile, gradient, model.covariance, shift, skill)


def cohorts(history: History, event: Event, origins: list[int]) -> Cohorts:
    """Units at risk at each origin that have rows in all months read; of past origins, with rows in all that follow."""
    parts: list[tuple[pd.DataFrame, IntArray, IntArray, FloatArray]] = []
    for origin in origins:
        past = origin + event.horizon <= history.last
        keep = history.throughout(origin - event.lookback + 1, origin) & event.at_risk(history, origin)
        if past:
            keep &= history.throughout(origin + 1, origin + event.horizon)
        units = np.flatnonzero(keep)
        came = event.happened(history, origin)[units] if past else np.full(len(units), np.nan)
        features = features_at(history, event.outcome, origin, event.lookback).iloc[units]
        parts.append((features, units, np.full(len(units), origin), came.astype(np.float64)))
    frames, units_, origins_, happened = zip(*parts, strict=True)
    return Cohorts(
        pd.concat(frames, ignore_index=True), np.concatenate(units_), np.concatenate(origins_), np.concatenate(happened)
    )


@dataclass(frozen=True)
class Logistic:
    """Ridge logistic regression on standardised features; ``covariance`` is clustered by unit (Liang & Zeger 1986)."""

    encoding: Encoding
    coefficients: FloatArray
    covariance: FloatArray

    @classmethod
    def fitted(cls, rows: Cohorts) -> Logistic:
        """Maximum penalised likelihood; the penalty ½‖β‖² leaves the intercept alone."""
        encoding = Encoding.of(rows.features)
        design = _design(encoding, rows.features)
        coefficients, curvature = ridge_logistic(design, rows.happened)
        residual = rows.happened - _sigmoid(design @ coefficients)
        scores = _sums_by_unit(design * residual[:, None], rows.unit)
        bread = np.linalg.inv(curvature)
        return cls(encoding, coefficients, bread @ (scores.T @ scores) @ bread)

    def predicted(self, rows: Cohorts) -> tuple[FloatArray, FloatArray]:
        """Probabilities, shape (n,), and their gradient in the coefficients, shape (n, k)."""
        design = _design(self.encoding, rows.features)
        p = _sigmoid(design @ self.coefficients)
        return p, design * (p * (1 - p))[:, None]


def ridge_logistic(design: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients that maximise the log-likelihood less ½‖β‖², the first one (the intercept) free; and its curvature.

    Newton's method, each step halved until it does not make things worse. Raises EstimationError where it does not end.
    """
    penalty = np.full(design.shape[1], PENALTY)
    penalty[0] = 0.0
    beta = np.zeros(design.shape[1])
    loss = _loss(design, y, beta, penalty)
    for _ in range(MAX_STEPS):
        p = _sigmoid(design @ beta)
        slope = design.T @ (p - y) + penalty * beta
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        if float(slope @ step) < TOLERANCE:
            return beta, curvature
        size = 1.0
        while (new := _loss(design, y, beta - size * step, penalty)) > loss and size > 1e-6:
            size /= 2
        beta, loss = beta - size * step, new
    raise EstimationError("the logistic regression did not converge; name fewer features")


def _loss(design: FloatArray, y: FloatArray, beta: FloatArray, penalty: FloatArray) -> float:
    scores = design @ beta
    return float((np.logaddexp(0, scores) - y * scores).sum() + (penalty * beta**2).sum() / 2)


def _design(encoding: Encoding, features: pd.DataFrame) -> FloatArray:
    x = encoding.matrix(features)
    return np.column_stack([np.ones(len(x)), x])


def _sums_by_unit(values: FloatArray, unit: IntArray) -> FloatArray:
    order = np.argsort(unit, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(unit[order]) != 0])
    return np.asarray(np.add.reduceat(values[order], starts, axis=0))


def _origins(history: History, event: Event) -> list[int]:
    """Months a horizon apart, the last with its whole horizon in the rows: outcomes of two never overlap."""
    last = history.last - event.horizon
    origins = list(range(last, event.lookback - 2, -event.horizon))[::-1]
    if len(origins) < 3:
        needed = event.lookback + 3 * event.horizon
        raise TooFewRows(
            f"training and testing over time needs {needed} months or more; these rows have {history.months.count}"
        )
    return origins


def _refuse_few(train: Cohorts, test: Cohorts) -> None:
    for rows, least, what in ((train, LEAST_CLASS, "earlier"), (test, LEAST_TEST_CLASS, "later")):
        events = int(rows.happened.sum())
        if min(events, len(rows) - events) < least:
            raise TooFewRows(
                f"the {what} months have fewer than {least} cases with or without the event; "
                "widen the rows or change what counts as the event"
            )


def _judged(train: Cohorts, test: Cohorts, random_state: int) -> tuple[Skill, float]:
    from src.mlops.modelling.intervals import bootstrap_intervals
    from src.mlops.modelling.metrics import evaluate

    p, _ = Logistic.fitted(train).predicted(test)
    scores = np.column_stack([1 - p, p])
    measured = evaluate(ProblemType.BINARY, test.happened, scores)
    reach = bootstrap_intervals(
        ProblemType.BINARY,
        test.happened,
        scores,
        n=RESAMPLES,
        random_state=random_state,
        metrics=("roc_auc", "calibration_slope"),
        units=test.unit,
    )
    base = float(train.happened.mean())
    top = np.argsort(-p, kind="stable")[: max(1, round(TOP_SHARE * len(p)))]
    skill = Skill(
        auc=measured["roc_auc"],
        auc_interval=reach.get("roc_auc"),
        brier=measured["brier_score"],
        brier_of_base_rate=float(((base - test.happened) ** 2).mean()),
        slope=measured.get("calibration_slope"),
        slope_interval=reach.get("calibration_slope"),
        base_rate=base,
        observed_rate=float(test.happened.mean()),
        top_rate=float(test.happened[top].mean()),
        n_train=len(train),
        n_test=len(test),
    )
    return skill, _shift(p, test)


def _shift(p: FloatArray, test: Cohorts) -> float:
    """Standard deviation of (seen − predicted) rates of whole periods, less what chance alone gives (DerSimonian and
    Laird 1986 with equal weights)."""
    surplus = []
    for origin in np.unique(test.origin):
        rows = test.origin == origin
        n = int(rows.sum())
        missed = float((test.happened[rows] - p[rows]).mean())
        surplus.append(missed**2 - float((p[rows] * (1 - p[rows])).sum()) / n**2)
    return float(np.sqrt(max(0.0, float(np.mean(surplus)))))


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -35, 35))), dtype=np.float64)
